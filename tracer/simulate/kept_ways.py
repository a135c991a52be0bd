"""What became of a packet that nat rules gave its destination, there and back: taken over where another question sends it there, too.

Many Services have endpoints in common. What becomes of a packet behind the translation depends on the packet as it is then, on the stack
that it is in, and on what the walk has with it; all of that is in the key. What it dialled first, the Service's address and port, stands
only in the entry of the stack that translated it, and is put back into the answer there. So that is left out of the key, and put in.

Only what can be told to be so is kept: a way with one end, delivered and answered, on which nothing was drawn, supposed, assumed or sent
again, where all chains knew their ways (``KeptRuns``), no rule on the way asks what was dialled, and the answer ends where it gets the
dialled address back. Whoever takes a way over pays for it as if it had been walked. Of an address that a node or a pod has only the port
is put in: rules and routes may know the address.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Protocol

from tracer.conntrack import Connection, FlowTuple
from tracer.frozen import changed
from tracer.netfilter.kept_runs import Gone, at_most
from tracer.packet import Address, Packet, at_text, endpoint_text
from tracer.query import Query
from tracer.simulate.classes import Counting, W
from tracer.simulate.crossing import Crossing
from tracer.simulate.hooks import HookRunner
from tracer.simulate.kept_crossings import is_plain
from tracer.simulate.walk import Ending, Walk
from tracer.stack_protocols import TableKind
from tracer.topology.cluster import Cluster
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Hop, Listener, Outcome, Reason, Reply, Step
from tracer.values import dataclass

_UN_NAT = "un-nat"


@dataclass(frozen=True, slots=True)
class _Dialled:
    """What the packet was sent to first. *is_free*: nobody has the address, so that another may stand in its place."""

    address: Address
    port: int | None
    is_free: bool

    def is_of(self, packet: Packet) -> bool:
        """Return whether *packet* is to it or from it."""
        if self.is_free:
            return self.address in (packet.source, packet.destination)
        ends = ((packet.source, packet.source_port), (packet.destination, packet.destination_port))
        return (self.address, self.port) in ends

    def may_decide(self, packet: Packet, end: AsksForSender) -> bool:
        """Return whether the end of *packet* in a chain may be another where another is dialled: of a known address only ports are."""
        if not self.is_of(packet):
            return False
        return self.is_free or end.asks_for_sender or not self.is_sender(packet)

    def is_sender(self, packet: Packet) -> bool:
        """Return whether *packet* comes from it."""
        return (packet.source, packet.source_port) == (self.address, self.port) and packet.destination != self.address

    def is_in(self, text: str) -> bool:
        """Return whether *text* speaks of it."""
        if self.is_free:
            return str(self.address) in text
        return at_text(self.address, self.port) in text or endpoint_text(self.address, self.port) in text

    def key(self, address: Address, port: int | str | None) -> tuple[object, ...]:
        """Return what stands for an address and a port in keys: for the dialled ones that they are."""
        if address == self.address and port == self.port:
            return ("dialled",)
        return (int(address), port)


class AsksForSender(Protocol):
    """The end of a walk in a chain, which knows whether a rule asked for the sender's port."""

    @property
    def asks_for_sender(self) -> bool:
        """Return whether one did."""


