"""Crossings of a stack that were walked before: a packet that comes as one came before leaves as that one left.

Many questions send the same packets behind the first stack: to an endpoint that several Services have, and back. What a stack does with a
packet depends on the packet, on how it comes in, on the stack's own entries of its flow and on some fields of the walk, which are all in
the key; a walk that has anything rare with it (sets that it changed, settings it supposes, a refusal) is not looked at. Only what left in
one way is kept, with nothing drawn, asked in some order or supposed, and only where all of its chains knew that way (``KeptRuns``). So it
is known what each chain was asked, and a question that goes the same way pays for it as if it had been asked.

What only one question has is not kept: where a packet meets nat rules first, and where its answer's translation is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import Any

from tracer.conntrack import Connection
from tracer.frozen import changed
from tracer.netfilter.kept_runs import Gone, at_most
from tracer.packet import Packet
from tracer.simulate.departure import LeftForNode, Routed, Way
from tracer.simulate.hooks import HookRunner
from tracer.simulate.walk import Visit, Walk
from tracer.stack_protocols import TableId
from tracer.topology.stack import NodeStack
from tracer.values import dataclass

_Entry = tuple[TableId, Connection]
_NO_WALK: Any = None
"""What a kept departure has in place of the walk that left: who takes it over puts his own there."""


@dataclass(frozen=True, slots=True)
class _Crossed:
    """How a packet left *stack*, the entry that it left there where that is new or another, and the ways that it went in chains."""

    stack: NodeStack
    way: Routed | LeftForNode
    packet: Packet
    visit: Visit
    entry: _Entry | None
    confirmed: frozenset[TableId]
    source_port_certain: bool
    ways: tuple[Gone, ...]
    most: int


class KeptCrossings:
    """The crossings that one question may take over, and those that it adds; *hooks* are its own."""

    def __init__(self, hooks: HookRunner) -> None:
        self._hooks = hooks
        self._kept = hooks.known.crossings

    def of(self, walk: Walk, stack: NodeStack, by: tuple[object, ...], crossed: Callable[[], Iterator[Way]]) -> Iterator[Way]:
        """Return the ways of *walk* through *stack*, which it comes into *by* something: what is kept of it, else what is *crossed*."""
        key = None if self._kept is None else _key(walk, stack, by)
        if self._kept is None or key is None:
            return crossed()
        kept: _Crossed | None = self._kept.get(key)
        if kept is None:
            return self._noted(walk, stack, key, crossed())
        if self._hooks.budget.left <= kept.most:
            return crossed()
        self._hooks.log.again(kept.ways, walk.packet)
        self._hooks.again(kept.ways)
        return iter((changed(kept.way, walk=_filled(walk, kept)),))

    def _noted(self, walk: Walk, stack: NodeStack, key: object, ways: Iterator[Way]) -> Iterator[Way]:
        """Return *ways*, and keep what the packet did where it is one."""
        log = self._hooks.log
        log.found = []
        try:
            first, second = next(ways, None), next(ways, None)
        finally:
            gone, log.found = log.found, None
        if first is None:
            return iter(())
        if second is not None:
            return chain((first, second), ways)
        if self._kept is not None and gone is not None and (kept := _kept(walk, stack, first, gone)) is not None:
            self._kept.put(key, kept)
        return iter((first,))


_PLAIN = (IPv4Address, IPv6Address)
_NOTHING = (None,) * 8


def _key(walk: Walk, stack: NodeStack, by: tuple[object, ...]) -> tuple[object, ...] | None:
    """What decides how *walk* crosses *stack*; None where it has something else with it, or may be the only one that ever comes so.

    It is made of numbers and texts, which are quick to look up: an address is its number, unless it stands for one that nobody recorded.
    """
    if not walk.answering and not walk.entries:
        return None
    said = (walk.refusal, walk.refused, walk.sender, walk.no_way, walk.says, walk.sees, walk.tunnel, walk.visit.steps)
    if said != _NOTHING or walk.visit.packet_in is not walk.packet:
        return None
    if walk.existing or walk.accepted or walk.recent or walk.sets or walk.header or walk.settled or walk.attached:
        return None
    name, packet, visit, ports = stack.name, walk.packet, walk.visit, walk.own_ports
    if not is_plain(packet):
        return None
    flags: list[object] = [walk.answering, walk.midstream, walk.moved, walk.source_port_certain, walk.size, ports.low, ports.high]
    flags += [packet.source_port_random, packet.destination_port_random]
    for table, connection in walk.entries:
        if table.name == name:
            if connection.has_dnat or (told := _told(connection)) is None:
                return None
            flags += (table.kind, *told)
    flags += [table.kind for table in walk.confirmed if table.name == name]
    at = (visit.kind, visit.name, visit.came_in, visit.notes)
    ends = (packet.protocol, int(packet.source), packet.source_port, int(packet.destination), packet.destination_port, packet.mark)
    return (id(stack), by, packet.destination.version, *at, *ends, *flags)


def is_plain(packet: Packet) -> bool:
    """Return whether both addresses of *packet* are known: none stands for one that nobody recorded."""
    return packet.source.__class__ in _PLAIN and packet.destination.__class__ in _PLAIN


def _told(connection: Connection) -> tuple[object, ...] | None:
    """What an entry says, in numbers and texts; None where an address in it stands for one that nobody recorded."""
    found: list[object] = []
    for flow in (connection.original, connection.reply):
        if flow.source.__class__ not in _PLAIN or flow.destination.__class__ not in _PLAIN:
            return None
        found += (flow.protocol, int(flow.source), flow.source_port, int(flow.destination), flow.destination_port)
    said = (connection.established, connection.virtual, connection.opening, connection.supposed, connection.unseen)
    return (*found, connection.source_done, connection.destination_done, connection.mark, *said)


def _kept(walk: Walk, stack: NodeStack, way: Way, gone: list[Gone]) -> _Crossed | None:
    """How *walk* left *stack*, where that can be said of any that comes as it did; None where it cannot."""
    if not isinstance(way, Routed | LeftForNode) or way.after is not None:
        return None
    left = way.walk
    found = _Crossed(
        stack,
        changed(way, walk=_NO_WALK),
        left.packet,
        left.visit,
        next((entry for entry in reversed(left.entries) if not any(entry is other for other in walk.entries)), None),
        left.confirmed - walk.confirmed,
        left.source_port_certain,
        tuple(gone),
        sum(map(at_most, gone)),
    )
    return found if _is_one(_filled(walk, found), left) else None


def _is_one(one: Walk, other: Walk) -> bool:
    """Whether two walks are equal; most of what they hold is the same object."""
    return all(value is held or value == held for value, held in zip(vars(one).values(), vars(other).values(), strict=True))


def _filled(walk: Walk, kept: _Crossed) -> Walk:
    """*walk* as it leaves."""
    entries = walk.entries
    if kept.entry is not None:
        table, connection = kept.entry
        entries = (*(e for e in entries if not (e[0] == table and e[1].original == connection.original)), kept.entry)
    return changed(
        walk,
        packet=kept.packet,
        visit=kept.visit,
        entries=entries,
        confirmed=walk.confirmed | kept.confirmed,
        source_port_certain=kept.source_port_certain,
    )
