"""What a facet of a node's routing takes for another value, in both families, and what it leaves to others."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tracer.explain.dependencies.facets import Facet, differs
from tracer.explain.dependencies.routing_facets import (
    HOLDING_FILES,
    ROUTING_FILES,
    Common,
    Covering,
    Device,
    Devices,
    Holding,
    Neighbouring,
)

EMPTY_RULES = '[{"priority": 0, "src": "all", "table": "local"}]'


def texts() -> dict[str, str]:
    made = MadeCluster(cni="bridge")
    made.pod("web-1", 1)
    made.node(1).sysctl |= {
        "net.ipv4.conf.eth0.rp_filter": "2",
        "net.ipv4.conf.eth0/7.rp_filter": "2",
        "net.netfilter.nf_conntrack_count": "5",
    }
    found = {path.rpartition("/")[2]: text.decode() for path, text in made.files().items() if path.startswith("nodes/n1/")}
    addresses = json.loads(found["ip-addr.json"])
    addresses.append({"ifindex": 9, "ifname": "kube-ipvs0", "flags": ["NOARP"], "addr_info": []})
    links = json.loads(found["ip-link.json"])
    links.append({"ifindex": 9, "ifname": "kube-ipvs0", "flags": ["NOARP"], "mtu": 1500, "linkinfo": {"info_kind": "dummy"}})
    for name in ("ip-route.json", "ip6-route.json"):
        local = [r | {"protocol": "kernel"} if r.get("type") == "local" else r for r in json.loads(found[name])]
        found[name] = json.dumps(local)
    neighbours = [{"dst": "10.7.0.1", "dev": "cbr0", "lladdr": "02:00:00:00:00:01", "state": ["STALE"]}]
    return found | {"ip-addr.json": json.dumps(addresses), "ip-link.json": json.dumps(links), "ip-neigh.json": json.dumps(neighbours)}


TEXTS = texts()


def held(device: str, address: str, bits: int, **more: object) -> str:
    """ip-addr.json with one address more."""
    entries = json.loads(TEXTS["ip-addr.json"])
    entry = next(e for e in entries if e["ifname"] == device)
    family = "inet6" if ":" in address else "inet"
    entry["addr_info"].append({"family": family, "local": address, "prefixlen": bits, "scope": "global"} | more)
    return json.dumps(entries)


def linked(device: str, **other: object) -> str:
    """ip-link.json where one device is otherwise."""
    entries: list[dict[str, Any]] = json.loads(TEXTS["ip-link.json"])
    return json.dumps([e | other if e["ifname"] == device else e for e in entries])


def routed(name: str, **more: object) -> str:
    """A family's routes and one more, in front."""
    return json.dumps([more, *json.loads(TEXTS[name])])


def set_to(key: str, value: str) -> str:
    lines = [line for line in TEXTS["sysctl.txt"].splitlines() if not line.startswith(f"{key} ")]
    return "\n".join([*lines, f"{key} = {value}", ""])


