"""When nodes are read: soon after something changed, again while kube-proxy may still be catching up, and every so often anyway."""

from __future__ import annotations

from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """All in seconds. Nodes are read when it has been *quiet* so long after an event, or *longest* after the first one; *again* so long
    after that; and every *period*. What does not follow events is read every *slow_period*, pods' own stacks every *stack_period*. No node
    is read again before *gap*, nor before *cost* times what its last reading took.
    """

    quiet: float = 1.0
    longest: float = 5.0
    again: tuple[float, ...] = (3.0, 10.0, 30.0, 60.0)
    period: float = 60.0
    slow_period: float = 300.0
    stack_period: float = 300.0
    gap: float = 2.0
    cost: float = 5.0

    def round_times(self, now: float) -> tuple[float, ...]:
        """Return when nodes are read because of events that ended at *now*."""
        return (now, *(now + wait for wait in self.again))


PLAYED = Rhythm(quiet=0.2, longest=0.4, again=(0.4, 0.8, 1.2, 2.0), period=10.0, slow_period=60.0, stack_period=0.0, gap=0.1, cost=0.5)
"""For timelines: their rules lag by less than a second, and reading costs nothing."""


class Rounds:
    """Turns events into the times at which all nodes are due. Pure: times come in, and only grow."""

    def __init__(self, rhythm: Rhythm) -> None:
        self._rhythm = rhythm
        self._first: float | None = None
        self._latest = 0.0
        self._due: list[float] = []

    def note(self, now: float) -> None:
        """Something changed that the rules will follow."""
        self._first = now if self._first is None else self._first
        self._latest = now

    def take(self, now: float) -> bool:
        """Return whether a round is due, and count it as begun."""
        if self._first is not None and (now - self._latest >= self._rhythm.quiet or now - self._first >= self._rhythm.longest):
            # NB: rounds still to come after earlier events are covered by these.
            self._due = list(self._rhythm.round_times(now))
            self._first = None
        is_due = bool(self._due) and self._due[0] <= now
        while self._due and self._due[0] <= now:
            self._due.pop(0)
        return is_due

    def wait(self, now: float) -> float | None:
        """Return in how many seconds the next round may be due, or None."""
        times = [*self._due[:1]]
        if self._first is not None:
            times.append(min(self._latest + self._rhythm.quiet, self._first + self._rhythm.longest))
        return max(0.0, min(times) - now) if times else None
