"""The listings beside IPVS's virtual servers: counters in their three forms, connections, and the templates of persistent clients."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tracer.ipvs.ipvsadm_list import Counters, parse_connections, parse_counters, with_counters
from tracer.ipvs.ipvsadm_save import parse_virtual_servers
from tracer.packet import Protocol

LISTED = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 rr
  -> 10.1.0.1:8080                Masq    1      3          7
  -> 10.1.0.2:8080                Masq    1      12K        2M
UDP  [fd00::1]:53 rr
  -> [fd00:1::1]:53               Masq    1      0          4G
SCTP 10.0.0.1:9 rr
  -> 10.1.0.1:9                   Masq    1      1T         0
FWM  7 wlc
  -> 10.1.0.3:0                   Masq    1      5          6
FWM  7 IPv6 wlc
"""
STATS = """\
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.0.0.1:80                         9       80       70     6000     5000
  -> 10.1.0.1:8080                       8       40       35     3000     2500
"""
PERSISTENT = """\
Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn
  -> RemoteAddress:Port
TCP  10.0.0.1:80 rr persistent 60
  -> 10.1.0.1:8080                1         2           3          4
"""


def test_a_plain_listing_counts_connections_that_are_open_and_that_are_not():
    assert parse_counters(LISTED) == {
        ("TCP", "10.0.0.1:80", "10.1.0.1:8080"): Counters(active=3, inactive=7),
        ("TCP", "10.0.0.1:80", "10.1.0.2:8080"): Counters(active=12_000, inactive=2_000_000),
        ("UDP", "[fd00::1]:53", "[fd00:1::1]:53"): Counters(active=0, inactive=4_000_000_000),
        ("SCTP", "10.0.0.1:9", "10.1.0.1:9"): Counters(active=1_000_000_000_000, inactive=0),
        ("FWM", "7", "10.1.0.3:0"): Counters(active=5, inactive=6),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (STATS, Counters(connections=8)),
        (PERSISTENT, Counters(persistent=2, active=3, inactive=4)),
        # What is cut off, or no number, counts nothing.
        (PERSISTENT.replace("1         2           3          4", "3          4"), Counters()),
        (LISTED.replace("Masq    1      3          7", "7"), Counters()),
        (LISTED.replace("Masq    1      3          7", "3 7"), Counters(active=3, inactive=7)),
        (LISTED.replace("      3          7", "      many       7"), Counters(active=None, inactive=7)),
        (LISTED.replace("      3          7", "      3Q         7x"), Counters()),
        (LISTED.replace(" ActiveConn InActConn", ""), Counters()),
        (STATS.replace("8       40       35     3000     2500", ""), Counters()),
    ],
)
def test_the_heading_says_which_column_is_which(text: str, expected: Counters):
    assert parse_counters(text).get(("TCP", "10.0.0.1:80", "10.1.0.1:8080")) == expected


def test_counters_go_to_the_real_server_of_their_own_virtual_server():
    saved = (
        "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m\n-a -t 10.0.0.1:80 -r 10.1.0.9:8080 -m\n"
        "-A -u 10.0.0.1:80 -s rr\n-a -u 10.0.0.1:80 -r 10.1.0.1:8080 -m\n"
        "-A -u [fd00::1]:53 -s rr\n-a -u [fd00::1]:53 -r [fd00:1::1]:53 -m\n"
        "-A -f 7 -s rr\n-a -f 7 -r 10.1.0.3:0 -m\n-A -f 8 -s rr\n-a -f 8 -r 10.1.0.3:0 -m\n"
    )
    servers, faults = parse_virtual_servers(saved, "save")
    assert faults == ()
    counted = with_counters(servers, parse_counters(LISTED))
    assert [[(r.active, r.inactive) for r in s.real_servers] for s in counted] == [
        [(3, 7), (None, None)],
        [(None, None)],
        [(0, 4_000_000_000)],
        [(5, 6)],
        [(None, None)],
    ]
    assert tuple(replace(s, real_servers=()) for s in counted) == tuple(replace(s, real_servers=()) for s in servers)


