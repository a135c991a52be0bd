"""The fabric's loop by itself: made departures, carried in the order in which functions that call each other would walk them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.made_cluster import MadeCluster
from tracer.errors import TooMuchWork
from tracer.packet import Packet, Protocol
from tracer.simulate import departure
from tracer.simulate.departure import Departure, Way
from tracer.simulate.fabric import Fabric
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.trace import Disposition, Hop, Reason, StackKind

PACKET = Packet(protocol=Protocol.TCP, source=ip_address("203.0.113.9"), destination=ip_address("203.0.113.10"))


def walk(name: str, *, hops: int = 0) -> Walk:
    visit = Visit(kind=StackKind.NODE, name=name, node=None, came_in=None, packet_in=PACKET)
    hop = Hop(kind=StackKind.NODE, name="", node=None, came_in=None, went_out=None, packet_in=PACKET, packet_out=PACKET)
    return Walk(packet=PACKET, visit=visit, hops=(hop,) * hops)


@dataclass(frozen=True)
class Tree:
    """A made way: without *ways* it ends; else it departs to them, and *after* (if any) takes the place of each of its ends."""

    ways: tuple[Tree, ...] | None = None
    after: tuple[Tree, ...] | None = None


@dataclass
class Made:
    """Makes the ways of trees, and notes in *log* what is begun, gone on with, done, and closed unread."""

    log: list[str] = field(default_factory=list)
    trees: dict[str, Tree] = field(default_factory=dict)

    def ways(self, name: str, trees: tuple[Tree, ...]) -> Iterator[Way]:
        self.log.append(f"begin {name}")
        try:
            for number, tree in enumerate(trees):
                self.log.append(f"next {name}")
                yield self.way(f"{name}.{number}", tree)
            self.log.append(f"done {name}")
        except GeneratorExit:
            self.log.append(f"closed {name}")
            raise

    def way(self, name: str, tree: Tree) -> Way:
        if tree.ways is None:
            return walk(name).end(Disposition.LOST, Reason(code="NOT_OWNED", text=name))
        self.trees[name] = tree
        after = tree.after
        return Departure(walk=walk(name), after=None if after is None else lambda end: self.ways(f"{end.walk.visit.name}'", after))

    def next(self, departure: Departure) -> Iterator[Way]:
        name = departure.walk.visit.name
        return self.ways(name, self.trees[name].ways or ())


class Looped(Fabric):
    """A fabric whose next stacks are made."""

    def __init__(self, made: Made) -> None:
        super().__init__(MadeCluster(1).cluster())
        self._made = made

    def _next(self, departure: Departure) -> Iterator[Way]:
        return self._made.next(departure)


def called(made: Made, first: Departure) -> Iterator[Ending]:
    """The reference: functions that call each other."""
    for way in made.next(first):
        found = iter([way]) if isinstance(way, Ending) else called(made, way)
        for ending in found:
            if first.after is None:
                yield ending
            else:
                for other in first.after(ending):
                    yield from iter([other]) if isinstance(other, Ending) else called(made, other)


LEAF = st.just(Tree())
AFTER = st.one_of(st.none(), st.lists(st.one_of(LEAF, st.just(Tree(ways=(Tree(), Tree())))), max_size=2).map(tuple))
TREES = st.recursive(LEAF, lambda inner: st.builds(Tree, ways=st.lists(inner, max_size=3).map(tuple), after=AFTER), max_leaves=12)
DEPARTING = st.builds(Tree, ways=st.lists(TREES, max_size=3).map(tuple), after=AFTER)


def told(made: Made, endings: Iterator[Ending], count: int) -> tuple[list[str], list[str]]:
    """The first *count* ends and what was done for them, the rest being left unread."""
    found = [ending.walk.visit.name for ending in islice(endings, count)]
    asked = [*made.log]
    endings.close()  # type: ignore[attr-defined]
    return found, asked


@given(DEPARTING, st.integers(0, 40))
def test_ends_come_in_the_order_of_functions_that_call_each_other(tree: Tree, count: int) -> None:
    looped, reference = Made(), Made()
    first, same = looped.way("first", tree), reference.way("first", tree)
    assert isinstance(first, Departure)
    assert isinstance(same, Departure)
    assert told(looped, Looped(looped).endings(first), count) == told(reference, called(reference, same), count)


def test_what_is_left_unread_is_closed_from_the_inside() -> None:
    made = Made()
    first = made.way("first", Tree(ways=(Tree(ways=(Tree(ways=(Tree(), Tree())),)), Tree())))
    assert isinstance(first, Departure)
    endings = Looped(made).endings(first)
    next(endings)
    endings.close()  # type: ignore[attr-defined]
    assert made.log[-3:] == ["closed first.0.0", "closed first.0", "closed first"]


def test_a_fault_in_a_stack_ends_the_loop() -> None:
    class Faulty(Made):
        def next(self, departure: Departure) -> Iterator[Way]:
            yield from super().next(departure)
            raise TooMuchWork("no patience")

    made = Faulty()
    first = made.way("first", Tree(ways=(Tree(),)))
    assert isinstance(first, Departure)
    endings = Looped(made).endings(first)
    assert next(endings).walk.visit.name == "first.0"
    with pytest.raises(TooMuchWork):
        next(endings)


def test_every_kind_of_departure_has_its_row() -> None:
    kinds = {kind for kind in vars(departure).values() if isinstance(kind, type) and issubclass(kind, Departure)}
    assert set(Fabric._CARRIED) == kinds - {Departure}


@pytest.mark.parametrize(("hops", "carried"), [(32, True), (33, False)])
def test_the_hop_limit_holds_for_every_departure(hops: int, carried: bool) -> None:
    class Refused(Exception):
        """The departure was carried."""

    class Unknown(Departure):
        pass

    def refuse(fabric: Fabric, departure: Departure) -> Iterator[Way]:
        raise Refused

    class OneKind(Fabric):
        _CARRIED = {Unknown: refuse}  # noqa: RUF012

    endings = OneKind(MadeCluster(1).cluster()).endings(Unknown(walk=walk("n", hops=hops)))
    if carried:
        with pytest.raises(Refused):
            next(endings)
    else:
        [ending] = endings
        assert (ending.outcome.disposition, ending.outcome.reason and ending.outcome.reason.code) == (Disposition.LOOP, "TTL_LOOP")
