"""Every match and target that the oracle puts into rules, as iptables options with random values.

A match kind has a name, the option text it makes (``!`` in place when negated) and where iptables allows it. Values are drawn from the
little network's own addresses, devices, ports and marks, so that a good part of the rules hits. *uncertain* kinds are those the engine
answers with unknown or odds: a rule set holds only a few of them, since each doubles the ways a packet can go.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.oracle.lab import CLIENT, GATEWAYS, NODE_ADDRESSES, PODS, pod_address

PORTS = (53, 80, 443, 8080, 8443, 30080)
MARKS = (0, 1, 2, 3, 0x4000, 0x8000, 0xFF00)
DSCP = (0, 10, 46)
TTLS = (3, 32, 64, 128)
CLUSTER = {4: ("10.96.0.1", "10.96.0.2", "10.96.7.3"), 6: ("fd00:96::1", "fd00:96::2", "fd00:96:7::3")}
NOWHERE = {4: ("10.66.0.1", "10.67.0.1", "10.68.0.1"), 6: ("fd00:66::1", "fd00:68::1")}
OUTSIDE = {4: ("198.51.100.7",), 6: ("2001:db8:f::7",)}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
RECENT = ("seen", "AFFINITY", "DEFAULT")
SETS = ("ip", "net", "ipport", "netport", "ipportip", "ipportnet", "iface", "list", "bitip", "bitport", "grow")
DIRECTIONS = {"ipport": 2, "netport": 2, "ipportip": 3, "ipportnet": 3, "iface": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a rule stands: table, the hooks that can reach its chain, whether the chain is built in, and the rule's protocol."""

    version: int
    table: str
    hooks: frozenset[str]
    built_in: bool
    protocol: str | None = None


