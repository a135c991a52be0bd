"""How much of each long check runs: a seeded slice with ``make test``, everything with ``make full``. Only this module knows which.

The rule: a check that takes more than 20 s of processor time asks here, so that ``make test`` holds at most that much of it. What is a slice,
and of what, stands in docs/verification.md ("Slices"). ``TEST_FIRST`` takes another slice: that it starts with item 1, 2 … instead of 0.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from itertools import product
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")
FULL = os.environ.get("TEST_SIZE") == "full"
FIRST = int(os.environ.get("TEST_FIRST", "0"))


def every(items: Iterable[T], nth: int) -> list[T]:
    """Return all of *items* in full size, else every *nth*, from the first or where ``TEST_FIRST`` says."""
    return list(items) if FULL else list(items)[FIRST % nth :: nth]


def some(items: Sequence[T], nth: int) -> list[T]:
    """Return all of *items* in full size, else one in *nth* from a seeded shuffle, in their order: where that order has a beat of its own."""
    shuffled = random.Random(0).sample(range(len(items)), len(items))
    return [items[at] for at in sorted(every(shuffled, nth))]


def diagonal(these: Sequence[T], those: Sequence[U], nth: int) -> list[tuple[T, U]]:
    """Return each of *these* with each of *those* in full size, else with every *nth*, from one further on for each next of *these*."""
    pairs = product(enumerate(these), enumerate(those))
    return [(this, that) for (at, this), (of, that) in pairs if FULL or (at + of + FIRST) % nth == 0]
