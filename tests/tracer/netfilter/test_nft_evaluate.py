"""Walking native chains: what each rule does to a packet. Most rows are what the kernel taught (tests/oracle)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from ipaddress import ip_address

import pytest

from tests.tracer.netfilter.viewing import KnownTypes, packet, view
from tracer.conntrack import Connection
from tracer.netfilter import model as m
from tracer.netfilter.leaf import Leaf
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_rules import NftRules
from tracer.netfilter.nft_text import parse_text
from tracer.netfilter.view import View
from tracer.packet import Address, Family, Packet

_BASE = "type filter hook prerouting priority 0; policy accept;"


def leaves(
    rules: str,
    seen: View | None = None,
    *,
    family: str = "ip",
    parts: str = "",
    base: str = _BASE,
) -> list[Leaf]:
    """Return every way the base chain of *rules* ends; *parts* are further chains and sets of its table."""
    lines = "\n".join(f"\t\t{line.strip()}" for line in rules.strip().splitlines())
    text = f"table {family} t {{\n{parts}\tchain c {{\n\t\t{base}\n{lines}\n\t}}\n}}\n"
    seen = seen or view()
    chains = NftRules(parse_text(text, "f")).chains(seen.hook, seen.packet.family, ())
    return [leaf for _, chain in chains for leaf in chain.run(seen, None)]


def matched(rule: str, seen: View | None = None, *, family: str = "ip", parts: str = "") -> bool | None:
    """Return whether *rule* matches: yes, no, or None where that is unknown."""
    found = leaves(f"{rule} drop", seen, family=family, parts=parts)
    if any(leaf.conditions or leaf.unknowns for leaf in found):
        return None
    assert len(found) == 1, found
    return found[0].verdict == "drop" and not found[0].by_policy


def six(source: str = "fd00::9", destination: str = "fd00::1", **more: object) -> Packet:
    """Return an IPv6 packet."""
    return packet(source, destination, **more)  # type: ignore[arg-type]


def tracked(sent: Packet | None = None, **fields: object) -> View:
    """Return a view of a packet with a connection."""
    sent = sent or packet(source_port=4000)
    return view(sent, **{"connection": Connection.begin(sent)} | fields)


def dnatted() -> View:
    """Return a view of a packet whose destination was translated."""
    sent, to = packet(source_port=4000), packet(destination="10.1.0.5", port=8080, source_port=4000)
    return view(to, connection=Connection.begin(sent).translated(to))


MATCHES: list[tuple[str, View | None, str, bool | None]] = [
    ("ip saddr 10.0.0.9", None, "ip", True),
    ("ip saddr != 10.0.0.9", None, "ip", False),
    ("ip daddr 10.96.0.0/16", None, "ip", True),
    ("ip daddr 10.95.0.0-10.96.0.0", None, "ip", False),
    ("ip saddr & 0.0.0.255 == 0.0.0.9", None, "ip", True),
    ("ip6 saddr != fd00::1", None, "inet", False),  # a header that the packet lacks: the rule stops, whatever is asked
    ("udp dport != 80", None, "ip", False),
    ("th dport 80", None, "ip", True),
    ("tcp dport { 22, 80-90 }", None, "ip", True),
    ("tcp dport > 80", None, "ip", False),
    ("tcp sport 1-65535", None, "ip", True),  # the client's own port, which nobody said
    ("tcp sport 1-1023", None, "ip", False),
    ("tcp sport 40000-50000", None, "ip", None),
    ("tcp sport >= 1024", None, "ip", True),
    ("tcp sport { 1-60, 8000-9000 }", None, "ip", False),
    ("tcp dport { 1-60, 8000-9000 }", view(replace(packet(port=None), destination_port_random=True)), "ip", None),  # drawn by NAT: any
    ("ip daddr . tcp dport { 10.96.0.1 . 80 }", None, "ip", True),
    ("ip daddr . tcp dport { 10.96.0.0/16 . 70-80 }", None, "ip", True),
    ("tcp flags syn", None, "ip", True),  # any of the bits
    ("tcp flags syn", view(tcp_flags=0x12), "ip", True),
    ("tcp flags == syn", view(tcp_flags=0x12), "ip", False),  # all of them and no other
    ("tcp flags != syn", view(tcp_flags=0x12), "ip", True),
    ("tcp flags syn / syn,ack", view(tcp_flags=0x12), "ip", False),
    ("tcp flags ! fin,rst", view(tcp_flags=0x02), "ip", True),  # none of them
    ("tcp flags ! fin,syn", view(tcp_flags=0x02), "ip", False),
    ("ct state new,related", None, "ip", True),
    ("ct state != invalid | related", None, "ip", True),  # no state is two words
    ("ct state != new", None, "ip", False),
    ("ct state { established, new }", None, "ip", True),
    ("ct status dnat", dnatted(), "ip", True),
    ("ct status != dnat", dnatted(), "ip", True),  # compared whole, and the kernel sets bits beside it
    ("ct status confirmed", tracked(), "ip", False),
    ("ct status confirmed", tracked(in_device="lo"), "ip", True),  # over lo a packet comes again
    ("ct status assured", tracked(state="ESTABLISHED"), "ip", None),
    ("ct original ip daddr 10.96.0.1", dnatted(), "ip", True),
    ("ct original proto-dst 80", dnatted(), "ip", True),
    ("ct reply ip saddr 10.1.0.5", dnatted(), "ip", True),
    ("ct original ip6 daddr != fd00::1", dnatted(), "inet", False),
    ("ct direction original", tracked(), "ip", True),
    ("ct mark != 5", view(), "ip", False),  # no connection, no mark
    ("meta pkttype unicast", None, "ip", True),
    ("meta pkttype multicast", view(packet(destination="224.0.0.1")), "ip", True),
    ("meta pkttype multicast", view(packet(destination="224.0.0.1"), local_process=True, hook=Hook.PREROUTING), "ip", False),
    ("meta l4proto { tcp, udp }", None, "ip", True),
    ("meta nfproto ipv6", None, "inet", False),
    ("meta mark & 0x00004000 == 0x00004000", view(packet(mark=0x4001)), "ip", True),
    ('iifname "eth*"', None, "ip", True),
    ('iifname { "lo", "eth0" }', None, "ip", True),
    ('oifname ""', None, "ip", True),
    ("fib saddr type local", view(packet("192.168.0.1")), "ip", True),
    ("fib daddr type != { local, multicast }", None, "ip", True),
    ("fib daddr type local", view(routing=KnownTypes(None)), "ip", None),
    ("fib daddr type vmap { unicast : drop } accept", None, "ip", True),
    ("fib saddr . iif oif 0", view(reverse_path=lambda match: False), "ip", True),  # no device: as missing
    ("fib saddr . iif oif 0", view(reverse_path=lambda match: True), "ip", False),
    ("fib saddr . iif oif missing", view(reverse_path=lambda match: False), "ip", True),
    ("meta l4proto ipencap", None, "ip", False),
    ("sctp chunk init exists", view(packet(protocol="sctp")), "ip", None),
    ("ip frag-off & 8191 != 0", None, "ip", False),  # a packet that is asked about is whole
    ("ip frag-off & 8191 == 0", view(six()), "inet", False),
    ("ip frag-off & 16384 != 0", None, "ip", None),  # don't fragment: the sender's choice
    ("ip dscp ef", view(dscp=46), "ip", True),
    ("ip dscp ef", None, "ip", None),
    ("socket transparent 1", None, "ip", None),
    ("limit rate 1/second", None, "ip", None),
    ("meta skuid 0", None, "ip", False),  # no process of this node sent it
    ("meta skuid 0", view(local_process=True), "ip", None),
    # nft 1.0.6 loads the != of neighbouring fields as one comparison, and lists it as two: the listing does not tell which it is
    ("ip ttl != 32 ip protocol != udp", view(ttl=32), "ip", None),
    ("ip ttl != 32 ip protocol != udp", view(ttl=64), "ip", True),  # both differ
    ("ip ttl != 32 ip protocol != tcp", view(ttl=32), "ip", False),  # neither does
    ("ip ttl != 32 ip protocol tcp", view(ttl=32), "ip", False),  # of == and != it makes two
    ("ip protocol != udp ip ttl != 32", view(ttl=32), "ip", False),  # not neighbours in this order: nft listed them apart
    ("ip saddr != 10.0.0.9 ip daddr != 10.9.9.9", None, "ip", False),  # 64 bits are too many
    ("tcp sport != 7 tcp dport != 80", None, "ip", None),
    ("tcp sport != 7 tcp dport != { 80, 81 }", None, "ip", False),
    ("tcp sport != 7 udp dport != 80", None, "ip", False),  # no header of both
    ("ip6 nexthdr != udp ip6 hoplimit != 32", view(six(), ttl=32), "inet", None),
]


@pytest.mark.parametrize(("rule", "seen", "family", "expected"), MATCHES)
def test_match(rule: str, seen: View | None, family: str, expected: bool | None) -> None:
    assert matched(rule, seen, family=family) is expected


def test_fields_that_nft_may_have_joined_are_compared_four_by_four_bytes() -> None:
    udp = view(packet(protocol="udp", port=80, source_port=7), length=None)
    assert matched("udp sport != 7 udp dport != 80 udp length != 8 udp checksum != 5", udp) is False  # of the ports, neither differs
    found = leaves("tcp sport != 7 tcp dport != 80 drop")
    assert [(leaf.verdict, leaf.probability) for leaf in found] == [("drop", Fraction(1, 2)), ("accept", Fraction(1, 2))]
    assert "tcp sport and tcp dport as one" in found[0].unknowns[0].text


REFUSALS = [
    ("reject", packet(), "ip", "icmp-port-unreachable"),
    ("reject", six(), "inet", "icmp6-port-unreachable"),
    ("reject with icmpx no-route", six(), "inet", "icmp6-no-route"),
    ("reject with icmpx admin-prohibited", packet(), "inet", "icmp-admin-prohibited"),
    ("reject with tcp reset", packet(), "ip", "tcp-reset"),
    ("reject with tcp reset", packet(protocol="udp"), "ip", None),  # nft leaves the match of TCP out of the listing
    ("reject with icmp host-unreachable", six(), "inet", None),
]


@pytest.mark.parametrize(("rule", "sent", "family", "expected"), REFUSALS)
def test_reject(rule: str, sent: Packet, family: str, expected: str | None) -> None:
    (leaf,) = leaves(rule, view(sent), family=family)
    assert (leaf.target.reject_with if isinstance(leaf.target, m.Reject) else None) == expected


def _targets(found: list[Leaf]) -> list[tuple[Fraction, str]]:
    shown = []
    for leaf in found:
        chosen = leaf.target.range if isinstance(leaf.target, m.Dnat | m.Snat) else None
        port = f":{chosen.ports.low}" if chosen and chosen.ports else ""
        shown.append((leaf.probability, f"{chosen.low}{port}" if chosen else leaf.verdict))
    return shown


_NAT = "type nat hook prerouting priority -100; policy accept;"
NATS = [
    ("dnat to 10.1.0.5", "ip", packet(), [(1, "10.1.0.5")]),
    ("tcp dport 80 dnat to 10.1.0.5:8080", "ip", packet(), [(1, "10.1.0.5:8080")]),
    ("dnat ip6 to fd00::5", "inet", packet(), [(1, "accept")]),  # the family's match is left out of the listing, too
    ("dnat to ip daddr map { 10.96.0.1 : 10.1.0.5 }", "ip", packet(), [(1, "10.1.0.5")]),
    ("dnat to ip daddr map { 10.96.0.2 : 10.1.0.5 }", "ip", packet(), [(1, "accept")]),
    ("dnat ip to numgen random mod 2 map { 0 : 10.1.0.5 . 80, 1 : 10.1.0.6 . 81 }", "ip", packet(), [(Fraction(1, 2), "10.1.0.5:80"), (Fraction(1, 2), "10.1.0.6:81")]),
    ("numgen inc mod 4 < 1 dnat to 10.1.0.5", "ip", packet(), [(Fraction(1, 4), "10.1.0.5"), (Fraction(3, 4), "accept")]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "family", "sent", "expected"), NATS)
def test_nat(rule: str, family: str, sent: Packet, expected: list[tuple[Fraction, str]]) -> None:
    assert sorted(_targets(leaves(rule, view(sent), family=family, base=_NAT))) == sorted(expected)


def test_thirds_are_the_kernels_own() -> None:
    """32 random bits times 3, without a remainder: the first share is a little larger."""
    found = leaves("numgen random mod 3 vmap { 0 : accept, 1 : drop, 2 : continue }")
    assert [leaf.probability for leaf in found] == [
        Fraction(1431655766, 1 << 32),
        Fraction(1431655765, 1 << 32),
        Fraction(1431655765, 1 << 32),
    ]


CHAINS = "\tchain user {\n\t\ttcp dport 80 return\n\t\tdrop\n\t}\n\tchain stop {\n\t\tcounter\n\t}\n"
WALKS = [
    ("jump user\ndrop", ["jump user", "return", "drop"]),
    ("goto stop\ndrop", ["goto stop", "continue", "policy"]),  # behind a goto of the base chain comes its policy
    ("tcp dport 81 jump user\naccept", ["accept"]),
    ("tcp dport vmap { 80 : jump stop, 81 : drop }\naccept", ["jump stop", "continue", "accept"]),
    ("tcp dport vmap { 81 : drop }\naccept", ["accept"]),  # a look-up that finds nothing is no step
    ("ip daddr vmap { 10.0.0.0/8 : continue, * : drop }\naccept", ["continue", "accept"]),
    ("ip daddr vmap { 192.0.2.1 : continue, * : drop }\naccept", ["drop"]),
    ("ct state vmap { new : accept, invalid : drop }", ["accept"]),
    ("meta mark set ip saddr map { 10.9.9.9 : 0x1 }\naccept", ["accept"]),
    ('comment "nothing else"\naccept', ["continue", "accept"]),
]


@pytest.mark.parametrize(("rules", "expected"), WALKS)
def test_steps(rules: str, expected: list[str]) -> None:
    (leaf,) = leaves(rules, parts=CHAINS)
    steps = []
    at = leaf.steps
    while at is not None:
        steps.append(at.step.verdict or "policy")
        at = at.before
    assert steps[::-1] == expected


def test_a_step_tells_its_element() -> None:
    parts = (
        "\tmap services {\n\t\ttype ipv4_addr . inet_proto . inet_service : verdict\n\t\telements = { 10.96.0.1 . tcp . 80 : drop }\n\t}\n"
    )
    (leaf,) = leaves("ip daddr . meta l4proto . th dport vmap @services", parts=parts)
    assert leaf.steps is not None
    assert leaf.steps.step.names["element"] == "10.96.0.1 . tcp . 80 : drop"


def test_a_translation_tells_its_element() -> None:
    found = leaves("dnat ip to numgen random mod 2 map { 0 : 10.1.0.5 . 80, 1 : 10.1.0.6 . 81 }", base=_NAT)
    assert [leaf.steps.step.names["element"] for leaf in found if leaf.steps] == ["0 : 10.1.0.5 . 80", "1 : 10.1.0.6 . 81"]


def test_marks_and_dscp_are_kept() -> None:
    (leaf,) = leaves("meta mark set meta mark | 0x4000 ip dscp set ef\nmeta mark set meta mark ^ 1", view(packet(mark=1)))
    assert (leaf.view.packet.mark, leaf.view.dscp) == (0x4000, 46)


def test_what_a_rule_adds_to_a_set_is_found_in_that_table_only() -> None:
    parts = "\tset seen {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t}\n"
    first = leaves("add @seen { ip saddr timeout 1m }\nip saddr @seen drop", parts=parts)
    assert [leaf.verdict for leaf in first] == ["drop"]
    other = parse_text(f"table inet other {{\n{parts}\tchain c {{\n\t\t{_BASE}\n\t\tip saddr @seen drop\n\t}}\n}}\n", "f")
    seen = leaves("add @seen { ip saddr timeout 1m }", parts=parts)[0].view
    (_, chain), *_ = NftRules(other).chains(Hook.PREROUTING, Family.IP, ())
    assert [leaf.verdict for leaf in chain.run(seen, None)] == ["accept"]


def test_what_a_rule_takes_out_of_a_set_is_gone() -> None:
    parts = "\tset seen {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t\telements = { 10.0.0.9 timeout 1m expires 30s }\n\t}\n"
    assert [leaf.verdict for leaf in leaves("ip saddr @seen drop", parts=parts)] == ["drop"]
    assert [leaf.verdict for leaf in leaves("delete @seen { ip saddr }\nip saddr @seen drop", parts=parts)] == ["accept"]


def test_a_label_that_this_flow_was_given_is_known_of_what_follows() -> None:
    first = tracked()
    (leaf,) = leaves("ct label set 28", first)
    later = replace(leaf.view, state="ESTABLISHED", reply=True)
    assert matched("ct label 28", later) is True
    assert matched("ct label 29", later) is None  # another rule set, or an earlier packet, may have given it
    assert matched("ct label 28", leaf.view) is None  # of a new packet an earlier connection may be remembered
    assert matched("ct label 28", replace(later, connection=Connection.begin(packet(source_port=4001)))) is None
    assert matched("ct label 28", replace(first, state="ESTABLISHED")) is None


def test_notrack_is_untracked() -> None:
    (leaf,) = leaves("notrack")
    assert leaf.view.state == "UNTRACKED"


UNKNOWN = [
    "queue num 3 bypass",
    "tproxy to :15001",
    "jump nowhere",
    "ip daddr @nosuchset drop",
    "teleport to mars",
    "meta mark set meta cpu",
]


@pytest.mark.parametrize("rule", UNKNOWN)
def test_what_has_no_model_is_never_silent(rule: str) -> None:
    found = leaves(rule)
    assert sum(leaf.probability for leaf in found) == 1
    assert any(leaf.verdict == "unknown" or leaf.conditions for leaf in found)
    assert all(leaf.unknowns for leaf in found)


# -- which chains a hook asks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A base chain's header and table, and whether a packet that came in by eth0 is dropped there."""

    family: str
    header: str
    seen: View
    dropped: bool