@dataclass(frozen=True, slots=True)
class TakenOver(Ending):
    """An end that is whole, with its answer and all that follows: it was taken over."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A way behind the translation: its end, the hop that it begins in, what it went through in chains, and what of it was dialled.

    *crossing* is held so that the id of its stack stays its own.
    """

    ending: Ending
    place: int
    steps: int
    dialled: _Dialled
    given: Packet
    ways: tuple[Gone, ...]
    most: int
    crossing: Crossing

    def filled(self, walk: Walk, dialled: _Dialled) -> TakenOver:
        """Return the end for *walk*, which was given the same destination and had *dialled* another."""
        before, outcome = self.ending.walk, self.ending.outcome
        hop = outcome.hops[self.place]
        steps = walk.visit.steps.to_tuple() if walk.visit.steps is not None else ()
        first = changed(hop, packet_in=walk.visit.packet_in, steps=steps + hop.steps[self.steps :])
        filled = changed(
            outcome,
            probability=walk.probability,
            hops=(*walk.hops, first, *outcome.hops[self.place + 1 :]),
            reply=outcome.reply if dialled == self.dialled or outcome.reply is None else self._reply(outcome.reply, dialled),
        )
        return TakenOver(filled, changed(before, probability=walk.probability, unknowns=walk.unknowns, forks=walk.forks))

    def _reply(self, reply: Reply, dialled: _Dialled) -> Reply:
        packets: dict[int, Packet] = {}
        hops = tuple(self._hop(hop, dialled, packets) for hop in reply.hops)
        reason = reply.reason
        if reason is not None:
            text = reason.text.replace(at_text(self.dialled.address, self.dialled.port), at_text(dialled.address, dialled.port))
            reason = Reason(code=reason.code, text=text)
        return changed(reply, source=dialled.address, source_port=dialled.port, reason=reason, hops=hops)

    def _hop(self, hop: Hop, dialled: _Dialled, packets: dict[int, Packet]) -> Hop:
        came, left = (self._packet(packet, dialled, packets) for packet in (hop.packet_in, hop.packet_out))
        if came is hop.packet_in and left is hop.packet_out:
            return hop
        steps = tuple(self._step(step, dialled) for step in hop.steps)
        return changed(hop, packet_in=came, packet_out=left, steps=steps)

    def _packet(self, packet: Packet, dialled: _Dialled, packets: dict[int, Packet]) -> Packet:
        if not self.dialled.is_sender(packet):
            return packet
        if id(packet) not in packets:
            packets[id(packet)] = changed(packet, source=dialled.address, source_port=dialled.port)
        return packets[id(packet)]

    def _step(self, step: Step, dialled: _Dialled) -> Step:
        if step.event != _UN_NAT or not _gives_back(step, self.dialled):
            return step
        rewrote: dict[str, tuple[object, object]] = {"source": (str(self.given.destination), str(dialled.address))}
        if self.given.destination_port != dialled.port:
            rewrote["source_port"] = (self.given.destination_port, dialled.port)
        return changed(step, rewrote=rewrote)


@dataclass(slots=True)
class _Noting:
    """A way that is walked to be kept. *picked* is how often something was assumed before."""

    dialled: _Dialled
    picked: int
    ended: list[Ending] = field(default_factory=list)
    is_lost: bool = False


class KeptWays(Counting):
    """The ways that one question may take over, and those that it adds. Only its own packet's count: while *active* is true."""

    def __init__(self, cluster: Cluster, query: Query) -> None:
        self.active = False
        self._cluster, self._assumed = cluster, query.assume
        self._hooks: HookRunner | None = None
        self._noting: _Noting | None = None

    def bind(self, hooks: HookRunner) -> None:
        """Take note of what chains *hooks* asks; what it knows has the ways that are kept."""
        self._hooks = hooks

    # -- who is walked ------------------------------------------------------------------------------------------------------------

    def of(self, before: Walk, ways: Iterator[W | Ending]) -> Iterator[W | Ending]:
        """Yield *ways*, for those that are kept their ends."""
        counted = super().of(before, ways)
        if self._noting is not None:
            return self._parting(self._noting, before, counted)
        return self._taken(before, counted) if self.may_take(before) else counted

    def may_take(self, before: Walk) -> bool:
        """Return whether the packet of *before*, which is given a destination next, may go a way that is kept."""
        if not self.active or self._noting is not None or self._hooks is None or self._hooks.known.ways is None:
            return False
        if before.answering or before.midstream or before.existing or before.accepted or before.tunnel is not None:
            return False
        rare = before.recent or before.sets or before.header or before.settled or before.attached or before.conditions or before.moved
        return not rare and before.again is None and before.size is None and before.sees is None

    def watched(self, ways: Iterator[Ending]) -> Iterator[Ending]:
        """Yield *ways*, active while they are looked for: what is walked in between is not the question's own packet."""
        while True:
            self.active = True
            try:
                way = next(ways, None)
            finally:
                self.active = False
            if way is None:
                return
            yield way

    def _taken(self, before: Walk, ways: Iterator[W | Ending]) -> Iterator[W | Ending]:
        hooks, dialled = self._hooks, None
        if hooks is None or hooks.known.ways is None:
            raise TypeError("ways are kept of a question's own hooks")
        for way in ways:
            if isinstance(way, Ending) or len(way) != 2 or way[0].packet.destination == before.packet.destination:
                yield way
                continue
            walk, crossing = way
            if not isinstance(crossing, Crossing):  # a balancer's
                yield way
                continue
            dialled = dialled or self._dialled(before.packet)
            key = _key(walk, crossing, dialled, self._assumed)
            kept: _Kept | None = None if key is None else hooks.known.ways.get(key)
            if key is None or (kept is not None and hooks.budget.left <= kept.most):
                yield way
            elif kept is None:
                yield from self._noted(hooks, key, way, dialled)
            else:
                hooks.again(kept.ways)
                yield kept.filled(walk, dialled)

    def _dialled(self, packet: Packet) -> _Dialled:
        address, cluster = packet.destination, self._cluster
        is_held = cluster.ports_of(address) or cluster.pod_with_ip(address) or cluster.is_node_address(address)
        is_free = not is_held and not address.is_loopback and address != packet.source
        return _Dialled(address, packet.destination_port, is_free)

    # -- what is noted ------------------------------------------------------------------------------------------------------------

    def _noted(self, hooks: HookRunner, key: object, way: W, dialled: _Dialled) -> Iterator[W]:
        """Yield *way*, and keep what became of it by the time that the next one is asked for."""
        noting = self._noting = _Noting(dialled, hooks.ties.assuming.number)
        hooks.log.whole, hooks.log.is_open = [], dialled.may_decide
        is_through = False
        try:
            yield way
            is_through = True
        finally:
            gone, hooks.log.whole, self._noting = hooks.log.whole, None, None
            if is_through and gone is not None and not noting.is_lost and noting.picked == hooks.ties.assuming.number:
                kept = _kept(way[0], way[1], noting, gone)
                if kept is not None and hooks.known.ways is not None:
                    hooks.known.ways.put(key, kept, _size(kept))

    def _parting(self, noting: _Noting, before: Walk, ways: Iterator[W | Ending]) -> Iterator[W | Ending]:
        """Yield *ways*: a second translation knows the dialled address no more, or answers are taken for new."""
        for way in ways:
            if isinstance(way, Ending) or way[0].packet.destination != before.packet.destination:
                noting.is_lost = True
            yield way

    def ended(self, ending: Ending) -> None:
        """Note an end, with its answer and all that follows."""
        if self._noting is not None:
            self._noting.ended.append(ending)

    def sends(self, walk: Walk) -> None:
        """Note that a packet is sent: on a way that is kept only the first one's plain answer is."""
        if self._noting is not None and (not walk.answering or walk.midstream or walk.refusal is not None):
            self._noting.is_lost = True

    def comes(self, packet: Packet, stack: NodeStack) -> None:
        """Note that a packet comes into *stack*: none that has its dialled address back, unless only ports tell it from others there."""
        noting = self._noting
        if noting is None or not noting.dialled.is_of(packet):
            return
        may_tell = stack.routing.asks_more_than_addresses(packet.destination.version)
        if may_tell or noting.dialled.is_free or not noting.dialled.is_sender(packet):
            noting.is_lost = True


