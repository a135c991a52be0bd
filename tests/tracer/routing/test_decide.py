"""Which route of a table wins: next hops that cannot be used, metrics, sources, suppressed groups; and what a device tells of itself."""

from __future__ import annotations

import json
from ipaddress import IPv6Address, ip_address

import pytest

from tracer.routing import InterfaceAddress, Routing, kernel_default
from tracer.routing.parse import parse_links
from tracer.routing.source import select_address6

GATEWAYS = {4: "10.0.0.{}", 6: "fd00::{}"}
DESTINATIONS = {4: ("10.9.0.0/16", "10.0.0.0/8", "10.9.0.1"), 6: ("fd09::/32", "fd00::/8", "fd09::1")}
Json = dict[str, object]


ADDRESSES = [
    {"ifname": "lo", "flags": ["LOOPBACK", "UP"], "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {
        "ifname": "eth0",
        "flags": ["UP"],
        "addr_info": [
            {"family": "inet", "local": "10.0.0.1", "prefixlen": 24, "scope": "global"},
            {"family": "inet6", "local": "fd00::1", "prefixlen": 64, "scope": "global"},
        ],
    },
]


def stack(version: int, routes: list[Json], sysctl: str = "", **texts: str) -> Routing:
    name = "ip_route" if version == 4 else "ip6_route"
    return Routing.from_texts(
        "n", **{name: json.dumps([{"flags": [], "dev": "eth0", **r} for r in routes])}, sysctl=sysctl or None, **texts
    )


def way(version: int, last: int, *flags: str, dst: str = "", **more: object) -> Json:
    return {"dst": dst or DESTINATIONS[version][0], "gateway": GATEWAYS[version].format(last), "flags": [*flags], **more}


def taken(version: int, routes: list[Json], sysctl: str = "", **question: object) -> list[str]:
    found = stack(version, routes, sysctl).lookup(ip_address(DESTINATIONS[version][2]), **question)  # type: ignore[arg-type]
    return [str(result.next_hop).rpartition("." if version == 4 else ":")[2] if result.gateway else result.kind.value for result in found]


IGNORED = "net.ipv4.conf.eth0.ignore_routes_with_linkdown = 1\nnet.ipv6.conf.eth0.ignore_routes_with_linkdown = 1\n"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("first", "sysctl", "expected"),
    [
        ((), "", ["2"]),
        (("dead",), "", ["3"]),
        (("linkdown",), "", ["2"]),
        (("linkdown",), IGNORED, ["3"]),
        (("dead", "linkdown"), "", ["3"]),
    ],
)
def test_a_next_hop_that_cannot_be_used_leaves_its_part_to_the_next_route(
    version: int, first: tuple[str, ...], sysctl: str, expected: list[str]
) -> None:
    # … of the same prefix by its metric, and of a shorter prefix.
    assert taken(version, [way(version, 2, *first, metric=10), way(version, 3, metric=20)], sysctl) == expected
    assert taken(version, [way(version, 2, *first), way(version, 3, dst=DESTINATIONS[version][1])], sysctl) == expected


@pytest.mark.parametrize("version", [4, 6])
def test_without_a_usable_next_hop_there_is_no_way(version: int) -> None:
    assert taken(version, [way(version, 2, "dead"), way(version, 3, "dead", metric=2048)]) in (["none"], ["unreachable"])


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("metrics", "expected"), [((10, 20, 30), ["2"]), ((30, 20, 10), ["4"]), ((20, 10, 30), ["3"])])
def test_the_smallest_metric_wins_wherever_it_stands(version: int, metrics: tuple[int, ...], expected: list[str]) -> None:
    assert taken(version, [way(version, n, metric=metric) for n, metric in enumerate(metrics, 2)]) == expected


@pytest.mark.parametrize(
    ("dst", "routes", "source", "expected"),
    [
        # The default route is where every descent ends: its route for all sources is found although another is for certain ones.
        ("default", [("fd01::/16", 2), (None, 3)], "fd01::9", ["2"]),
        ("default", [("fd01::/16", 2), (None, 3)], "fd02::9", ["3"]),
        ("default", [("fd01::/16", 2)], "fd02::9", ["none"]),
        # A longer prefix with routes for certain sources hides its own route for all of them, unless the search comes back.
        ("fd09::/32", [("fd01::/16", 2), (None, 3)], "fd01::9", ["2"]),
        ("fd09::/32", [(None, 3)], "fd02::9", ["3"]),
    ],
)
def test_routes_for_certain_sources(dst: str, routes: list[tuple[str | None, int]], source: str, expected: list[str]) -> None:
    made = [way(6, n, dst=dst) | ({"from": prefix} if prefix else {}) for prefix, n in routes]
    found = taken(6, made, source=ip_address(source))
    assert found == expected or (expected == ["none"] and found == ["unreachable"])


