"""The ends of a class's members: the first one's end, cut behind the place where its endpoint was drawn, with another's own put in.

No end is made before somebody asks for it; until then a member is its odds, and what it has of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar

from tracer.frozen import changed
from tracer.simulate.likeness import is_the_clusters
from tracer.simulate.stencil import CannotCutError, Cutter, Own, Stencil
from tracer.simulate.walk import Ending, Walk
from tracer.trace import Disposition, Outcome, Step
from tracer.values import dataclass

T = TypeVar("T")


class UnlikeError(Exception):
    """Each way has to be walked: an end of a class has its endpoint's own in a place that nobody knows, or a limit is met."""


@dataclass(slots=True)
class Way:
    """A way that was not walked: its place among the ways, and its walk up to there."""

    number: int
    walk: Walk
    own: Own


class Cut:
    """An end, cut behind the place where its endpoint was drawn, *base*. :raises UnlikeError: it does not show where its own is in it."""

    def __init__(self, ending: Ending, base: Walk, own: Own) -> None:
        outcome, walk = ending.outcome, ending.walk
        steps = _steps(base)
        self.ending, self.place = ending, len(base.hops)
        self._taken = len(steps)
        if len(outcome.hops) <= self.place:
            raise UnlikeError
        hop = outcome.hops[self.place]
        _begins(hop.steps, steps)
        _begins(outcome.conditions, base.conditions)
        _begins(walk.unknowns, base.unknowns)
        _begins(walk.forks, base.forks)
        self._ratio = outcome.probability / base.probability if outcome.probability != base.probability else None
        behind = changed(
            outcome,
            of_class=None,
            probability=base.probability,
            conditions=outcome.conditions[len(base.conditions) :],
            hops=outcome.hops[self.place + 1 :],
        )
        parts = (
            behind,
            changed(hop, steps=hop.steps[len(steps) :]),
            walk.unknowns[len(base.unknowns) :],
            walk.forks[len(base.forks) :],
            walk.recent,
        )
        self._cutter = Cutter(own, is_the_clusters)
        self._views: dict[Callable[[Outcome], object], Stencil | None] = {}
        try:
            self._parts = self._cutter.cut(parts)
        except CannotCutError as error:
            raise UnlikeError from error

    @property
    def is_known(self) -> bool:
        """Return whether nothing is unknown of the end: then nothing is of its members' either."""
        return not self.ending.walk.unknowns and self.ending.outcome.disposition is not Disposition.UNKNOWN

    def odds(self, way: Way) -> Fraction:
        """Return the odds of *way*'s end."""
        return way.walk.probability if self._ratio is None else way.walk.probability * self._ratio

    def viewed(self, view: Callable[[Outcome], T], first: Outcome) -> Stencil | None:
        """Return the stencil of what *view* is of *first*, which is the end's outcome; None where that cannot be cut."""
        if view not in self._views:
            try:
                self._views[view] = self._cutter.cut(view(first))
            except CannotCutError:
                self._views[view] = None
        return self._views[view]

    def filled(self, way: Way) -> Ending:
        """Return the end with the addresses and names of *way*'s endpoint."""
        behind, hop, unknowns, forks, recent = self._parts.filled(way.own)
        base, before = way.walk, self.ending.outcome.hops[: self.place]
        outcome = changed(
            behind,
            of_class=self.ending.outcome.of_class,
            probability=self.odds(way),
            conditions=base.conditions + behind.conditions,
            hops=(*before, changed(hop, steps=_steps(base) + hop.steps), *behind.hops),
        )
        walk = changed(self.ending.walk, unknowns=base.unknowns + unknowns, forks=base.forks + forks, recent=recent)
        return Ending(outcome, walk)


@dataclass(frozen=True, slots=True)
class Unwalked:
    """The end of a member."""

    cut: Cut
    way: Way

    def walked(self) -> Ending:
        """Return it as a walk would have come to it."""
        return self.cut.filled(self.way)


class Member:
    """The outcome of a member, like *first* (``tracer.unopened``)."""

    __slots__ = ("_end", "first")

    def __init__(self, end: Unwalked, first: Outcome) -> None:
        self._end, self.first = end, first

    @property
    def probability(self) -> Fraction:
        """Return its odds."""
        return self._end.cut.odds(self._end.way)

    @property
    def place(self) -> int:
        """Return at which hop its endpoint was drawn."""
        return self._end.cut.place

    @property
    def drawn(self) -> Sequence[Step]:
        """Return the steps there up to the draw."""
        return _steps(self._end.way.walk)

    def told(self, view: Callable[[Outcome], T]) -> T:
        """Return what *view* is of the outcome. NB: what was told of the first is kept by *view*, so that is no closure."""
        stencil = self._end.cut.viewed(view, self.first)
        return view(self.opened()) if stencil is None else stencil.filled(self._end.way.own)

    def opened(self) -> Outcome:
        """Return the outcome."""
        return changed(self._end.walked().outcome, client_sees=self.first.client_sees)


def _steps(walk: Walk) -> tuple[Step, ...]:
    return walk.visit.steps.to_tuple() if walk.visit.steps is not None else ()


def _begins(whole: tuple[object, ...], first: tuple[object, ...]) -> None:
    if whole[: len(first)] != first:
        raise UnlikeError
