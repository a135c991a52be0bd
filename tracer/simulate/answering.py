"""The way back: the first answer to a packet that arrived, walked by the same code through every stack.

The answer finds its way by the conntrack entries that the request left behind. The client must get it where it sent from, and see the
address it dialled; anything else is a reply that is lost to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.frozen import changed
from tracer.packet import Packet, at_text
from tracer.refusals import no_listener, refusal
from tracer.simulate.departure import Departure, LeftForNode, SentByNode, SentByPod, SentFromOutside, Way
from tracer.simulate.fabric import Fabric
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.stack_protocols import Process
from tracer.trace import Disposition, Hop, Listener, Outcome, Place, Reason, Reply, Sees, StackKind, Unknown

_MADE_OF_THE_PACKET = (Disposition.REJECTED, Disposition.UNREACHABLE)
"""Endings whose no is made of the packet while it has its entry, by a rule or by routing: the entry is the no's, too, before any rule.

A closed port's is made when the packet's entry is gone (nf_reset_ct in udp_queue_rcv_skb). Seen in 6.18.
"""


def answered(fabric: Fabric, ending: Ending) -> Iterator[Ending]:
    """Return *ending* with its reply, once for every way the reply can go; an ending that nobody answers has none."""
    place = ending.outcome.destination
    if ending.outcome.reject_with is not None or ending.walk.says is not None:
        return _refused(fabric, ending)
    if place is None or not _answers(fabric, ending):
        return iter([ending])
    return _told(fabric, ending, ending.walk, place, None)


def _refused(fabric: Fabric, ending: Ending) -> Iterator[Ending]:
    """The ending with the refusal on its way back; a process on the way, which waits for nothing, keeps it to itself."""
    walk, kind = ending.walk, ending.outcome.reject_with or ending.walk.says or ""
    if walk.visit.kind not in (StackKind.NODE, StackKind.POD) or walk.accepted or refusal(kind) is None:
        yield ending
        return
    first = ending.outcome.hops[0]
    is_attached = ending.outcome.disposition in _MADE_OF_THE_PACKET
    for back in _walk_back(fabric, walk, _place_of(walk), kind, is_attached=is_attached):
        told = _after(ending, back)
        yield Ending(changed(told.outcome, reply=_reply(back, first.packet_in, _sender(first))), told.walk)


def _answers(fabric: Fabric, ending: Ending) -> bool:
    """Whether the way of an answer is walked: of what was delivered; of what left the cluster, where its source is a node's address."""
    if ending.outcome.left_from is not None:
        source = ending.walk.packet.source
        return fabric.cluster.is_node_address(source) or fabric.cluster.pod_with_ip(source) is not None
    return ending.outcome.disposition is Disposition.DELIVERED


def _told(fabric: Fabric, ending: Ending, asked: Walk, place: Place, passed_on: Reply | None) -> Iterator[Ending]:
    """The answer of *place* to the walk that *asked* there; *passed_on* is the answer that a process there waited for.

    Connections that processes accepted answer each on its own, the last one first: to the process that made it, which passes the answer
    on. Without an answer the process has nothing to pass on, and closes what it accepted.
    """
    waiting = asked.accepted[-1] if asked.accepted else None
    first = ending.outcome.hops[0 if waiting is None else waiting.next_hop]
    absent = ending.outcome.listener is Listener.ABSENT and passed_on is None
    kind = no_listener(asked.packet.protocol, asked.packet.destination.version) if absent else None
    for back in _walk_back(fabric, asked, place, kind):
        reply = _reply(back, first.packet_in, _sender(first))
        told = _after(ending, back)
        if passed_on is not None:
            reply = _joined(passed_on, reply)
        if waiting is None:
            sees = Sees.UNKNOWN if passed_on is None and _may_be_refused(fabric, ending, asked, place, reply) else told.walk.sees
            yield Ending(changed(told.outcome, reply=reply), changed(told.walk, sees=sees))
        elif reply.disposition in (Disposition.DELIVERED, Disposition.UNKNOWN):
            yield from _told(fabric, told, waiting.walk, _place_of(waiting.walk), reply)
        else:
            yield _closed(told, waiting.process, reply)


