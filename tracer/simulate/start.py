"""Where a walk begins: who sends the packet, and from which stack."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tracer.errors import QueryError
from tracer.kube.pod import Pod
from tracer.packet import Address, Packet
from tracer.query import Query, SourceKind
from tracer.simulate.fabric import Fabric
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Reason, StackKind

_PLACEHOLDER: dict[int, Address] = {4: ipaddress.IPv4Address(0), 6: ipaddress.IPv6Address(0)}


def source_exists(cluster: Cluster, query: Query) -> Pod | None:
    """Return the pod that sends, if a pod does. :raises QueryError: the pod or node is not in the snapshot."""
    source = query.source
    if source.kind is SourceKind.POD:
        pod = cluster.objects.pod(source.namespace or "", source.name or "")
        if pod is None:
            near = cluster.objects.near_names("Pod", f"{source.namespace}/{source.name}")
            where = "in this cluster" if cluster.objects.pods else "known: the snapshot has no Pod objects (pods.json)"
            raise QueryError(f"no pod {source.namespace}/{source.name} {where}", code="SOURCE_NOT_FOUND", field="from", near=near)
        return pod
    if source.kind is SourceKind.NODE and source.name not in cluster.node_names:
        near = cluster.objects.near_names("Node", source.name or "")
        raise QueryError(f"no node {source.name} in this cluster", code="NODE_NOT_FOUND", field="from", near=near)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A packet in the stack that sends it: a client outside, a pod, or (with *node*) a process of a node.

    *source* is the address a node's process sends from, when the kernel does not pick it. *arrives* is (node, device) where a packet of
    an existing connection is taken up, wherever it came from.
    """

    walk: Walk
    pod: Pod | None = None
    node: str | None = None
    source: Address | None = None
    arrives: tuple[str, str | None] | None = None


def new_start(cluster: Cluster, query: Query, destination: Address) -> Start:
    """Return the first packet of a new connection, in its sender's stack. :raises QueryError: the sender is not in the snapshot."""
    pod = source_exists(cluster, query)
    source = query.source
    packet = Packet(
        protocol=query.protocol,
        source=source.ip or _PLACEHOLDER[destination.version],
        source_port=query.source_port,
        destination=destination,
        destination_port=query.destination.port,
    )
    if source.ip is not None:
        if source.ip.version != destination.version:
            text = f"{source.ip} cannot send to {destination}: they are of different address families"
            raise QueryError(text, code="FAMILY_MISMATCH", field="from")
        return Start(walk=begun(StackKind.EXTERNAL, str(source.ip), packet, query))
    if pod is not None and not pod.host_network:
        address = next((a for a in pod.owned_ips if a.version == destination.version), None)
        if address is not None:
            packet = replace(packet, source=destination if destination.is_loopback else address)
        return Start(walk=begun(StackKind.POD, f"{pod.namespace}/{pod.name}", packet, query), pod=pod)
    node = (pod.node_name if pod is not None else source.name) or ""
    return Start(walk=begun(StackKind.NODE, node, packet, query), node=node)


def begun(kind: StackKind, name: str, packet: Packet, query: Query) -> Walk:
    node = name if kind is StackKind.NODE else None
    visit = Visit(kind=kind, name=name, node=node, came_in=None, packet_in=packet)
    return Walk(packet=packet, visit=visit, header=query.header)


def walked(fabric: Fabric, start: Start) -> Iterator[Ending]:
    """Yield every way the packet of *start* can end."""
    walk = start.walk
    if start.arrives is not None:
        node, device = start.arrives
        entered = walk.enter(StackKind.NODE, node, node=node, came_in=device, went_out=None)
        yield from fabric.nodes.receive(entered, fabric.cluster.stack(node), device)
    elif start.node is not None:
        yield from fabric.nodes.send(walk, fabric.cluster.stack(start.node), source=start.source)
    elif start.pod is None:
        yield from fabric.from_outside(walk)
    elif walk.packet.source == _PLACEHOLDER[walk.packet.destination.version]:
        version, name = walk.packet.destination.version, walk.visit.name
        text = f"Pod {name} has no IPv{version} address, so it has no route to {walk.packet.destination}"
        yield walk.end(Disposition.UNREACHABLE, Reason(code="FAMILY_MISMATCH", text=text))
    elif walk.packet.destination.is_loopback or walk.packet.destination in start.pod.owned_ips:
        yield fabric.into_pod(walk, start.pod)
    else:
        yield from fabric.from_pod(walk, start.pod)