ROWS = [
    Row("inet", _BASE, view(six()), True),
    Row("ip6", _BASE, view(), False),
    Row("netdev", 'type filter hook ingress device "eth0" priority 0; policy accept;', view(), True),
    Row("netdev", 'type filter hook ingress device "eth1" priority 0; policy accept;', view(), False),
    Row("netdev", 'type filter hook ingress devices = { "eth1", "eth0" } priority 0; policy accept;', view(), True),
    Row("netdev", 'type filter hook egress device "eth1" priority 0; policy accept;', view(hook=Hook.POSTROUTING, out_device="eth1"), True),
    Row("bridge", "type filter hook forward priority 0; policy accept;", view(hook=Hook.FORWARD), False),
]


@pytest.mark.parametrize("row", ROWS)
def test_which_packets_a_chain_is_asked_for(row: Row) -> None:
    found = leaves("drop", row.seen, family=row.family, base=row.header)
    assert [leaf.verdict == "drop" for leaf in found] == ([row.dropped] if found else [])
    assert bool(found) or not row.dropped


_INGRESS, _EGRESS = (f'type filter hook {hook} device "eth0" priority 0; policy accept;' for hook in ("ingress", "egress"))


@pytest.mark.parametrize(("family", "base"), [("netdev", _INGRESS), ("inet", _INGRESS), ("netdev", _EGRESS)])
@pytest.mark.parametrize("device", ["?", "?uplink"])
def test_a_chain_of_a_device_is_perhaps_asked_where_nobody_named_it(family: str, base: str, device: str) -> None:
    seen = view(hook=Hook.PREROUTING if base is _INGRESS else Hook.POSTROUTING, in_device=device, out_device=device)
    asked, not_asked = leaves("tcp dport 80 drop", seen, family=family, base=base)
    assert (asked.verdict, not_asked.verdict) == ("drop", "accept")
    assert (asked.probability, not_asked.probability) == (Fraction(1, 2), Fraction(1, 2))
    assert asked.conditions[0].startswith("chain c of table ")
    assert " is asked (" in asked.conditions[0]
    assert " is not asked (" in not_asked.conditions[0]
    assert [fork.is_without for leaf in (asked, not_asked) for fork in leaf.forks] == [False, True]
    assert asked.unknowns == not_asked.unknowns != ()


