"""A packet that comes in by a device that nobody named: whatever asks for a device by its name cannot be told, and is never just "no"."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from tests.made_cluster import MadeCluster
from tests.tracer.simulate.test_node_alone import Made
from tracer.limits import Budget
from tracer.packet import Packet, Protocol
from tracer.routing import SOME_DEVICE, Routing
from tracer.simulate.departure import Way
from tracer.simulate.node import NodeWalk
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.snapshot import Snapshot
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, StackKind

OUTSIDE = "203.0.113.9"
RULES = "iptables-save.txt"
_NFT = "table {family} t {{\n\tchain c {{\n\t\ttype filter hook {hook} priority 0; policy accept;\n\t\t{rule}\n\t}}\n}}\n"
_NET_IFACE = "create s hash:net,iface family inet hashsize 64 maxelem 65536\nadd s 203.0.113.0/24,{device}\n"


def _nft(rule: str, *, family: str = "ip", hook: str = "prerouting") -> dict[str, str]:
    return {"nft-ruleset.txt": _NFT.format(family=family, hook=hook, rule=rule)}


ASKS: dict[str, dict[str, object]] = {
    "iptables -i": {"rule": ("mangle", "-A PREROUTING -i eth0 -j DROP")},
    "iptables ! -i": {"rule": ("mangle", "-A PREROUTING ! -i eth0 -j DROP")},
    "iptables -i, in FORWARD": {"rule": ("filter", "-A FORWARD -i eth+ -j DROP")},
    "addrtype": {"rule": ("mangle", "-A PREROUTING -m addrtype --dst-type UNICAST --limit-iface-in -j DROP")},
    "rpfilter": {"rule": ("raw", "-A PREROUTING -m rpfilter --invert -j DROP")},
    "set": {"rule": ("mangle", "-A PREROUTING -m set --match-set s src,src -j DROP"), "ipset-save.txt": _NET_IFACE.format(device="eth0")},
    "iifname": _nft("iifname eth0 drop"),
    "iif": _nft("iif eth0 drop"),
    "iifname in a set": _nft('iifname { "eth0", "eth1" } drop'),
    "a map by iifname": _nft('iifname vmap { "eth0" : drop }'),
    "fib": _nft("fib saddr . iif oif missing drop"),
    "fib type": _nft("fib daddr . iif type local drop"),
    "netdev ingress": _nft("drop", family="netdev", hook='ingress device "eth0"'),
    "inet ingress": _nft("drop", family="inet", hook='ingress device "eth0"'),
    "netdev ingress of several": _nft("drop", family="netdev", hook='ingress devices = { "eth0", "nosuch" }'),
    "policy rule": {"routing_rule": {"priority": 90, "src": "all", "iif": "eth0", "action": "prohibit"}},
    "rp_filter": {"sysctl": {"net.ipv4.conf.eth0.rp_filter": "0", "net.ipv4.conf.{veth}.rp_filter": "1"}},
    "forwarding": {"sysctl": {"net.ipv4.conf.eth0.forwarding": "1", "net.ipv4.conf.{veth}.forwarding": "0"}},
}
"""What asks for a device, and would stop a packet for one of those it may have come by."""

NOT_LO: dict[str, dict[str, object]] = {
    "iptables -i": {"rule": ("mangle", "-A PREROUTING -i lo -j DROP")},
    "set": {"rule": ("mangle", "-A PREROUTING -m set --match-set s src,src -j DROP"), "ipset-save.txt": _NET_IFACE.format(device="lo")},
    "iifname": _nft("iifname lo drop"),
    "iif": _nft("iif lo drop"),
    "netdev ingress": _nft("drop", family="netdev", hook='ingress device "lo"'),
    "a chain that only accepts": _nft("tcp dport 8080 accept", family="netdev", hook='ingress device "eth0"'),
    "a chain whose rules ask for something else": _nft("udp dport 53 drop", family="netdev", hook='ingress device "eth0"'),
    "a device that is not there": _nft("drop", family="netdev", hook='ingress device "nosuch"'),
    "rpfilter, no way back by any": {"rule": ("raw", "-A PREROUTING -m rpfilter -s 198.51.100.9/32 -j DROP")},
    "rpfilter, loose": {"rule": ("raw", "-A PREROUTING -m rpfilter --loose --invert -j DROP")},
    "policy rule": {"routing_rule": {"priority": 90, "src": "all", "iif": "lo", "action": "prohibit"}},
}


def _ways(asking: dict[str, object], device: str) -> list[Way]:
    """Return what becomes of a packet from outside to a pod of the node, which comes in by *device*."""
    cluster = MadeCluster(1)
    node, pod = cluster.node(1), cluster.pod("web", 1)
    if (rule := asking.get("rule")) is not None:
        node.rules.append(rule)  # type: ignore[arg-type]
    if (rule := asking.get("routing_rule")) is not None:
        node.rules_of_routing.append(rule)  # type: ignore[arg-type]
    for name, value in asking.get("sysctl", {}).items():  # type: ignore[attr-defined]
        node.sysctl[name.format(veth=node.device(pod))] = value
    files = {path: text for path, text in cluster.files().items() if path.startswith("nodes/n1/")}
    files |= {f"nodes/n1/{name}": text.encode() for name, text in asking.items() if isinstance(text, str)}
    stack = NodeStack("n1", Snapshot.from_files(files))
    sent = Packet(protocol=Protocol.TCP, source=ip_address(OUTSIDE), destination=ip_address(pod.ips[0]), destination_port=8080)
    visit = Visit(kind=StackKind.NODE, name="n1", node="n1", came_in=device, packet_in=sent)
    return list(NodeWalk(Made(), Budget()).receive(Walk(packet=sent, visit=visit), stack, device))


@pytest.mark.parametrize("asking", ASKS.values(), ids=ASKS)
def test_whatever_asks_for_a_device_is_unknown(asking: dict[str, object]) -> None:
    found = _ways(asking, SOME_DEVICE)
    assert found
    for way in found:
        assert isinstance(way, Ending) or way.walk.conditions
        if isinstance(way, Ending):
            assert way.walk.conditions or way.outcome.disposition is Disposition.UNKNOWN, way.outcome.reason


@pytest.mark.parametrize("asking", NOT_LO.values(), ids=NOT_LO)
def test_what_is_known_of_any_device_is_no_unknown(asking: dict[str, object]) -> None:
    [way] = _ways(asking, SOME_DEVICE)
    assert not isinstance(way, Ending), way.outcome.reason
    assert (way.walk.conditions, way.walk.unknowns) == ((), ())


@pytest.mark.parametrize("asking", ASKS.values(), ids=ASKS)
def test_of_a_device_that_is_named_it_is_told(asking: dict[str, object]) -> None:
    [way] = _ways(asking, "eth0")
    walk = way.walk
    assert (walk.conditions, walk.unknowns) == ((), ())


LINKS = [
    {"ifname": "eth0"},
    {"ifname": "eth1", "master": "bond0"},
    {"ifname": "eth2", "master": "bond0"},
    {"ifname": "eth3", "master": "bond0", "flags": ["BROADCAST"]},
    {"ifname": "bond0", "linkinfo": {"info_kind": "bond"}},
    {"ifname": "eth0.7", "link": "eth0", "linkinfo": {"info_kind": "vlan"}},
    {"ifname": "eth0.7.8", "link": "eth0.7", "linkinfo": {"info_kind": "vlan"}},
    {"ifname": "bond0.7", "link": "bond0", "linkinfo": {"info_kind": "vlan"}},
    {"ifname": "mv0", "link": "eth0", "linkinfo": {"info_kind": "macvlan"}},
    {"ifname": "br0", "linkinfo": {"info_kind": "bridge"}},
    {"ifname": "veth1", "master": "br0", "link_index": 2},
    {"ifname": "lo", "flags": ["LOOPBACK", "UP"]},
]


@pytest.mark.parametrize(
    ("device", "names", "expected"),
    [
        ("eth0", ["eth0"], True),
        ("eth0", ["eth1"], False),
        ("eth0", ["eth*"], True),
        ("bond0", ["eth1"], None),
        ("bond0", ["eth1", "eth2"], True),  # eth3 is shut
        ("bond0", ["eth0"], False),
        ("eth0.7", ["eth0"], True),
        ("eth0.7", ["eth1"], False),
        ("eth0.7.8", ["eth0.7"], True),
        ("eth0.7.8", ["eth0"], None),
        ("bond0.7", ["eth2"], None),
        ("mv0", ["eth0"], None),
        ("br0", ["veth1"], True),
        ("br0", ["veth*"], True),
        ("veth1", ["br0"], False),
        ("lo", ["eth0"], False),
        ("?", ["eth0"], None),
        ("?uplink", ["eth*"], None),
        ("?", ["lo"], False),
        ("?", ["nosuch"], False),
        ("eth9", ["eth0"], None),  # a device that the file does not have: it is older
    ],
)
def test_what_passes_by_a_device_passes_by_what_it_is_made_of(device: str, names: list[str], expected: bool | None) -> None:
    links = [{"ifindex": number, "flags": ["UP"], **link} for number, link in enumerate(LINKS, 1)]
    assert Routing.from_texts("n1", ip_link=json.dumps(links)).crosses(device, names) is expected


def test_without_a_list_of_devices_it_is_not_known() -> None:
    routing = Routing.from_texts("n1")
    assert routing.crosses("eth0", ["eth0"]) is True
    assert routing.crosses("eth0", ["eth1"]) is None
