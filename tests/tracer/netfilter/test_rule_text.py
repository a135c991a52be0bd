"""One line of iptables-save to one rule: every option, negation wherever it may stand, quotes, and refusals with a column."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ParseError
from tracer.netfilter import match_options, rule_text, target_options
from tracer.netfilter import model as m
from tracer.netfilter.model import PortRange
from tracer.netfilter.rule_text import parse_rule, strip_counters, words
from tracer.netfilter.scalars import address_mask

CHAINS = {"KUBE-SVC-A", "web", "DROPPED"}
FULL = 0xFFFFFFFF


def matches(text: str) -> tuple[m.Match, ...]:
    return parse_rule(f"-A INPUT {text}", 7, CHAINS).matches


def one(text: str) -> m.Match:
    found = matches(text)
    assert len(found) == 1, found
    return found[0]


def target(text: str) -> m.Target:
    return parse_rule(f"-A INPUT {text}", 7, CHAINS).target


def ports(side: str, low: int, high: int | None = None, *, negated: bool = False) -> m.PortsMatch:
    return m.PortsMatch(side, (PortRange(low, low if high is None else high),), negated)


def mask(text: str) -> m.AddressMask:
    return address_mask(text)


def addrtype(**fields: object) -> m.AddrtypeMatch:
    return m.AddrtypeMatch(**fields)  # type: ignore[arg-type]


GENERAL = [
    ("-s 10.0.0.0/8", m.AddressMatch("source", mask("10.0.0.0/8"))),
    ("! -s 10.0.0.0/8", m.AddressMatch("source", mask("10.0.0.0/8"), True)),
    ("-s ! 10.0.0.0/8", m.AddressMatch("source", mask("10.0.0.0/8"), True)),
    ("--source 10.0.0.1", m.AddressMatch("source", m.AddressMask(0x0A000001, FULL, 4))),
    ("-d 10.1.2.3/255.0.0.255", m.AddressMatch("destination", m.AddressMask(0x0A000003, 0xFF0000FF, 4))),
    ("-d fd00::1/128", m.AddressMatch("destination", m.AddressMask(int(ip_address("fd00::1")), (1 << 128) - 1, 6))),
    ("--dst 2001:db8::/32", m.AddressMatch("destination", mask("2001:db8::/32"))),
    ("-d 0.0.0.0/0", m.AddressMatch("destination", m.AddressMask(0, 0, 4))),
    ("-i eth0", m.InterfaceMatch("in", "eth0")),
    ("! -i cali+", m.InterfaceMatch("in", "cali+", True)),
    ("-o ! lo", m.InterfaceMatch("out", "lo", True)),
    ("--out-interface eth0", m.InterfaceMatch("out", "eth0")),
    ("-p tcp", m.ProtocolMatch(6)),
    ("! -p udp", m.ProtocolMatch(17, True)),
    ("-p ! 132", m.ProtocolMatch(132, True)),
    ("-p all", m.ProtocolMatch(0)),
    ("-p ipv6-icmp", m.ProtocolMatch(58)),
    ("-f", m.FragmentMatch()),
    ("! -f", m.FragmentMatch(True)),
]

EXTENSIONS = [
    ("-m tcp --dport 80", ports("destination", 80)),
    ("-m tcp ! --dport 80", ports("destination", 80, negated=True)),
    ("-m tcp --dport ! 80", ports("destination", 80, negated=True)),
    ("-m tcp --sport 1024:65535", ports("source", 1024, 65535)),
    ("-m tcp --destination-port :1023", ports("destination", 0, 1023)),
    ("-m udp --source-port 53:", ports("source", 53, 65535)),
    ("-m udp --dport 0x35", ports("destination", 53)),
    ("-m udp --dport 010", ports("destination", 8)),
    ("-m udp --dport domain", ports("destination", 53)),
    ("-m sctp --dport 9", ports("destination", 9)),
    ("-m dccp --sport 9", ports("source", 9)),
    ("-m udplite --dport 9", ports("destination", 9)),
    ("-m tcp --syn", m.TcpFlagsMatch(0x17, 0x02)),
    ("-m tcp ! --syn", m.TcpFlagsMatch(0x17, 0x02, True)),
    ("-m tcp --tcp-flags FIN,SYN,RST,ACK SYN", m.TcpFlagsMatch(0x17, 0x02)),
    ("-m tcp ! --tcp-flags ALL NONE", m.TcpFlagsMatch(63, 0, True)),
    ("-m tcp --tcp-option 2", m.UnmodelledMatch("tcp/udp/sctp", "--tcp-option 2")),
    ("-m tcp ! --tcp-option 2", m.UnmodelledMatch("tcp/udp/sctp", "! --tcp-option 2")),
    ("-m sctp --chunk-types any INIT", m.UnmodelledMatch("tcp/udp/sctp", "--chunk-types any INIT")),
    ("-m icmp --icmp-type 8", m.IcmpTypeMatch(8, PortRange(0, 255))),
    ("-m icmp --icmp-type 3/4", m.IcmpTypeMatch(3, PortRange(4, 4))),
    ("-m icmp ! --icmp-type echo-request", m.IcmpTypeMatch(8, PortRange(0, 255), True)),
    ("-m icmp --icmp-type any", m.IcmpTypeMatch(None, PortRange(0, 255))),
    ("-m icmp --icmp-type 255", m.IcmpTypeMatch(None, PortRange(0, 255))),
    ("-m icmp6 --icmpv6-type 135", m.IcmpTypeMatch(135, PortRange(0, 255))),
    ("-m icmp6 --icmpv6-type port-unreachable", m.IcmpTypeMatch(1, PortRange(4, 4))),
    (
        "-m multiport --dports 80,443,8000:8080",
        m.PortsMatch("destination", (PortRange(80, 80), PortRange(443, 443), PortRange(8000, 8080)), False, True),
    ),
    ("-m multiport ! --sports 1,2", m.PortsMatch("source", (PortRange(1, 1), PortRange(2, 2)), True, True)),
    ("-m multiport --ports 53", m.PortsMatch("either", (PortRange(53, 53),), False, True)),
    ("-m addrtype --dst-type LOCAL", addrtype(destination_types=frozenset({"LOCAL"}))),
    ("-m addrtype ! --src-type LOCAL,UNICAST", addrtype(source_types=frozenset({"LOCAL", "UNICAST"}), source_negated=True)),
    ("-m addrtype --dst-type ! LOCAL", addrtype(destination_types=frozenset({"LOCAL"}), destination_negated=True)),
    ("-m addrtype --src-type LOCAL --limit-iface-in", addrtype(source_types=frozenset({"LOCAL"}), limit_in=True)),
    ("-m addrtype --src-type LOCAL --limit-iface-out", addrtype(source_types=frozenset({"LOCAL"}), limit_out=True)),
    ('-m comment --comment "a \\"b\\" \\\\ c"', m.CommentMatch('a "b" \\ c')),
    ("-m comment --comment plain", m.CommentMatch("plain")),
    ("-m comment --comment=inline", m.CommentMatch("inline")),
    ('-m comment --comment ""', m.CommentMatch("")),
    ('-m comment --comment "!"', m.CommentMatch("!")),
    ("-m conntrack --ctstate RELATED,ESTABLISHED", m.CtStateMatch(frozenset({"RELATED", "ESTABLISHED"}))),
    ("-m conntrack ! --ctstate INVALID", m.CtStateMatch(frozenset({"INVALID"}), True)),
    ("-m conntrack --ctstate ! DNAT", m.CtStateMatch(frozenset({"DNAT"}), True)),
    ("-m state --state NEW", m.CtStateMatch(frozenset({"NEW"}))),
    ("-m conntrack --ctstatus EXPECTED,ASSURED", m.CtStatusMatch(frozenset({"EXPECTED", "ASSURED"}))),
    ("-m conntrack --ctdir REPLY", m.CtDirectionMatch("REPLY")),
    ("-m conntrack --ctproto 6", m.CtProtocolMatch(6)),
    ("-m conntrack ! --ctorigdst 10.0.0.0/8", m.CtAddressMatch("orig", "destination", mask("10.0.0.0/8"), True)),
    ("-m conntrack --ctreplsrc 10.0.0.1", m.CtAddressMatch("repl", "source", mask("10.0.0.1"))),
    ("-m conntrack --ctorigdstport 80", m.CtPortMatch("orig", "destination", PortRange(80, 80))),
    ("-m conntrack --ctrepldstport 80:90", m.CtPortMatch("repl", "destination", PortRange(80, 90))),
    ("-m conntrack --ctexpire 10", m.UnmodelledMatch("conntrack", "--ctexpire 10")),
    ("-m mark --mark 0x4000/0x4000", m.MarkMatch(0x4000, 0x4000)),
    ("-m mark ! --mark 0x1", m.MarkMatch(1, FULL, True)),
    ("-m connmark --mark 0x80/0x80", m.MarkMatch(0x80, 0x80, False, True)),
    ("-m set --match-set A src,dst", m.SetMatch("A", ("src", "dst"))),
    ("-m set ! --match-set A src", m.SetMatch("A", ("src",), True)),
    ("-m set --match-set A src ! --update-counters", m.SetMatch("A", ("src",), False, ("! --update-counters",))),
    ("-m set --match-set A dst --packets-gt 9", m.SetMatch("A", ("dst",), False, ("--packets-gt 9",))),
    ("-m iprange --src-range 10.0.0.1-10.0.0.9", m.RangeMatch("source", 0x0A000001, 0x0A000009, 4)),
    (
        "-m iprange ! --dst-range fd00::1-fd00::9",
        m.RangeMatch("destination", int(ip_address("fd00::1")), int(ip_address("fd00::9")), 6, True),
    ),
    ("-m mac --mac-source AA:BB:CC:DD:EE:FF", m.MacMatch("aa:bb:cc:dd:ee:ff")),
    ("-m physdev --physdev-is-bridged", m.PhysdevMatch("is-bridged")),
    ("-m physdev ! --physdev-is-in", m.PhysdevMatch("is-in", "", True)),
    ("-m physdev --physdev-is-out", m.PhysdevMatch("is-out")),
    ("-m physdev --physdev-in veth+", m.PhysdevMatch("in", "veth+")),
    ("-m physdev --physdev-out veth1", m.PhysdevMatch("out", "veth1")),
    ("-m pkttype --pkt-type multicast", m.PkttypeMatch("multicast")),
    ("-m recent --set --name K --mask 255.255.255.255 --rsource", m.RecentMatch("set", "K")),
    ("-m recent --rcheck --seconds 10800 --reap --name K --mask 255.255.255.255 --rsource", m.RecentMatch("rcheck", "K", 10800)),
    (
        "-m recent ! --update --seconds 5 --hitcount 4 --rttl --name K --rdest",
        m.RecentMatch("update", "K", 5, 4, "destination", True, True),
    ),
    ("-m recent --remove", m.RecentMatch("remove", "DEFAULT")),
    ("-m statistic --mode random --probability 0.5", m.RandomMatch(Fraction(1, 2))),
    ("-m statistic --mode random ! --probability 0.33333333349", m.RandomMatch(Fraction(715827883, 1 << 31), True)),
    ("-m statistic --mode nth --every 3", m.NthMatch(3, 0)),
    ("-m statistic --mode nth --every 3 --packet 2", m.NthMatch(3, 2)),
    ("-m owner --uid-owner 1000", m.OwnerMatch("uid-owner", "1000")),
    ("-m owner ! --gid-owner 0-99", m.OwnerMatch("gid-owner", "0-99", True)),
    ("-m owner --socket-exists", m.OwnerMatch("socket-exists")),
    ("-m rpfilter --invert --validmark", m.RpfilterMatch(False, True, False, True)),
    ("-m rpfilter --loose --accept-local", m.RpfilterMatch(True, False, True, False)),
    ("-m nfacct --nfacct-name  ct_x", m.NfacctMatch("ct_x")),
    ("-m dscp --dscp 0x0a", m.HeaderMatch("dscp", 10, 10, 0x3F)),
    ("-m dscp ! --dscp-class EF", m.HeaderMatch("dscp", 46, 46, 0x3F, True)),
    ("-m tos --tos 0x10/0xff", m.TosMatch(0x10, 0xFF)),
    ("-m tos ! --tos 0xb8/0xfc", m.TosMatch(0xB8, 0xFC, True)),
    ("-m tos --tos 16", m.TosMatch(0x10, 0xFF)),
    ("-m tos --tos Minimize-Delay", m.TosMatch(0x10, 0x3F)),
    ("-m length --length 100:200", m.HeaderMatch("length", 100, 200)),
    ("-m length --length :200", m.HeaderMatch("length", 0, 200)),
    ("-m ttl --ttl-gt 1", m.HeaderMatch("ttl", 2, 255)),
    ("-m ttl --ttl-lt 5", m.HeaderMatch("ttl", 0, 4)),
    ("-m ttl ! --ttl-eq 5", m.HeaderMatch("ttl", 5, 5, FULL, True)),
    ("-m hl --hl-eq 255", m.HeaderMatch("ttl", 255, 255)),
    ("-m cgroup --path /kubepods", m.CgroupMatch("--path /kubepods")),
    ("-m cgroup --cgroup 1", m.CgroupMatch("--cgroup 1")),
]


@pytest.mark.parametrize(("text", "expected"), GENERAL + EXTENSIONS)
def test_match(text: str, expected: m.Match) -> None:
    assert one(text) == expected


def test_every_option_of_every_module_is_in_the_table() -> None:
    written = {word.partition("=")[0] for text, _ in EXTENSIONS for word in text.split()}
    left = {option for options, _ in match_options.MODULES.values() for option in options} - written
    synonyms = {"--source-ports", "--destination-ports", "--set", "--ttl"}
    like_others = {
        "--packets-eq",
        "--packets-lt",
        "--bytes-eq",
        "--bytes-lt",
        "--bytes-gt",
        "--hl-lt",
        "--hl-gt",
        "--dccp-types",
        "--dccp-option",
    }
    like_others |= {"--ctorigsrc", "--ctrepldst", "--ctorigsrcport", "--ctreplsrcport"}
    say_nothing_alone = {"--suppl-groups", "--update-subcounters", "--return-nomatch"}
    assert left <= synonyms | like_others | say_nothing_alone


IMPLICIT = [
    ("-p tcp --dport 80", (m.ProtocolMatch(6), ports("destination", 80))),
    ("-p 17 --sport 53", (m.ProtocolMatch(17), ports("source", 53))),
    ("-p icmp --icmp-type 8", (m.ProtocolMatch(1), m.IcmpTypeMatch(8, PortRange(0, 255)))),
    # As people and kube-proxy's own texts write it: the module first.
    (
        "-m tcp -p tcp -d 10.0.0.1 --dport 80",
        (ports("destination", 80), m.ProtocolMatch(6), m.AddressMatch("destination", mask("10.0.0.1"))),
    ),
    ("-m set --match-set A src -m set --match-set B dst", (m.SetMatch("A", ("src",)), m.SetMatch("B", ("dst",)))),
]


@pytest.mark.parametrize(("text", "expected"), IMPLICIT)
def test_several_matches(text: str, expected: tuple[m.Match, ...]) -> None:
    assert matches(text) == expected


@pytest.mark.parametrize("module", sorted(match_options.RECOGNISED))
def test_recognised_modules_keep_their_text(module: str) -> None:
    assert one(f"-m {module} ! --some 5/min --thing=x word -j ACCEPT") == m.UnmodelledMatch(module, "! --some 5/min --thing=x word")


def test_unknown_modules_keep_their_text_and_say_so() -> None:
    assert one("-m nosuch --x 1 -j ACCEPT") == m.UnmodelledMatch("nosuch", "--x 1", recognised=False)


NAT = m.NatRange
A, B = ip_address("10.1.1.1"), ip_address("10.1.1.9")
V6 = ip_address("fd00::1")
TARGETS = [
    ("-j ACCEPT", m.Accept()),
    ("-j DROP", m.Drop()),
    ("-j RETURN", m.Return()),
    ("", m.NoTarget()),
    ("-j KUBE-SVC-A", m.Jump("KUBE-SVC-A")),
    ("--jump web", m.Jump("web")),
    ("-g web", m.Jump("web", True)),
    ("--goto web", m.Jump("web", True)),
    ("-j REJECT", m.Reject("icmp-port-unreachable")),
    ("-j REJECT --reject-with tcp-reset", m.Reject("tcp-reset")),
    ("-j DNAT --to-destination 10.1.1.1:80", m.Dnat(NAT(A, A, PortRange(80, 80)))),
    ("-j DNAT --to-destination 10.1.1.1-10.1.1.9:80-90 --random", m.Dnat(NAT(A, B, PortRange(80, 90), True))),
    ("-j DNAT --to-destination [fd00::1]:80 --persistent", m.Dnat(NAT(V6, V6, PortRange(80, 80), False, True))),
    ("-j DNAT --to-destination [fd00::1]-[fd00::2]:80", m.Dnat(NAT(V6, ip_address("fd00::2"), PortRange(80, 80)))),
    ("-j DNAT --to-destination fd00::1", m.Dnat(NAT(V6, V6, None))),
    ("-j DNAT --to-destination :80", m.Dnat(NAT(None, None, PortRange(80, 80)))),
    ("-j DNAT --to-destination 10.1.1.1:80-90/8000", m.Dnat(NAT(A, A, PortRange(80, 90), base_port=8000))),
    ("-j SNAT --to-source 10.1.1.1 --random-fully", m.Snat(NAT(A, A, None, True))),
    ("-j MASQUERADE", m.Masquerade()),
    ("-j MASQUERADE --to-ports 1000-2000 --random", m.Masquerade(PortRange(1000, 2000), True)),
    ("-j REDIRECT --to-ports 15001", m.Redirect(PortRange(15001, 15001))),
    ("-j REDIRECT --random", m.Redirect(None, True)),
    ("-j NETMAP --to 10.5.0.0/16", m.Netmap(mask("10.5.0.0/16"))),
    ("-j MARK --set-xmark 0x4000/0x4000", m.SetMark(0x4000, 0x4000)),
    ("-j MARK --set-mark 0x1/0x2", m.SetMark(1, 3)),
    ("-j MARK --and-mark 0xff", m.SetMark(0, 0xFFFFFF00)),
    ("-j MARK --or-mark 0x4000", m.SetMark(0x4000, 0x4000)),
    ("-j MARK --xor-mark 0x4000", m.SetMark(0x4000, 0)),
    ("-j CONNMARK --set-xmark 0x1/0xff", m.SetMark(1, 0xFF, True)),
    ("-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xf0", m.CopyMark(True, 0xFF, 0xF0)),
    ("-j CONNMARK --restore-mark --mask 0xff", m.CopyMark(False, 0xFF, 0xFF)),
    ("-j CT --notrack", m.NoTrack()),
    ("-j NOTRACK", m.NoTrack()),
    ("-j CT --helper ftp", m.TrackTemplate()),
    ("-j CT --zone 5", m.UnmodelledTarget("CT", "--zone")),
    ("-j DSCP --set-dscp 0x0a", m.SetDscp(10)),
    ("-j DSCP --set-dscp-class EF", m.SetDscp(46)),
    ("-j TOS --set-tos 0x10/0xff", m.SetDscp(4, 0x3F)),
    ("-j TTL --ttl-set 64", m.SetTtl("set", 64)),
    ("-j TTL --ttl-dec 1", m.SetTtl("dec", 1)),
    ("-j HL --hl-inc 1", m.SetTtl("inc", 1)),
    ('-j LOG --log-prefix "DROP -d 1.2.3.4 " --log-level 7', m.NoEffect("LOG")),
    ("-j NFLOG --nflog-group 5 --nflog-prefix x", m.NoEffect("NFLOG")),
    ("-j TRACE", m.NoEffect("TRACE")),
    ("-j AUDIT --type accept", m.NoEffect("AUDIT")),
    ("-j CHECKSUM --checksum-fill", m.NoEffect("CHECKSUM")),
    ("-j CLASSIFY --set-class 1:1", m.NoEffect("CLASSIFY")),
    ("-j TCPMSS --clamp-mss-to-pmtu", m.NoEffect("TCPMSS")),
    ("-j TCPMSS --set-mss 1400", m.NoEffect("TCPMSS")),
    ("-j SET --add-set A src,dst --exist", m.SetChange("A", "--add-set A src,dst --exist", ("src", "dst"))),
]


@pytest.mark.parametrize(("text", "expected"), TARGETS)
def test_target(text: str, expected: m.Target) -> None:
    assert target(text) == expected


def test_every_target_is_in_the_table() -> None:
    named = {text.split()[1] for text, _ in TARGETS if text}
    assert set(target_options.TARGETS) - named <= {"ULOG", "TCPOPTSTRIP", "ECN", "SECMARK", "CONNSECMARK", "IDLETIMER", "TEE", "LED"}


@pytest.mark.parametrize("name", sorted(target_options.RECOGNISED))
def test_recognised_targets_keep_their_text(name: str) -> None:
    assert target(f"-j {name} --on-port 80 --flag word") == m.UnmodelledTarget(name, "--on-port 80 --flag word")


def test_matches_may_stand_behind_a_jump() -> None:
    rule = parse_rule("-A INPUT -j web -p tcp -m tcp --dport 80", 1, CHAINS)
    assert rule.target == m.Jump("web")
    assert rule.matches == (m.ProtocolMatch(6), ports("destination", 80))


def test_a_chain_may_be_called_like_nothing_else() -> None:
    assert parse_rule("-A INPUT -g DROPPED -m mark --mark 1", 1, CHAINS).matches == (m.MarkMatch(1, FULL),)


def test_rule_keeps_its_text_without_counters() -> None:
    line = '[12:345] -A web -m nfacct --nfacct-name  x -m comment --comment "a  b" -j RETURN'
    rule = parse_rule(line, 9, CHAINS)
    assert (rule.text, rule.line, rule.chain, rule.comment) == (line.removeprefix("[12:345] "), 9, "web", "a  b")


FAULTS = [
    # line, column, what the message says
    ("-A INPUT -s 10.0.0.300 -j DROP", 9, "not an address"),
    ("-A INPUT -s 10.0.0.0/33", 9, "not an address"),
    ("-A INPUT -d fd00::/129", 9, "not an address"),
    ("-A INPUT -p nosuch", 9, "not a number"),
    ("-A INPUT -p 256", 9, "larger than 255"),
    ("-A INPUT -m tcp --dport 70000", 9, "larger than 65535"),
    ("-A INPUT -m tcp --dport 90:80", 9, "empty"),
    ("-A INPUT -m tcp --dport 08", 9, "octal"),
    ("-A INPUT -m tcp --tcp-flags SYN,XYZ SYN", 9, "TCP flag"),
    ("-A INPUT -m tcp --nosuch 1", 16, "nothing here has the option"),
    ("-A INPUT -m addrtype --dst-type NOSUCH", 9, "address type"),
    ("-A INPUT -p tcp -m commen", 16, "no target follows: the line may be cut off"),
    ("-A INPUT -p tcp -j DNAT [unsupported revision]", 24, "is not an option"),
    ("-A INPUT -m conntrack --ctstate NOSUCH", 9, "conntrack state"),
    ("-A INPUT -m conntrack --ctdir SIDEWAYS", 9, "ORIGINAL"),
    ("-A INPUT -m statistic --mode random", 9, "probability"),
    ("-A INPUT -m statistic --mode random --probability 1.5", 9, "probability"),
    ("-A INPUT -m statistic --mode nth --every 0", 9, "--every"),
    ("-A INPUT -m recent --name x", 9, "recent needs"),
    ("-A INPUT -m set --match-set A up", 9, "src or dst"),
    ("-A INPUT -m pkttype --pkt-type host", 9, "packet type"),
    ("-A INPUT -m dscp --dscp 64", 9, "larger than 63"),
    ("-A INPUT -m tos --tos 0x100", 9, "larger than a byte"),
    ("-A INPUT -m tos --tos Minimise-Delay", 9, "not a number"),
    ("-A INPUT -m icmp --icmp-type nosuch", 9, "not a number"),
    ("-A INPUT -m iprange --src-range 10.0.0.9-10.0.0.1", 9, "address range"),
    ("-A INPUT -j NOSUCH", 12, "neither a chain"),
    ("-A INPUT -g ACCEPT", 12, "no chain"),
    ("-A INPUT -j DNAT", 12, "--to-destination is missing"),
    ("-A INPUT -j DNAT --to-destination [fd00::1", 12, "bracket"),
    ("-A INPUT -j DNAT --to-destination 10.0.0.1:99999", 12, "larger"),
    ("-A INPUT -j MARK", 12, "mark operation"),
    ("-A INPUT -j REJECT ! --reject-with tcp-reset", 12, "negate"),
    ("-A INPUT -j TTL", 12, "TTL operation"),
    ('-A INPUT -m comment --comment "open', 30, "quote"),
    ('-A INPUT -m comment --comment a"b', 30, "quote"),
    ("-A INPUT -m tcp --dport", 23, "missing"),
    ("-A INPUT -s", 11, "missing"),
    ("-A INPUT -m", 11, "missing"),
    ("-A INPUT stray -j DROP", 9, "not an option"),
    ("-A INPUT -m tcp stray", 16, "not an option"),
    ("-A INPUT -j web stray", 16, "not an option"),
    ("-A", 2, "chain"),
    ("-I INPUT -j DROP", 0, "-A is missing"),
    ("[5:6] -A INPUT -s x", 15, "not an address"),
]


@pytest.mark.parametrize(("line", "column", "message"), FAULTS)
def test_fault(line: str, column: int, message: str) -> None:
    with pytest.raises(ParseError) as error:
        parse_rule(line, 7, CHAINS, file="f")
    (fault,) = error.value.faults
    assert message in fault.message
    assert (fault.file, fault.line, fault.column, fault.text) == ("f", 7, column, line)
    shown = str(fault).splitlines()
    assert shown[-1].index("^") - 4 == column - max(0, column - 60)


def test_words_keep_columns_and_quotes() -> None:
    found = words('a  "b \\" c" d')
    assert [(w.text, w.column, w.quoted) for w in found] == [("a", 0, False), ('b " c', 3, True), ("d", 12, False)]


def test_strip_counters() -> None:
    assert strip_counters("[1:2] -A X") == "-A X"
    assert strip_counters("-A X [1:2] ") == "-A X [1:2] "


# -- properties -------------------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029\u0085"), max_size=40)


@given(TEXT)
def test_any_comment_comes_back(comment: str) -> None:
    quoted = '"' + comment.replace("\\", "\\\\").replace('"', '\\"') + '"'
    rule = parse_rule(f"-A INPUT -m comment --comment {quoted} -d 10.0.0.1/32 -j DROP", 1, CHAINS)
    assert rule.comment == comment
    assert rule.matches == (m.CommentMatch(comment), m.AddressMatch("destination", mask("10.0.0.1")))


PIECES = [text for text, _ in GENERAL[::3] + EXTENSIONS[::4]] + [text for text, _ in TARGETS[::4]]


@given(st.text() | st.lists(st.sampled_from([*" ".join(PIECES).split(), "!", '"', "\\", "-A", "="]), max_size=15).map(" ".join))
def test_any_line_parses_or_is_refused(tail: str) -> None:
    try:
        rule = parse_rule(f"-A INPUT {tail}", 1, CHAINS)
    except ParseError as error:
        assert error.faults[0].column is not None
    else:
        assert rule.chain == "INPUT"


TEXTS = [
    f"-A INPUT {text}"
    for text in ("-j web", "-g web", "-s 10.0.0.1/32 -j DROP", "-j LOG --log-level 4", "-m recent --set", "-j MARK --set-mark 1", "-p tcp")
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_rule_that_was_read_before_is_read_alike_in_any_table(text: str) -> None:
    """Another node has it in another line, behind counters, or in a table with other chains: where its target is a chain, or is none."""
    words_of = {"web", "DROP", "LOG", "MARK", "INPUT"}

    def read(line: str, number: int, chains: frozenset[str]) -> object:
        try:
            return parse_rule(line, number, chains)
        except ParseError as error:
            return str(error), error.faults

    asked = [
        (f"{counters}{text}", number, frozenset(chains))
        for chains in ({"INPUT"}, {"INPUT", "web"}, words_of)
        for number, counters in ((7, ""), (9, "[1:60] "))
    ]
    fresh = []
    for line, number, chains in asked:
        rule_text._READ._held.clear()
        fresh.append(read(line, number, chains))
    assert [read(*one) for one in (*asked, *reversed(asked))] == [*fresh, *reversed(fresh)]