@pytest.mark.parametrize(
    "rule", ["", "counter", "tcp dport 80 accept", "tcp dport 81 drop", "meta iifname lo drop", "ip protocol udp drop"]
)
def test_that_does_not_matter_where_the_chain_does_nothing(rule: str) -> None:
    [leaf] = leaves(rule, view(in_device="?"), family="netdev", base=_INGRESS)
    assert (leaf.verdict, leaf.probability, leaf.conditions, leaf.unknowns, leaf.steps) == ("accept", 1, (), (), None)


@pytest.mark.parametrize("rule", ["meta mark set 0x7", "drop", "tcp dport 80 reject", "jump nowhere", "meta iifname eth1 drop"])
def test_it_matters_where_the_chain_does_anything(rule: str) -> None:
    found = leaves(rule, view(in_device="?"), family="netdev", base=_INGRESS)
    assert sum(leaf.probability for leaf in found) == 1
    assert len(found) > 1
    assert all(leaf.unknowns and leaf.conditions for leaf in found)


def test_a_bridges_chain_is_perhaps_asked_where_no_bridge_is_known_of() -> None:
    base = "type filter hook prerouting priority 0; policy accept;"
    found = leaves("drop", view(in_device="eth0", bridge_seen=False), family="bridge", base=base)
    assert [leaf.verdict for leaf in found] == ["unknown", "accept"]
    assert [leaf.verdict for leaf in leaves("drop", view(in_device="eth0"), family="bridge", base=base)] == ["accept"]


