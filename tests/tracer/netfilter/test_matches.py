"""A truth table for each match: yes, no, unknown, or odds."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest

from tests.tracer.netfilter.viewing import KnownTypes, packet, view
from tracer.conntrack import Connection
from tracer.netfilter import matches
from tracer.netfilter import model as m
from tracer.netfilter.ipset_save import parse_sets
from tracer.netfilter.model import Hook
from tracer.netfilter.rule_text import parse_rule
from tracer.netfilter.view import UnknownAnswer, View
from tracer.packet import Packet


def answer(text: str, seen: View) -> object:
    """The answer of the only match of *text*: True, False, odds, or "?" for unknown."""
    rule = parse_rule(f"-A INPUT {text}", 1, ())
    found = matches.test(rule.matches[-1], seen)
    return "?" if isinstance(found, UnknownAnswer) else found


def test_every_match_of_the_model_is_answered() -> None:
    assert set(m.Match.__args__) == set(matches._TESTS)


def test_every_match_of_the_model_is_in_a_table_below() -> None:
    """With more than one answer, or with what it always answers: one row alone would hold against a match that asks nothing."""
    tables = {"": HEADERS + DEVICES, "-m addrtype ": TYPES, "-m conntrack ": CONNTRACK, "-m connmark ": CONNMARK, "-m recent ": RECENT}
    rows = [(f"{module}{text}", expected) for module, table in (tables | {"-m set ": SET}).items() for text, *_, expected in table]
    answers: dict[type, set[object]] = {}
    for text, expected in rows:
        for asked in parse_rule(f"-A INPUT {text}", 1, ()).matches:
            answers.setdefault(type(asked), set()).add(expected)
    assert set(m.Match.__args__) - set(answers) == set()
    always = {m.CommentMatch: {True}, m.NfacctMatch: {True}, m.UnmodelledMatch: {"?"}, m.CtStatusMatch: {"?"}}
    assert {kind: found for kind, found in answers.items() if len(found) < 2} == always


P = packet()  # tcp 10.0.0.9:any > 10.96.0.1:80
PORT = packet(source_port=4000)
V6 = packet("fd00::9", "fd00::1")
HEADERS = [
    ("-s 10.0.0.0/8", P, True),
    ("! -s 10.0.0.0/8", P, False),
    ("-s 11.0.0.0/8", P, False),
    ("-d 10.96.0.1", P, True),
    ("-d 10.0.0.1/255.0.0.255", P, True),
    ("-d 0.0.0.0/0", P, True),
    ("-d 0.0.0.0/0", V6, False),
    ("! -d 0.0.0.0/0", V6, True),
    ("-d fd00::/16", V6, True),
    ("-d fd00::/16", P, False),
    ("-p tcp", P, True),
    ("-p udp", P, False),
    ("! -p udp", P, True),
    ("-p all", P, True),
    ("-f", P, False),
    ("! -f", P, True),
    ("-m tcp --dport 80", P, True),
    ("-m tcp --dport 81:90", P, False),
    ("-m tcp ! --dport 81:90", P, True),
    ("-m tcp --sport 4000", PORT, True),
    ("-m tcp --sport 40000", P, "?"),
    ("-m tcp ! --sport 40000", P, "?"),
    # A port nobody said is an ephemeral one.
    ("-m tcp --sport 4000", P, False),
    ("-m tcp --sport 1024:65535", P, True),
    ("-m tcp --sport 0:65535", P, True),
    ("-m tcp ! --sport 0:65535", P, False),
    ("-m multiport --dports 22,80", P, True),
    ("-m multiport ! --dports 22,80", P, False),
    ("-m multiport --ports 80", P, True),
    ("-m multiport --ports 4000", PORT, True),
    ("-m multiport --ports 40000", P, "?"),
    ("-m multiport --ports 22", PORT, False),
    ("-m tcp --syn", P, True),
    ("-m tcp --tcp-flags ACK ACK", P, False),
    ("-m tcp --syn", packet(protocol="udp"), False),
    ("-m icmp --icmp-type 8", P, False),
    ("-m icmp --icmp-type 8", packet(protocol="icmp"), "?"),
    ("-m icmp --icmp-type any", packet(protocol="icmp"), True),
    ("-m icmp ! --icmp-type any", packet(protocol="icmp"), False),
    ("-m iprange --src-range 10.0.0.1-10.0.0.9", P, True),
    ("-m iprange ! --src-range 10.0.0.1-10.0.0.8", P, True),
    ("-m iprange --dst-range 10.96.0.2-10.96.0.9", P, False),
    ("-m iprange --dst-range fd00::1-fd00::9", P, False),
    ("-m mark --mark 0x4000/0x4000", packet(mark=0x4001), True),
    ("-m mark ! --mark 0x4000/0x4000", packet(mark=0x4001), False),
    # The value is compared as it is: bits outside the mask never match. Source: xt_mark.c.
    ("-m mark --mark 0x4001/0x4000", packet(mark=0x4001), False),
    ("-m pkttype --pkt-type unicast", P, True),
    ("-m pkttype --pkt-type multicast", P, False),
    ("-m pkttype ! --pkt-type multicast", P, True),
    ("-m pkttype --pkt-type multicast", packet(destination="224.0.0.1"), True),
    ("-m comment --comment x", P, True),
    ("-m nfacct --nfacct-name x", P, True),
    ("-m statistic --mode random --probability 0.25", P, Fraction(1, 4)),
    ("-m statistic --mode random ! --probability 0.25", P, Fraction(3, 4)),
    ("-m statistic --mode nth --every 4 --packet 0", P, Fraction(1, 4)),
    ("-m statistic --mode nth ! --every 4 --packet 0", P, Fraction(3, 4)),
    ("-m u32 --u32 0=0", P, "?"),
    ("-m nosuch --x", P, "?"),
    ("-m tcp --tcp-option 2", P, "?"),
    ("-m length --length 0:100", P, "?"),
    ("-m dscp --dscp 0", P, "?"),
]


@pytest.mark.parametrize(("text", "sent", "expected"), HEADERS)
def test_header(text: str, sent: Packet, expected: object) -> None:
    assert answer(text, view(sent)) == expected


DEVICES = [
    ("-i eth0", {}, True),
    ("-i eth1", {}, False),
    ("! -i eth1", {}, True),
    ("-i eth+", {}, True),
    ("-i +", {}, True),
    ("-i eth0+", {}, True),
    ("-i eth", {}, False),
    ("-o eth0", {}, False),
    ("-o +", {}, True),
    ("! -o eth0", {}, True),
    ("-o eth0", {"out_device": "eth0"}, True),
    ("-m physdev --physdev-is-bridged", {}, False),
    ("-m physdev ! --physdev-is-bridged", {}, True),
    ("-m physdev --physdev-is-bridged", {"bridged": True}, True),
    ("-m physdev --physdev-is-in", {"phys_in": "veth1"}, True),
    ("-m physdev --physdev-in veth+", {"phys_in": "veth1"}, True),
    ("-m physdev --physdev-in veth2", {"phys_in": "veth1"}, False),
    ("-m physdev --physdev-is-out", {"phys_in": "veth1"}, False),
    ("-m physdev --physdev-out veth2", {"phys_out": "veth2"}, True),
    ("-m physdev --physdev-is-in", {"bridge_seen": False}, "?"),
    ("-m mac --mac-source aa:bb:cc:dd:ee:ff", {}, "?"),
    ("-m mac --mac-source aa:bb:cc:dd:ee:ff", {"in_device": None, "hook": Hook.OUTPUT}, False),
    ("-m owner --uid-owner 0", {}, False),
    ("-m owner ! --uid-owner 0", {}, True),
    ("-m owner --uid-owner 0", {"local_process": True}, "?"),
    ("-m owner --socket-exists", {"local_process": True}, True),
    ("-m owner --socket-exists", {}, False),
    ("-m cgroup --path x", {}, False),
    ("-m cgroup --path x", {"local_process": True}, "?"),
    ("-m rpfilter", {}, "?"),
    ("-m rpfilter", {"reverse_path": lambda match: True}, True),
    ("-m rpfilter --invert", {"reverse_path": lambda match: True}, False),
    ("-m ttl --ttl-gt 5", {"ttl": 6}, True),
    ("-m ttl ! --ttl-eq 6", {"ttl": 6}, False),
    ("-m dscp --dscp 10", {"dscp": 10}, True),
    ("-m length --length 100:", {"length": 99}, False),
    ("-m tos --tos 0x28/0xfc", {"dscp": 10}, True),
    ("-m tos ! --tos 0x28/0xfc", {"dscp": 10}, False),
    ("-m tos --tos 0x28/0xfc", {"dscp": 11}, False),
    ("-m tos --tos 0x28/0xfc", {}, "?"),
    # The two congestion bits are said by nobody: they decide where the other six fit.
    ("-m tos --tos 0x28", {"dscp": 10}, "?"),
    ("-m tos --tos 0x28", {"dscp": 11}, False),
    ("-m tos ! --tos 0x28", {"dscp": 11}, True),
    ("-m tos --tos 0x01/0x03", {"dscp": 10}, "?"),
    # The value is compared as it is: bits outside the mask never match. Source: xt_dscp.c.
    ("-m tos --tos 0x11/0x10", {}, False),
    ("-m tos ! --tos 0x11/0x10", {}, True),
    ("-m tos --tos 0x00/0x00", {}, True),
    ("-m icmp --icmp-type 8", {"sent": packet(protocol="icmp"), "icmp": (8, 0)}, True),
    ("-m icmp --icmp-type 3/3", {"sent": packet(protocol="icmp"), "icmp": (3, 3)}, True),
    ("-m icmp --icmp-type 3/3", {"sent": packet(protocol="icmp"), "icmp": (3, 1)}, False),
    ("-m icmp ! --icmp-type 3/3", {"sent": packet(protocol="icmp"), "icmp": (3, 1)}, True),
    ("-m icmp --icmp-type destination-unreachable", {"sent": packet(protocol="icmp"), "icmp": (3, 13)}, True),
    ("-m icmp6 --icmpv6-type destination-unreachable", {"sent": packet(protocol="icmpv6"), "icmp": (1, 4)}, True),
    ("-m icmp6 --icmpv6-type echo-request", {"sent": packet(protocol="icmpv6"), "icmp": (129, 0)}, False),
    ("-m tcp --syn", {"tcp_flags": None}, "?"),
    ("-m tcp ! --syn", {"tcp_flags": 0x12}, True),
]


@pytest.mark.parametrize(("text", "fields", "expected"), DEVICES)
def test_devices_and_process(text: str, fields: dict[str, object], expected: object) -> None:
    assert answer(text, view(**fields)) == expected


TYPES = [
    ("--dst-type LOCAL", "192.168.0.1", True),
    ("--dst-type LOCAL", "10.96.0.1", False),
    ("! --dst-type LOCAL", "10.96.0.1", True),
    ("--dst-type UNICAST,LOCAL", "10.96.0.1", True),
    ("--src-type LOCAL", "192.168.0.1", False),
    ("! --src-type LOCAL --dst-type LOCAL", "192.168.0.1", True),
    ("--src-type LOCAL --dst-type LOCAL", "192.168.0.1", False),
    ("--dst-type LOCAL --limit-iface-in", "192.168.0.1", True),
    ("--dst-type LOCAL --limit-iface-out", "192.168.0.1", False),
]


@pytest.mark.parametrize(("text", "destination", "expected"), TYPES)
def test_addrtype(text: str, destination: str, expected: object) -> None:
    assert answer(f"-m addrtype {text}", view(packet(destination=destination), out_device="eth9")) == expected


def test_addrtype_without_routes_is_unknown() -> None:
    assert answer("-m addrtype --dst-type LOCAL", view(routing=KnownTypes(None))) == "?"


DNATED = Connection.begin(P).translated(packet(destination="10.1.1.1", port=8080))
CONNTRACK = [
    ("--ctstate NEW", {"state": "NEW"}, True),
    ("--ctstate NEW", {"state": "ESTABLISHED"}, False),
    ("! --ctstate NEW", {"state": "ESTABLISHED"}, True),
    ("--ctstate RELATED,ESTABLISHED", {"state": "ESTABLISHED"}, True),
    ("--ctstate INVALID", {"state": "INVALID"}, True),
    ("--ctstate UNTRACKED", {"state": "UNTRACKED"}, True),
    ("--ctstate NEW", {"state": "UNKNOWN"}, "?"),
    ("--ctstate DNAT", {"connection": Connection.begin(P)}, False),
    ("--ctstate DNAT", {"connection": DNATED}, True),
    ("! --ctstate DNAT", {"connection": DNATED}, False),
    ("--ctstate SNAT", {"connection": DNATED}, False),
    ("--ctstatus ASSURED", {"connection": DNATED}, "?"),
    ("--ctdir ORIGINAL", {"connection": DNATED}, True),
    ("--ctdir REPLY", {"connection": DNATED, "reply": True}, True),
    ("--ctdir ORIGINAL", {}, False),
    ("--ctproto tcp", {"connection": DNATED}, True),
    ("! --ctproto tcp", {"connection": DNATED}, False),
    ("! --ctproto tcp", {}, False),
    ("--ctorigdst 10.96.0.1", {"connection": DNATED}, True),
    ("! --ctorigdst 10.96.0.0/16", {"connection": DNATED}, False),
    ("--ctorigsrc 10.0.0.9", {"connection": DNATED}, True),
    ("--ctreplsrc 10.1.1.1", {"connection": DNATED}, True),
    ("--ctrepldst 10.0.0.9", {"connection": DNATED}, True),
    ("--ctorigdst 10.96.0.1", {}, False),
    ("--ctorigdstport 80", {"connection": DNATED}, True),
    ("--ctreplsrcport 8080", {"connection": DNATED}, True),
    ("! --ctreplsrcport 8080", {"connection": DNATED}, False),
    ("--ctorigsrcport 40000", {"connection": DNATED}, "?"),
    ("--ctorigsrcport 4000", {"connection": DNATED}, False),
    ("! --ctorigsrcport 1024:65535", {"connection": DNATED}, False),
    ("--ctorigsrcport 4000", {}, False),
    ("--ctexpire 10", {"connection": DNATED}, "?"),
]


@pytest.mark.parametrize(("text", "fields", "expected"), CONNTRACK)
def test_conntrack(text: str, fields: dict[str, object], expected: object) -> None:
    assert answer(f"-m conntrack {text}", view(**fields)) == expected


CONNMARK = [
    ("--mark 0x80/0x80", {"connection": DNATED, "connection_mark": 0x81}, True),
    ("! --mark 0x80/0x80", {"connection": DNATED, "connection_mark": 0x81}, False),
    ("--mark 0", {"connection": DNATED}, True),
    # Without a connection it never matches, negated or not. Source: connmark_mt in xt_connmark.c.
    ("--mark 0", {}, False),
    ("! --mark 0x80", {}, False),
]


@pytest.mark.parametrize(("text", "fields", "expected"), CONNMARK)
def test_connmark(text: str, fields: dict[str, object], expected: object) -> None:
    assert answer(f"-m connmark {text}", view(**fields)) == expected


SEEN = frozenset({("r", "10.0.0.9")})
RECENT = [
    ("--set --name r", {}, True),
    ("! --set --name r", {}, False),
    ("--rcheck --name r", {}, False),
    ("! --rcheck --name r", {}, True),
    ("--rcheck --name r", {"recent": SEEN}, True),
    ("! --rcheck --name r", {"recent": SEEN}, False),
    ("--update --seconds 60 --name r", {"recent": SEEN}, True),
    ("--rcheck --hitcount 2 --name r", {"recent": SEEN}, "?"),
    ("--rcheck --rttl --name r", {"recent": SEEN}, "?"),
    ("--rcheck --name other", {"recent": SEEN}, False),
    ("--rcheck --name r --rdest", {"recent": SEEN}, False),
]


@pytest.mark.parametrize(("text", "fields", "expected"), RECENT)
def test_recent(text: str, fields: dict[str, object], expected: object) -> None:
    assert answer(f"-m recent {text}", view(**fields)) == expected


SETS = parse_sets("create S hash:ip family inet\nadd S 10.0.0.9\ncreate odd hash:strange family inet\nadd odd 1\n", "f")[0]
SET = [
    ("--match-set S src", SETS, True),
    ("! --match-set S src", SETS, False),
    ("--match-set S dst", SETS, False),
    ("--match-set S src ! --update-counters", SETS, True),
    ("--match-set S src --packets-gt 5", SETS, "?"),
    ("--match-set S src --return-nomatch", SETS, "?"),
    ("--match-set gone src", SETS, "?"),
    ("--match-set odd src", SETS, "?"),
    ("--match-set S src", None, "?"),
]


@pytest.mark.parametrize(("text", "sets", "expected"), SET)
def test_set(text: str, sets: object, expected: object) -> None:
    assert answer(f"-m set {text}", view(sets=sets)) == expected


def test_unknown_says_what_is_missing() -> None:
    found = matches.test(m.SetMatch("S", ("src",)), view())
    assert isinstance(found, UnknownAnswer)
    assert (found.code, "ipset-save.txt" in found.text) == ("DATA_MISSING", True)


def test_random_source_port_is_not_known() -> None:
    drawn = Packet(
        protocol=P.protocol,
        source=ip_address("10.0.0.1"),
        destination=P.destination,
        source_port=40000,
        destination_port=80,
        source_port_random=True,
    )
    assert answer("-m tcp --sport 40000", view(drawn)) == "?"
