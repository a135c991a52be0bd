"""How long to wait before the next attempt: full jitter, so that many who lost the same server do not come back together.

Source: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog): sleep = random(0, min(cap, base * 2 ** attempt)).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tracer.values import dataclass


class Backoff:
    """Counts failures in a row; *first* and *most* in seconds."""

    def __init__(self, *, first: float = 0.5, most: float = 30.0, drawn: Callable[[float, float], float] = random.uniform) -> None:
        self._first, self._most, self._drawn = first, most, drawn
        self.failures = 0

    def failed(self, at_least: float = 0.0) -> float:
        """Return how many seconds to wait after one more failure; *at_least* is what the server asked for."""
        # NB: the exponent is bounded: after days of failures 2**n is no float any more.
        wait = self._drawn(0.0, min(self._most, self._first * 2.0 ** min(self.failures, 20)))
        self.failures += 1
        return max(wait, at_least)

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How patient a follower is, in seconds: it backs off from *first* to *most* after failures, and asks again for what was *refused*
    after a time between these two.
    """

    first: float = 0.5
    most: float = 30.0
    refused: tuple[float, float] = (30.0, 60.0)

    def backoff(self) -> Backoff:
        """Return a fresh count of failures."""
        return Backoff(first=self.first, most=self.most)