NAMED = ("iifname", "iif", "oifname", "oif")


@pytest.mark.parametrize("word", NAMED)
@pytest.mark.parametrize("device", ["?", "?uplink"])
@pytest.mark.parametrize(
    ("asked", "expected"), [("lo", False), ("!= lo", True), ("eth0", None), ("!= eth0", None), ('"eth*"', None), ("{ lo, eth0 }", None)]
)
def test_a_device_that_nobody_named_is_none_by_its_name(word: str, device: str, asked: str, expected: bool | None) -> None:
    seen = view(hook=Hook.FORWARD, in_device=device, out_device=device)
    base = "type filter hook forward priority 0; policy accept;"
    found = leaves(f"meta {word} {asked} drop", seen, base=base)
    answer = None if len(found) > 1 or found[0].unknowns else not found[0].by_policy
    assert answer is expected


def test_rules_of_a_bridge_are_unknown_for_bridged_packets() -> None:
    seen = view(hook=Hook.FORWARD, bridged=True, phys_in="veth1", in_device="cni0")
    found = leaves("drop", seen, family="bridge", base="type filter hook forward priority 0; policy accept;")
    assert {leaf.verdict for leaf in found} == {"unknown"}


def test_tables_of_iptables_are_left_to_its_own_listing() -> None:
    text = "table ip nat {\n\tchain PREROUTING {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t}\n}\n"
    rules = NftRules(parse_text(text, "f"))
    assert len(rules.chains(Hook.PREROUTING, Family.IP, ())) == 1
    assert not rules.chains(Hook.PREROUTING, Family.IP, {("ip", "nat")})


