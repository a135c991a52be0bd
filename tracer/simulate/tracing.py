"""Query → Trace: find who sends and where to, walk the packet, collect every ending."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from tracer.errors import QueryError
from tracer.kube.pod import Pod
from tracer.packet import Address, Packet
from tracer.query import FlowState, Query, SourceKind
from tracer.simulate.answering import answered
from tracer.simulate.fabric import Fabric
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, Reason, StackKind, Trace, Unknown

_PLACEHOLDER: dict[int, Address] = {4: ipaddress.IPv4Address(0), 6: ipaddress.IPv6Address(0)}


def trace(cluster: Cluster, query: Query) -> Trace:
    """Return every way the first packet of *query*'s connection can end, with exact odds.

    :raises QueryError: the source or the Service does not exist (with the nearest names), or a port is missing.
    :raises TracerError: a file that the walk needs cannot be read.
    """
    if query.connection is not None:
        raise QueryError("following a connection of conntrack.txt is not built yet", code="NOT_BUILT", field="connection")
    destination = _destination(cluster, query)
    if destination is None:
        return _unnamed(cluster, query)
    if query.destination.port is None:
        raise QueryError("give a port: HOST:PORT", code="PORT_REQUIRED", field="to")
    fabric = Fabric(cluster, client=query.source.ip, returning=query.state is FlowState.RETURNING)
    endings = [back for ending in _walks(fabric, query, destination) for back in answered(fabric, ending)]
    unknowns: dict[tuple[str, str], Unknown] = {}
    for ending in endings:
        for unknown in ending.walk.unknowns:
            unknowns.setdefault((unknown.code, unknown.text), unknown)
        if ending.outcome.disposition is Disposition.UNKNOWN and ending.outcome.reason:
            reason = ending.outcome.reason
            unknowns.setdefault((reason.code, reason.text), Unknown(code=reason.code, text=reason.text))
    outcomes = tuple(e.outcome for e in endings)
    return Trace(query=query, outcomes=outcomes, unknowns=tuple(unknowns.values()))


def _destination(cluster: Cluster, query: Query) -> Address | None:
    """The address the packet is sent to, None when the destination is a name that must be looked up."""
    asked = query.destination
    if asked.service is None:
        return asked.address
    namespace, name = asked.service
    service = cluster.objects.service(namespace, name)
    if service is None:
        near = cluster.objects.near_names("Service", f"{namespace}/{name}")
        raise QueryError(f"no Service {namespace}/{name} in this cluster", code="SERVICE_NOT_FOUND", field="to", near=near)
    usable = _versions(cluster, query)
    return next((a for a in service.cluster_ips if a.version in usable), service.cluster_ips[0] if service.cluster_ips else None)


def _versions(cluster: Cluster, query: Query) -> set[int]:
    source = query.source
    if source.kind is SourceKind.EXTERNAL and source.ip is not None:
        return {source.ip.version}
    if source.kind is SourceKind.POD and (pod := cluster.objects.pod(source.namespace or "", source.name or "")):
        return {a.version for a in pod.ips} or {4, 6}
    return {4, 6}


def _unnamed(cluster: Cluster, query: Query) -> Trace:
    """A name, which needs DNS: unknown for now, and said so."""
    source_exists(cluster, query)
    text = f"{query.destination.host} is a name, and look-ups are not modelled yet. Give an address, or a Service that has a cluster IP"
    unknown = Unknown(code="NAMES_NOT_MODELLED", text=text, at={"name": query.destination.host})
    reason = Reason(code=unknown.code, text=text)
    return Trace(
        query=query, outcomes=(Outcome(probability=Fraction(1), disposition=Disposition.UNKNOWN, reason=reason),), unknowns=(unknown,)
    )


def source_exists(cluster: Cluster, query: Query) -> Pod | None:
    """Return the pod that sends, if a pod does. :raises QueryError: the pod or node is not in the snapshot."""
    source = query.source
    if source.kind is SourceKind.POD:
        pod = cluster.objects.pod(source.namespace or "", source.name or "")
        if pod is None:
            near = cluster.objects.near_names("Pod", f"{source.namespace}/{source.name}")
            raise QueryError(f"no pod {source.namespace}/{source.name} in this cluster", code="SOURCE_NOT_FOUND", field="from", near=near)
        return pod
    if source.kind is SourceKind.NODE and source.name not in cluster.node_names:
        near = cluster.objects.near_names("Node", source.name or "")
        raise QueryError(f"no node {source.name} in this cluster", code="NODE_NOT_FOUND", field="from", near=near)
    return None


def _walks(fabric: Fabric, query: Query, destination: Address) -> Iterator[Ending]:
    pod = source_exists(fabric.cluster, query)
    source = query.source
    packet = Packet(
        protocol=query.protocol,
        source=_PLACEHOLDER[destination.version],
        source_port=query.source_port,
        destination=destination,
        destination_port=query.destination.port,
    )
    if source.kind is SourceKind.EXTERNAL and source.ip is not None:
        return _from_client(fabric, packet, source.ip)
    if pod is not None and not pod.host_network:
        return _from_pod(fabric, packet, pod)
    node = pod.node_name if pod is not None else source.name
    return _from_node(fabric, packet, node or "")


def _from_client(fabric: Fabric, packet: Packet, ip: Address) -> Iterator[Ending]:
    if ip.version != packet.destination.version:
        raise QueryError(
            f"{ip} cannot send to {packet.destination}: they are of different address families", code="FAMILY_MISMATCH", field="from"
        )
    packet = replace(packet, source=ip)
    visit = Visit(kind=StackKind.EXTERNAL, name=str(ip), node=None, came_in=None, packet_in=packet)
    yield from fabric.from_outside(Walk(packet=packet, visit=visit))


def _from_node(fabric: Fabric, packet: Packet, node: str) -> Iterator[Ending]:
    visit = Visit(kind=StackKind.NODE, name=node, node=node, came_in=None, packet_in=packet)
    yield from fabric.nodes.send(Walk(packet=packet, visit=visit), fabric.cluster.stack(node), source=None)


def _from_pod(fabric: Fabric, packet: Packet, pod: Pod) -> Iterator[Ending]:
    address = next((a for a in pod.owned_ips if a.version == packet.destination.version), None)
    name = f"{pod.namespace}/{pod.name}"
    if address is None:
        visit = Visit(kind=StackKind.POD, name=name, node=None, came_in=None, packet_in=packet)
        text = f"Pod {name} has no IPv{packet.destination.version} address, so it has no route to {packet.destination}"
        yield Walk(packet=packet, visit=visit).end(Disposition.UNREACHABLE, Reason(code="FAMILY_MISMATCH", text=text))
        return
    loopback = packet.destination.is_loopback
    packet = replace(packet, source=packet.destination if loopback else address)
    visit = Visit(kind=StackKind.POD, name=name, node=None, came_in=None, packet_in=packet)
    walk = Walk(packet=packet, visit=visit)
    if loopback or packet.destination in pod.owned_ips:
        yield fabric.into_pod(walk, pod)
    else:
        yield from fabric.from_pod(walk, pod)