Maker = Callable[[random.Random, Place], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One match or target: *make* gives its options; *no* stands for ``! `` where the text may be negated."""

    name: str
    make: Maker
    allowed: Callable[[Place], bool] = lambda place: True
    negatable: bool = True
    uncertain: bool = False
    weight: float = 1.0


def addresses(version: int) -> list[str]:
    """Return the addresses that packets of the little network come from or go to."""
    return [
        *(pod_address(pod, version) for pod in PODS),
        *NODE_ADDRESSES[version],
        *GATEWAYS[version],
        *CLUSTER[version],
        *OUTSIDE[version],
        CLIENT[version],
    ]


def _network(rng: random.Random, place: Place) -> str:
    address = rng.choice(addresses(place.version))
    if place.version == 4:
        mask = rng.choice(["", "", "/31", "/29", "/24", "/24", "/16", "/8", "/255.255.0.255", "/0.0.0.255"])
    else:
        mask = rng.choice(["", "", "/127", "/112", "/64", "/48", "/16", "/ffff:ffff:0:ffff:ffff:ffff:ffff:ffff", "/::ffff"])
    return address + mask


def _device(rng: random.Random, place: Place) -> str:
    return rng.choice(["pod1a", "pod2a", "veth3", "cni0", "eth0", "eth0", "lo", "pod+", "pod+", "veth+", "e+", "c+", "none0"])


def _port(rng: random.Random) -> str:
    if rng.random() < 0.7:
        return str(rng.choice(PORTS))
    low = rng.choice((1, 53, 80, 444, 8000))
    return f"{low}:{low + rng.choice((1, 100, 1000, 20000))}"


def _source_port(rng: random.Random) -> str:
    low = rng.choice((1, 20000, 30000, 40000, 50000))
    return f"{low}:{min(65535, low + rng.choice((5000, 15000, 30000, 64000)))}"  # iptables-save loses a negated 0:65535


def _port_list(rng: random.Random, make: Callable[[random.Random], str]) -> str:
    return ",".join(dict.fromkeys(make(rng) for _ in range(rng.randint(1, 5))))


def _mark(rng: random.Random) -> str:
    value = rng.choice(MARKS)
    return f"{value:#x}/{rng.choice((0xFFFFFFFF, 0xFFFF, 0x4000, 0xFF00, 3, 1)) | value:#x}"


def _range(rng: random.Random, place: Place) -> str:
    four = (
        "10.1.1.0-10.1.1.255",
        "10.1.1.2-10.1.2.2",
        "192.0.2.1-192.0.2.2",
        "10.0.0.0-10.1.255.255",
        "10.96.0.1-10.96.0.1",
        "0.0.0.0-10.1.2.1",
    )
    six = ("fd00:1:1::-fd00:1:1::ffff", "fd00:1:1::2-fd00:1:2::2", "fd00:c::1-fd00:c::2", "fd00:96::1-fd00:96::1", "::-fd00:1:2::1")
    return rng.choice(four if place.version == 4 else six)


def _types(rng: random.Random, place: Place) -> str:
    names = ["LOCAL", "LOCAL", "UNICAST", "MULTICAST", "UNREACHABLE", "ANYCAST"] + (
        ["BROADCAST", "BLACKHOLE"] if place.version == 4 else []
    )
    return ",".join(dict.fromkeys(rng.choice(names) for _ in range(rng.randint(1, 2))))


def _set_match(rng: random.Random, place: Place) -> str:
    name = rng.choice(SETS)
    sides = ",".join(rng.choice(("src", "dst")) for _ in range(DIRECTIONS.get(name, 1)))
    if name == "list":
        sides = rng.choice(("src", "dst", "src,dst", "dst,dst"))
    if name == "iface":
        sides = rng.choice(("src,src", "dst,src"))
    if name in ("bitip",) and place.version == 6:
        name = "ip"
    return f"--match-set {set_name(name, place.version)} {sides}"


def set_name(name: str, version: int) -> str:
    """Return the name under which a set of that kind is loaded."""
    return name if name == "bitport" else f"{name}{version}"


def _ct_network(option: str) -> Maker:
    return lambda rng, place: f"-m conntrack ! {option} {_network(rng, place)}"


def _states(rng: random.Random, place: Place) -> str:
    return ",".join(rng.sample(["NEW", "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED", "DNAT", "SNAT"], rng.randint(1, 3)))


def _has_ports(place: Place) -> bool:
    return place.protocol in ("tcp", "udp", "sctp")


def _in_hooks(*hooks: str) -> Callable[[Place], bool]:
    return lambda place: place.hooks <= set(hooks)


def _version(version: int) -> Callable[[Place], bool]:
    return lambda place: place.version == version


def _length(rng: random.Random, place: Place) -> str:
    return rng.choice(("28:100", "0:60", "128", "31", "20:40", "100:600", "500:"))


def _recent(rng: random.Random, place: Place) -> str:
    action = rng.choice(("--set", "--rcheck", "--update", "--remove"))
    extra = rng.choice(("", " --seconds 100", " --hitcount 1", " --seconds 10 --reap")) if action in ("--rcheck", "--update") else ""
    return f"-m recent ! {action} --name {rng.choice(RECENT)}{extra} {rng.choice(('--rsource', '--rdest'))}"


def _fixed(text: str) -> Maker:
    return lambda rng, place: text


def _comment(rng: random.Random, place: Place) -> str:
    return "-m comment --comment " + rng.choice(
        ("plain", '"two words"', '"default/api:http cluster IP"', '"a \\"quote\\" inside"', '"! -j DROP"')
    )


MATCHES: tuple[Kind, ...] = (
    Kind(name="-s", make=lambda r, p: f"! -s {_network(r, p)}", weight=3),
    Kind(name="-d", make=lambda r, p: f"! -d {_network(r, p)}", weight=3),
    Kind(
        name="-i",
        make=lambda r, p: f"! -i {_device(r, p)}",
        allowed=lambda p: not (p.built_in and p.hooks & {"OUTPUT", "POSTROUTING"}),
        weight=3,
    ),
    Kind(
        name="-o",
        make=lambda r, p: f"! -o {_device(r, p)}",
        allowed=lambda p: not (p.built_in and p.hooks & {"PREROUTING", "INPUT"}),
        weight=3,
    ),
    Kind(name="--sport", make=lambda r, p: f"-m {p.protocol} ! --sport {_source_port(r)}", allowed=_has_ports, weight=2),
    Kind(name="--dport", make=lambda r, p: f"-m {p.protocol} ! --dport {_port(r)}", allowed=_has_ports, weight=4),
    Kind(
        name="multiport --sports", make=lambda r, p: f"-m multiport ! --sports {_port_list(r, _source_port)}", allowed=_has_ports, weight=3
    ),
    Kind(name="multiport --dports", make=lambda r, p: f"-m multiport ! --dports {_port_list(r, _port)}", allowed=_has_ports, weight=2),
    Kind(name="multiport --ports", make=lambda r, p: f"-m multiport ! --ports {_port_list(r, _port)}", allowed=_has_ports),
    Kind(name="--syn", make=_fixed("-m tcp ! --syn"), allowed=lambda p: p.protocol == "tcp", weight=6),
    Kind(
        name="--tcp-flags",
        make=lambda r, p: (
            "-m tcp ! --tcp-flags "
            + r.choice(("SYN,ACK SYN", "SYN,RST SYN", "ALL NONE", "ALL SYN", "FIN,SYN,RST,PSH,ACK,URG SYN,ACK", "RST RST"))
        ),
        allowed=lambda p: p.protocol == "tcp",
        weight=5,
    ),
    Kind(name="addrtype --src-type", make=lambda r, p: f"-m addrtype ! --src-type {_types(r, p)}", weight=1.5),
    Kind(name="addrtype --dst-type", make=lambda r, p: f"-m addrtype ! --dst-type {_types(r, p)}", weight=2),
    Kind(
        name="addrtype --limit-iface-in",
        make=lambda r, p: f"-m addrtype ! --dst-type {_types(r, p)} --limit-iface-in",
        allowed=_in_hooks("PREROUTING", "INPUT", "FORWARD"),
    ),
    Kind(
        name="addrtype --limit-iface-out",
        make=lambda r, p: f"-m addrtype ! --src-type {_types(r, p)} --limit-iface-out",
        allowed=_in_hooks("POSTROUTING", "OUTPUT", "FORWARD"),
        weight=2,
    ),
    Kind(name="conntrack --ctstate", make=lambda r, p: f"-m conntrack ! --ctstate {_states(r, p)}", weight=3),
    Kind(
        name="state --state",
        make=lambda r, p: "-m state ! --state " + ",".join(r.sample(["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"], 2)),
    ),
    Kind(name="conntrack --ctorigsrc", make=_ct_network("--ctorigsrc"), weight=0.6),
    Kind(name="conntrack --ctorigdst", make=_ct_network("--ctorigdst"), weight=0.6),
    Kind(name="conntrack --ctreplsrc", make=_ct_network("--ctreplsrc"), weight=0.6),
    Kind(name="conntrack --ctrepldst", make=_ct_network("--ctrepldst"), weight=0.6),
    Kind(name="conntrack --ctorigsrcport", make=lambda r, p: f"-m conntrack ! --ctorigsrcport {_source_port(r)}", weight=0.6),
    Kind(name="conntrack --ctorigdstport", make=lambda r, p: f"-m conntrack ! --ctorigdstport {_port(r)}", weight=0.6),
    Kind(name="conntrack --ctreplsrcport", make=lambda r, p: f"-m conntrack ! --ctreplsrcport {_port(r)}", weight=0.6),
    Kind(name="conntrack --ctrepldstport", make=lambda r, p: f"-m conntrack ! --ctrepldstport {_source_port(r)}", weight=0.6),
    Kind(
        name="conntrack, several",  # with --ctstate the others are not asked of a packet without a connection
        make=lambda r, p: f"-m conntrack ! --ctstate {_states(r, p)} --ctorigdst {_network(r, p)} --ctproto {r.choice((6, 17))}",
        weight=1.5,
    ),
    Kind(name="conntrack --ctproto", make=lambda r, p: f"-m conntrack ! --ctproto {r.choice((6, 17, 132))}"),
    Kind(
        name="conntrack --ctdir", make=lambda r, p: f"-m conntrack --ctdir {r.choice(('ORIGINAL', 'ORIGINAL', 'REPLY'))}", negatable=False
    ),
    Kind(
        name="conntrack --ctstatus",
        make=lambda r, p: f"-m conntrack ! --ctstatus {r.choice(('NONE', 'SEEN_REPLY', 'ASSURED', 'CONFIRMED'))}",
        uncertain=True,
        weight=4,
    ),
    Kind(name="mark", make=lambda r, p: f"-m mark ! --mark {_mark(r)}", weight=3),
    Kind(name="connmark", make=lambda r, p: f"-m connmark ! --mark {_mark(r)}", weight=2),
    Kind(name="set", make=lambda r, p: f"-m set ! {_set_match(r, p)}", weight=10),
    Kind(name="iprange --src-range", make=lambda r, p: f"-m iprange ! --src-range {_range(r, p)}", weight=1.5),
    Kind(name="iprange --dst-range", make=lambda r, p: f"-m iprange ! --dst-range {_range(r, p)}", weight=1.5),
    Kind(
        name="mac",
        make=lambda r, p: f"-m mac ! --mac-source {r.choice(('02:00:00:00:01:02', '02:00:00:00:01:03', '00:11:22:33:44:55'))}",
        allowed=_in_hooks("PREROUTING", "INPUT", "FORWARD"),
        uncertain=True,
    ),
    Kind(
        name="physdev --physdev-in",
        make=lambda r, p: f"-m physdev ! --physdev-in {r.choice(('brp1', 'br+', 'brp2'))}",
        allowed=lambda p: "OUTPUT" not in p.hooks,
        uncertain=True,
        weight=2,
    ),
    Kind(name="physdev --physdev-is-in", make=_fixed("-m physdev ! --physdev-is-in"), allowed=lambda p: "OUTPUT" not in p.hooks, weight=2),
    Kind(
        name="physdev --physdev-is-out", make=_fixed("-m physdev ! --physdev-is-out"), allowed=_in_hooks("FORWARD", "POSTROUTING"), weight=2
    ),
    Kind(
        name="physdev --physdev-is-bridged",
        make=_fixed("-m physdev ! --physdev-is-bridged"),
        allowed=lambda p: "OUTPUT" not in p.hooks,
        weight=2,
    ),
    Kind(name="pkttype", make=lambda r, p: f"-m pkttype ! --pkt-type {r.choice(('unicast', 'broadcast', 'multicast'))}", weight=1.5),
    Kind(name="recent", make=_recent, weight=5),
    Kind(name="statistic random 0|1", make=lambda r, p: f"-m statistic --mode random ! --probability {r.choice(('0', '1'))}"),
    Kind(
        name="statistic random",
        make=lambda r, p: f"-m statistic --mode random ! --probability {r.choice(('0.5', '0.33333333349', '0.9'))}",
        uncertain=True,
        weight=5,
    ),
    Kind(
        name="statistic nth",
        make=lambda r, p: "-m statistic --mode nth ! " + r.choice(("--every 2 --packet 0", "--every 3 --packet 1")),
        uncertain=True,
        weight=2,
    ),
    Kind(name="owner --socket-exists", make=_fixed("-m owner ! --socket-exists"), allowed=_in_hooks("OUTPUT", "POSTROUTING"), weight=3),
    Kind(
        name="owner --uid-owner",
        make=lambda r, p: f"-m owner ! --uid-owner {r.choice(('0', '1000'))}",
        allowed=_in_hooks("OUTPUT", "POSTROUTING"),
        uncertain=True,
        weight=4,
    ),
    Kind(
        name="rpfilter",
        make=lambda r, p: (
            "-m rpfilter" + "".join(x for x in (" --loose", " --validmark", " --accept-local", " --invert") if r.random() < 0.3)
        ),
        allowed=lambda p: p.hooks <= {"PREROUTING"} and p.table in ("raw", "mangle"),
        negatable=False,
        weight=5,
    ),
    Kind(name="dscp", make=lambda r, p: f"-m dscp ! --dscp {r.choice(DSCP):#04x}", weight=2),
    Kind(name="tos", make=lambda r, p: f"-m tos ! --tos {r.choice(('0x28/0xfc', '0xb8/0xfc', '0x00/0xe0', '0x11/0x10'))}", weight=2),
    Kind(
        name="tos with congestion bits",
        make=lambda r, p: f"-m tos ! --tos {r.choice(('0x28', '0xb8/0xff', '0x00/0x03', 'Normal-Service'))}",
        uncertain=True,
        weight=3,
    ),
    Kind(name="length", make=lambda r, p: f"-m length ! --length {_length(r, p)}", weight=2),
    Kind(
        name="ttl",
        make=lambda r, p: "-m ttl " + r.choice(("! --ttl-eq 64", "! --ttl-eq 63", "--ttl-lt 64", "--ttl-gt 63", "--ttl-gt 2")),
        allowed=_version(4),
        weight=3,
    ),
    Kind(
        name="hl",
        make=lambda r, p: "-m hl " + r.choice(("! --hl-eq 64", "! --hl-eq 63", "--hl-lt 64", "--hl-gt 63", "--hl-gt 2")),
        allowed=_version(6),
        weight=3,
    ),
    Kind(name="comment", make=_comment, negatable=False),
    Kind(name="-f", make=_fixed("! -f"), allowed=_version(4)),
    Kind(name="nfacct", make=_fixed("-m nfacct --nfacct-name oracle"), negatable=False),
    Kind(name="cgroup", make=_fixed("-m cgroup ! --cgroup 1"), allowed=_in_hooks("OUTPUT", "POSTROUTING"), uncertain=True, weight=8),
    Kind(name="limit", make=_fixed("-m limit --limit 1/second --limit-burst 2"), negatable=False, uncertain=True, weight=3),
    Kind(
        name="hashlimit",
        make=_fixed("-m hashlimit --hashlimit-upto 1/sec --hashlimit-burst 2 --hashlimit-mode srcip --hashlimit-name oracle"),
        negatable=False,
        uncertain=True,
        weight=3,
    ),
    Kind(name="u32", make=_fixed('-m u32 ! --u32 "0x6&0xff=0x6"'), uncertain=True, weight=3),
    Kind(
        name="socket",
        make=_fixed("-m socket"),
        allowed=lambda p: p.hooks <= {"PREROUTING", "INPUT"},
        negatable=False,
        uncertain=True,
        weight=8,
    ),
    Kind(
        name="connlimit",
        make=lambda r, p: f"-m connlimit --connlimit-{r.choice(('upto', 'above'))} 3",
        negatable=False,
        uncertain=True,
        weight=3,
    ),
    Kind(name="ecn", make=_fixed("-m ecn ! --ecn-ip-ect 0"), uncertain=True, weight=2),
)
