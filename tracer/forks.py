"""Where a walk could have gone several ways, and which one it took: by chance, or by what nobody recorded.

Of a draw only the way that was taken may be kept: what was not taken is what is left. Of a condition every way is, so that it can be seen
whether all of them lead to the same end.
"""

from __future__ import annotations

from tracer.trace import Unknown
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """One way that was taken. *question* is the same for all ways of one fork, *branch* tells them apart.

    *condition* says what has to hold for this way, None for a draw; there are *ways* of them, and *is_without* is true of the one on which
    nothing unknown holds. *unknowns* say what is missing to tell. *anew*: chance draws again for each packet that comes there, where other
    draws (a hash of the flow, a balancer's) fall out the same for all packets of a flow. *is_left*: the last draw took nothing.
    """

    question: str
    branch: int
    condition: str | None = None
    ways: int = 2
    is_without: bool = False
    unknowns: tuple[Unknown, ...] = ()
    anew: bool = False
    is_left: bool = False


def drawn(question: str, branch: int = 0, *, anew: bool = False) -> Fork:
    """Return the way that chance took."""
    return Fork(question=question, branch=branch, anew=anew)


def taken_or_left(forks: tuple[Fork, ...], question: str) -> tuple[tuple[Fork, ...], tuple[Fork, ...]]:
    """Return *forks* with one more draw, where chance takes the packet out of its way and where it leaves it there.

    Of draws in a row that all left it (the rules of a Service, one for each endpoint) one fork says how many they were: branch n is that
    the draw behind n others took the packet, branch -n that n left it.
    """
    run = forks[-1] if forks and forks[-1].is_left else None
    before, left = (forks[:-1], -run.branch) if run is not None else (forks, 0)
    asked = run.question if run is not None else question
    taken = drawn(asked, left, anew=True)
    return (*before, taken), (*before, Fork(question=asked, branch=-left - 1, anew=True, is_left=True))