def test_of_equals_the_latest_is_asked_first() -> None:
    chains = "".join(f"\tchain {name} {{\n\t\t{_BASE}\n\t}}\n" for name in ("first", "second"))
    rules = NftRules(parse_text(f"table ip t {{\n{chains}}}\n", "f"))
    assert [chain.chain.name for _, chain in rules.chains(Hook.PREROUTING, Family.IP, ())] == ["second", "first"]


@pytest.mark.parametrize(("address", "device", "expected"), [("fd00::1", "eth0", "local"), ("fd00::1", "eth1", "unicast")])
def test_fib_with_a_device_asks_of_ipv6_whether_the_address_is_the_devices_own(address: str, device: str, expected: str) -> None:
    sent = six(destination=str(_address(address)))
    assert matched(f"fib daddr . iif type {expected}", view(sent, in_device=device), family="ip6") is True


def _address(text: str) -> Address:
    return ip_address(text)


def _error(kind: int, code: int, *, version: int = 4) -> View:
    """Return a view of an ICMP message."""
    sent = packet(protocol="icmp") if version == 4 else six(protocol="icmpv6")
    return view(sent, icmp=(kind, code))


@pytest.mark.parametrize(
    ("rule", "seen", "expected"),
    [
        ("icmp type destination-unreachable", _error(3, 3), True),
        ("icmp type 3", _error(3, 3), True),  # as nft -n prints it
        ("icmp type 3-8", _error(3, 3), True),
        ("icmp type 4-8", _error(3, 3), False),
        ("icmp type { destination-unreachable, 8-11 }", _error(8, 0), True),
        ("icmp type { destination-unreachable, 9-11 }", _error(8, 0), False),
        ("icmp type != { echo-reply, 8 }", _error(8, 0), False),
        ("icmp type < redirect", _error(3, 3), True),
        ("icmp type < redirect", _error(8, 0), False),
        ("icmp type . icmp code { destination-unreachable . port-unreachable }", _error(3, 3), True),
        ("icmp type . icmp code { 3 . 3 }", _error(3, 1), False),
        ("icmp type destination-unreachable icmp code 1-3", _error(3, 2), True),
        ("icmp code port-unreachable", _error(3, 3), True),
        ("icmpv6 code port-unreachable", _error(1, 4, version=6), True),
        ("icmpv6 code port-unreachable", _error(1, 3, version=6), False),
        ("icmpv6 type 128-129", _error(129, 0, version=6), True),
        ("icmpv6 type { echo-request, nd-neighbor-solicit }", _error(128, 0, version=6), True),
        ("icmpv6 type destination-unreachable", _error(3, 0, version=6), False),
        ("icmp type destination-unreachable", _error(1, 4, version=6), False),
        ("icmp type echo-request", view(), False),
        ("icmp type echo-request", view(packet(protocol="icmp")), None),
        ("icmp id 7", _error(8, 0), None),
    ],
)
def test_types_of_icmp(rule: str, seen: View, expected: bool | None) -> None:
    assert matched(rule, seen, family="inet") is expected


