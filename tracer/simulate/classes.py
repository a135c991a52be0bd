"""Ways that differ in nothing but the endpoint's addresses and names, walked once: the others' addresses and names are put in.

Where nat rules or IPVS give a packet many destinations, the first way is walked to its very end, the answer and what follows included, and
everything that it asked is noted (``tracer.simulate.asked``). The next endpoint is asked the same, with its own addresses and names in
the questions: where each answer is the one that the first got, but for those addresses and names, its walk can only be the same too. It
is not walked; it is a member of the first one's class. Where anything is answered otherwise, or something was asked of which nobody
knows what was made (a draw, a list of all pods), it is walked. So no rule, route, set, policy or link has to be thought of here.

Only pods' own addresses are put in for one another, and only where nothing else on the way has them, so that what code compares falls
out the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

from tracer.frozen import changed
from tracer.packet import Address
from tracer.simulate.asked import Notes
from tracer.simulate.belongings import belongings_of
from tracer.simulate.likeness import Likeness, Looks
from tracer.simulate.members import Cut, Unwalked, Way
from tracer.simulate.stencil import Own
from tracer.simulate.walk import Ending, Walk
from tracer.topology.cluster import Cluster
from tracer.values import dataclass

MANY = 16
"""How many destinations in one place make it worth while to note what a walk asks."""
_MOST_TRIED = 4
"""How many classes an endpoint is held against."""

W = TypeVar("W", bound=tuple[Any, ...])


class ManyWaysError(Exception):
    """There are so many destinations that it is worth while to walk by classes."""


class Grouping(Protocol):
    """Who sees the destinations that a packet is given in one place."""

    def of(self, before: Walk, ways: Iterator[W | Ending]) -> Iterator[W | Ending]:
        """Return those of *ways*, the packet's after *before*, that have to be walked. Each begins with its walk."""


class Plain:
    """Every way is walked."""

    def of(self, before: Walk, ways: Iterator[W | Ending]) -> Iterator[W | Ending]:
        """Return *ways*."""
        return ways


class Reference(Plain):
    """Every way is walked, and nothing is taken from another question's walk: what the classes are held against."""


class Counting:
    """Every way is walked, as long as there are few."""

    def of(self, before: Walk, ways: Iterator[W | Ending]) -> Iterator[W | Ending]:
        """Return *ways*. :raises ManyWaysError: they are many."""
        for number, way in enumerate(ways):
            if number == MANY:
                raise ManyWaysError
            yield way


@dataclass(slots=True)
class _Frame:
    """A way that was walked, or ended where it was drawn (then there is no *own*), with those that are like it."""

    group: int
    number: int
    walk: Walk
    own: Own | None = None
    members: list[Way] = field(default_factory=list)