def _key(walk: Walk, crossing: Crossing, dialled: _Dialled, assumed: tuple[str, ...]) -> tuple[object, ...] | None:
    """What decides what becomes of *walk*, behind its translation in *crossing*; None where it has something rare with it."""
    packet, visit = walk.packet, walk.visit
    if crossing.served or crossing.header or crossing.route is not None or crossing.connection is None or not is_plain(packet):
        return None
    if (walk.refusal, walk.refused, walk.sender, walk.no_way, walk.says, walk.drawn) != (None,) * 6:
        return None
    key: list[object] = [id(crossing.stack), dialled.is_free or int(dialled.address), packet.destination.version, assumed]
    key += [crossing.in_device, crossing.out_device, crossing.phys_in, crossing.phys_out, crossing.bridged, crossing.local_process]
    key += [crossing.state, crossing.reply, walk.assumed, walk.source_port_certain, walk.own_ports, walk.confirmed]
    key += [visit.kind, visit.name, visit.came_in, visit.notes, _packet_key(packet, dialled), _packet_key(visit.packet_in, dialled)]
    is_found = False
    for table, connection in walk.entries:
        if table.kind is TableKind.IPVS or connection.virtual or connection.supposed or connection.unseen:
            return None
        is_found = is_found or connection is crossing.connection
        key += [table, *_connection_key(connection, dialled)]
    for hop in walk.hops:
        if not is_plain(hop.packet_in) or not is_plain(hop.packet_out) or hop.tunnel is not None:
            return None
        key += [hop.kind, hop.name, hop.node, hop.came_in, hop.went_out, hop.notes]
        key += [_packet_key(hop.packet_in, dialled), _packet_key(hop.packet_out, dialled)]
    return tuple(key) if is_found else None


def _packet_key(packet: Packet, dialled: _Dialled) -> tuple[object, ...]:
    ends = dialled.key(packet.source, packet.source_port), dialled.key(packet.destination, packet.destination_port)
    return (packet.protocol, *ends, packet.mark, packet.source_port_random, packet.destination_port_random)


def _connection_key(connection: Connection, dialled: _Dialled) -> tuple[object, ...]:
    told = (connection.source_done, connection.destination_done, connection.mark, connection.established, connection.opening)
    return (_flow_key(connection.original, dialled), _flow_key(connection.reply, dialled), *told)


