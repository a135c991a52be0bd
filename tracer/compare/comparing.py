"""Two answers → what differs between them, each thing once.

Ends are matched by their goal (``tracer.compare.ends``). Of a goal that only one answer has that is told; of one that both have, its odds
and whatever else is told of it. What is the same of several goals is one difference of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from tracer.compare.difference import Difference, Kind, named
from tracer.compare.ends import NEAR, NOTHING, End, Goal, are_near, ends
from tracer.compare.ways import of_the_way
from tracer.odds_text import odds_text
from tracer.trace import Disposition, Trace
from tracer.values import dataclass

_LABELS = {
    Kind.DISPOSITION: "Why, for {where}: {after}, before {before}.",
    Kind.DESTINATION: "Address of {where}: {after}, before {before}.",
    Kind.SOURCE_SEEN: "Source that {where} sees: {after}, before {before}.",
    Kind.REPLY: "Answer of {where}: {after}, before {before}.",
    Kind.CLIENT_SEES: "What the client meets of {where}: {after}, before {before}.",
    Kind.LISTENER: "Listener at {where}: {after}, before {before}.",
    Kind.CONDITIONS: "What has to hold for {where}, and is not known: {after}, before {before}.",
}
_OPEN = "depends on what is not known"
_OVERALL = {
    Kind.CLIENT_SEES: "What the client meets: {after}, before {before}.",
    Kind.SOURCE_SEEN: "Source that the destination sees: {after}, before {before}.",
    Kind.REPLY: "Answer: {after}, before {before}.",
}


def is_same(before: Trace, after: Trace) -> bool:
    """Return whether packets end alike in both answers, whichever way they take there: no difference but those of the way."""
    return are_near(ends(before), ends(after))


def differences(before: Trace, after: Trace, *, ways: bool = True) -> tuple[Difference, ...]:
    """Return what differs between two answers, in the order of ``Kind``; *ways*: also which rules, look-ups and findings only one has."""
    was, now = ends(before), ends(after)
    found = [] if are_near(was, now) else list(_folded(_of_ends(_by_goal(was), _by_goal(now))))
    if ways:
        found += of_the_way(before, after)
    order = list(Kind)
    return tuple(sorted(found, key=lambda one: order.index(one.kind)))


_Goals = Mapping[Goal, Mapping[End, Fraction]]


def _by_goal(shares: Mapping[End, Fraction]) -> _Goals:
    found: dict[Goal, dict[End, Fraction]] = {}
    for end, share in shares.items():
        found.setdefault(end.goal, {})[end] = share
    return found


@dataclass(frozen=True, slots=True)
class _Found:
    """One difference of one goal. *template* is its sentence but for the goal; goals with the same one are told together."""

    kind: Kind
    template: str
    goal: Goal | None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def _folded(found: Iterable[_Found]) -> Iterator[Difference]:
    groups: dict[tuple[Kind, str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for one in found:
        where = groups.setdefault((one.kind, one.template, one.before, one.after), [])
        where += [] if one.goal is None else [str(one.goal)]
    for (kind, template, before, after), where in groups.items():
        text = template.format(where=named(where), before=" or ".join(before), after=" or ".join(after))
        yield Difference(kind=kind, text=text[:1].upper() + text[1:], where=tuple(where), before=before, after=after)


def _of_ends(was: _Goals, now: _Goals) -> Iterator[_Found]:
    found = list(_of_goals(was, now))
    overall = list(_overall(was, now))
    told = {one.kind for one in overall}
    yield from overall
    yield from (one for one in found if one.kind not in told or one.kind is not Kind.CLIENT_SEES)


def _of_goals(was: _Goals, now: _Goals) -> Iterator[_Found]:
    for goal, shares in was.items():
        if goal in now:
            yield from _of_both(goal, shares, now[goal])
        else:
            yield _Found(_kind(goal), _only(goal, "no more ({before} before)"), goal, before=(_odds(shares),))
    for goal, shares in now.items():
        if goal not in was:
            yield _Found(_kind(goal), _only(goal, "now ({after})"), goal, after=(_odds(shares),))


def _kind(goal: Goal) -> Kind:
    return Kind.DESTINATION if goal.disposition is Disposition.DELIVERED else Kind.DISPOSITION


def _only(goal: Goal, when: str) -> str:
    return f"Reached {when}: {{where}}." if goal.disposition is Disposition.DELIVERED else f"{{where}}: {when}."


def _of_both(goal: Goal, shares: Mapping[End, Fraction], others: Mapping[End, Fraction]) -> Iterator[_Found]:
    """What differs of a goal that both answers have."""
    if are_near(shares, others):
        return
    found = [one for kind, label in _LABELS.items() for one in _of_kind(goal, kind, label, shares, others)]
    odds, odds_now = _odds(shares), _odds(others)
    if not _same_odds(shares, others):
        found.append(_Found(Kind.ODDS, "Odds of {where}: {after}, before {before}.", goal, (odds,), (odds_now,)))
    if not found:
        text = "Odds of {where}: the same, but what is seen and comes back there does so in other proportions."
        found.append(_Found(Kind.ODDS, text, goal, (odds,), (odds_now,)))
    yield from found


def _of_kind(goal: Goal, kind: Kind, label: str, shares: Mapping[End, Fraction], others: Mapping[End, Fraction]) -> Iterator[_Found]:
    before, after = _values(shares, kind), _values(others, kind)
    if before != after:
        yield _Found(kind, label, goal, before, after)


def _values(shares: Iterable[End], kind: Kind) -> tuple[str, ...]:
    return tuple(sorted({value for end in shares for one, value in end.seen if one is kind}))


def _same_odds(shares: Mapping[End, Fraction], others: Mapping[End, Fraction]) -> bool:
    """Whether the goal has the same odds; those with conditions are compared with their like."""
    sums, sums_now = _sums(shares), _sums(others)
    return all(abs(share - sums_now[under]) <= NEAR for under, share in sums.items() if under in sums_now)


def _sums(shares: Mapping[End, Fraction]) -> dict[tuple[str, ...], Fraction]:
    found: dict[tuple[str, ...], Fraction] = {}
    for end, share in shares.items():
        found[end.conditions] = found.get(end.conditions, Fraction(0)) + share
    return found


def _odds(shares: Mapping[End, Fraction]) -> str:
    """The odds of a goal: a number where nothing that is unknown decides."""
    sure = _sums(shares).get(())
    if sure is None:
        return _OPEN
    return odds_text(sure) if all(not end.conditions for end in shares) else f"{odds_text(sure)} or more: {_OPEN}"


def _overall(was: _Goals, now: _Goals) -> Iterator[_Found]:
    """What is told of the answer as a whole: what the client meets; where no goal is reached in both, what all of them see and answer."""
    kinds = [Kind.CLIENT_SEES]
    reached, reached_now = _reached(was), _reached(now)
    if reached and reached_now and not reached & reached_now:
        kinds += [Kind.SOURCE_SEEN, Kind.REPLY]
    for kind in kinds:
        wanted = None if kind is Kind.CLIENT_SEES else Disposition.DELIVERED
        before, after = _all_values(was, kind, wanted), _all_values(now, kind, wanted)
        if before != after:
            yield _Found(kind, _OVERALL[kind], None, before, after)


def _reached(goals: _Goals) -> set[Goal]:
    return {goal for goal in goals if goal.disposition is Disposition.DELIVERED}


def _all_values(goals: _Goals, kind: Kind, wanted: Disposition | None) -> tuple[str, ...]:
    """Every value of *kind* in ends that are *wanted*, None for all."""
    values = _values((end for goal, shares in goals.items() if wanted in (None, goal.disposition) for end in shares), kind)
    return tuple(value for value in values if value != NOTHING) or values