class Classes:
    """The classes of one question's ways. Only ways of which *active* is true are grouped: those that the question's own packet takes."""

    def __init__(self, cluster: Cluster, notes: Notes) -> None:
        self.notes = notes
        self.active = False
        self._objects = cluster.objects
        self._frames: list[_Frame] = []
        self._groups = 0
        self._looks = Looks()
        self._belongings = belongings_of(cluster)

    def of(self, before: Walk, ways: Iterator[W | Ending]) -> Iterator[W | Ending]:
        """Yield a way of each class, the first; the others are its members."""
        if not self._may_group(before):
            yield from ways
            return
        begun = tuple(islice(ways, 2))
        if len(begun) < 2:  # nothing parts here: it may in what comes next, as IPVS is asked behind NAT
            yield from begun
            return
        ways = chain(begun, ways)
        self._groups += 1
        group, classes = self._groups, dict[object, list[tuple[Likeness, _Frame]]]()
        passed = _addresses_of(before)
        for number, way in enumerate(ways):
            if isinstance(way, Ending):
                yield Ending(way.outcome, self._framed(_Frame(group, number, way.walk)))
                continue
            walk, *rest = way
            own = self._own(before, walk, passed)
            if own is None:
                yield (self._framed(_Frame(group, number, walk)), *rest)  # type: ignore[misc]
                continue
            alike = classes.setdefault((self._belongings.kind(own), walk.packet.destination.version), [])
            found = next((frame for likeness, frame in alike if likeness.fits(walk, rest, own)), None)
            if found is not None:
                found.members.append(Way(number, walk, own))
                continue
            frame = _Frame(group, number, walk, own)
            if len(alike) >= _MOST_TRIED:
                yield (self._framed(frame), *rest)  # type: ignore[misc]
                continue
            self.notes.listen()
            try:
                yield (self._framed(frame), *rest)  # type: ignore[misc]
            finally:
                asked = self.notes.heard()
            alike.append((Likeness(own, (walk, rest), asked, self._belongings, self._looks), frame))

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

    def _may_group(self, before: Walk) -> bool:
        is_first = before.drawn is None and before.tunnel is None and not before.accepted and not before.answering
        return self.active and is_first and not self.notes.listening

    def _framed(self, frame: _Frame) -> Walk:
        self._frames.append(frame)
        return changed(frame.walk, drawn=len(self._frames) - 1)

    def _own(self, before: Walk, walk: Walk, passed: frozenset[Address]) -> Own | None:
        """What is the destination's own, where it is the address of a pod that nothing else on the way has."""
        address = walk.packet.destination
        if address == before.packet.destination or address in passed or walk.sets is not before.sets:
            return None
        pods = self._objects.pods_with_ip(address)
        if len(pods) != 1 or address not in pods[0].owned_ips or not passed.isdisjoint(pods[0].ips):
            return None
        return self._belongings.of(pods[0])

    # -- the ends -----------------------------------------------------------------------------------------------------------------

    def number(self, endings: Sequence[Ending]) -> int:
        """Return how many *endings* are with those of the members."""
        return sum(1 if e.walk.drawn is None else 1 + len(self._frames[e.walk.drawn].members) for e in endings)

    def expanded(self, endings: Sequence[Ending]) -> list[Ending | Unwalked]:
        """Return *endings*, with those of the members behind them, in the order of a plain walk.

        :raises UnlikeError: an end does not show where the endpoint's own is in it.
        """
        found: list[Ending | Unwalked] = []
        at = 0
        while at < len(endings):
            group = self._group_of(endings[at])
            end = at + 1
            while group is not None and end < len(endings) and self._group_of(endings[end]) == group:
                end += 1
            found += self._ordered(endings[at:end]) if group is not None else endings[at:end]
            at = end
        return found

    def _group_of(self, ending: Ending) -> int | None:
        return None if ending.walk.drawn is None else self._frames[ending.walk.drawn].group

    def _ordered(self, endings: Sequence[Ending]) -> list[Ending | Unwalked]:
        by_frame: dict[int, list[Ending]] = {}
        for ending in endings:
            if ending.walk.drawn is not None:
                by_frame.setdefault(ending.walk.drawn, []).append(ending)
        placed: list[tuple[int, Sequence[Ending | Unwalked]]] = []
        for drawn, ends in by_frame.items():
            frame = self._frames[drawn]
            if not frame.members or frame.own is None:
                placed.append((frame.number, ends))
                continue
            ends = [Ending(changed(ending.outcome, of_class=object()), ending.walk) for ending in ends]
            placed.append((frame.number, ends))
            cut = [Cut(ending, frame.walk, frame.own) for ending in ends]
            placed += [(member.number, [Unwalked(one, member) for one in cut]) for member in frame.members]
        return [ending for _, ends in sorted(placed, key=lambda one: one[0]) for ending in ends]


def _addresses_of(walk: Walk) -> frozenset[Address]:
    """Every address on the way so far."""
    packets = [walk.packet, walk.visit.packet_in, *(p for hop in walk.hops for p in (hop.packet_in, hop.packet_out))]
    flows = [flow for _, held in walk.entries for flow in (held.original, held.reply)]
    return frozenset(
        a for ends in (*((p.source, p.destination) for p in packets), *((f.source, f.destination) for f in flows)) for a in ends
    )
