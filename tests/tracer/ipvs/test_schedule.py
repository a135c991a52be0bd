"""Which real server a scheduler takes, with which share, and on what that rests."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.ipvs.ipvsadm_list import parse_connections, parse_counters, with_counters
from tracer.ipvs.ipvsadm_save import parse_virtual_servers
from tracer.ipvs.model import RealServer, VirtualServer
from tracer.ipvs.schedule import choices
from tracer.packet import Protocol

# (weight, active, inactive) a real server; its address ends in its place
Reals = list[tuple[int, int | None, int | None]]


def server(scheduler: str, reals: Reals, *flags: str) -> VirtualServer:
    found = tuple(
        RealServer(address=ip_address(f"10.1.0.{place}"), port=80, weight=weight, active=active, inactive=inactive)
        for place, (weight, active, inactive) in enumerate(reals, 1)
    )
    return VirtualServer(
        protocol=Protocol.TCP, address=ip_address("10.0.0.1"), port=80, scheduler=scheduler, flags=flags, real_servers=found
    )


def shares(made: VirtualServer) -> dict[int | None, Fraction]:
    return {c.real_server and int(c.real_server.address) & 0xFF: c.share for c in choices(made)}


THIRD, HALF = Fraction(1, 3), Fraction(1, 2)


@pytest.mark.parametrize(
    ("scheduler", "reals", "flags", "expected", "sure"),
    [
        ("rr", [(1, None, None)] * 3, (), {1: THIRD, 2: THIRD, 3: THIRD}, True),
        ("rr", [(1, None, None), (0, 5, 5), (9, None, None)], (), {1: HALF, 3: HALF}, True),
        ("wrr", [(1, None, None), (2, None, None)], (), {1: THIRD, 2: Fraction(2, 3)}, True),
        ("rr", [(0, 1, 1)], (), {None: 1}, True),
        ("rr", [], (), {None: 1}, True),
        ("lc", [(1, 3, 0), (1, 2, 9)], (), {2: 1}, True),
        ("lc", [(1, 3, 300), (1, 4, 0)], (), {2: 1}, True),
        ("lc", [(1, 2, 0), (1, 2, 0), (1, 3, 0)], (), {1: HALF, 2: HALF}, False),
        ("lc", [(1, None, None), (1, 0, 0)], (), {1: HALF, 2: HALF}, False),
        ("wlc", [(1, 2, 0), (4, 4, 0)], (), {2: 1}, True),
        ("sed", [(1, 0, 0), (3, 1, 0)], (), {2: 1}, True),
        ("nq", [(1, 0, 0), (3, 1, 0)], (), {1: 1}, True),
        ("nq", [(1, 1, 0), (3, 1, 0)], (), {2: 1}, True),
        ("fo", [(1, 0, 0), (3, 1, 0)], (), {2: 1}, True),
        ("sh", [(1, None, None)] * 2, (), {1: HALF, 2: HALF}, False),
        ("sh", [(1, None, None)], (), {1: 1}, True),
        ("sh", [(1, None, None), (0, None, None)], (), {1: HALF, None: HALF}, False),
        ("sh", [(1, None, None), (0, None, None)], ("sh-fallback",), {1: 1}, True),
        ("dh", [(1, None, None)] * 2, (), {1: HALF, 2: HALF}, False),
        ("mh", [(1, None, None), (0, None, None)], (), {1: HALF, None: HALF}, False),
        ("mh", [(1, None, None), (0, None, None)], ("mh-fallback",), {1: 1}, True),
        ("lblc", [(1, 0, 0), (1, 5, 5)], (), {1: HALF, 2: HALF}, False),
        ("own", [(1, 0, 0), (1, 5, 5)], (), {1: HALF, 2: HALF}, False),
    ],
)
def test_choices(scheduler: str, reals: Reals, flags: tuple[str, ...], expected: dict[int | None, Fraction], sure: bool):
    made = server(scheduler, reals, *flags)
    assert shares(made) == expected
    assert all(c.condition is None for c in choices(made)) is sure


@given(
    st.sampled_from(["rr", "wrr", "lc", "wlc", "sed", "nq", "sh", "dh", "mh", "lblc", "lblcr", "fo", "ovf", "twos"]),
    st.lists(st.tuples(st.integers(0, 3), st.none() | st.integers(0, 3), st.integers(0, 3)), max_size=5),
)
def test_shares_sum_to_one_and_drained_servers_get_nothing(scheduler: str, reals: Reals):
    found = choices(server(scheduler, reals))
    assert sum(c.share for c in found) == 1
    assert all(c.real_server is None or c.real_server.weight > 0 for c in found)


LISTED = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 lc persistent 10800
  -> 10.1.0.1:80                  Masq    1      3          0
  -> 10.1.0.2:80                  Masq    1      2          12K
FWM  7 rr
  -> [fd00::1]:80                 Route   1      0          4
"""


def test_counters_of_the_listing():
    found = parse_counters(LISTED)
    assert (found["TCP", "10.0.0.1:80", "10.1.0.2:80"].active, found["TCP", "10.0.0.1:80", "10.1.0.2:80"].inactive) == (2, 12000)
    assert found["FWM", "7", "[fd00::1]:80"].inactive == 4
    servers, _ = parse_virtual_servers(
        "-A -t 10.0.0.1:80 -s lc\n-a -t 10.0.0.1:80 -r 10.1.0.1:80 -m -w 1\n-a -t 10.0.0.1:80 -r 10.1.0.2:80 -m -w 1\n", "save"
    )
    (counted,) = with_counters(servers, found)
    assert shares(counted) == {1: 1}  # 768 against 512 + 12000


def test_counters_of_stats_and_persistence():
    stats = (
        "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n"
        "TCP  10.0.0.1:80                         9        0        0        0        0\n"
        "  -> 10.1.0.1:80                         7        0        0        0        0\n"
    )
    assert parse_counters(stats)["TCP", "10.0.0.1:80", "10.1.0.1:80"].connections == 7
    persistent = (
        "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  -> RemoteAddress:Port\n"
        "TCP  10.0.0.1:80 rr\n  -> 10.1.0.1:80              1         5           4          3         \n"
    )
    found = parse_counters(persistent)["TCP", "10.0.0.1:80", "10.1.0.1:80"]
    assert (found.persistent, found.active, found.inactive) == (5, 4, 3)


def test_connections():
    text = (
        "IPVS connection entries\npro expire state       source             virtual            destination\n"
        "TCP 14:57  ESTABLISHED 10.244.1.3:40000   10.96.0.1:443      172.18.0.2:6443\n"
        "TCP 180:00 NONE        10.244.1.3:0       10.96.149.2:80     10.244.1.5:8080\n"
        "UDP 05:00  UDP         [fd00::3]:999      [fd00::1]:53       [fd00::2]:53\n"
    )
    first, template, udp = parse_connections(text)
    assert (first.state, first.expires, first.source, first.is_template, first.line) == (
        "ESTABLISHED",
        897,
        (ip_address("10.244.1.3"), 40000),
        False,
        3,
    )
    assert template.is_template
    assert (udp.protocol, udp.real) == (Protocol.UDP, (ip_address("fd00::2"), 53))
