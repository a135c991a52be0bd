"""Query → Trace: find who sends and where to, walk the packet, collect every ending."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    fabric = Fabric(cluster, client=query.source.ip)
    start = _start(fabric, query, destination)
    endings = [back for ending in _walked(fabric, start) for back in answered(fabric, ending)]
    if query.state is FlowState.RETURNING:
        endings = _second_time(fabric, start, endings)
    return _collected(query, endings)


def _second_time(fabric: Fabric, start: Start, before: list[Ending]) -> list[Ending]:
    """The endings for a client that came once before: the ``-m recent`` lists hold what its first connection put there.

    Each way the first connection may have gone is as likely as it was then; ways that end alike are one.
    """
    found: dict[str, Ending] = {}
    for first in before:
        walk = replace(start.walk, recent=first.walk.recent, probability=first.outcome.probability, conditions=first.outcome.conditions)
        for ending in _walked(fabric, replace(start, walk=walk)):
            for back in answered(fabric, ending):
                have = found.get(back.outcome.id)
                if have is None:
                    found[back.outcome.id] = back
                else:
                    total = have.outcome.probability + back.outcome.probability
                    found[back.outcome.id] = Ending(replace(have.outcome, probability=total), have.walk)
    return list(found.values())


def _collected(query: Query, endings: list[Ending]) -> Trace:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A packet in the stack that sends it: a client outside, a pod, or (with *node*) a process of a node."""

    walk: Walk
    pod: Pod | None = None
    node: str | None = None


def _start(fabric: Fabric, query: Query, destination: Address) -> Start:
    pod = source_exists(fabric.cluster, query)
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
        return Start(walk=_begun(StackKind.EXTERNAL, str(source.ip), packet, query))
    if pod is not None and not pod.host_network:
        address = next((a for a in pod.owned_ips if a.version == destination.version), None)
        if address is not None:
            packet = replace(packet, source=destination if destination.is_loopback else address)
        return Start(walk=_begun(StackKind.POD, f"{pod.namespace}/{pod.name}", packet, query), pod=pod)
    node = (pod.node_name if pod is not None else source.name) or ""
    return Start(walk=_begun(StackKind.NODE, node, packet, query), node=node)


def _begun(kind: StackKind, name: str, packet: Packet, query: Query) -> Walk:
    node = name if kind is StackKind.NODE else None
    visit = Visit(kind=kind, name=name, node=node, came_in=None, packet_in=packet)
    return Walk(packet=packet, visit=visit, header=query.header)


def _walked(fabric: Fabric, start: Start) -> Iterator[Ending]:
    walk = start.walk
    if start.node is not None:
        yield from fabric.nodes.send(walk, fabric.cluster.stack(start.node), source=None)
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