@pytest.mark.parametrize(
    ("address", "types", "expected"),
    [
        ("::", ["UNICAST"], False),  # the unspecified address
        ("::", ["UNSPEC"], True),
        ("::1", ["UNICAST"], True),
        ("fd00::9", ["UNICAST"], True),
        ("fd00::9", ["UNSPEC"], False),
        ("ff02::1", ["UNICAST"], False),
        ("ff02::1", ["MULTICAST"], True),
        ("fd00::9", ["MULTICAST"], False),
        ("::ffff:10.0.0.1", ["UNICAST"], False),  # ipv6_addr_type() calls a mapped address neither
    ],
)
def test_the_types_of_ipv6_addresses_to_a_match(address: str, types: list[str], *, expected: bool) -> None:
    """Source: match_type6() in xt_addrtype.c, __ipv6_addr_type()."""
    assert stack(6, [way(6, 2, dst="default")], ip_addr=json.dumps(ADDRESSES)).has_address_type(ip_address(address), types) is expected


@pytest.mark.parametrize(("version", "name"), [(4, "nf_call_iptables"), (6, "nf_call_ip6tables")])
@pytest.mark.parametrize("value", [0, 1])
def test_what_a_bridge_says_of_one_family_is_no_word_on_the_other(version: int, name: str, value: int) -> None:
    link = {"ifindex": 2, "ifname": "cbr0", "flags": ["UP"], "linkinfo": {"info_kind": "bridge", "info_data": {name: value}}}
    (found,) = parse_links(json.dumps([link]))
    assert (found.nf_call_iptables, found.nf_call_ip6tables) == ((bool(value), None) if version == 4 else (None, bool(value)))


@pytest.mark.parametrize(("kind", "hairpin"), [("bridge", True), ("bond", None), ("vrf", None), (None, None)])
def test_only_a_port_of_a_bridge_has_a_hairpin_mode(kind: str | None, hairpin: bool | None) -> None:
    detail = {"info_kind": "veth", "info_slave_data": {"hairpin": True}} | ({"info_slave_kind": kind} if kind else {})
    (found,) = parse_links(json.dumps([{"ifindex": 2, "ifname": "veth1", "flags": ["UP"], "master": "m0", "linkinfo": detail}]))
    assert found.bridge_hairpin is hairpin


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ({"fd00::1": {}}, "fd00::1"),
        ({"::": {}, "fd00::1": {}}, "fd00::1"),
        ({"::": {}}, None),
        ({"ff02::9": {}}, None),
        ({"fd00::1": {"tentative": True}}, None),
        ({"fd00::1": {"tentative": True, "optimistic": True}}, "fd00::1"),
    ],
)
def test_which_addresses_a_packet_may_be_sent_from(addresses: dict[str, dict[str, bool]], expected: str | None) -> None:
    """Source: ipv6_dev_get_saddr: no tentative, multicast or unspecified address."""
    held = [InterfaceAddress(address=ip_address(a), prefix=64, device="eth0", **flags) for a, flags in addresses.items()]
    found = select_address6({"eth0": held}, "eth0", IPv6Address("2001:db8::9"))
    assert (None if found is None else str(found)) == expected


def test_what_a_vxlan_device_says() -> None:
    detail = {"info_kind": "vxlan", "info_data": {"id": 7, "local": "10.0.0.1", "port": 4789}}
    vxlan, plain = parse_links(
        json.dumps([{"ifindex": 2, "ifname": "vx", "flags": [], "linkinfo": detail}, {"ifindex": 3, "ifname": "eth0", "flags": []}])
    )
    assert (vxlan.tunnel_id, str(vxlan.tunnel_local), vxlan.tunnel_port) == (7, "10.0.0.1", 4789)
    assert (plain.tunnel_id, plain.tunnel_local, plain.tunnel_port) == (None, None, None)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("10.0.0.1", "local"),
        ("10.0.0.255", "broadcast"),
        ("10.0.0.9", "unicast"),
        ("127.0.0.9", "local"),
        ("fd00::1", "local"),
        ("fd00::9", "unicast"),
        ("ff05::1", "multicast"),
    ],
)
def test_addresses_alone_tell_the_routes_that_the_kernel_makes_of_them(address: str, kind: str) -> None:
    routing = Routing.from_texts("n", ip_addr=json.dumps([{"ifindex": n, **a} for n, a in enumerate(ADDRESSES, 1)]))
    (result,) = routing.lookup(ip_address(address))
    assert result.kind.value == kind
    made = [r for r in routing.routes(ip_address(address).version) if r.type.value == kind and ip_address(address) in r.destination]
    assert made, "a route of its own"
    assert all(r.inferred for r in made)


def test_the_defaults_of_a_fresh_network_namespace() -> None:
    """Source: Documentation/networking/ip-sysctl.rst."""
    assert (kernel_default("net.ipv4.ip_local_port_range") or "").split() == ["32768", "60999"]
    for version, name in ((4, "forwarding"), (6, "forwarding"), (4, "rp_filter"), (4, "accept_local"), (4, "route_localnet")):
        assert kernel_default(f"net.ipv{version}.conf.eth0.{name}") == "0"
    assert kernel_default("net.bridge.bridge-nf-call-iptables") == kernel_default("net.bridge.bridge-nf-call-ip6tables") == "1"
    assert kernel_default("net.ipv6.ip_local_port_range") is None
