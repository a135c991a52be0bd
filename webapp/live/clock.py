"""Noticing that the machine's clock was set, by the one that only counts."""

from __future__ import annotations

import time

_LEAST = 60.0
"""Seconds. What differs by less is a clock that is kept right little by little, or a machine that was slow between two readings."""


class ClockWatch:
    """Compares the two clocks from when it is made."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def set_by(self) -> float:
        """Return by how many seconds the clock was set since this was asked last; 0.0 for less than a minute."""
        ahead = time.time() - time.monotonic()
        by = ahead - self._ahead
        if abs(by) < _LEAST:
            return 0.0
        self._ahead = ahead
        return by
