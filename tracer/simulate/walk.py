"""One branch of the walk: the packet, the odds so far, the hops behind it, and the connections it left in each stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from fractions import Fraction

from tracer.conntrack import Connection, FlowTuple
from tracer.forks import Fork
from tracer.frozen import changed
from tracer.netfilter.ipset_save import IpSet
from tracer.netfilter.leaf import StepList
from tracer.netfilter.model import EPHEMERAL, PortRange
from tracer.packet import Address, Family, Packet, Protocol
from tracer.refusals import ECHOES, RESET, refusal
from tracer.routing import ResultKind, is_unnamed
from tracer.stack_protocols import Process, TableId
from tracer.trace import Disposition, Hop, Listener, Outcome, Place, Reason, Sees, StackKind, Step, Unknown
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """The stack a packet is in just now: what came in, and the steps taken since."""

    kind: StackKind
    name: str
    node: str | None
    came_in: str | None
    packet_in: Packet
    steps: StepList | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A packet on its way; a value, so that branches share their past. It has no slots, since it is copied at every step (``changed``).

    *entries* are (table, connection) pairs; *seen* the states passed, against loops; *recent* what the ``-m recent`` lists
    of each stack learned, as (stack, list, address).
    *header* are the fields that somebody said (dscp, length, ttl), as they are between stacks; *sets* the ipsets
    of each stack where the flow changed them (``-j SET``).
    *accepted* are the connections on the way here that ended in a process, which made another: the client's own first.
    *settled* are the settings that nobody recorded and this walk takes for granted, as (node, key, is set).
    *forks* are the ways that it took where there were several.
    *own_ports* are those that the client's own port is one of, where nobody said it.
    *assumed* are the words of the assumptions that the way here rests on.
    *refusal* is what kind of no the answer is, None for a plain answer; *sender* is who says it, as an ICMP error's source.
    *no_way* is what routing said where it ended the packet; *says* what kind of no the stack that ended it sends back, where no rule chose
    it. *attached*: the kernel gave this refusal the connection that it is about, in the stack that made it;
    *refused* is the connection of the packet that a rule refused.
    *size* is what the packet has with its headers, where it is so large that it may not fit a device; it may not be cut (DF).
    *tunnel* is the device whose own packet this is, which carries another's; None for any other.
    *source_port_certain* is false once NAT may have changed it; *answering*: this is the answer; *midstream*: no first packet.
    *existing*: the connection was there when the nodes were read, so their tables may hold it. *confirmed* are the tables that keep it,
    as the packet got through their stack. *moved*: a stack that does not know the
    connection that exists may translate its packet otherwise than before.
    *drawn* numbers the way that was drawn, where ways are grouped (``tracer.simulate.classes``).
    *again* is how an earlier packet of the flow answered what it was asked, and from which fork on this one is held to that.
    *sees* is what the client sees after all, where that is not what the first packet tells.
    """

    packet: Packet
    visit: Visit
    probability: Fraction = Fraction(1)
    conditions: tuple[str, ...] = ()
    unknowns: tuple[Unknown, ...] = ()
    hops: tuple[Hop, ...] = ()
    entries: tuple[tuple[TableId, Connection], ...] = ()
    settled: frozenset[tuple[str, str, bool]] = frozenset()
    seen: frozenset[tuple[object, ...]] = frozenset()
    recent: frozenset[tuple[str, str, str]] = frozenset()
    source_port_certain: bool = True
    answering: bool = False
    midstream: bool = False
    existing: bool = False
    moved: bool = False
    confirmed: frozenset[TableId] = frozenset()
    sees: Sees | None = None
    accepted: tuple[Taken, ...] = ()
    assumed: tuple[str, ...] = ()
    header: Mapping[str, int] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, IpSet]] = field(default_factory=dict)
    forks: tuple[Fork, ...] = ()
    own_ports: PortRange = EPHEMERAL
    refusal: str | None = None
    refused: Connection | None = None
    sender: Address | None = None
    no_way: ResultKind | None = None
    says: str | None = None
    attached: bool = False
    tunnel: str | None = None
    size: int | None = None
    drawn: int | None = None
    again: tuple[int, Mapping[str, int]] | None = None

    @property
    def packet_in(self) -> Packet:
        """Return the packet as it came to the stack that it is in, before any rule of it."""
        return self.visit.packet_in

    @property
    def is_error(self) -> bool:
        """Return whether this is an ICMP error about a packet, which *packet* is the answer to."""
        return self.refusal is not None and self.refusal != RESET

    @property
    def icmp(self) -> tuple[int, int] | None:
        """Return the type and code of an ICMP message, None for any other packet."""
        if self.refusal is not None:
            found = refusal(self.refusal)
            return found.icmp if found is not None else None
        return ECHOES.get((self.packet.protocol, self.answering))

    @property
    def wire(self) -> Packet:
        """Return the packet as it is sent: of an ICMP error, *packet* only says which connection it is about."""
        if self.refusal is None or not self.is_error:
            return self.packet
        return changed(
            self.packet,
            protocol=Protocol.ICMP if self.packet.family is Family.IP else Protocol.ICMPV6,
            source=self.sender or self.packet.source,
            source_port=None,
            destination_port=None,
            source_port_random=False,
            destination_port_random=False,
        )

    def entry(self, table: TableId, packet: Packet) -> tuple[Connection, bool] | None:
        """Return the connection of *table* that *packet* belongs to, and whether it runs in the reply direction.

        NB: who pings himself has both directions in one tuple, as it is modelled; the kernel's has the type of the message, too.
        """
        found: FlowTuple | None = None
        for name, connection in reversed(self.entries):
            if name != table:
                continue
            found = found or FlowTuple.of(packet)
            forth, back = connection.original.fits(found), connection.reply.fits(found)
            if forth or back:
                return connection, back and (self.answering or not forth)
        return None

    def with_entry(self, table: TableId, connection: Connection) -> Walk:
        """Return the walk with *connection* stored in *table*, in place of the one with the same original tuple."""
        kept = tuple(x for x in self.entries if not (x[0] == table and x[1].original == connection.original))
        return changed(self, entries=(*kept, (table, connection)))

    @property
    def strays(self) -> bool:
        """Return whether the walk answered something otherwise than the packet before that it has to follow."""
        if self.again is None:
            return False
        begin, before = self.again
        return any(before.get(fork.question, fork.branch) != fork.branch for fork in self.forks[begin:])

    def step(self, step: Step) -> Walk:
        """Return the walk with one more step in the current stack."""
        return changed(self, visit=changed(self.visit, steps=StepList(step, self.visit.steps)))

    def note(self, *texts: str) -> Walk:
        """Return the walk with remarks on the current stack."""
        return changed(self, visit=changed(self.visit, notes=(*self.visit.notes, *texts)))

    def assuming(self, *words: str) -> Walk:
        """Return the walk that rests on the assumptions *words* as well."""
        new = tuple(word for word in words if word not in self.assumed)
        return changed(self, assumed=self.assumed + new) if new else self

    def left(self, went_out: str | None) -> tuple[Hop, ...]:
        """Return the hops with the current stack's appended, left by device *went_out*."""
        visit = self.visit
        hop = Hop(
            kind=visit.kind,
            name=visit.name,
            node=visit.node,
            came_in=None if is_unnamed(visit.came_in) else visit.came_in,
            went_out=None if is_unnamed(went_out) else went_out,
            packet_in=visit.packet_in,
            packet_out=self.wire,
            steps=visit.steps.to_tuple() if visit.steps else (),
            notes=visit.notes,
            tunnel=self.tunnel,
        )
        return (*self.hops, hop)

    def enter(self, kind: StackKind, name: str, *, node: str | None, came_in: str | None, went_out: str | None) -> Walk:
        """Return the walk in the next stack. The mark stays behind: it belongs to the stack that set it."""
        packet = self.packet if self.packet.mark == 0 else changed(self.packet, mark=0)
        wire = packet if self.refusal is None else changed(self, packet=packet).wire
        visit = Visit(kind=kind, name=name, node=node, came_in=came_in, packet_in=wire)
        return changed(self, packet=packet, attached=False, visit=visit, hops=self.left(went_out))

    def end(
        self,
        disposition: Disposition,
        reason: Reason,
        *,
        destination: Place | None = None,
        listener: Listener | None = None,
        reject_with: str | None = None,
        went_out: str | None = None,
        left_from: str | None = None,
    ) -> Ending:
        """Return the end of this branch."""
        seen: tuple[Address, int | None] | None = None
        if disposition in (Disposition.DELIVERED, Disposition.LEAVES):
            port = self.packet.source_port if self.source_port_certain and not self.packet.source_port_random else None
            seen = (self.packet.source, port)
        outcome = Outcome(
            probability=self.probability,
            disposition=disposition,
            reason=reason,
            destination=destination,
            source_seen=seen,
            listener=listener,
            reject_with=reject_with,
            hops=self.left(went_out),
            conditions=self.conditions,
            left_from=left_from,
            assumes=self.assumed,
        )
        return Ending(outcome, self)

    def unknown(self, unknown: Unknown) -> Ending:
        """Return an end that the snapshot cannot tell."""
        known = changed(self, unknowns=(*self.unknowns, unknown))
        return known.end(Disposition.UNKNOWN, Reason(code=unknown.code, text=unknown.text))


@dataclass(frozen=True, slots=True)
class Taken:
    """A connection that *process* accepted, with the walk as it reached the process: the answer goes back from there."""

    walk: Walk = field(repr=False)
    process: Process

    @property
    def next_hop(self) -> int:
        """Return the place of the hop that the process's own connection begins with: behind the stack that accepted, and the process."""
        return len(self.walk.hops) + 2


@dataclass(frozen=True, slots=True)
class Ending:
    """A leaf of the branch tree, and the walk that led to it (its connections answer the reply)."""

    outcome: Outcome
    walk: Walk = field(repr=False)
