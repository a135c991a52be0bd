"""Ways of a node of which only the objects tell: its own addresses, its pods, other nodes' pods, and everything else, in both families."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from tracer.routing.placed import IPVS_DUMMY, POD_SIDE, UPLINK, PlacedRouting, Placement

OWN = {4: "192.168.0.11", 6: "fd00:192::b"}
OTHER = {4: ("10.1.2.0/24", "192.168.0.12"), 6: ("fd00:1:2::/64", "fd00:192::c")}
PLACES = {
    4: {"own": "192.168.0.11", "pod": "10.1.1.2", "network": "10.1.1.9", "other": "10.1.2.9", "away": "203.0.113.9", "served": "10.96.0.10", "lo": "127.0.0.1"},
    6: {"own": "fd00:192::b", "pod": "fd00:1:1::2", "network": "fd00:1:1::9", "other": "fd00:1:2::9", "away": "2001:db8::9", "served": "fd00:96::a", "lo": "::1"},
}  # fmt: skip


def placed() -> PlacedRouting:
    placement = Placement(
        addresses=tuple(map(ip_address, OWN.values())),
        networks=(ip_network("10.1.1.0/24"), ip_network("fd00:1:1::/64")),
        others=lambda: [(ip_network(network), ip_address(node)) for network, node in OTHER.values()],
        served=(ip_address("10.96.0.10"), ip_address("fd00:96::a")),
        is_pod_here=lambda address: str(address) in ("10.1.1.2", "fd00:1:1::2"),
    )
    return PlacedRouting("n1", placement, texts={})


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("place", "kind", "device"),
    [
        ("own", "local", "lo"),
        ("served", "local", "lo"),
        ("lo", "local", "lo"),
        ("pod", "unicast", POD_SIDE),
        ("network", "unknown", None),
        ("other", "unicast", UPLINK),
        ("away", "unicast", UPLINK),
    ],
)
def test_where_a_packet_goes(version: int, place: str, kind: str, device: str | None) -> None:
    (result,) = placed().lookup(ip_address(PLACES[version][place]))
    assert result.kind.value == kind
    if device is not None:
        assert result.device == device
    assert (str(result.gateway) if result.gateway else None) == (OTHER[version][1] if place == "other" else None)


@pytest.mark.parametrize("version", [4, 6])
def test_the_nodes_own_address_is_what_it_sends_to_the_network_from(version: int) -> None:
    routing = placed()
    for place, expected in (("away", OWN[version]), ("other", OWN[version]), ("pod", None)):
        address = ip_address(PLACES[version][place])
        (result,) = routing.lookup(address)
        found = routing.source_address(result, address)
        assert (str(found) if found else None) == expected, place
    assert routing.device_of(ip_address(PLACES[version]["served"])) == IPVS_DUMMY
