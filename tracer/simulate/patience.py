"""A budget for who has to be quick: when it ends, somebody with more time is asked, instead of an answer that says less."""

from __future__ import annotations

from tracer.errors import TooMuchWork
from tracer.limits import Budget, Limits


class Patience(Budget):
    """What one question has left, and how much of it may be spent."""

    __slots__ = ("_least",)

    def __init__(self, limits: Limits, most: int) -> None:
        super().__init__(limits)
        self._least = limits.work - most

    def spend(self, units: int) -> None:
        """Take *units*. :raises TooMuchWork: more was taken than there is patience for."""
        super().spend(units)
        if self.left < self._least:
            raise TooMuchWork("the question is more work than the one who asked has patience for")
