"""Two lists of rules in order, the expected and the recorded: which belong together, which are missing, which are too many.

Strategy: what is equal at both ends is set aside, difflib aligns the rest. A rule that is missing in one place and too many in another
stands in the wrong place; one that stands where another is missing stands for that one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from tracer.limits import ALIGNED


class Pair(NamedTuple):
    """An *expected* and a *recorded* rule by their positions, either None. *is_moved*: they are equal, and in the wrong place."""

    expected: int | None
    recorded: int | None
    is_moved: bool = False


def differences(expected: Sequence[Hashable], recorded: Sequence[Hashable]) -> Iterator[Pair]:
    """Yield what is not equal: pairs that stand in each other's place, what is missing, what is too many."""
    blocks = list(_blocks(expected, recorded))
    places = dict[Hashable, list[int]]()
    for _, found in blocks:
        for at in found:
            places.setdefault(recorded[at], []).append(at)
    moved = {wanted: places[expected[wanted]].pop(0) for block, _ in blocks for wanted in block if places.get(expected[wanted])}
    taken = set(moved.values())
    yield from (Pair(wanted, at, is_moved=True) for wanted, at in moved.items())
    for block, found in blocks:
        wanted = [at for at in block if at not in moved]
        extra = [at for at in found if at not in taken]
        both = min(len(wanted), len(extra))
        yield from (Pair(one, other) for one, other in zip(wanted, extra, strict=False))
        yield from (Pair(one, None) for one in wanted[both:])
        yield from (Pair(None, one) for one in extra[both:])


def _blocks(expected: Sequence[Hashable], recorded: Sequence[Hashable]) -> Iterator[tuple[range, range]]:
    """Yield the positions of what is not equal, block by block."""
    start, most = 0, min(len(expected), len(recorded))
    while start < most and expected[start] == recorded[start]:
        start += 1
    end = 0
    while end < most - start and expected[-1 - end] == recorded[-1 - end]:
        end += 1
    these, those = expected[start : len(expected) - end], recorded[start : len(recorded) - end]
    if len(these) * len(those) > ALIGNED:
        yield from _by_place(these, those, start)
        return
    for tag, i, j, k, m in SequenceMatcher(None, these, those, autojunk=False).get_opcodes():
        if tag != "equal":
            yield range(start + i, start + j), range(start + k, start + m)


def _by_place(these: Sequence[Hashable], those: Sequence[Hashable], start: int) -> Iterator[tuple[range, range]]:
    """Yield what is not equal to what has the same place."""
    both = min(len(these), len(those))
    for at in range(both):
        if these[at] != those[at]:
            yield range(start + at, start + at + 1), range(start + at, start + at + 1)
    yield range(start + both, start + len(these)), range(start + both, start + len(those))