def _may_be_refused(fabric: Fabric, ending: Ending, asked: Walk, place: Place, reply: Reply) -> bool:
    """Whether the no of a closed port may reach the client that the answer does not reach, and nobody tells whether the port is closed.

    NB: it is another packet to rules, to conntrack and to the client's socket: an ICMP error, or a reset.
    """
    is_told = ending.outcome.listener in (Listener.DECLARED, Listener.ABSENT) or not asked.packet.protocol.has_ports
    if is_told or reply.disposition in (Disposition.DELIVERED, Disposition.UNKNOWN):
        return False
    first = ending.outcome.hops[0]
    ways = _walk_back(fabric, asked, place, no_listener(asked.packet.protocol, asked.packet.destination.version))
    return any(_reply(way, first.packet_in, _sender(first)).disposition in (Disposition.DELIVERED, Disposition.UNKNOWN) for way in ways)


def _after(ending: Ending, back: Ending) -> Ending:
    """The ending with what one way of its answer depends on."""
    outcome = changed(
        ending.outcome,
        probability=ending.outcome.probability * back.outcome.probability,
        conditions=ending.outcome.conditions + back.outcome.conditions,
        assumes=tuple(dict.fromkeys(ending.outcome.assumes + back.outcome.assumes)),
    )
    unknowns, forks = (*ending.walk.unknowns, *back.walk.unknowns), ending.walk.forks + back.walk.forks
    entries, confirmed = back.walk.entries, back.walk.confirmed
    return Ending(outcome, changed(ending.walk, unknowns=unknowns, forks=forks, entries=entries, confirmed=confirmed))


def _joined(passed_on: Reply, reply: Reply) -> Reply:
    """A process's answer to its client, behind the answer that it waited for."""
    if passed_on.disposition is Disposition.UNKNOWN:
        reply = changed(reply, disposition=Disposition.UNKNOWN, reason=passed_on.reason)
    return changed(reply, hops=(*passed_on.hops, *reply.hops))


def _closed(ending: Ending, process: Process, reply: Reply) -> Ending:
    why = reply.reason.text if reply.reason else reply.disposition.value
    reason = Reason(code=process.closed, text=f"{process.program} gets no answer from the endpoint, and closes: {why}")
    return Ending(changed(ending.outcome, disposition=Disposition.CLOSED, reason=reason), ending.walk)


def _place_of(walk: Walk) -> Place:
    """Where a process accepted the connection of *walk*."""
    visit, packet = walk.visit, walk.packet
    namespace, _, name = visit.name.partition("/") if visit.kind is StackKind.POD else ("", "", visit.name)
    return Place(
        kind=visit.kind.value,
        namespace=namespace or None,
        name=name,
        node=visit.node,
        ip=packet.destination,
        port=packet.destination_port,
    )


def _sender(hop: Hop) -> Place:
    """Who sent the packet that left from *hop*."""
    return Place(kind=hop.kind.value, name=hop.name, node=hop.node, ip=hop.packet_in.source, port=hop.packet_in.source_port)


def _walk_back(fabric: Fabric, asked: Walk, place: Place, kind: str | None, *, is_attached: bool = False) -> Iterator[Ending]:
    """Send the answer from where the request arrived; *kind* is that of a refusal, *is_attached*: one that a rule made."""
    request = asked.packet
    packet = Packet(
        protocol=request.protocol,
        source=request.destination,
        source_port=request.destination_port,
        destination=request.source,
        destination_port=None if request.source_port_random else request.source_port,
        destination_port_random=request.source_port_random,
    )
    at = asked.visit
    walk = Walk(
        packet=packet,
        visit=Visit(kind=at.kind, name=at.name, node=at.node, came_in=None, packet_in=packet),
        entries=asked.entries,
        settled=asked.settled,
        answering=True,
        midstream=asked.midstream,
        existing=asked.existing,
        refused=asked.refused,
        confirmed=asked.confirmed,
        own_ports=asked.own_ports,
        refusal=kind,
        attached=is_attached,
        recent=asked.recent,
        sets=asked.sets,
        size=asked.size if kind is None else None,
    )
    way = _answering(fabric, walk, place)
    return fabric.endings(way) if isinstance(way, Departure) else iter([way])


def sent_back(fabric: Fabric, asked: Walk, place: Place) -> Iterator[Ending]:
    """Yield the ways of what *place* sends to the client of *asked*, behind its first answer."""
    return _walk_back(fabric, changed(asked, midstream=True), place, None)