V4, V6 = ip_address("10.7.0.1"), ip_address("fd00:7::1")
ROWS: list[tuple[Facet, str, str, bool]] = [
    # What all look-ups share.
    (Common(), "ip-rule.json", EMPTY_RULES, True),
    (Common(), "ip6-rule.json", EMPTY_RULES, True),
    (Common(), "ip-addr.json", held("eth0", "10.7.0.1", 32), True),
    (Common(), "ip-addr.json", held("eth0", "fd00:7::1", 128), True),
    (Common(), "ip-addr.json", held("eth0", "fe80::7", 64), False),
    (Common(), "ip-addr.json", "[", True),
    (Common(), "ip-link.json", linked("eth0", mtu=1400), False),
    (Common(), "ip-route.json", routed("ip-route.json", dst="10.7.0.0/16", gateway="192.168.0.9", dev="eth0", flags=[]), False),
    (Common(), "ip-route.json", routed("ip-route.json", type="local", dst="10.7.0.1", dev="eth0", table="local", flags=[]), True),
    (Common(), "ip6-route.json", routed("ip6-route.json", type="local", dst="fd00:7::1", dev="eth0", table="local", flags=[]), True),
    (Common(), "ip6-route.json", "[", True),
    (Common(), "sysctl.txt", set_to("net.ipv4.ip_forward", "0"), True),
    (Common(), "sysctl.txt", set_to("net.ipv4.conf.all.rp_filter", "2"), True),
    (Common(), "sysctl.txt", set_to("net.ipv6.conf.default.forwarding", "1"), True),
    (Common(), "sysctl.txt", set_to("net.ipv4.conf.eth0.rp_filter", "0"), False),
    (Common(), "sysctl.txt", set_to("net.ipv6.conf.eth0.forwarding", "0"), False),
    (Common(), "sysctl.txt", set_to("net.netfilter.nf_conntrack_count", "6"), False),
    (Common(), "sysctl.txt", set_to("net.netfilter.nf_conntrack_max", "6"), True),
    # The routes to an address, of its family, in whatever table.
    (Covering(V4), "ip-route.json", routed("ip-route.json", dst="10.7.0.0/16", gateway="192.168.0.9", dev="eth0", flags=[]), True),
    (Covering(V4), "ip-route.json", routed("ip-route.json", dst="10.7.0.0/16", table="7", dev="eth0", flags=[]), True),
    (Covering(V4), "ip-route.json", routed("ip-route.json", dst="10.8.0.0/16", gateway="192.168.0.9", dev="eth0", flags=[]), False),
    (Covering(V6), "ip6-route.json", routed("ip6-route.json", dst="fd00:7::/64", gateway="fd00:192::9", dev="eth0", flags=[]), True),
    (Covering(V6), "ip6-route.json", routed("ip6-route.json", dst="fd00:8::/64", gateway="fd00:192::9", dev="eth0", flags=[]), False),
    (Covering(V6), "ip-route.json", routed("ip-route.json", dst="10.7.0.0/16", gateway="192.168.0.9", dev="eth0", flags=[]), False),
    # A device: its link, its ports, its addresses, its settings under either spelling.
    (Device("eth0"), "ip-addr.json", held("eth0", "fe80::7", 64), True),
    (Device("eth0"), "ip-addr.json", held("cbr0", "10.7.0.1", 32), False),
    (Device("eth0"), "ip-link.json", linked("eth0", mtu=1400), True),
    (Device("eth0"), "ip-link.json", linked("cbr0", flags=[]), False),
    (Device("cbr0"), "ip-link.json", linked("vethweb1", flags=[]), True),
    (Device("cbr0"), "ip-link.json", linked("vethweb1", master="other0"), True),
    (Device("eth0"), "sysctl.txt", set_to("net.ipv4.conf.eth0.rp_filter", "0"), True),
    (Device("eth0"), "sysctl.txt", set_to("net.ipv6.conf.eth0.forwarding", "0"), True),
    (Device("eth0"), "sysctl.txt", set_to("net.ipv4.conf.cbr0.rp_filter", "0"), False),
    (Device("eth0.7"), "sysctl.txt", set_to("net.ipv4.conf.eth0/7.rp_filter", "0"), True),
    (Device("eth0.7"), "sysctl.txt", set_to("net.ipv4.conf.eth0.rp_filter", "0"), False),
    # All devices.
    (Devices(), "ip-addr.json", held("eth0", "fe80::7", 64), True),
    (Devices(), "ip-link.json", linked("eth0", flags=[]), True),
    (Devices(), "sysctl.txt", set_to("net.ipv4.conf.eth0.rp_filter", "0"), False),
    # Who holds an address; a device that stands for no link of the node is told apart.
    (Holding(V4), "ip-addr.json", held("eth0", "10.7.0.1", 32), True),
    (Holding(V4), "ip-addr.json", held("eth0", "10.7.0.2", 32), False),
    (Holding(V6), "ip-addr.json", held("cbr0", "fd00:7::1", 128), True),
    (Holding(V4), "ip-link.json", linked("kube-ipvs0", linkinfo={"info_kind": "veth"}), True),
    (Holding(V4), "ip-link.json", linked("eth0", flags=["LOOPBACK", "UP", "LOWER_UP"], link_type="loopback"), True),
    (Holding(V4), "ip-link.json", linked("eth0", mtu=1400), False),
    # Who has an address on the links.
    (Neighbouring(V4), "ip-neigh.json", json.dumps([{"dst": str(V4), "dev": "cbr0", "state": ["FAILED"]}]), True),
    (Neighbouring(V6), "ip-neigh.json", json.dumps([{"dst": str(V4), "dev": "cbr0", "state": ["FAILED"]}]), False),
]


@pytest.mark.parametrize(("facet", "name", "after", "expected"), ROWS, ids=lambda v: str(v)[:30])
def test_which_changes_are_another_value(facet: Facet, name: str, after: str, expected: bool) -> None:
    assert differs(facet, TEXTS[name].encode(), after.encode(), name) is expected


@pytest.mark.parametrize("name", ROUTING_FILES)
def test_every_routing_file_is_read_as_itself(name: str) -> None:
    """Each content means what its file says: routes of the other family, or rules for addresses, would be nothing."""
    assert set(TEXTS) >= {*ROUTING_FILES, *HOLDING_FILES}
    content = TEXTS[name].encode()
    nothing = b"[]" if name.endswith(".json") else b"x = 1\n"
    address = V6 if name.startswith("ip6") else V4
    asked = {
        "ip-link.json": Devices(),
        "ip-route.json": Covering(address),
        "ip6-route.json": Covering(address),
        "ip-neigh.json": Neighbouring(V4),
    }.get(name, Common())
    assert differs(asked, content, nothing, name)
    assert asked.of(content, name) is not None
    for facet in (Common(), Covering(V4), Device("eth0"), Devices(), Holding(V4)):
        assert facet.of(None, name) is None
        assert differs(facet, content, None, name)


def test_a_route_that_only_moved_is_the_same() -> None:
    before = TEXTS["ip-route.json"]
    moved = routed("ip-route.json", dst="10.8.0.0/16", gateway="192.168.0.9", dev="eth0", flags=[])
    assert not differs(Covering(ip_address("198.51.100.7")), before.encode(), moved.encode(), "ip-route.json")