CONNECTIONS = """\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:57  ESTABLISHED 10.9.0.1:51234     10.0.0.1:80        10.1.0.1:8080
TCP 01:02  NONE        10.9.0.1:0         10.0.0.1:80        10.1.0.1:8080
UDP 00:05  UDP         [fd00:9::1]:7      [fd00::1]:53       [fd00:1::1]:53
IP  02:57  NONE        10.9.0.0:0         0.0.0.7:0          10.1.0.3:0
TCP 14:57  ESTABLISHED 10.9.0.1.5:1       10.0.0.1:80        10.1.0.1:8080
TCP 14:57  ESTABLISHED 10.9.0.1:1         web:80             10.1.0.1:8080
TCP 14:57  ESTABLISHED 10.9.0.1:1         10.0.0.1:80        [zz]:8080
SCTP 00:10 ESTABLISHED 10.9.0.2:5         10.0.0.1:9         10.1.0.1:9
"""


def test_connections_are_read_and_what_is_none_is_passed_over():
    found = list(parse_connections(CONNECTIONS))
    assert [(c.line, c.protocol, c.state, c.expires, c.is_template) for c in found] == [
        (3, Protocol.TCP, "ESTABLISHED", 897, False),
        (4, Protocol.TCP, "NONE", 62, True),
        (5, Protocol.UDP, "UDP", 5, False),
        (6, None, "NONE", 177, True),
        (10, Protocol.SCTP, "ESTABLISHED", 10, False),
    ]
    assert (found[0].source, found[0].virtual, found[0].real) == (
        (ip_address("10.9.0.1"), 51234),
        (ip_address("10.0.0.1"), 80),
        (ip_address("10.1.0.1"), 8080),
    )
    assert found[2].source == (ip_address("fd00:9::1"), 7)


# As ip_vs_conn_seq_show() prints it (net/netfilter/ipvs/ip_vs_conn.c): IPv4 by ntohl, IPv6 by %pI6, the time left in seconds.
KERNELS = """\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP 0A090001 C822 0A000001 0050 0A010001 1F90 ESTABLISHED     897
IP  0A090001 0000 0A000001 0050 0A010001 1F90 NONE             62
UDP fd00:0009:0000:0000:0000:0000:0000:0001 0007 fd00:0000:0000:0000:0000:0000:0000:0001 0035 fd00:0001:0000:0000:0000:0000:0000:0001 0035 UDP               5
TCP 0A090001 C822 0A000001
"""


@pytest.mark.parametrize("around", ["{}", "/ # cat /proc/net/ip_vs_conn\n{}/ # \n"])
def test_the_kernels_own_list_says_the_same(around: str):
    found = list(parse_connections(around.format(KERNELS)))
    assert [(c.protocol, c.state, c.expires, c.is_template) for c in found] == [
        (Protocol.TCP, "ESTABLISHED", 897, False),
        (None, "NONE", 62, True),
        (Protocol.UDP, "UDP", 5, False),
    ]
    assert found[0].source == (ip_address("10.9.0.1"), 51234)
    assert (found[1].virtual, found[1].real) == ((ip_address("10.0.0.1"), 80), (ip_address("10.1.0.1"), 8080))
    assert found[2].real == (ip_address("fd00:1::1"), 53)


def test_a_template_pins_its_own_client_to_its_own_server_only():
    saved = "-A -t 10.0.0.1:80 -s rr -p 60\n-A -t 10.0.0.1:81 -s rr -p 60\n-A -u 10.0.0.1:80 -s rr -p 60\n-A -f 7 -s rr -p 60\n"
    own, other_port, other_protocol, marked = parse_virtual_servers(saved, "save")[0]
    connection, template, _, of_mark, _ = parse_connections(CONNECTIONS)
    client = ip_address("10.9.0.1")
    assert template.pins(own, client)
    assert not template.pins(own, ip_address("10.9.0.2"))
    assert not template.pins(other_port, client)
    assert not template.pins(other_protocol, client)
    assert not connection.pins(own, client)
    assert not of_mark.pins(marked, ip_address("10.9.0.0"))
