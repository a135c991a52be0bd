"""The way back: the first answer to a packet that arrived, walked by the same code through every stack.

The answer finds its way by the conntrack entries that the request left behind. The client must get it where it sent from, and see the
address it dialled; anything else is a reply that is lost to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tracer.packet import Packet
from tracer.simulate.fabric import Fabric
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.trace import Disposition, Outcome, Place, Reason, Reply, StackKind, Unknown


def answered(fabric: Fabric, ending: Ending) -> Iterator[Ending]:
    """Yield *ending* with its reply, once for every way the reply can go; an ending without delivery has none."""
    place = ending.outcome.destination
    if ending.outcome.disposition is not Disposition.DELIVERED or place is None:
        yield ending
        return
    first = ending.outcome.hops[0]
    sent = first.packet_in
    for back in _walk_back(fabric, ending, place):
        reply = _reply(back, sent, Place(kind=first.kind.value, name=first.name, node=first.node, ip=sent.source, port=sent.source_port))
        outcome = replace(
            ending.outcome,
            probability=ending.outcome.probability * back.outcome.probability,
            conditions=ending.outcome.conditions + back.outcome.conditions,
            reply=reply,
        )
        yield Ending(outcome, replace(ending.walk, unknowns=(*ending.walk.unknowns, *back.walk.unknowns)))


def _walk_back(fabric: Fabric, ending: Ending, place: Place) -> Iterator[Ending]:
    """Send the answer from where the request arrived."""
    request = ending.walk.packet
    packet = Packet(
        protocol=request.protocol,
        source=request.destination,
        source_port=request.destination_port,
        destination=request.source,
        destination_port=None if request.source_port_random else request.source_port,
    )
    last = ending.outcome.hops[-1]
    visit = Visit(kind=last.kind, name=last.name, node=last.node, came_in=None, packet_in=packet)
    walk = Walk(packet=packet, visit=visit, entries=ending.walk.entries, answering=True, midstream=ending.walk.midstream)
    if last.kind is StackKind.NODE:
        yield from fabric.nodes.send(walk, fabric.cluster.stack(last.name), source=packet.source)
    elif place.kind == "pod":
        yield from _from_pod(fabric, walk, place)
    elif place.node is not None:
        yield from fabric.from_workload(walk, place.node, None)
    else:
        yield from _from_elsewhere(fabric, walk)


def _from_pod(fabric: Fabric, walk: Walk, place: Place) -> Iterator[Ending]:
    pod = fabric.cluster.objects.pod(place.namespace or "", place.name or "")
    if pod is None or pod.node_name is None:
        text = f"pod {place.namespace}/{place.name} runs on no node"
        yield walk.unknown(Unknown(code="DATA_MISSING", text=text))
    elif walk.packet.destination in pod.owned_ips or walk.packet.destination.is_loopback:
        yield fabric.into_pod(walk, pod)
    else:
        yield from fabric.from_workload(walk, pod.node_name, pod)


def _from_elsewhere(fabric: Fabric, walk: Walk) -> Iterator[Ending]:
    """An endpoint outside the cluster answers: it reaches node addresses; whether it has routes to pods is not in a snapshot."""
    destination = walk.packet.destination
    if fabric.cluster.is_node_address(destination):
        yield from fabric.from_outside(walk)
        return
    text = f"whether {walk.packet.source}, which is no part of the cluster, has a route to {destination} is not in a snapshot"
    yield walk.unknown(Unknown(code="DATA_MISSING", text=text))


def _reply(back: Ending, sent: Packet, client: Place) -> Reply:
    """What became of the answer, as the client sees it."""
    outcome, packet = back.outcome, back.walk.packet
    if outcome.disposition is not Disposition.DELIVERED:
        return Reply(disposition=outcome.disposition, reason=outcome.reason, hops=outcome.hops)
    seen = (packet.source, packet.source_port)
    port = None if packet.source_port_random else packet.source_port
    if not _is_home(outcome, client) or packet.destination != sent.source:
        text = (
            f"The answer goes to {packet.destination}, not to the client at {sent.source}: it misses the node that translated the request"
        )
        reason = Reason(code="REPLY_BYPASSES_NAT", text=text)
        return Reply(disposition=Disposition.LOST, source=packet.source, source_port=port, reason=reason, hops=outcome.hops)
    if seen != (sent.destination, sent.destination_port):
        text = (
            f"The answer reaches the client from {packet.source} port {port}, but it dialled {sent.destination} port "
            f"{sent.destination_port}: the answer missed the node that translated the request, and the client does not know it"
        )
        reason = Reason(code="REPLY_BYPASSES_NAT", text=text)
        return Reply(disposition=Disposition.LOST, source=packet.source, source_port=port, reason=reason, hops=outcome.hops)
    reason = Reason(code="DELIVERED", text=f"The client sees the answer come from {packet.source} port {port}, which it dialled")
    return Reply(disposition=Disposition.DELIVERED, source=packet.source, source_port=port, reason=reason, hops=outcome.hops)


def _is_home(outcome: Outcome, client: Place) -> bool:
    """Whether the answer ended in the stack that sent the request."""
    last = outcome.hops[-1]
    return (last.kind.value, last.name) == (client.kind, client.name)
