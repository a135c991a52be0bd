"""Whether the other setting of an assumption would change the answer: found by asking again with it, and comparing where packets end.

Only for assumptions that the walk met, and within the bounds of tracer.limits (``settings``, ``OTHERS``): what was not looked at to the end
is not said to change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from tracer.limits import Budget
from tracer.trace import Assumption, Outcome, Trace
from tracer.unopened import items_of, seen


class Share(Budget):
    """What looking at other settings has left of ``Limits.settings``. What is spent of it is taken from the question's own budget, too."""

    __slots__ = ("_whole",)

    def __init__(self, whole: Budget) -> None:
        super().__init__(whole.limits)
        self.left = whole.limits.settings
        self._whole = whole

    def spend(self, units: int) -> None:
        """Take *units* of both. :raises TooMuchWork: whoever asked has no patience for it."""
        super().spend(units)
        self._whole.spend(units)


Otherwise = Callable[[str, Share], Trace]
"""The answer with an assumption set by its word, within a budget."""


def weighed(answer: Trace, budget: Budget, otherwise: Otherwise) -> Trace:
    """Return *answer* with what its assumptions change."""
    share, ends = Share(budget), _ends(answer)
    assumptions = tuple(replace(a, changes=_changes(a, ends, share, otherwise)) for a in answer.assumptions)
    return replace(answer, assumptions=assumptions) if assumptions else answer


def _changes(assumption: Assumption, ends: dict[End, Fraction], share: Share, otherwise: Otherwise) -> bool | None:
    for word in reversed(assumption.other):  # the last of a balancer's settings has the fewest ways: one that differs is enough
        other = None if share.is_spent else otherwise(word, share)
        if other is None or share.is_spent:
            return None
        if _differ(_ends(other), ends):
            return True
    return False


End = tuple[object, ...]
_NEAR = Fraction(1, 1_000_000)


def _differ(ends: dict[End, Fraction], others: dict[End, Fraction]) -> bool:
    """Whether two answers end otherwise. Odds that a random number of 31 bits makes of a third are a third's."""
    return ends.keys() != others.keys() or any(abs(share - others[end]) > _NEAR for end, share in ends.items())


def _ends(answer: Trace) -> dict[End, Fraction]:
    """Where the packets of *answer* end, and what comes back, with which odds."""
    found: dict[End, Fraction] = {}
    for item in items_of(answer.outcomes):
        end = seen(item, _end)
        found[end] = found.get(end, Fraction(0)) + item.probability
    return found


def _end(outcome: Outcome) -> End:
    place, reply = outcome.destination, outcome.reply
    return (
        outcome.disposition,
        outcome.reason.code if outcome.reason else "",
        outcome.reject_with,
        None if place is None else (place.kind, place.namespace, place.name, place.node, str(place.ip), place.port),
        None if outcome.source_seen is None else str(outcome.source_seen[0]),
        None if reply is None else (reply.disposition, str(reply.source)),
        outcome.conditions,
    )