def _answering(fabric: Fabric, walk: Walk, place: Place) -> Way:
    """The answer as it leaves the stack that the request arrived in."""
    if walk.visit.kind is StackKind.NODE:
        return SentByNode(walk=walk, node=walk.visit.name, source=walk.packet.source)
    if walk.visit.kind is StackKind.LOAD_BALANCER or place.kind == "outside":
        return SentFromOutside(walk=walk)
    if place.kind == "pod":
        return _from_pod(fabric, walk, place)
    if place.node is not None:
        return LeftForNode(walk=walk, node=place.node)
    return _from_elsewhere(fabric, walk)


def _from_pod(fabric: Fabric, walk: Walk, place: Place) -> Way:
    pod = fabric.cluster.objects.pod(place.namespace or "", place.name or "")
    if pod is None or pod.node_name is None:
        text = f"pod {place.namespace}/{place.name} runs on no node"
        return walk.unknown(Unknown(code="DATA_MISSING", text=text))
    return SentByPod(walk=walk, pod=pod)


def _from_elsewhere(fabric: Fabric, walk: Walk) -> Way:
    """An endpoint outside the cluster answers: it reaches node addresses; whether it has routes to pods is not in a snapshot."""
    destination = walk.packet.destination
    if fabric.cluster.is_node_address(destination):
        return SentFromOutside(walk=walk)
    text = f"whether {walk.packet.source}, which is no part of the cluster, has a route to {destination} is not in a snapshot"
    return walk.unknown(Unknown(code="DATA_MISSING", text=text))


def _reply(back: Ending, sent: Packet, client: Place) -> Reply:
    """What became of the answer, as the client sees it."""
    outcome, packet = back.outcome, back.walk.packet
    if outcome.disposition is Disposition.LEAVES:
        text = f"The answer goes to {packet.destination}, which nobody in the snapshot owns"
        return Reply(disposition=Disposition.LOST, reason=Reason(code="NOT_OWNED", text=text), hops=outcome.hops)
    if outcome.disposition is not Disposition.DELIVERED:
        return Reply(disposition=outcome.disposition, reason=outcome.reason, hops=outcome.hops)
    seen = (packet.source, packet.source_port)
    port = None if packet.source_port_random else packet.source_port
    if not _is_home(outcome, client) or packet.destination != sent.source:
        text = (
            f"The answer goes to {packet.destination}, not to the client at {sent.source}: it misses the node that translated the request"
        )
        return _missed(text, packet, outcome)
    if (packet.destination_port, packet.destination_port_random) != (sent.source_port, sent.source_port_random):
        text = (
            f"The answer goes to {at_text(packet.destination, packet.destination_port)}, which is not the client's port: a stack that does "
            "not know the connection asks its nat rules about the answer, as about a new one"
        )
        return _missed(text, packet, outcome)
    if seen != (sent.destination, sent.destination_port):
        text = (
            f"The answer reaches the client from {at_text(packet.source, port)}, but it dialled "
            f"{at_text(sent.destination, sent.destination_port)}: the answer missed the node that translated the request, and the client "
            "does not know it"
        )
        return _missed(text, packet, outcome)
    text = f"The client sees the answer come from {at_text(packet.source, port)}, which it dialled"
    if (no := refusal(back.walk.refusal or "")) is not None:
        about = f" {back.walk.wire.source} about its packet to" if back.walk.is_error else ""
        text = f"The client gets {no.said} from{about} {at_text(packet.source, port)}, which it dialled"
    reason = Reason(code="DELIVERED", text=text)
    return Reply(disposition=Disposition.DELIVERED, source=packet.source, source_port=port, reason=reason, hops=outcome.hops)


def _missed(text: str, packet: Packet, outcome: Outcome) -> Reply:
    """An answer that the client's socket does not take."""
    port = None if packet.source_port_random else packet.source_port
    reason = Reason(code="REPLY_BYPASSES_NAT", text=text)
    return Reply(disposition=Disposition.LOST, source=packet.source, source_port=port, reason=reason, hops=outcome.hops)


def _is_home(outcome: Outcome, client: Place) -> bool:
    """Whether the answer ended in the stack that sent the request."""
    last = outcome.hops[-1]
    return (last.kind.value, last.name) == (client.kind, client.name)