def test_the_ways_of_a_key_of_which_the_packet_lacks_a_field_are_one_whole():
    """However many ways the rest of the key has: the rule stops in all of them."""
    seen = view(packet(protocol="icmp", port=None))
    for key in ("tcp dport . numgen random mod 3", "numgen random mod 3 . tcp dport"):
        found = leaves(f"dnat to {key} map {{ 80 . 0 : 10.1.0.5 }}", seen, base=_NAT)
        assert sum(leaf.probability for leaf in found) == 1, key


_MADE = [(f"10.{i % 3}.0.{i % 7}", ("tcp", "udp")[i % 2], 20_000 + i * 97) for i in range(300)]


@pytest.mark.parametrize("named", [True, False])
def test_elements_are_found_by_the_parts_that_are_known(named: bool):
    """A key with the client's own port is looked up by its other parts: as if every element were looked at, one after the other."""
    keys = [f"{address} . {protocol} . {port}" for address, protocol, port in _MADE]
    said = ", ".join(keys)
    parts = f"\tset s {{\n\t\ttype ipv4_addr . inet_proto . inet_service\n\t\telements = {{ {said} }}\n\t}}\n" if named else ""
    rule = f"ip saddr . meta l4proto . tcp sport {'@s' if named else '{ ' + said + ' }'}"
    for source in ("10.0.0.0", "10.1.0.4", "10.2.0.6", "10.9.0.1"):
        may = any(address == source and protocol == "tcp" and 32_768 <= port <= 60_999 for address, protocol, port in _MADE)
        assert matched(rule, view(packet(source)), parts=parts) is (None if may else False), source
