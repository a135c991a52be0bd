"""Look-ups, source addresses and address types on small stacks written by hand; the kernel's own word is in test_routing_kernel."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.packet import Protocol
from tracer.routing import ResultKind, Routing, SourceCheck, kernel_default

LOCAL = {"protocol": "kernel", "table": "local", "type": "local", "scope": "host"}
ROUTES = [
    {"dst": "default", "gateway": "10.0.0.254", "dev": "eth0"},
    {"dst": "10.0.0.0/24", "dev": "eth0", "scope": "link", "prefsrc": "10.0.0.1"},
    {"dst": "10.1.0.0/16", "gateway": "10.0.0.2", "dev": "eth0", "metric": 20},
    {"dst": "10.1.0.0/16", "gateway": "10.0.0.3", "dev": "eth0", "metric": 10},
    {"dst": "10.1.5.0/24", "type": "blackhole"},
    {"dst": "10.1.6.0/24", "type": "throw", "table": "100"},
    {"dst": "10.1.0.0/16", "type": "prohibit", "table": "100"},
    {"dst": "10.2.0.0/16", "encap": "mpls", "gateway": "10.0.0.4", "dev": "eth0"},
    {
        "dst": "10.3.0.0/16",
        "nexthops": [{"gateway": "10.0.0.5", "dev": "eth0", "weight": 3}, {"gateway": "10.0.0.6", "dev": "eth0", "weight": 1}],
    },
    {"dst": "10.0.0.1", "dev": "eth0", "prefsrc": "10.0.0.1", **LOCAL},
    {"dst": "127.0.0.0/8", "dev": "lo", "prefsrc": "127.0.0.1", **LOCAL},
    {"dst": "10.0.0.255", "dev": "eth0", "scope": "link", "table": "local", "type": "broadcast", "prefsrc": "10.0.0.1"},
]
ADDRESSES = [
    {
        "ifindex": 1,
        "ifname": "lo",
        "flags": ["LOOPBACK", "UP"],
        "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}],
    },
    {
        "ifindex": 2,
        "ifname": "eth0",
        "flags": ["UP", "LOWER_UP"],
        "addr_info": [
            {"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "scope": "global"},
            {"family": "inet", "local": "192.168.7.1", "prefixlen": 24, "scope": "global"},
            {"family": "inet", "local": "10.0.0.7", "prefixlen": 24, "scope": "global", "secondary": True},
        ],
    },
]
RULES = [{"priority": 0, "src": "all", "table": "local"}, {"priority": 32766, "src": "all", "table": "main"}]


def stack(rules: list[dict[str, object]] | None = None, sysctl: str | None = None, **more: str) -> Routing:
    texts = {"ip_route": json.dumps([{"flags": [], **route} for route in ROUTES]), "ip_addr": json.dumps(ADDRESSES), **more}
    return Routing.from_texts("n", **texts, ip_rule=None if rules is None else json.dumps([*RULES, *rules]), sysctl=sysctl)


@pytest.mark.parametrize(
    ("destination", "kind", "device", "next_hop", "source"),
    [
        ("8.8.8.8", "unicast", "eth0", "10.0.0.254", "10.0.0.1"),
        ("10.0.0.9", "unicast", "eth0", "10.0.0.9", "10.0.0.1"),
        ("10.1.1.1", "unicast", "eth0", "10.0.0.3", "10.0.0.1"),
        ("10.1.5.1", "blackhole", None, "10.1.5.1", None),
        ("10.2.0.1", "unknown", None, "10.2.0.1", None),
        ("10.0.0.1", "local", "lo", "10.0.0.1", "10.0.0.1"),
        ("127.9.9.9", "local", "lo", "127.9.9.9", "127.0.0.1"),
        ("10.0.0.255", "broadcast", "eth0", "10.0.0.255", "10.0.0.1"),
        ("255.255.255.255", "broadcast", "eth0", "255.255.255.255", "10.0.0.1"),
        ("239.1.1.1", "multicast", "eth0", "239.1.1.1", "10.0.0.1"),
    ],
)
def test_lookup(destination: str, kind: str, device: str | None, next_hop: str, source: str | None) -> None:
    [result] = stack().lookup(ip_address(destination))
    found = (result.kind.value, result.device, str(result.next_hop), None if result.source is None else str(result.source))
    assert found == (kind, device, next_hop, source)
    if result.source is not None:
        assert stack().source_address(result, ip_address(destination)) == result.source


def test_multipath_gives_every_way_its_odds() -> None:
    ways = stack().lookup(ip_address("10.3.0.1"))
    assert [(str(way.gateway), way.share) for way in ways] == [("10.0.0.5", Fraction(3, 4)), ("10.0.0.6", Fraction(1, 4))]


@pytest.mark.parametrize(
    ("rule", "question", "kind"),
    [
        ({"priority": 5, "fwmark": "0x1", "action": "blackhole"}, {"mark": 1}, "blackhole"),
        ({"priority": 5, "fwmark": "0x1", "action": "blackhole"}, {"mark": 2}, "unicast"),
        ({"priority": 5, "not": None, "fwmark": "0x1", "action": "blackhole"}, {"mark": 2}, "blackhole"),
        ({"priority": 5, "src": "10.9.0.0", "srclen": 16, "table": "100"}, {"source": ip_address("10.9.1.1")}, "prohibit"),
        ({"priority": 5, "iif": "lo", "table": "100"}, {}, "prohibit"),
        ({"priority": 5, "iif": "lo", "table": "100"}, {"iif": "eth0"}, "unicast"),
        ({"priority": 5, "ipproto": "udp", "table": "100"}, {"protocol": Protocol.UDP}, "prohibit"),
        ({"priority": 5, "ipproto": "udp", "table": "100"}, {"protocol": Protocol.TCP}, "unicast"),
        ({"priority": 5, "ipproto": "udp", "table": "100"}, {}, "unknown"),
        ({"priority": 5, "ipproto": "udp", "table": "main"}, {}, "unicast"),
        ({"priority": 5, "quantum": 1, "table": "100"}, {}, "unknown"),
        ({"priority": 5, "goto": 32766}, {}, "unicast"),
        ({"priority": 5, "goto": 99}, {}, "unicast"),
        ({"priority": 5, "table": "100", "suppress_prefixlen": 16}, {}, "prohibit"),
        ({"priority": 5, "table": "main", "suppress_prefixlen": 16}, {}, "unicast"),
    ],
)
def test_rules(rule: dict[str, object], question: dict[str, object], kind: str) -> None:
    [result] = stack([{"src": "all", **rule}]).lookup(ip_address("10.1.1.1"), **question)
    assert result.kind.value == kind, result
    assert bool(result.unknown_reason) == (kind == "unknown")


def test_throw_goes_on_with_the_next_rule() -> None:
    [result] = stack([{"priority": 5, "src": "all", "table": "100"}]).lookup(ip_address("10.1.6.1"))
    assert (result.kind, result.table) == (ResultKind.UNICAST, "main")


def test_many_unknown_rules_stay_linear() -> None:
    rules = [{"priority": 10 + n, "src": "all", "ipproto": "udp", "table": "100" if n % 2 else "main"} for n in range(3000)]
    assert stack(rules).lookup(ip_address("10.1.1.1"))[0].kind is ResultKind.UNKNOWN


@pytest.mark.parametrize(
    ("destination", "expected"),
    [("10.0.0.9", "10.0.0.1"), ("192.168.7.9", "10.0.0.1"), ("8.8.8.8", "10.0.0.1")],
)
def test_masquerade_prefers_the_next_hops_subnet(destination: str, expected: str) -> None:
    to = ip_address(destination)
    [result] = stack().lookup(to, source=ip_address("10.244.0.5"), iif="cni0")
    assert str(stack().masquerade_address("eth0", result, to)) == expected


def test_masquerade_takes_the_address_of_the_on_link_subnet() -> None:
    routes = json.dumps([{"dst": "192.168.7.0/24", "dev": "eth0", "scope": "link", "flags": []}])
    routing = stack(ip_route=routes)
    to = ip_address("192.168.7.9")
    assert str(routing.masquerade_address("eth0", routing.lookup(to, iif="cni0")[0], to)) == "192.168.7.1"
    assert routing.masquerade_address("none", routing.lookup(to, iif="cni0")[0], to) == ip_address("10.0.0.1")


def test_without_routes_only_addresses_speak() -> None:
    routing = Routing.from_texts("n", ip_addr=json.dumps(ADDRESSES))
    assert set(routing.missing) == {"ip_link", "ip_route", "ip6_route", "ip_rule", "ip6_rule", "sysctl"}
    [near], [own], [far] = (routing.lookup(ip_address(a)) for a in ("10.0.0.9", "10.0.0.1", "8.8.8.8"))
    assert (near.kind, near.device, near.inferred) == (ResultKind.UNICAST, "eth0", True)
    assert (own.kind, own.inferred) == (ResultKind.LOCAL, True)
    assert far.kind is ResultKind.UNKNOWN and "not recorded" in (far.unknown_reason or "")


def test_ipv6_routes_are_not_counted_twice() -> None:
    both = json.dumps(
        [{"dst": "fd00::/64", "dev": "eth0", "flags": [], "pref": "medium"}, {"dst": "10.0.0.0/8", "dev": "eth0", "flags": []}]
    )
    six = json.dumps([{"dst": "fd00::/64", "dev": "eth0", "flags": [], "pref": "medium"}])
    for stack, version in (
        (Routing.from_texts("n", ip_route=both, ip6_route=six), 6),
        (Routing.from_texts("n", ip_route=both), 6),
        (Routing.from_texts("n", ip_route=both), 4),
    ):
        assert sum(route.table == "main" for route in stack.routes(version)) == 1


def test_loopback_sources_leave_only_with_route_localnet() -> None:
    to, source = ip_address("10.0.0.9"), ip_address("127.0.0.1")
    closed = stack(sysctl="net.ipv4.conf.all.route_localnet = 0\n")
    assert [way.kind for way in closed.lookup(to, source=source)] == [ResultKind.INVALID]
    unrecorded = [(way.kind, way.supposes and way.supposes.is_set, way.share) for way in stack().lookup(to, source=source)]
    assert unrecorded == [(ResultKind.UNICAST, True, Fraction(1, 2)), (ResultKind.INVALID, False, Fraction(1, 2))]
    open_ = stack(sysctl="net.ipv4.conf.all.route_localnet = 1\nnet.ipv4.conf.eth0.route_localnet = 0\n")
    assert open_.lookup(to, source=source)[0].kind is ResultKind.UNICAST


@pytest.mark.parametrize(
    ("address", "type_"),
    [
        ("10.0.0.1", "LOCAL"),
        ("127.3.3.3", "LOCAL"),
        ("8.8.8.8", "UNICAST"),
        ("10.0.0.255", "BROADCAST"),
        ("224.0.0.1", "MULTICAST"),
        ("0.0.0.0", "BROADCAST"),
    ],
)
def test_address_types(address: str, type_: str) -> None:
    routing = stack()
    assert routing.address_type(ip_address(address)) == type_
    assert routing.has_address_type(ip_address(address), [type_]) is True
    assert routing.is_local(ip_address(address)) == (type_ == "LOCAL")
    assert routing.address_type(ip_address("10.0.0.1"), "lo") == "UNICAST"


def test_unrecorded_sysctls_are_none_and_validation_says_what_it_assumed() -> None:
    routing = stack()
    nothing = [
        routing.forwarding(4),
        routing.rp_filter("eth0"),
        routing.accept_local("eth0"),
        routing.route_localnet("eth0"),
        routing.bridge_nf_call(4),
    ]
    assert nothing == [None] * 5
    assert routing.local_port_range is None
    assert kernel_default("net.ipv4.conf.eth0.rp_filter") == "0"
    verdict = routing.validate_source(ip_address("10.0.0.1"), "eth0", ip_address("10.0.0.1"))
    assert verdict.check is SourceCheck.MARTIAN_SOURCE
    assert "net.ipv4.conf.eth0.accept_local" in verdict.assumed


def test_recorded_sysctls() -> None:
    text = "net.ipv4.conf.all.rp_filter = 0\nnet.ipv4.conf.eth0.rp_filter = 2\nnet.ipv4.ip_forward = 1\nnet.ipv4.ip_local_port_range = 32768\t60999\n"
    routing = stack(sysctl=text + "net.ipv4.conf.eth0/5.rp_filter = 1\nnet.bridge.bridge-nf-call-iptables = 1\n")
    assert (routing.rp_filter("eth0"), routing.rp_filter("eth0.5"), routing.rp_filter("eth1")) == (2, 1, None)
    assert routing.forwarding(4, "eth9") is True
    assert routing.local_port_range == (32768, 60999)
    assert routing.bridge_nf_call(4) is True


STRICT = "net.ipv4.conf.all.rp_filter = 1\n"
ELSEWHERE = {"priority": 1536, "src": "10.0.0.1", "table": "2"}


@pytest.mark.parametrize(
    ("rules", "routes", "said"),
    [
        (None, [], "is not through eth0 (strict rp_filter): route '203.0.113.0/24 via 10.9.0.254 dev eth1'"),
        (
            [ELSEWHERE],
            [{"dst": "default", "gateway": "10.9.0.254", "dev": "eth1", "table": "2"}],
            "is not through eth0 (strict rp_filter): route 'default via 10.9.0.254 dev eth1 table 2', by policy rule '1536: from 10.0.0.1",
        ),
        (
            [{"priority": 100, "src": "10.0.0.1", "action": "prohibit"}],
            [],
            "there is no route back to 203.0.113.9: policy rule '100: from 10.0.0.1",
        ),
        (
            [ELSEWHERE],
            [{"type": "blackhole", "dst": "default", "table": "2"}],
            "there is no route back to 203.0.113.9: route 'blackhole default table 2', by policy rule '1536",
        ),
    ],
)
def test_the_reverse_path_filter_names_what_sends_the_way_back_elsewhere(
    rules: list[dict[str, object]] | None, routes: list[dict[str, object]], said: str
) -> None:
    if rules is None:
        routes = [{"dst": "203.0.113.0/24", "gateway": "10.9.0.254", "dev": "eth1"}]
    more = json.dumps([{"flags": [], **route} for route in [*ROUTES, *routes]])
    text = json.dumps(ADDRESSES)
    policy = None if rules is None else json.dumps([*RULES, *rules])
    routing = Routing.from_texts("n", ip_route=more, ip_addr=text, ip_rule=policy, sysctl=STRICT)
    verdict = routing.validate_source(ip_address("203.0.113.9"), "eth0", ip_address("10.0.0.1"))
    assert verdict.check is SourceCheck.RP_FILTER
    assert said in verdict.reason


ROUTE = st.builds(
    lambda number, length, gateway: {
        "dst": f"{IPv4Address(number >> (32 - length) << (32 - length) if length else 0)}/{length}",
        "gateway": gateway,
        "dev": "e",
    },
    st.integers(0, 2**32 - 1).map(lambda n: n & 0x0F0F0F0F),
    st.integers(0, 32),
    st.integers(1, 2**31).map(lambda n: str(IPv4Address(n))),
)


@given(st.lists(ROUTE, min_size=1, max_size=12), st.integers(0, 2**32 - 1).map(lambda n: n & 0x0F0F0F0F or 1))
def test_longest_prefix_equals_the_plain_search(entries: list[dict[str, str]], number: int) -> None:
    routing = Routing.from_texts("n", ip_route=json.dumps([{"flags": [], **entry} for entry in entries]))
    [result] = routing.lookup(IPv4Address(number), iif="x")
    covering = [route for route in routing.routes(4) if IPv4Address(number) in route.destination]
    longest = max((route.destination.prefixlen for route in covering), default=None)
    if longest is None:
        assert result.kind is ResultKind.NONE
    elif longest == 0 and sum(route.destination.prefixlen == 0 for route in covering) > 1:
        assert result.kind is ResultKind.UNKNOWN  # the neighbours decide
    else:
        assert result.route == next(route for route in covering if route.destination.prefixlen == longest)


def test_ten_thousand_routes_are_no_slower_to_ask() -> None:
    many = [{"dst": f"10.{n >> 8}.{n & 255}.0/24", "gateway": "10.0.0.1", "dev": "eth0", "flags": []} for n in range(10_000)]
    slow, fast = (Routing.from_texts("n", ip_route=json.dumps(entries)) for entries in (many, many[:10]))

    def cost(routing: Routing) -> float:
        routing.lookup(ip_address("10.0.5.1"), iif="x")
        best = []
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(100):
                routing.lookup(ip_address("10.0.5.1"), iif="x")
            best.append(time.perf_counter() - start)
        return min(best)

    assert cost(slow) < 3 * cost(fast)
