"""Where a walk begins: who sends the packet, and from which stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracer.errors import QueryError
from tracer.kube.pod import Pod
from tracer.kube.service import Service
from tracer.netfilter.model import LOCAL_PORTS, PortRange
from tracer.packet import Address, Packet
from tracer.query import Query, SourceKind
from tracer.simulate.departure import Departure, SentByNode, SentByPod, SentFromOutside
from tracer.simulate.pod import NO_ADDRESS
from tracer.simulate.walk import Visit, Walk
from tracer.topology.cluster import Cluster
from tracer.trace import StackKind


def not_here(cluster: Cluster, plural: str, held: Sequence[Pod] | Sequence[Service], namespace: str) -> str:
    """Return how a sentence goes on that says an object of *namespace* is not among those *held*: what was not recorded is not denied."""
    if not held:
        return f"known: the snapshot has no {plural.removesuffix('s').capitalize()} objects ({plural}.json)"
    namespaces = {one.namespace for one in held}
    only = f", which holds {plural} of namespace {next(iter(namespaces))} only (kubectl get {plural} -A -o json takes all)"
    return f"in this {cluster.snapshot.called}" + (only if len(namespaces) == 1 and namespace not in namespaces else "")


def source_exists(cluster: Cluster, query: Query) -> Pod | None:
    """Return the pod that sends, if a pod does. :raises QueryError: the pod or node is not in the snapshot."""
    source = query.source
    if source.kind is SourceKind.POD:
        pod = cluster.objects.pod(source.namespace or "", source.name or "")
        if pod is None:
            near = cluster.objects.near_names("Pod", f"{source.namespace}/{source.name}")
            where = not_here(cluster, "pods", cluster.objects.pods, source.namespace or "")
            raise QueryError(f"no pod {source.namespace}/{source.name} {where}", code="SOURCE_NOT_FOUND", field="from", near=near)
        return pod
    if source.kind is SourceKind.NODE and source.name not in cluster.node_names:
        near = cluster.objects.near_names("Node", source.name or "")
        raise QueryError(f"no node {source.name} in this {cluster.snapshot.called}", code="NODE_NOT_FOUND", field="from", near=near)
    return None


def new_start(cluster: Cluster, query: Query, destination: Address) -> Departure:
    """Return the first packet of a new connection, as its sender sends it. :raises QueryError: the sender is not in the snapshot."""
    pod = source_exists(cluster, query)
    source = query.source
    packet = Packet(
        protocol=query.protocol.of(destination.version),
        source=source.ip or NO_ADDRESS[destination.version],
        source_port=query.source_port,
        destination=destination,
        destination_port=query.destination.port,
    )
    if source.ip is not None:
        if source.ip.version != destination.version:
            text = f"{source.ip} cannot send to {destination}: they are of different address families"
            raise QueryError(text, code="FAMILY_MISMATCH", field="from")
        return SentFromOutside(walk=begun(StackKind.EXTERNAL, str(source.ip), packet, query))
    if pod is not None and not pod.host_network:
        address = next((a for a in pod.owned_ips if a.version == destination.version), None)
        if address is not None:
            packet = replace(packet, source=destination if destination.is_loopback else address)
        walk = begun(StackKind.POD, f"{pod.namespace}/{pod.name}", packet, query)
        return SentByPod(walk=replace(walk, own_ports=LOCAL_PORTS), pod=pod)
    node = (pod.node_name if pod is not None else source.name) or ""
    own = cluster.stack(node).routing.local_port_range
    walk = replace(begun(StackKind.NODE, node, packet, query), own_ports=PortRange(*own) if own else LOCAL_PORTS)
    return SentByNode(walk=walk, node=node)


def begun(kind: StackKind, name: str, packet: Packet, query: Query) -> Walk:
    node = name if kind is StackKind.NODE else None
    visit = Visit(kind=kind, name=name, node=node, came_in=None, packet_in=packet)
    return Walk(packet=packet, visit=visit, header=query.header)
