"""The way back: the first answer to a packet that arrived, walked by the same code through every stack.

The answer finds its way by the conntrack entries that the request left behind. The client must get it where it sent from, and see the
address it dialled; anything else is a reply that is lost to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from tracer.frozen import changed
from tracer.packet import Packet
from tracer.simulate.fabric import Fabric
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.trace import Disposition, Hop, Outcome, Place, Reason, Reply, StackKind, Unknown


def answered(fabric: Fabric, ending: Ending) -> Iterator[Ending]:
    """Yield *ending* with its reply, once for every way the reply can go; an ending without delivery has none."""
    place = ending.outcome.destination
    if ending.outcome.disposition is not Disposition.DELIVERED or place is None:
        yield ending
        return
    if ending.walk.accepted is not None:
        yield from _answered_by_proxy(fabric, ending, place, ending.walk.accepted)
        return
    first = ending.outcome.hops[0]
    sent = first.packet_in
    for back in _walk_back(fabric, ending, place):
        reply = _reply(back, sent, _sender(first))
        outcome = changed(
            ending.outcome,
            probability=ending.outcome.probability * back.outcome.probability,
            conditions=ending.outcome.conditions + back.outcome.conditions,
            reply=reply,
        )
        yield Ending(outcome, changed(ending.walk, unknowns=(*ending.walk.unknowns, *back.walk.unknowns)))


def _answered_by_proxy(fabric: Fabric, ending: Ending, place: Place, accepted: Walk) -> Iterator[Ending]:
    """The two connections of a proxy process answer on their own: the endpoint to the proxy, the proxy to the client.

    Without an answer of the endpoint the proxy has nothing to pass on, and closes what it accepted.
    """
    outcome = ending.outcome
    inner = len(accepted.hops) + 2  # behind the node that took the packet in, and the proxy
    for back in _walk_back(fabric, ending, place):
        reply = _reply(back, outcome.hops[inner].packet_in, _sender(outcome.hops[inner]))
        odds = outcome.probability * back.outcome.probability
        conditions = outcome.conditions + back.outcome.conditions
        unknowns = (*ending.walk.unknowns, *back.walk.unknowns)
        if reply.disposition is not Disposition.DELIVERED and reply.disposition is not Disposition.UNKNOWN:
            why = reply.reason.text if reply.reason else reply.disposition.value
            reason = Reason(code="PROXY_CLOSED", text=f"kube-proxy gets no answer from the endpoint, and closes: {why}")
            closed = changed(outcome, probability=odds, conditions=conditions, disposition=Disposition.CLOSED, reason=reason)
            yield Ending(closed, changed(ending.walk, unknowns=unknowns))
            continue
        for last in _proxy_answers(fabric, accepted, outcome.hops[0], reply):
            both = changed(
                outcome,
                probability=odds * last.outcome.probability,
                conditions=conditions + last.outcome.conditions,
                reply=last.outcome.reply,
            )
            yield Ending(both, changed(ending.walk, unknowns=(*unknowns, *last.walk.unknowns)))


def _proxy_answers(fabric: Fabric, accepted: Walk, first: Hop, endpoint: Reply) -> Iterator[Ending]:
    """The proxy's answer to its client, behind the endpoint's answer to the proxy."""
    packet = accepted.packet
    place = Place(kind="node", name=accepted.visit.name, node=accepted.visit.node, ip=packet.destination, port=packet.destination_port)
    taken = accepted.end(Disposition.DELIVERED, Reason(code="DELIVERED", text="accepted by the proxy"), destination=place)
    taken = Ending(changed(taken.outcome, probability=Fraction(1), conditions=()), changed(accepted, probability=Fraction(1)))
    for back in _walk_back(fabric, taken, place):
        reply = _reply(back, first.packet_in, _sender(first))
        if endpoint.disposition is Disposition.UNKNOWN:
            reply = changed(reply, disposition=Disposition.UNKNOWN, reason=endpoint.reason)
        hops = (*endpoint.hops, *reply.hops)
        yield Ending(changed(back.outcome, reply=changed(reply, hops=hops)), back.walk)


def _sender(hop: Hop) -> Place:
    """Who sent the packet that left from *hop*."""
    return Place(kind=hop.kind.value, name=hop.name, node=hop.node, ip=hop.packet_in.source, port=hop.packet_in.source_port)


def _walk_back(fabric: Fabric, ending: Ending, place: Place) -> Iterator[Ending]:
    """Send the answer from where the request arrived."""
    request = ending.walk.packet
    packet = Packet(
        protocol=request.protocol,
        source=request.destination,
        source_port=request.destination_port,
        destination=request.source,
        destination_port=None if request.source_port_random else request.source_port,
        destination_port_random=request.source_port_random,
    )
    last = ending.outcome.hops[-1]
    visit = Visit(kind=last.kind, name=last.name, node=last.node, came_in=None, packet_in=packet)
    before = ending.walk
    walk = Walk(
        packet=packet,
        visit=visit,
        entries=before.entries,
        answering=True,
        midstream=before.midstream,
        recent=before.recent,
        sets=before.sets,
    )
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
