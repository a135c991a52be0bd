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
    draws (a hash of the flow, a balancer's) fall out the same for all packets of a flow.
    """

    question: str
    branch: int
    condition: str | None = None
    ways: int = 2
    is_without: bool = False
    unknowns: tuple[Unknown, ...] = ()
    anew: bool = False


def drawn(question: str, branch: int = 0, *, anew: bool = False) -> Fork:
    """Return the way that chance took."""
    return Fork(question=question, branch=branch, anew=anew)
