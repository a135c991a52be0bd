"""Where the running code is: in which lane's worker, if in any; and how it says that a request belongs elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from webapp.work.lanes import Lane

ELSEWHERE, SPENT = "Hopline-Elsewhere", "Hopline-Spent"
"""Headers between a worker's request and its loop: the lane it belongs in, what it has used up. No client sees them."""

Post = Callable[[dict[str, Any]], None]
"""Sends one message to the serving process."""

_lane: Lane | None = None
_post: Post | None = None
_afterwards: list[Callable[[], bool]] = []


class Elsewhere(Exception):
    """The request is another lane's: it is asked there again. Raised before anything was changed."""

    def __init__(self, lane: Lane) -> None:
        super().__init__(f"this is work of the lane {lane}")
        self.lane = lane


def enter(lane: Lane | None, post: Post | None) -> None:
    """Note that this process is a worker of *lane* whose messages go to *post*; None: it is none."""
    global _lane, _post
    _lane, _post = lane, post


def here() -> Lane | None:
    """Return the lane of this process, None where work is done in the process that asks (commands, tests)."""
    return _lane


def belongs_in(lane: Lane, *also: Lane) -> None:
    """Go on in a worker of *lane* or of *also*, and outside all workers. :raises Elsewhere: this is another lane's worker."""
    if _lane is not None and _lane != lane and _lane not in also:
        raise Elsewhere(lane)


def send(message: dict[str, Any]) -> bool:
    """Send *message* to the serving process. Returns False where there is none."""
    if _post is None:
        return False
    _post(message)
    return True


def afterwards(work: Callable[[], bool]) -> None:
    """Run *work* in this worker when the request has been answered; nothing else is given to it until that is done.

    It returns whether the request's answer is now where the lane of pages finds it. For lanes that do one thing at a time.
    """
    _afterwards.append(work)


def take_afterwards() -> list[Callable[[], bool]]:
    """Return what is to be done now that the request has been answered."""
    taken = _afterwards[:]
    _afterwards.clear()
    return taken
