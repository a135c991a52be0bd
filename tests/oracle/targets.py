"""The targets that the oracle puts into rules; see vocabulary."""

from __future__ import annotations

import random

from tests.oracle.lab import pod_address
from tests.oracle.vocabulary import LOOPBACK, MARKS, NODE_ADDRESSES, OUTSIDE, PODS, PORTS, Kind, Place, set_name

_REJECTS = {
    4: ("port", "host", "net", "proto"),
    6: ("icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable", "icmp6-port-unreachable"),
}


def _bracketed(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _dnat(rng: random.Random, place: Place) -> str:
    to = rng.choice([*(pod_address(pod, place.version) for pod in PODS), *NODE_ADDRESSES[place.version], *OUTSIDE[place.version]])
    form = rng.random()
    if form < 0.5:
        text = _bracketed(to, str(rng.choice(PORTS)))
    elif form < 0.75:
        text = to
    elif form < 0.85:
        text = ":" + str(rng.choice(PORTS))
    elif form < 0.93:
        text = _bracketed(to, "8080-8082")
    else:
        text = "10.1.9.2-10.1.9.3" if place.version == 4 else "fd00:1:9::2-fd00:1:9::3"
    if form >= 0.75 and form < 0.93 and place.protocol is None:
        text = to
    if place.protocol is None and form < 0.5:
        text = to
    return f"DNAT --to-destination {text}" + rng.choice(("", "", "", " --random", " --persistent"))


def _snat(rng: random.Random, place: Place) -> str:
    to = rng.choice([*NODE_ADDRESSES[place.version], "198.51.100.50" if place.version == 4 else "2001:db8:f::50"])
    form = rng.random()
    if form < 0.7 or place.protocol is None:
        text = to
    elif form < 0.9:
        text = _bracketed(to, rng.choice(("20000-60000", "1024-2000", "7777")))
    else:
        text = "192.0.2.1-192.0.2.2" if place.version == 4 else "fd00:c::1-fd00:c::2"
    return f"SNAT --to-source {text}" + rng.choice(("", "", "", " --random", " --persistent", " --random-fully"))


def _masquerade(rng: random.Random, place: Place) -> str:
    ports = rng.choice(("", "", " --to-ports 1024-2000")) if place.protocol in ("tcp", "udp", "sctp") else ""
    return "MASQUERADE" + ports + rng.choice(("", "", " --random", " --random-fully"))


def _redirect(rng: random.Random, place: Place) -> str:
    ports = rng.choice(("", " --to-ports 8080", " --to-ports 80-90", " --to-ports 53")) if place.protocol in ("tcp", "udp", "sctp") else ""
    return "REDIRECT" + ports + rng.choice(("", "", " --random"))


def _netmap(rng: random.Random, place: Place) -> str:
    four, six = ("10.1.9.0/24", "10.1.2.0/24", "192.0.2.0/30"), ("fd00:1:9::/64", "fd00:1:2::/64", "fd00:c::/126")
    return f"NETMAP --to {rng.choice(four if place.version == 4 else six)}"


def _reject(rng: random.Random, place: Place) -> str:
    if place.protocol == "tcp" and rng.random() < 0.5:
        return "REJECT --reject-with tcp-reset"
    if place.version == 6:
        return rng.choice(("REJECT", *(f"REJECT --reject-with {x}" for x in _REJECTS[6])))
    kinds = [f"icmp-{x}-unreachable" for x in _REJECTS[4]] + ["icmp-net-prohibited", "icmp-host-prohibited", "icmp-admin-prohibited"]
    return rng.choice(("REJECT", *(f"REJECT --reject-with {x}" for x in kinds)))


def _mark(name: str) -> object:
    def make(rng: random.Random, place: Place) -> str:
        value = rng.choice(MARKS)
        operation = rng.choice(("--set-mark", "--set-xmark", "--and-mark", "--or-mark", "--xor-mark"))
        mask = f"/{rng.choice((0xFFFFFFFF, 0xFF00, 0x4000, 3)):#x}" if operation.startswith("--set") and rng.random() < 0.6 else ""
        return f"{name} {operation} {value:#x}{mask}"

    return make


def _copy(rng: random.Random, place: Place) -> str:
    operation = rng.choice(("--save-mark", "--restore-mark"))
    masks = rng.choice(("", "", " --mask 0xff00", " --nfmask 0xffff --ctmask 0xffff", " --nfmask 0xff --ctmask 0xff00"))
    return f"CONNMARK {operation}{masks}"


def _set(rng: random.Random, place: Place) -> str:
    name = set_name("grow", place.version)
    return rng.choice(
        (f"SET --add-set {name} src", f"SET --add-set {name} dst", f"SET --del-set {name} src", f"SET --add-set {name} src --exist")
    )


def _only(*tables: str, hooks: tuple[str, ...] = (), protocol: str | None = None) -> object:
    def allowed(place: Place) -> bool:
        return place.table in tables and (not hooks or place.hooks <= set(hooks)) and (protocol is None or place.protocol == protocol)

    return allowed


def _kind(name: str, make: object, allowed: object = None, weight: float = 1.0, *, uncertain: bool = False) -> Kind:
    maker = make if callable(make) else lambda rng, place: str(make)
    return Kind(
        name=name,
        make=maker,
        allowed=allowed if callable(allowed) else lambda place: True,
        weight=weight,
        negatable=False,
        uncertain=uncertain,
    )


_ANYWHERE = ("raw", "mangle", "nat", "filter", "security")
_FILTERING = ("raw", "mangle", "filter", "security")

TARGETS: tuple[Kind, ...] = (
    _kind("ACCEPT", "ACCEPT", weight=2),
    _kind("DROP", "DROP", _only(*_FILTERING), 0.8),
    _kind("RETURN", "RETURN", weight=2),
    _kind("REJECT", _reject, _only("filter", hooks=("INPUT", "FORWARD", "OUTPUT")), 2.5),
    _kind("DNAT", _dnat, _only("nat", hooks=("PREROUTING", "OUTPUT")), 9),
    _kind("REDIRECT", _redirect, _only("nat", hooks=("PREROUTING", "OUTPUT")), 3),
    _kind("SNAT", _snat, _only("nat", hooks=("POSTROUTING", "INPUT")), 6),
    _kind("MASQUERADE", _masquerade, _only("nat", hooks=("POSTROUTING",)), 5),
    _kind("NETMAP", _netmap, _only("nat"), 2.5),
    _kind("MARK", _mark("MARK"), weight=4),
    _kind("CONNMARK", _mark("CONNMARK"), weight=2),
    _kind("CONNMARK save/restore", _copy, weight=2),
    _kind("NOTRACK", "NOTRACK", _only("raw"), 1),
    _kind(
        "CT",
        lambda r, p: r.choice(("CT --notrack", "CT --ctevents new")),
        _only("raw"),
        2,
    ),
    _kind("CT --zone", "CT --zone 5", _only("raw"), 0.3, uncertain=True),
    _kind("DSCP", lambda r, p: "DSCP --set-dscp " + r.choice(("0x00", "0x0a", "0x2e")), _only("mangle"), 2),
    _kind(
        "TOS",
        lambda r, p: (
            "TOS " + r.choice(("--set-tos 0x28/0xff", "--set-tos 0xb8/0xfc", "--set-tos 0x20/0x20", "--and-tos 0xfc", "--or-tos 0x08"))
        ),
        _only("mangle"),
        2,
    ),
    _kind(
        "TTL",
        lambda r, p: (
            "TTL " + r.choice(("--ttl-set 64", "--ttl-dec 1", "--ttl-inc 1", "--ttl-inc 200"))
            if p.version == 4
            else "HL " + r.choice(("--hl-set 64", "--hl-dec 1", "--hl-inc 1"))
        ),
        _only("mangle"),
        2,
    ),
    _kind("SET", _set, weight=1.5),
    _kind("LOG", 'LOG --log-prefix "a log "', weight=0.7),
    _kind("NFLOG", "NFLOG --nflog-group 5 --nflog-prefix x", weight=1),
    _kind("AUDIT", lambda r, p: f"AUDIT --type {r.choice(('accept', 'drop', 'reject'))}", weight=0.7),
    _kind("CLASSIFY", "CLASSIFY --set-class 1:2", _only("mangle", hooks=("FORWARD", "OUTPUT", "POSTROUTING")), 1.5),
    _kind("CHECKSUM", "CHECKSUM --checksum-fill", _only("mangle"), 1),
    _kind("TCPMSS", "TCPMSS --set-mss 1300", lambda p: False),
    _kind("ECN", "ECN --ecn-tcp-remove", lambda p: p.table == "mangle" and p.version == 4 and p.protocol == "tcp", 6),
    _kind("none", "", weight=2),
    _kind("NFQUEUE", "NFQUEUE --queue-num 3", _only("mangle", "filter"), 0.3, uncertain=True),
    _kind(
        "TPROXY",
        lambda r, p: f"TPROXY --on-port 8080 --on-ip {LOOPBACK[p.version]}",
        lambda p: p.table == "mangle" and p.hooks <= {"PREROUTING"} and p.protocol in ("tcp", "udp"),
        0.3,
        uncertain=True,
    ),
)
