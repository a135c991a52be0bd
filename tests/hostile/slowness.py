"""How much slower than a quick machine this one is: a bound in seconds of processor time is meant for that, and times this here.

A shared machine may take twice as long for the same work, by its neighbours and by its clock.
"""

from __future__ import annotations

import functools
import time

_ROUNDS = 200_000
_QUICK_SECONDS = 0.010
"""What the loop may take on a machine that counts as quick: there the bounds hold as they are."""


@functools.cache
def slowness() -> float:
    """Return how many times as long as on a quick machine a plain loop takes, the quickest of five; never less than 1."""
    return max(1.0, min(_seconds() for _ in range(5)) / _QUICK_SECONDS)


def _seconds() -> float:
    begin, total = time.process_time(), 0
    for number in range(_ROUNDS):
        total += number * number
    return time.process_time() - begin
