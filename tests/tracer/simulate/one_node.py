"""One rule set as the only node of a cluster, for the flows of kube-proxy's own tests: what becomes of a packet there."""

from __future__ import annotations

import json
from ipaddress import ip_address

from tests.made_cluster import DEFAULT_RULES
from tracer.packet import Address, Packet
from tracer.query import parse_protocol
from tracer.simulate.departure import Departure, Recorded, SentByNode
from tracer.simulate.fabric import Fabric
from tracer.simulate.walk import Visit, Walk
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, StackKind

_NODE = "test-node"
Json = dict[str, object]


def _route(destination: str, device: str, **more: object) -> Json:
    return {"dst": destination, "dev": device, "flags": [], **more}


def _addresses(ips: list[str]) -> list[Json]:
    def info(ip: str, bits: int, scope: str = "global") -> Json:
        return {"family": "inet6" if ":" in ip else "inet", "local": ip, "prefixlen": bits, "scope": scope}

    lo = {"ifindex": 1, "ifname": "lo", "flags": ["LOOPBACK", "UP"], "addr_info": [info("127.0.0.1", 8, "host"), info("::1", 128, "host")]}
    eth0 = {"ifindex": 2, "ifname": "eth0", "flags": ["UP"], "addr_info": [info(ip, 64 if ":" in ip else 24) for ip in ips]}
    return [lo, eth0]


def _routes(ips: list[str], version: int) -> list[Json]:
    gateway = "192.168.0.1" if version == 4 else "2001:db8::ff"
    loopback = "127.0.0.0/8" if version == 4 else "::1"
    local = [{"type": "local", "table": "local", **_route(ip, "eth0")} for ip in ips if ip_address(ip).version == version]
    return [_route("default", "eth0", gateway=gateway), {"type": "local", "table": "local", **_route(loopback, "lo")}, *local]


def one_node(flow: Json, rules: Json) -> Cluster:
    """Return the node of one rule set (*rules*: file name → text), with its addresses, a default route, and the flow's Services and slices."""
    ips: list[str] = flow["node_ips"]  # type: ignore[assignment]
    node = {"kind": "Node", "metadata": {"name": _NODE}, "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in ips]}}
    objects = [node, *flow.get("services", ()), *flow.get("endpointslices", ())]  # type: ignore[misc]
    files: dict[str, object] = {
        "cluster.json": {"kind": "List", "items": objects},
        **{f"nodes/{_NODE}/{name}": text for name, text in rules.items()},
        f"nodes/{_NODE}/ip-addr.json": _addresses(ips),
        f"nodes/{_NODE}/ip-route.json": _routes(ips, 4),
        f"nodes/{_NODE}/ip6-route.json": _routes(ips, 6),
        f"nodes/{_NODE}/ip-rule.json": DEFAULT_RULES,
        f"nodes/{_NODE}/ip6-rule.json": DEFAULT_RULES[:2],
        f"nodes/{_NODE}/sysctl.txt": "net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\nnet.ipv4.conf.all.route_localnet = 1\n",
    }
    return Cluster.from_snapshot(
        Snapshot.from_files({p: c.encode() if isinstance(c, str) else json.dumps(c).encode() for p, c in files.items()})
    )


def outcomes_at_node(cluster: Cluster, packet: Packet) -> list[Outcome]:
    """Return how *packet* ends: the node sends the packet when it is its own, and receives it by eth0 when it is not."""
    fabric, stack = Fabric(cluster), cluster.stack(_NODE)
    own = stack.routing.is_local(packet.source)
    kind, name, node = (StackKind.NODE, _NODE, _NODE) if own else (StackKind.EXTERNAL, str(packet.source), None)
    walk = Walk(packet=packet, visit=Visit(kind=kind, name=name, node=node, came_in=None, packet_in=packet))
    sent: Departure = SentByNode(walk=walk, node=_NODE, source=packet.source) if own else Recorded(walk=walk, node=_NODE, device="eth0")
    return [ending.outcome for ending in fabric.endings(sent)]


def reached(outcome: Outcome, dialled: tuple[Address, int], *, health_check: bool, listed: bool) -> str:
    """Return what the reference would print: an endpoint, REJECT, DROP, ACCEPT (a health-check port), or nothing for a packet left alone."""
    if outcome.disposition is Disposition.REJECTED:
        return "REJECT"
    if outcome.disposition is Disposition.DROPPED:
        return "DROP"
    packet = outcome.hops[-1].packet_out
    if (packet.destination, packet.destination_port) == dialled:
        return "ACCEPT" if health_check else ""
    # One rule set comes without its objects: whose its endpoints are cannot be told.
    assert outcome.disposition is (Disposition.DELIVERED if listed else Disposition.UNKNOWN), outcome.reason
    return (
        f"[{packet.destination}]:{packet.destination_port}"
        if packet.destination.version == 6
        else f"{packet.destination}:{packet.destination_port}"
    )


def rules_of(outcome: Outcome) -> list[str]:
    """Return the rules that an outcome passed, in order."""
    return [f"{step.table} {step.rule or step.policy}" for hop in outcome.hops for step in hop.steps]


def sent(case: Json) -> tuple[Packet, tuple[Address, int]]:
    """Return a case's packet, and the address and port it dials."""
    dialled = (ip_address(str(case["dest_ip"])), int(str(case["dest_port"])))
    source = ip_address(str(case["source_ip"]))
    protocol = parse_protocol(case["protocol"])
    return Packet(protocol=protocol, source=source, destination=dialled[0], destination_port=dialled[1]), dialled
