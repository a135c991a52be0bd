"""nftables' words and what they stand for: reasons of a reject, types of fields, masks of flags, sizes of sets, ranges of the own port."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.tracer.netfilter.viewing import packet, view
from tracer.conntrack import Connection
from tracer.errors import ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_merged import joined
from tracer.netfilter.nft_print import to_text
from tracer.netfilter.nft_set_index import OwnPort, constant, same
from tracer.netfilter.nft_statements import parse_statements
from tracer.netfilter.nft_text import parse_text
from tracer.netfilter.nft_typing import types_of
from tracer.netfilter.nft_values import _ct

REASONS = {
    # nft(8), REJECT STATEMENT → the name that iptables has for the same ICMP type and code
    "icmp port-unreachable": "icmp-port-unreachable",
    "icmp net-unreachable": "icmp-net-unreachable",
    "icmp host-unreachable": "icmp-host-unreachable",
    "icmp prot-unreachable": "icmp-proto-unreachable",
    "icmp net-prohibited": "icmp-net-prohibited",
    "icmp host-prohibited": "icmp-host-prohibited",
    "icmp admin-prohibited": "icmp-admin-prohibited",
    "icmpv6 port-unreachable": "icmp6-port-unreachable",
    "icmpv6 no-route": "icmp6-no-route",
    "icmpv6 admin-prohibited": "icmp6-adm-prohibited",
    "icmpv6 addr-unreachable": "icmp6-addr-unreachable",
    "icmpv6 policy-fail": "icmp6-policy-fail",
    "icmpv6 reject-route": "icmp6-reject-route",
    "icmpx port-unreachable": "icmp-port-unreachable",
    "icmpx no-route": "icmp-net-unreachable",
    "icmpx host-unreachable": "icmp-host-unreachable",
    "icmpx admin-prohibited": "icmp-admin-prohibited",
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_reject_says_its_reason_in_its_family(reason: str) -> None:
    kind, word = reason.split()
    for text in (f"reject with {kind} {word}", f"reject with {kind} type {word}"):
        (reject,), _ = parse_statements(text, {"icmp": "ip", "icmpv6": "ip6", "icmpx": "inet"}[kind])
        assert isinstance(reject, n.Reject)
        assert reject.reject_with == REASONS[reason]


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("ip saddr", ("ipv4_addr",)),
        ("ip daddr", ("ipv4_addr",)),
        ("ip6 saddr", ("ipv6_addr",)),
        ("ip6 daddr", ("ipv6_addr",)),
        ("ether saddr", ("ether_addr",)),
        ("tcp dport", ("inet_service",)),
        ("th sport", ("inet_service",)),
        ("ip protocol", ("inet_proto",)),
        ("ip6 nexthdr", ("inet_proto",)),
        ("meta l4proto", ("inet_proto",)),
        ("meta mark", ("mark",)),
        ("ct mark", ("mark",)),
        ("ct state", ("ct_state",)),
        ('meta iifname', ("ifname",)),
        ("meta oif", ("iface_index",)),
        ("ip saddr . tcp dport", ("ipv4_addr", "inet_service")),
        ("ip6 daddr . ip6 nexthdr", ("ipv6_addr", "inet_proto")),
        ("ip ttl", ()),
        ("ip saddr . ip ttl", ()),
    ],
)  # fmt: skip
def test_the_types_of_fields(text: str, types: tuple[str, ...]) -> None:
    (statement,), _ = parse_statements(f"{text} @s", "inet")
    assert isinstance(statement, n.Compare)
    assert types_of(statement.left) == types


@pytest.mark.parametrize(
    ("text", "operator", "masked"),
    [
        ("tcp flags syn", "in", False),
        ("tcp flags == syn", "==", False),
        ("tcp flags != syn", "!=", False),
        ("tcp flags syn / syn,ack", "==", True),
        ("tcp flags == syn / syn,ack", "==", True),
        ("tcp flags != syn / syn,ack", "!=", True),
        ("tcp dport 80", "==", False),
        ("tcp dport != 80", "!=", False),
        ("ct state new", "in", False),
        ("ct state != new", "!=", False),
    ],
)
def test_a_comparison_keeps_its_operator_with_and_without_a_mask(text: str, operator: str, *, masked: bool) -> None:
    (statement,), _ = parse_statements(text, "inet")
    assert isinstance(statement, n.Compare)
    assert (statement.operator, isinstance(statement.left, n.Binary)) == (operator, masked)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("ip ttl != 32 ip protocol != udp", 2),
        ("ip ttl != 32 ip protocol udp", 1),
        ("ip protocol != udp ip ttl != 32", 1),
        ("tcp sport != 80 tcp dport != 81", 2),
        ("tcp sport != 80 udp dport != 81", 1),
        ("ip6 nexthdr != tcp ip6 hoplimit != 3", 2),
        ("tcp sport != { 80, 81 } tcp dport != 82", 0),
        ("ip saddr != 10.0.0.1 ip daddr != 10.0.0.2", 0),  # 64 bits: no register holds both
        ("ip6 saddr != fd00::1 ip6 daddr != fd00::2", 0),
    ],
)
def test_which_comparisons_nft_may_have_joined(text: str, count: int) -> None:
    statements, _ = parse_statements(text, "inet")
    assert len(joined(statements, 0)) == count


@pytest.mark.parametrize(
    "inside",
    [
        "ip saddr",
        "ip saddr timeout 1m",
        "ip saddr counter",
        "ip saddr counter packets 3 bytes 180",
        "ip saddr timeout 1m counter packets 0 bytes 0",
        'ip saddr counter packets 3 bytes 180 comment "seen"',
    ],
)
@pytest.mark.parametrize("operation", ["add", "update", "delete"])
def test_what_a_rule_writes_into_a_set_is_read_whatever_it_counts(operation: str, inside: str) -> None:
    (update, _), _ = parse_statements(f"{operation} @seen {{ {inside} }} drop", "ip")
    assert isinstance(update, n.SetUpdate)
    assert (update.operation, update.set, update.timeout) == (operation, "seen", 60 if "timeout" in inside else None)


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("redirect to :8080", None, 8080),
        ("redirect to :80-90", None, n.Interval(80, 90)),
        ("masquerade to :1024-65535", None, n.Interval(1024, 65535)),
        ("dnat to 10.0.0.1:8080", ip_address("10.0.0.1"), 8080),
        ("dnat to 10.0.0.1", ip_address("10.0.0.1"), None),
        ("dnat to :8080", None, 8080),
    ],
)
def test_where_nat_leads(text: str, address: object, port: object) -> None:
    (found,), _ = parse_statements(text, "ip")
    assert isinstance(found, n.Nat)
    assert (found.address, found.port) == (address, port)


@pytest.mark.parametrize("kind", ["redirect", "masquerade", "dnat", "snat"])
def test_a_colon_without_a_port_is_refused(kind: str) -> None:
    with pytest.raises(ParseError, match="a port is expected"):
        parse_statements(f"{kind} to :", "ip")


STATEMENTS = (
    'add @seen { ip saddr timeout 1m counter packets 3 bytes 180 comment "a" } drop',
    "update @seen { ip saddr . tcp dport limit rate 3/second burst 5 packets } accept",
    "add @m { ip saddr : 10.0.0.1 }",
    "meter m size 65535 { ip saddr limit rate over 3/second }",
    "quota over 3 mbytes used 1 kbytes drop",
    "limit rate over 3 mbytes/second burst 5 kbytes",
    'log prefix "a" level info flags tcp sequence,options queue-threshold 3 group 1',
    "dnat ip to 10.0.0.1-10.0.0.9:80-90 random,persistent",
    "redirect to :numgen random mod 3 map { 0 : 80, 1 : 81 }",
    "tcp flags & (syn | ack) == syn / syn,ack ct state { new, established } accept",
    "ip saddr . tcp dport vmap { 10.0.0.1 . 80-90 counter packets 3 bytes 9 : jump web, 10.0.0.0/8 . 1 timeout 1m expires 3s : drop }",
    "fib saddr . iif oif missing reject with icmpx type no-route",
    "@nh,160,16 80 @th,16,16 { 0-1, 2 } queue flags bypass to 100-103",
)


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError("the reader does not end")


@pytest.mark.parametrize("statement", STATEMENTS)
def test_whatever_word_stands_in_between_the_reader_ends(statement: str) -> None:
    words = statement.split(" ")
    inserted = ("", "7", "x", "counter", "packets", "timeout", "{", "}", ",", ":", ".", "map", "comment", "used")
    before = signal.signal(signal.SIGVTALRM, _too_long)
    try:
        for at in range(len(words) + 1):
            for word in inserted:
                for rest in (words[at:], words[at + 1 :], []):
                    signal.setitimer(signal.ITIMER_VIRTUAL, 2)
                    with contextlib.suppress(ParseError):
                        parse_statements(" ".join(w for w in (*words[:at], word, *rest) if w), "ip")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


LISTING = """\
table ip own {
	set S {
		type ipv4_addr
		size 1000
		flags interval,timeout
		timeout 1h
		auto-merge
		comment "who may"
		elements = { 10.0.0.0/24, 10.1.0.1 }
	}
}
"""


def test_what_a_set_says_of_itself_is_kept() -> None:
    found = parse_text(LISTING, "nft-ruleset.txt")
    set_ = found.tables[0].sets["S"]
    assert (set_.size, set_.flags, set_.timeout, set_.auto_merge, set_.comment) == (1000, ("interval", "timeout"), 3600, True, "who may")
    again = parse_text(to_text(found), "nft-ruleset.txt").tables[0].sets["S"]
    assert (again.size, again.flags, again.elements) == (1000, set_.flags, set_.elements)


@pytest.mark.parametrize(
    ("view_of", "bits"),
    [
        ({"state": "NEW"}, set()),
        ({"state": "NEW", "in_device": "lo"}, {"confirmed"}),  # over lo a packet comes again
        ({"state": "ESTABLISHED"}, {"confirmed"}),
        ({"state": "ESTABLISHED", "reply": True}, {"confirmed", "seen-reply"}),
    ],
)
def test_what_a_connection_has_seen(view_of: dict[str, object], bits: set[str]) -> None:
    sent = packet(source_port=4000)
    for established in (False, True):
        connection = replace(Connection.begin(sent), established=established)
        found = _ct(n.Ct("status"), view(sent, connection=connection, **view_of))
        assert found == bits | ({"seen-reply"} if established else set())


@pytest.mark.parametrize(
    ("word", "number"),
    [("icmp", 1), ("igmp", 2), ("tcp", 6), ("udp", 17), ("dccp", 33), ("gre", 47), ("esp", 50), ("ah", 51), ("icmpv6", 58), ("ipv6-icmp", 58), ("vrrp", 112), ("sctp", 132), ("udplite", 136)],
)  # fmt: skip
def test_a_protocol_is_its_number_in_whatever_stands_in_a_set(word: str, number: int) -> None:
    """Source: include/uapi/linux/in.h, in6.h."""
    assert constant(n.Word(word, False)) == number
    assert constant(n.Word(word, True)) == word  # quoted: the name of a device, say
    assert same(constant(n.Word(word, False)), number) is True


PORTS = OwnPort(32768, 60999)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (n.Interval(0, 65535), True),
        (n.Interval(32768, 60999), True),
        (n.Interval(32769, 60999), None),
        (n.Interval(32768, 60998), None),
        (40000, None),
        (n.Interval(1, 32767), False),
        (n.Interval(61000, 65535), False),
        (80, False),
        (n.Interval(ip_address("10.0.0.1"), ip_address("10.0.0.9")), False),
        (n.Prefix(ip_address("fd00::"), 64), False),
    ],
)
def test_the_clients_own_port_lies_in_a_range_for_certain_perhaps_or_never(wanted: object, expected: bool | None) -> None:
    assert same(wanted, PORTS) is expected  # type: ignore[arg-type]
