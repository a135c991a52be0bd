"""Statements and expressions of native rules: what each parses to, how it is printed back, and what is refused.

The rules are of the kinds that kube-proxy, kindnet, Docker, Calico, firewalld and service meshes write.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from tracer.errors import ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_print import rule_text
from tracer.netfilter.nft_rule_line import without_counts
from tracer.netfilter.nft_statements import parse_statements
from tracer.netfilter.nft_text import parse_text

# kube-proxy
KUBE_PROXY = """
ct state new jump firewall-check
ip daddr @cluster-ips ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x00004000 comment "masquerade clusterIP traffic from outside cluster"
ip daddr . meta l4proto . th dport vmap @service-ips
ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
meta mark & 0x00004000 != 0x00000000 meta mark set meta mark ^ 0x00004000 masquerade fully-random
ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.1.4 . 8080, 1 : 10.244.3.11 . 8080 }
fib saddr type local goto service-HEMXEPKN-staging/demo-app-local/tcp/http comment "short-circuit local traffic"
ip saddr != { 172.18.0.0/16, 198.51.100.13, 203.0.113.128/25 } drop
update @affinity-DEE742AA-production/backend-api/tcp/http__10.244.1.5/8080 { ip saddr }
numgen random mod 2 vmap { 0 : goto endpoint-A/tcp/http__10.244.1.5/8080, 1 : goto endpoint-B/tcp/http__10.244.2.7/8080 }
meta l4proto tcp dnat to 10.244.1.5:8080
"""
# kindnet, Docker, Calico, firewalld, meshes
OTHERS = """
meta mark 0x0000006e udp sport 53 notrack
ip saddr 10.0.0.0/24 ip daddr @set-v4-nameservers udp dport 53 queue flags bypass to 103
iifname != @kindnet-set-devices return
ct state established ct packets > 0 flow add @kindnet-flowtables counter packets 0 bytes 0
ct label 28 ct state established,related counter packets 0 bytes 0 accept
ct label set 28
ip daddr != 127.0.0.0/8 fib daddr type local counter packets 3 bytes 180 jump nat-prerouting-and-output
oifname vmap @filter-forward-in-jumps
iifname != "bridge1" tcp dport 8080 counter packets 0 bytes 0 dnat to 192.0.2.2:80 comment "DNAT"
oifname != "docker0" ip saddr 172.17.0.0/16 counter packets 1 bytes 60 masquerade comment "MASQUERADE"
meta mark & 0x00020000 == 0x00000000 counter packets 0 bytes 0 log prefix "DPI|default" group 1 snaplen 80
ip saddr @cali40masq-ipam-pools ip daddr != @cali40all-ipam-pools masquerade fully-random
meta mark set meta mark & 0xfffcffff
ct mark set ct mark | 0x10000000
ct mark set meta mark
ct state { established, related } accept
ct state vmap { established : accept, related : accept, invalid : drop }
reject with icmpx admin-prohibited
reject with icmpx type admin-prohibited
reject with tcp reset
ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002::/24 } reject with icmpv6 addr-unreachable
meta nfproto ipv6 fib saddr . mark . iif oif missing drop
icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
udp sport 53 ct helper set "ftp"
ct event set new,destroy
meta l4proto tcp socket transparent 1 meta mark set 0x00000200 accept
socket cgroupv2 level 2 "system.slice/x" accept
meta l4proto tcp tproxy to 127.0.0.1:15001 meta mark set 0x00000200 accept
tcp flags syn tcp option maxseg size set rt mtu
tcp flags syn / syn,rst tcp option maxseg size set 1400
tcp flags != syn | ack ct state new drop
tcp flags == syn accept
icmp type echo-request limit rate 2/second burst 2 packets accept
limit rate over 10 mbytes/second drop
tcp dport 22 ct state new meter ssh_meter { ip saddr limit rate 5/minute burst 3 packets } accept
tcp dport 22 ct count over 15 drop
ct state new add @connlimit_v4 { ip saddr ct count over 111 } reject with tcp reset
tcp dport 22 add @blacklist { ip saddr timeout 5m } drop
delete @seen { ip saddr . tcp dport }
ip saddr . ip daddr vmap { 10.0.0.1 . 10.0.0.2 : accept, 10.0.0.3 . 10.0.0.4 : jump x }
ip daddr vmap { 10.0.0.0/8 : accept, 192.0.2.1-192.0.2.9 : jump x, * : drop }
numgen inc mod 3 offset 1 vmap { 1 : goto a, 2 : goto b }
jhash ip saddr . ip daddr mod 2 seed 0x5 offset 1 vmap { 1 : goto a, 2 : goto b }
symhash mod 2 vmap { 0 : goto a, 1 : goto b }
meta mark set ip saddr map { 10.0.0.1 : 0x00000001, 10.0.0.2 : 0x00000002 }
dnat ip prefix to ip daddr map { 10.0.0.0/24 : 192.168.0.0/24 }
dnat to ip daddr . tcp dport map @dnats
redirect to :8080
meta l4proto tcp dnat to 10.0.0.1-10.0.0.9:8080-8090 random,persistent
tcp dport 80 dnat to [fd00::1]:8080
snat to [fd00::1]-[fd00::9]:1000-2000
masquerade to :1024-65535
tcp dport { 22, 80-90, 443 } accept
th dport 53 accept
ip dscp cs1 ip dscp set ef
ip ttl < 5 drop
meta length > 1000 drop
meta pkttype host accept
iif "lo" accept
iifname { "lo", "eth*" } accept
ct original ip daddr 10.0.0.1 ct reply proto-src 80 ct direction reply accept
ct mark & 0x0000ff00 != 0x00000000 accept
ip saddr & 255.255.0.255 == 10.1.0.2 accept
@th,16,16 0x35 accept
rt ip nexthop 10.0.0.1 accept
ipsec in reqid 5 accept
exthdr frag exists drop
meta hour "08:00"-"17:00" accept
meta day { "Monday", "Friday" } accept
quota over 10 mbytes used 20 bytes drop
counter name "web" accept
last used never
log prefix "x: " level warn flags all
log flags tcp sequence,options prefix "y"
dup to 10.0.0.1 device "eth0"
meta priority set 1:2
meta nftrace set 1
xt match "set" accept
continue
"""


def _rules(text: str) -> list[str]:
    return [line for line in text.strip().splitlines() if line]


@pytest.mark.parametrize("rule", _rules(KUBE_PROXY) + _rules(OTHERS))
def test_rule_is_printed_as_it_stood(rule: str) -> None:
    statements, comment = parse_statements(rule, "ip")
    assert rule_text(statements, comment, "ip") == without_counts(rule)


@pytest.mark.parametrize("rule", _rules(KUBE_PROXY))
def test_kube_proxy_writes_nothing_without_a_model(rule: str) -> None:
    statements, _ = parse_statements(rule, "ip")
    assert not [s for s in statements if isinstance(s, n.UnmodelledMatch | n.UnmodelledStatement | n.Harmless)]


M, P, C = n.Meta, n.Payload, n.Compare
ROWS: list[tuple[str, tuple[n.Statement, ...]]] = [
    ("tcp dport 80", (C("==", P("tcp", "dport"), 80),)),
    ("tcp dport http", (C("==", P("tcp", "dport"), 80),)),
    (
        "ip daddr . tcp dport { 10.0.0.1 . https }",
        (C("==", n.Concat((P("ip", "daddr"), P("tcp", "dport"))), n.SetLiteral((n.Element(n.Concat((IPv4Address("10.0.0.1"), 443))),))),),
    ),
    ("tcp dport != 1-1024", (C("!=", P("tcp", "dport"), n.Interval(1, 1024)),)),
    ("ip daddr 10.0.0.0/8", (C("==", P("ip", "daddr"), n.Prefix(IPv4Address("10.0.0.0"), 8)),)),
    ("ip6 daddr ::1", (C("==", P("ip6", "daddr"), IPv6Address("::1")),)),
    ("iifname eth0", (C("==", M("iifname"), n.Word("eth0")),)),
    ('iifname "eth0"', (C("==", M("iifname"), n.Word("eth0", True)),)),
    ("meta mark 0x4000", (C("==", M("mark"), 0x4000),)),
    ("meta mark and 0x4000 == 0x4000", (C("==", n.Binary("&", M("mark"), 0x4000), 0x4000),)),
    ("mark set mark or 1", (n.Assign(M("mark"), n.Binary("|", M("mark"), 1)),)),
    ("ct state new,related", (C("in", n.Ct("state"), n.Binary("|", n.Word("new"), n.Word("related"))),)),
    ("ct state != new", (C("!=", n.Ct("state"), n.Word("new")),)),
    ("tcp flags syn", (C("in", P("tcp", "flags"), 2),)),
    ("tcp flags & (syn|ack) == syn", (C("==", n.Binary("&", P("tcp", "flags"), n.Binary("|", 2, 16)), 2),)),
    ("ip dscp cs1", (C("==", P("ip", "dscp"), 8),)),
    ("meta pkttype unicast", (C("==", M("pkttype"), n.Word("host")),)),
    ("numgen random mod 3 0", (C("==", n.Numgen("random", 3), 0),)),
    ("fib daddr . iif type local", (C("==", n.Fib(("daddr", "iif"), "type"), n.Word("local")),)),
    ("reject", (n.Reject("icmp-port-unreachable"),)),
    ("reject with icmp host-unreachable", (n.Reject("icmp-host-unreachable", "with icmp host-unreachable"),)),
    ("goto x", (n.Verdict(n.VerdictValue("goto", "x")),)),
    ("add @s { ip saddr timeout 1h30m }", (n.SetUpdate("add", "s", P("ip", "saddr"), 5400),)),
    ("dnat to :80", (n.Nat("dnat", None, 80),)),
    ("snat to 10.0.0.1-10.0.0.2", (n.Nat("snat", n.Interval(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"))),)),
    ("queue num 3 bypass", (n.UnmodelledStatement("queue", "queue num 3 bypass"),)),
    ("socket transparent 1", (C("==", n.UnmodelledExpression("socket", "socket transparent"), 1),)),
]


@pytest.mark.parametrize(("rule", "expected"), ROWS)
def test_rule_parses_to(rule: str, expected: tuple[n.Statement, ...]) -> None:
    assert parse_statements(rule, "ip") == (expected, None)


@pytest.mark.parametrize(
    ("family", "expected"), [("ip", "icmp-port-unreachable"), ("ip6", "icmp6-port-unreachable"), ("inet", "icmp-port-unreachable")]
)
def test_plain_reject_depends_on_the_table(family: str, expected: str) -> None:
    (reject,), _ = parse_statements("reject", family)
    assert reject == n.Reject(expected)


REFUSED = [
    ("foobar 5 accept", 0),
    ("ip saddr", 8),
    ("ip saddr 10.0.0.1 unknownstatement", 18),
    ("10.0.0.1 accept", 0),
    ("tcp dport 80 dnat", 17),
    ("reject with icmp teapot", 23),
    ("ip daddr vmap 5", 15),
    ("ip daddr { 10.0.0.1", 19),
    ("numgen random mod 0 0", 20),
    ('comment "open', 8),
    ("update set { ip saddr }", 11),
    ("ip saddr $clients accept", 18),
    ("ip daddr { 10.0.0.1, web1 } accept", 28),
    ("ip daddr . tcp dport vmap { 10.0.0.1 . nosuch : accept }", 56),
    ("tcp dport nosuchservice accept", 24),
]


@pytest.mark.parametrize(("rule", "column"), REFUSED)
def test_what_is_not_known_is_a_fault_with_its_place(rule: str, column: int) -> None:
    with pytest.raises(ParseError) as caught:
        parse_statements(rule, "ip")
    assert caught.value.faults[0].column == column


@pytest.mark.parametrize(
    "rule",
    [
        "meta l4proto tc accept",
        "meta l4proto { tcp, ud } accept",
        "ip protocol upd accept",
        "ct state nw accept",
        "ct state established,relatd accept",
        "ct status dnt accept",
        "ct direction orig accept",
        "meta nfproto ipv5 accept",
        "meta pkttype unicst accept",
        "fib daddr type locl accept",
        "daddr . meta l4proto . th dport vmap @s",
    ],
)
def test_a_word_that_its_type_does_not_have_is_never_taken_for_one_that_does_not_match(rule: str) -> None:
    found = parse_text(f"table ip t {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n", "f")
    assert found.tables[0].chains["c"].rules[0].fault


@pytest.mark.parametrize("rule", ["meta l4proto ospf accept", "meta l4proto { esp, 132, ipv6-icmp } accept", "ip protocol vrrp accept"])
def test_protocols_that_are_not_traced_are_words_of_their_type(rule: str) -> None:
    found = parse_text(f"table ip t {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n", "f")
    assert not found.tables[0].chains["c"].rules[0].fault
