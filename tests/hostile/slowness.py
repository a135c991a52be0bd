"""How much slower than usual this machine is: a bound in seconds of processor time is meant for a usual one, and times that here.

A shared machine may take twice as long for the same work, by its neighbours and by its clock.
"""

from __future__ import annotations

import functools
import time

_ROUNDS = 200_000
_USUAL_SECONDS = 0.018
"""What the loop takes on the machines that the bounds were made on."""


@functools.cache
def slowness() -> float:
    """Return how many times as long a plain loop takes as usual, the quickest of five; never less than 1."""
    return max(1.0, min(_seconds() for _ in range(5)) / _USUAL_SECONDS)


def _seconds() -> float:
    begin, total = time.process_time(), 0
    for number in range(_ROUNDS):
        total += number * number
    return time.process_time() - begin
