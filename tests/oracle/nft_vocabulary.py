"""Every match and statement that the oracle puts into native nftables rules, as nft(8) text with random values.

``{}`` in a match's text is where ``!= `` goes when it is negated. Values are drawn from the little network's own addresses, devices,
ports and marks. *uncertain* kinds are those the engine answers with unknown or odds: a rule set holds only a few of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.oracle.lab import NODE_ADDRESSES, PODS, pod_address
from tests.oracle.vocabulary import DSCP, MARKS, OUTSIDE, PORTS, addresses

PROTOCOLS = ("tcp", "udp", "sctp")
_DEVICES = ("pod1a", "pod2a", "veth3", "cni0", "eth0", "eth0", "lo", "pod*", "veth*", "e*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a rule stands: the table's family, its chains' type, the hooks that reach it, the rule's protocol, and the least priority."""

    version: int
    family: str
    type: str
    hooks: frozenset[str]
    early: bool = False
    protocol: str | None = None

    @property
    def ip(self) -> str:
        """Return the keyword of the IP header."""
        return "ip" if self.version == 4 else "ip6"


Make = Callable[[random.Random, Spot], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NftKind:
    """One match or statement."""

    name: str
    make: Make
    allowed: Callable[[Spot], bool] = lambda spot: True
    uncertain: bool = False
    weight: float = 1.0


def _address(rng: random.Random, spot: Spot) -> str:
    return rng.choice(addresses(spot.version))


def _prefix(rng: random.Random, spot: Spot) -> str:
    four = ("10.1.0.0/16", "10.1.1.0/24", "10.96.0.0/16", "192.0.2.0/24", "10.1.2.0/31", "10.0.0.0/8", "0.0.0.0/1")
    six = ("fd00:1::/32", "fd00:1:1::/64", "fd00:96::/48", "fd00:c::/64", "fd00:1:2::/112", "fd00::/8")
    return rng.choice(four if spot.version == 4 else six)


def _range(rng: random.Random, spot: Spot) -> str:
    four = ("10.1.1.0-10.1.2.7", "10.1.1.2-10.1.2.2", "192.0.2.1-192.0.2.2", "10.96.0.0-10.96.0.1")
    six = ("fd00:1:1::-fd00:1:2::7", "fd00:1:1::2-fd00:1:2::2", "fd00:c::1-fd00:c::2", "fd00:96::-fd00:96::1")
    return rng.choice(four if spot.version == 4 else six)


def _listed(values: list[str]) -> str:
    return "{ " + ", ".join(dict.fromkeys(values)) + " }"


def _addresses(rng: random.Random, spot: Spot) -> str:
    return _listed([_address(rng, spot) for _ in range(rng.randint(2, 6))])


def _port(rng: random.Random, spot: Spot | None = None) -> str:
    return str(rng.choice(PORTS))


def _port_range(rng: random.Random, spot: Spot) -> str:
    low = rng.choice((1, 53, 80, 444, 8000))
    return f"{low}-{low + rng.choice((1, 100, 1000, 20000))}"


def _source_ports(rng: random.Random, spot: Spot) -> str:
    low = rng.choice((20000, 30000, 40000, 50000))
    return f"{low}-{min(65535, low + rng.choice((5000, 15000, 30000)))}"


def _devices(rng: random.Random) -> str:
    plain = [f'"{d}"' for d in _DEVICES if "*" not in d]
    return rng.choice((f'"{rng.choice(_DEVICES)}"', f'"{rng.choice(_DEVICES)}"', _listed(rng.sample(plain, 3))))


def _mark(rng: random.Random) -> str:
    return f"{rng.choice(MARKS):#x}"


def _masked(rng: random.Random) -> str:
    value = rng.choice(MARKS)
    return f"& {rng.choice((0xFFFFFFFF, 0xFFFF, 0x4000, 0xFF00, 3)) | value:#x} {{=}} {value:#x}"


def _side(rng: random.Random) -> str:
    return rng.choice(("saddr", "daddr"))


def _has_ports(spot: Spot) -> bool:
    return spot.protocol in PROTOCOLS


def _hooks(*hooks: str) -> Callable[[Spot], bool]:
    return lambda spot: spot.hooks <= set(hooks)


def _is(protocol: str) -> Callable[[Spot], bool]:
    return lambda spot: spot.protocol == protocol


def _fib_address_type(rng: random.Random, spot: Spot) -> str:
    kinds = ["local", "local", "unicast", "multicast"] + (["broadcast"] if spot.version == 4 else [])
    what = kinds[rng.randrange(len(kinds))] if rng.random() < 0.7 else _listed(rng.sample(list(dict.fromkeys(kinds)), 2))
    return f"type {{}}{what}"


def _states(rng: random.Random) -> str:
    return ",".join(rng.sample(["new", "established", "related", "invalid", "untracked"], rng.randint(1, 3)))


def _tcp_flags(rng: random.Random) -> str:
    return rng.choice(
        (
            "tcp flags {}syn",
            "tcp flags syn,rst",
            "tcp flags == syn",
            "tcp flags & (syn|ack) {=} syn",
            "tcp flags & (fin|syn|rst|ack) {=} syn",
            "tcp flags & (syn|rst) {=} rst",
            "tcp flags {}{ syn, syn|ack }",
        )
    )


_ADDRESS_FORMS: tuple[tuple[str, Make], ...] = (
    ("address", _address),
    ("prefix", _prefix),
    ("range", _range),
    ("set literal", _addresses),
    ("set literal with intervals", lambda r, s: _listed([_prefix(r, s)]) if r.random() < 0.5 else _listed([_range(r, s)])),
    ("@ips", lambda r, s: f"@ips{s.version}"),
    ("@nets (interval)", lambda r, s: f"@nets{s.version}"),
)


def _of_address(form: Make) -> Make:
    return lambda rng, spot: f"{spot.ip} {_side(rng)} {{}}{form(rng, spot)}"


def _mask(rng: random.Random, spot: Spot) -> str:
    address = _address(rng, spot)
    if spot.version == 4:
        return f"ip {_side(rng)} & 0.0.0.255 {{=}} 0.0.0.{address.rsplit('.', 1)[1]}"
    return f"ip6 {_side(rng)} & ::ffff {{=}} ::{address.rsplit(':', 1)[1] or '0'}"


def _concat_literal(rng: random.Random, spot: Spot) -> str:
    side = _side(rng)
    elements = [f"{_address(rng, spot)} . {_port(rng)}" for _ in range(6)]
    return f"{spot.ip} {side} . {spot.protocol} dport {{}}{_listed(elements)}"


NFT_MATCHES: tuple[NftKind, ...] = (
    *(NftKind(name=f"saddr/daddr, {name}", make=_of_address(form), weight=1.5) for name, form in _ADDRESS_FORMS),
    NftKind(name="address with mask", make=_mask),
    NftKind(name="address . port, set literal", make=_concat_literal, allowed=_has_ports, weight=1.5),
    NftKind(
        name="address . protocol . port @services",
        make=lambda r, s: f"{s.ip} daddr . meta l4proto . th dport {{}}@services{s.version}",
        weight=1.5,
    ),
    NftKind(
        name="network . port @netports (interval)",
        make=lambda r, s: f"{s.ip} {_side(r)} . {s.protocol} dport {{}}@netports{s.version}",
        allowed=_has_ports,
        weight=1.5,
    ),
    NftKind(name="address . address @pairs", make=lambda r, s: f"{s.ip} saddr . {s.ip} daddr {{}}@pairs{s.version}"),
    NftKind(name="iifname", make=lambda r, s: f"iifname {{}}{_devices(r)}", weight=2),
    NftKind(name="oifname", make=lambda r, s: f"oifname {{}}{_devices(r)}", allowed=_hooks("forward", "output", "postrouting"), weight=2),
    NftKind(name="iif", make=lambda r, s: f'iif {{}}"{r.choice(("eth0", "pod1a", "lo", "cni0"))}"'),
    NftKind(
        name="oif", make=lambda r, s: f'oif {{}}"{r.choice(("eth0", "pod1a", "cni0"))}"', allowed=_hooks("forward", "output", "postrouting")
    ),
    NftKind(
        name="meta l4proto", make=lambda r, s: f"meta l4proto {{}}{r.choice((*PROTOCOLS, '{ tcp, udp }', '{ udp, sctp }'))}", weight=1.5
    ),
    NftKind(name="ip protocol", make=lambda r, s: f"ip protocol {{}}{r.choice(PROTOCOLS)}", allowed=lambda s: s.version == 4),
    NftKind(name="ip6 nexthdr", make=lambda r, s: f"ip6 nexthdr {{}}{r.choice(PROTOCOLS)}", allowed=lambda s: s.version == 6),
    NftKind(name="meta nfproto", make=lambda r, s: f"meta nfproto {{}}{r.choice(('ipv4', 'ipv6'))}", allowed=lambda s: s.family == "inet"),
    NftKind(name="dport", make=lambda r, s: f"{s.protocol} dport {{}}{_port(r)}", allowed=_has_ports, weight=2),
    NftKind(name="dport range", make=lambda r, s: f"{s.protocol} dport {{}}{_port_range(r, s)}", allowed=_has_ports),
    NftKind(name="dport < >", make=lambda r, s: f"{s.protocol} dport {r.choice(('<', '>', '<=', '>='))} {_port(r)}", allowed=_has_ports),
    NftKind(name="dport set", make=lambda r, s: f"{s.protocol} dport {{}}{_listed([_port(r) for _ in range(3)])}", allowed=_has_ports),
    NftKind(
        name="dport set with ranges",
        make=lambda r, s: f"{s.protocol} dport {{}}{{ {r.choice(('1-60', '53'))}, {r.choice(('80-90', '443'))}, 8000-9000 }}",
        allowed=_has_ports,
    ),
    NftKind(name="th dport", make=lambda r, s: f"th dport {{}}{_port(r)}"),
    NftKind(name="sport range", make=lambda r, s: f"{s.protocol} sport {{}}{_source_ports(r, s)}", allowed=_has_ports),
    NftKind(name="tcp flags", make=lambda r, s: _tcp_flags(r), allowed=_is("tcp"), weight=2),
    NftKind(name="ct state", make=lambda r, s: f"ct state {r.choice(('', '!= '))}{_states(r)}", weight=3),
    NftKind(name="ct state set", make=lambda r, s: "ct state {}{ " + ", ".join(_states(r).split(",")) + " }"),
    NftKind(name="ct direction", make=lambda r, s: f"ct direction {{}}{r.choice(('original', 'reply'))}"),
    NftKind(
        name="ct status",
        make=lambda r, s: f"ct status {r.choice(('', '!= '))}{r.choice(('dnat', 'snat', 'seen-reply', 'dnat,snat'))}",
        weight=2,
    ),
    NftKind(name="ct status confirmed", make=lambda r, s: "ct status {}confirmed", uncertain=True),
    NftKind(name="ct mark", make=lambda r, s: f"ct mark {{}}{_mark(r)}", weight=1.5),
    NftKind(name="ct mark, masked", make=lambda r, s: f"ct mark {_masked(r)}"),
    NftKind(name="ct original saddr", make=lambda r, s: f"ct original {s.ip} saddr {{}}{_address(r, s)}"),
    NftKind(name="ct original daddr", make=lambda r, s: f"ct original {s.ip} daddr {{}}{_prefix(r, s)}"),
    NftKind(name="ct reply saddr", make=lambda r, s: f"ct reply {s.ip} saddr {{}}{_address(r, s)}"),
    NftKind(name="ct original proto-dst", make=lambda r, s: f"ct original proto-dst {{}}{_port(r)}"),
    NftKind(name="meta mark", make=lambda r, s: f"meta mark {{}}{_mark(r)}", weight=2),
    NftKind(name="meta mark, masked", make=lambda r, s: f"meta mark {_masked(r)}", weight=2),
    NftKind(name="meta mark set", make=lambda r, s: "meta mark {}{ " + f"{_mark(r)}, 0x10-0x2000" + " }"),
    NftKind(name="fib daddr type", make=lambda r, s: f"fib daddr {_fib_address_type(r, s)}", weight=3),
    NftKind(name="fib saddr type", make=lambda r, s: f"fib saddr {_fib_address_type(r, s)}", weight=2),
    NftKind(
        name="fib daddr . iif type",
        make=lambda r, s: f"fib daddr . iif {_fib_address_type(r, s)}",
        allowed=_hooks("prerouting", "input", "forward"),
    ),
    NftKind(
        name="fib saddr . iif oif",
        make=lambda r, s: f"fib saddr{r.choice(('', ' . mark'))} . iif oif {r.choice(('missing', 'exists'))}",
        allowed=_hooks("prerouting"),
        weight=3,
    ),
    NftKind(name="meta pkttype", make=lambda r, s: f"meta pkttype {{}}{r.choice(('unicast', 'multicast', 'broadcast', 'host'))}"),
    NftKind(name="meta length", make=lambda r, s: f"meta length {{}}{r.choice(('28-100', '128', '31', '44'))}"),
    NftKind(name="ip dscp", make=lambda r, s: f"{s.ip} dscp {{}}{r.choice(DSCP)}", weight=1.5),
    NftKind(
        name="ttl/hoplimit",
        make=lambda r, s: (
            f"{'ip ttl' if s.version == 4 else 'ip6 hoplimit'} {r.choice(('', '!= ', '< ', '> '))}{r.choice((63, 64, 3, 32))}"
        ),
        weight=1.5,
    ),
    NftKind(
        name="numgen random", make=lambda r, s: f"numgen random mod {r.choice((2, 3))} {r.choice(('0', '< 1', '!= 1'))}", uncertain=True
    ),
    NftKind(name="numgen inc", make=lambda r, s: f"numgen inc mod {r.choice((2, 3))} {r.choice(('0', '!= 1'))}", uncertain=True),
    NftKind(name="jhash", make=lambda r, s: f"jhash {s.ip} saddr mod 2 {r.choice(('0', '1'))}", uncertain=True),
    NftKind(
        name="jhash seeded", make=lambda r, s: f"jhash {s.ip} saddr . {s.ip} daddr mod 2 seed 0x5 {r.choice(('0', '1'))}", uncertain=True
    ),
    NftKind(name="limit", make=lambda r, s: f"limit rate {r.choice(('', 'over '))}2/second", uncertain=True),
    NftKind(name="meta skuid", make=lambda r, s: f"meta skuid {{}}{r.choice((0, 1000))}", allowed=_hooks("output"), uncertain=True),
    NftKind(name="socket", make=lambda r, s: "socket transparent 0", allowed=_hooks("prerouting", "input"), uncertain=True),
    NftKind(name="raw payload", make=lambda r, s: f"@th,16,16 {{}}{_port(r)}", uncertain=True),
    NftKind(name="meta cpu", make=lambda r, s: "meta cpu {}0", uncertain=True, weight=0.5),
    NftKind(name="quota", make=lambda r, s: "quota over 10 mbytes", uncertain=True, weight=0.5),
)

# -- statements that let the rule go on -------------------------------------------------------------------------------------------


def _mark_value(rng: random.Random, key: str, spot: Spot) -> str:
    form = rng.random()
    if form < 0.4:
        return _mark(rng)
    if form < 0.8:
        return f"{key} {rng.choice(('|', '^', '&'))} {_mark(rng)}"
    elements = [f"{a} : {_mark(rng)}" for a in dict.fromkeys(_address(rng, spot) for _ in range(5))]
    return f"{spot.ip} saddr map {{ {', '.join(elements)} }}"


NFT_STATEMENTS: tuple[NftKind, ...] = (
    NftKind(name="counter", make=lambda r, s: "counter", weight=2),
    NftKind(name="meta mark set", make=lambda r, s: f"meta mark set {_mark_value(r, 'meta mark', s)}", weight=5),
    NftKind(name="ct mark set", make=lambda r, s: f"ct mark set {_mark_value(r, 'ct mark', s)}", weight=2),
    NftKind(name="ct mark set meta mark", make=lambda r, s: "ct mark set meta mark", weight=1.5),
    NftKind(name="meta mark set ct mark", make=lambda r, s: "meta mark set ct mark", weight=1.5),
    NftKind(name="meta mark set numgen", make=lambda r, s: "meta mark set numgen random mod 2", uncertain=True),
    NftKind(name="dscp set", make=lambda r, s: f"{s.ip} dscp set {r.choice(DSCP)}", allowed=lambda s: s.type == "filter"),
    NftKind(
        name="ttl set",
        make=lambda r, s: f"{'ip ttl' if s.version == 4 else 'ip6 hoplimit'} set {r.choice((32, 64))}",
        allowed=lambda s: s.type == "filter",
    ),
    NftKind(name="log", make=lambda r, s: 'log prefix "oracle: " group 5', weight=0.7),
    NftKind(name="add to a set", make=lambda r, s: f"add @grow{s.version} {{ {s.ip} {_side(r)} }}", weight=1.5),
    NftKind(name="update a set", make=lambda r, s: f"update @grow{s.version} {{ {s.ip} {_side(r)} timeout 30s }}", weight=1.5),
    NftKind(name="notrack", make=lambda r, s: "notrack", allowed=lambda s: s.early and s.hooks <= {"prerouting", "output"}, weight=2),
    NftKind(
        name="meta priority set",
        make=lambda r, s: "meta priority set 0x10002",
        allowed=_hooks("forward", "output", "postrouting"),
        weight=0.5,
    ),
    NftKind(name="comment", make=lambda r, s: 'comment "a ; comment { with } signs, drop"', weight=0.5),
)
GROWN = NftKind(name="@grow (changed by rules)", make=lambda r, s: f"{s.ip} {_side(r)} {{}}@grow{s.version}", weight=3)

# -- NAT and refusals -------------------------------------------------------------------------------------------------------------


def _to(rng: random.Random, spot: Spot) -> str:
    return rng.choice([*(pod_address(pod, spot.version) for pod in PODS), *NODE_ADDRESSES[spot.version], *OUTSIDE[spot.version]])


def _with_port(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _family(spot: Spot) -> str:
    return f" {spot.ip}" if spot.family == "inet" else ""


def _flags(rng: random.Random) -> str:
    return rng.choice(("", "", "", "", " random", " persistent", " fully-random"))


def _dnat(rng: random.Random, spot: Spot) -> str:
    address = _to(rng, spot)
    if spot.protocol is None:
        return f"dnat{_family(spot)} to {address}" + rng.choice(("", "", " persistent"))
    target = rng.choice(
        (address, _with_port(address, _port(rng)), _with_port(address, _port(rng)), f":{_port(rng)}", _with_port(address, "8080-8082"))
    )
    return f"dnat{_family(spot)} to {target}" + rng.choice(("", "", "", " random", " persistent"))


def _dnat_map(rng: random.Random, spot: Spot) -> str:
    keyed = [f"{a} : {_to(rng, spot)}" for a in dict.fromkeys(_address(rng, spot) for _ in range(6))]
    if spot.protocol is None:
        return f"dnat{_family(spot)} to {spot.ip} daddr map {{ {', '.join(keyed)} }}"
    pairs = [f"{a} : {_to(rng, spot)} . {_port(rng)}" for a in dict.fromkeys(_address(rng, spot) for _ in range(6))]
    ports = [f"{p} : {_to(rng, spot)}" for p in PORTS]
    named = f"dnat {spot.ip} to {spot.ip} daddr . {spot.protocol} dport map @dnats{spot.version}"
    return rng.choice(
        (
            f"dnat {spot.ip} to {spot.ip} daddr map {{ {', '.join(pairs)} }}",
            f"dnat{_family(spot)} to {spot.protocol} dport map {{ {', '.join(ports)} }}",
            named,
            named,
        )
    )


def _dnat_drawn(rng: random.Random, spot: Spot) -> str:
    pods = [pod_address(pod, spot.version) for pod in rng.sample(list(PODS), 2)]
    elements = ", ".join(f"{i} : {a} . 8080" for i, a in enumerate(pods))
    return f"dnat {spot.ip} to {rng.choice(('numgen random', 'numgen inc'))} mod 2 map {{ {elements} }}"


def _snat(rng: random.Random, spot: Spot) -> str:
    address = rng.choice([*NODE_ADDRESSES[spot.version], "198.51.100.50" if spot.version == 4 else "2001:db8:f::50"])
    if spot.protocol is not None and rng.random() < 0.4:
        address = _with_port(address, rng.choice(("20000-60000", "1024-2000", "7777")))
    elif rng.random() < 0.2:
        address = "192.0.2.1-192.0.2.2" if spot.version == 4 else "fd00:c::1-fd00:c::2"
    return f"snat{_family(spot)} to {address}{_flags(rng)}"


def _snat_map(rng: random.Random, spot: Spot) -> str:
    keyed = [f"{a} : {rng.choice(NODE_ADDRESSES[spot.version])}" for a in dict.fromkeys(_address(rng, spot) for _ in range(6))]
    return f"snat{_family(spot)} to {spot.ip} {_side(rng)} map {{ {', '.join(keyed)} }}"


def _ports_of(rng: random.Random, spot: Spot, *forms: str) -> str:
    return rng.choice(("", *(f" to :{f}" for f in forms))) if spot.protocol else ""


def _reject(rng: random.Random, spot: Spot) -> str:
    icmp = (
        "port-unreachable",
        "host-unreachable",
        "net-unreachable",
        "admin-prohibited",
        "prot-unreachable",
        "net-prohibited",
        "host-prohibited",
    )
    icmp6 = ("port-unreachable", "no-route", "admin-prohibited", "addr-unreachable")
    icmpx = ("port-unreachable", "no-route", "admin-prohibited", "host-unreachable")
    if spot.protocol == "tcp" and rng.random() < 0.4:
        return "reject with tcp reset"
    if rng.random() < 0.3:
        return "reject"
    if spot.family == "inet" and rng.random() < 0.5:
        return f"reject with icmpx {rng.choice(icmpx)}"
    return f"reject with icmp {rng.choice(icmp)}" if spot.version == 4 else f"reject with icmpv6 {rng.choice(icmp6)}"


def _nat(*hooks: str) -> Callable[[Spot], bool]:
    return lambda spot: spot.type == "nat" and spot.hooks <= set(hooks)


NFT_ENDS: tuple[NftKind, ...] = (
    NftKind(name="(none)", make=lambda r, s: "", weight=4),
    NftKind(name="accept", make=lambda r, s: "accept", weight=2),
    NftKind(name="drop", make=lambda r, s: "drop", allowed=lambda s: s.type != "nat", weight=0.7),
    NftKind(name="return", make=lambda r, s: "return", weight=2),
    NftKind(name="continue", make=lambda r, s: "continue", weight=0.5),
    NftKind(name="reject", make=_reject, allowed=lambda s: s.type == "filter" and s.hooks <= {"input", "forward", "output"}, weight=2.5),
    NftKind(name="dnat", make=_dnat, allowed=_nat("prerouting", "output"), weight=8),
    NftKind(name="dnat, map", make=_dnat_map, allowed=_nat("prerouting", "output"), weight=8),
    NftKind(
        name="dnat, numgen map",
        make=_dnat_drawn,
        allowed=lambda s: s.protocol is not None and _nat("prerouting", "output")(s),
        uncertain=True,
        weight=3,
    ),
    NftKind(
        name="redirect",
        make=lambda r, s: "redirect" + _ports_of(r, s, "8080", "80-90", "53"),
        allowed=_nat("prerouting", "output"),
        weight=4,
    ),
    NftKind(name="snat", make=_snat, allowed=_nat("postrouting", "input"), weight=6),
    NftKind(name="snat, map", make=_snat_map, allowed=_nat("postrouting", "input"), weight=3),
    NftKind(
        name="masquerade",
        make=lambda r, s: "masquerade" + _ports_of(r, s, "1024-2000") + r.choice(("", " random", " fully-random")),
        allowed=_nat("postrouting"),
        weight=6,
    ),
    NftKind(name="queue", make=lambda r, s: "queue num 3 bypass", allowed=lambda s: s.type == "filter", uncertain=True, weight=0.2),
)