def _flow_key(flow: FlowTuple, dialled: _Dialled) -> tuple[object, ...]:
    ends = dialled.key(flow.source, flow.source_port), dialled.key(flow.destination, flow.destination_port)
    return (flow.protocol, *ends)


def _kept(walk: Walk, crossing: Crossing, noting: _Noting, gone: list[Gone]) -> _Kept | None:
    """What is kept of *walk*'s way, None where it is none that is."""
    if len(noting.ended) != 1 or any(end.asks_for_tuples for _, end, *_ in gone):
        return None
    ending, place = noting.ended[0], len(walk.hops)
    steps = walk.visit.steps.to_tuple() if walk.visit.steps is not None else ()
    if not _is_one(ending, walk) or not _is_plainly_answered(ending.outcome) or ending.outcome.hops[:place] != walk.hops:
        return None
    if ending.outcome.hops[place].steps[: len(steps)] != steps or not _is_told_where_known(ending.outcome, walk, noting.dialled):
        return None
    return _Kept(ending, place, len(steps), noting.dialled, walk.packet, tuple(gone), sum(map(at_most, gone)), crossing)


def _is_one(ending: Ending, walk: Walk) -> bool:
    """Whether the way did not part, and nothing was taken for granted on it."""
    last, outcome = ending.walk, ending.outcome
    if last.forks != walk.forks or last.unknowns != walk.unknowns or outcome.probability != walk.probability:
        return False
    rare = last.recent or last.sets or last.settled or last.accepted or last.existing or last.moved or outcome.conditions
    return not rare and last.sees is None and last.says is None and last.no_way is None and outcome.assumes == walk.assumed


def _is_plainly_answered(outcome: Outcome) -> bool:
    """Whether it came to somebody who answers, and the answer to the client: what is sent again otherwise is another matter."""
    reply = outcome.reply
    if outcome.disposition is not Disposition.DELIVERED or outcome.listener is Listener.ABSENT or outcome.remarks or outcome.also:
        return False
    if reply is None or reply.disposition is not Disposition.DELIVERED:
        return False
    return reply.reason is not None and reply.reason.code == "DELIVERED"


def _is_told_where_known(outcome: Outcome, walk: Walk, dialled: _Dialled) -> bool:
    """Whether what was dialled stands only where another is put in: as the answer's sender, and in the step that gave it back."""
    reply = outcome.reply
    if reply is None or reply.reason is None or (reply.source, reply.source_port) != (dialled.address, dialled.port):
        return False
    at = at_text(dialled.address, dialled.port)
    if reply.reason.text.count(at) != 1 or dialled.is_in(reply.reason.text.replace(at, "")):
        return False
    place = len(walk.hops)
    first, behind = outcome.hops[place], outcome.hops[place + 1 :]
    packets = (first.packet_out, *(packet for hop in behind for packet in (hop.packet_in, hop.packet_out)))
    if any(map(dialled.is_of, packets)):
        return False
    steps = walk.visit.steps.to_tuple() if walk.visit.steps is not None else ()
    walked = [*first.steps[len(steps) :], *(step for hop in behind for step in hop.steps)]
    for hop in reply.hops:
        if any(dialled.is_of(packet) and not dialled.is_sender(packet) for packet in (hop.packet_in, hop.packet_out)):
            return False
        given_back = [step for step in hop.steps if _gives_back(step, dialled)]
        if given_back and not dialled.is_sender(hop.packet_out):
            return False
        walked += [step for step in hop.steps if step not in given_back]
    texts = [text for step in walked for text in _changes(step)]
    texts += [text for hop in (*behind, *reply.hops) for text in (hop.name, *hop.notes)]
    texts += first.notes[len(walk.visit.notes) :]
    texts += [outcome.reason.text] if outcome.reason is not None else []
    return not any(map(dialled.is_in, texts))


def _changes(step: Step) -> Iterator[str]:
    """What a step says it changed. NB: its rule, and the names of what that stands for, are the node's, whatever was dialled."""
    for field_name, (before, after) in step.rewrote.items():
        if field_name in ("source", "destination"):
            yield from (str(before), str(after))


def _gives_back(step: Step, dialled: _Dialled) -> bool:
    """Whether the step gives an answer the dialled address back, and does nothing else."""
    if step.event != _UN_NAT or not step.rewrote.keys() <= {"source", "source_port"} or "source" not in step.rewrote:
        return False
    return step.rewrote["source"][1] == str(dialled.address)


def _size(kept: _Kept) -> int:
    """How large it is: hops hold every step on the way."""
    outcome = kept.ending.outcome
    return len(outcome.hops) - kept.place + (len(outcome.reply.hops) if outcome.reply is not None else 0)
