"""Leaves that end alike, whatever nobody recorded: one outcome, with the other ways beside it. What made no difference is a remark.

A condition makes no difference where everything behind all of its ways is the same; that is asked from the leaves inwards, for each way
that chance took on its own. A draw is never taken away: what it decides has odds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from fractions import Fraction

from tracer.forks import Fork
from tracer.frozen import changed
from tracer.simulate.members import Unwalked
from tracer.simulate.walk import Ending
from tracer.trace import Also, Outcome, Unknown
from tracer.values import dataclass

_DEEPEST = 200
"""How many conditions on one way are looked through: hostile rules make as many as they like."""
Shape = frozenset[tuple[tuple[tuple[str, int], ...], int]]
"""What stands behind a fork: which conditions, answered how, lead to which end."""


@dataclass(slots=True)
class _Leaf:
    """A leaf, the number of its end, its conditions, and those that turned out to matter."""

    ending: Ending
    end: int
    conditions: tuple[Fork, ...]
    matter: list[Fork] = field(default_factory=list)

    @property
    def is_told(self) -> bool:
        """Return whether it has conditions, and its forks are all of them: another's words are left alone."""
        told = tuple(fork.condition for fork in self.conditions)
        return bool(told) and told == self.ending.outcome.conditions

    @property
    def remains(self) -> tuple[tuple[str, int], ...]:
        """Return the conditions that matter, as they were answered, the outermost first."""
        return tuple((fork.question, fork.branch) for fork in reversed(self.matter))


def merged(walked_ends: Sequence[Ending | Unwalked]) -> Sequence[Ending | Unwalked]:
    """Return *walked_ends* with those that differ only in a condition as one each, in the order of the first of them."""
    walked = [end for end in walked_ends if isinstance(end, Ending)]  # the others have the conditions of one of these
    if not any(_conditions(e) for e in walked) or any(len(_conditions(e)) > _DEEPEST for e in walked):
        return walked_ends
    endings = [end if isinstance(end, Ending) else end.walked() for end in walked_ends]
    ends: dict[object, int] = {}
    leaves = [_Leaf(e, ends.setdefault(_end(e.outcome), len(ends)), _conditions(e)) for e in endings]
    by_draws: dict[object, list[_Leaf]] = {}
    for leaf in leaves:
        by_draws.setdefault(_draws(leaf.ending), []).append(leaf)
    groups: dict[object, list[_Leaf]] = {}
    for draws, those in by_draws.items():
        _settle(those, 0)
        for leaf in those:
            own = None if leaf.is_told else id(leaf)
            groups.setdefault((draws, leaf.end, own), []).append(leaf)
    places = {id(leaf): number for number, leaf in enumerate(leaves)}
    ordered = sorted(groups.values(), key=lambda group: places[id(group[0])])
    return [_one(group) for group in ordered]


def _conditions(ending: Ending) -> tuple[Fork, ...]:
    return tuple(fork for fork in ending.walk.forks if fork.condition is not None)


def _draws(ending: Ending) -> object:
    return tuple((fork.question, fork.branch) for fork in ending.walk.forks if fork.condition is None)


def _end(outcome: Outcome) -> object:
    """What two leaves that end alike have in common."""
    reply = outcome.reply
    back = None if reply is None else (reply.disposition, reply.source, reply.source_port, reply.reason)
    return (
        outcome.disposition,
        outcome.reason,
        outcome.destination,
        outcome.source_seen,
        outcome.listener,
        outcome.reject_with,
        outcome.left_from,
        outcome.assumes,
        tuple((remark.code, remark.text) for remark in outcome.remarks),
        back,
    )


def _settle(leaves: Sequence[_Leaf], at: int) -> Shape:
    """Note which of the conditions from the one *at* on matter to *leaves*, which have those before it in common."""
    asked = {leaf.conditions[at].question if at < len(leaf.conditions) else None for leaf in leaves}
    if asked == {None}:
        return _shape(leaves)
    if len(asked) > 1:  # not one tree: nothing is known to make no difference
        for leaf in leaves:
            leaf.matter += reversed(leaf.conditions[at:])
        return _shape(leaves)
    branches: dict[int, list[_Leaf]] = {}
    for leaf in leaves:
        branches.setdefault(leaf.conditions[at].branch, []).append(leaf)
    shapes = {_settle(those, at + 1) for those in branches.values()}
    if len(branches) == leaves[0].conditions[at].ways and len(shapes) == 1:
        return shapes.pop()
    for leaf in leaves:
        leaf.matter.append(leaf.conditions[at])
    return _shape(leaves)


def _shape(leaves: Iterable[_Leaf]) -> Shape:
    return frozenset((leaf.remains, leaf.end) for leaf in leaves)


def _one(group: list[_Leaf]) -> Ending:
    """The leaves of one end as one: the way with the fewest conditions is told, the others stand beside it."""
    first = min(group, key=lambda leaf: sum(not fork.is_without for fork in leaf.conditions))
    outcome, walk = first.ending.outcome, first.ending.walk
    if not first.is_told:
        return first.ending
    conditions = tuple(fork.condition or "" for fork in reversed(first.matter))
    matter = {fork.question for leaf in group for fork in leaf.matter}
    told = changed(
        outcome,
        probability=sum((leaf.ending.outcome.probability for leaf in group), Fraction(0)),
        conditions=conditions,
        assumes=tuple(dict.fromkeys(word for leaf in group for word in leaf.ending.outcome.assumes)),
        also=tuple(_beside(leaf, first) for leaf in group if leaf is not first),
        remarks=(*outcome.remarks, *_remarks(group, matter)),
    )
    return Ending(told, changed(walk, unknowns=tuple(_unknowns(group, matter))))


def _beside(leaf: _Leaf, first: _Leaf) -> Also:
    same = {(fork.question, fork.branch) for fork in first.conditions}
    own = [fork.condition or "" for fork in leaf.conditions if (fork.question, fork.branch) not in same]
    return Also(hops=leaf.ending.outcome.hops, condition=" and ".join(own))


def _remarks(group: Iterable[_Leaf], matter: set[str]) -> Iterator[Unknown]:
    """What made no difference, each once."""
    seen: set[str] = set()
    for fork in (fork for leaf in group for fork in leaf.conditions):
        if fork.question not in matter and fork.question not in seen:
            seen.add(fork.question)
            code, at = (fork.unknowns[0].code, fork.unknowns[0].at) if fork.unknowns else ("DATA_MISSING", {})
            yield Unknown(code=code, text=f"It makes no difference {fork.question}", at=at)


def _unknowns(group: Iterable[_Leaf], matter: set[str]) -> Iterator[Unknown]:
    """What is not known and may make a difference: all but what only conditions ask that do not matter."""
    for leaf in group:
        idle = {_key(u) for fork in leaf.conditions if fork.question not in matter for u in fork.unknowns}
        idle -= {_key(u) for fork in leaf.conditions if fork.question in matter for u in fork.unknowns}
        yield from (unknown for unknown in leaf.ending.walk.unknowns if _key(unknown) not in idle)


def _key(unknown: Unknown) -> tuple[str, str, str]:
    return unknown.code, unknown.text, str(sorted(unknown.at.items(), key=str))
