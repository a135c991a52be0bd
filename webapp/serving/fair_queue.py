"""A bounded queue that is fair between sessions: each has its turn, however much another one asks."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What waits: the session that asks, and when it came (seconds of a monotonic clock)."""

    session: str
    since: float


Item = TypeVar("Item", bound=Waiting)


class Full(Exception):
    """Nothing more can wait."""


class FairQueue(Generic[Item]):
    """First come, first served within a session; sessions take turns."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._sessions: OrderedDict[str, deque[Item]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, item: Item) -> Item | None:
        """Let *item* wait. Returns who must go for it: the last one of the session that asks most. :raises Full: that is its own."""
        last = None
        if self._length >= self._most:
            longest = max(self._sessions.values(), key=len)
            if len(longest) <= len(self._sessions.get(item.session, ())) + 1:
                raise Full
            last = longest[-1]
            self.remove(last)
        self._sessions.setdefault(item.session, deque()).append(item)
        self._length += 1
        return last

    def pop(self) -> Item:
        """Return whose turn it is; their session is the last one now. :raises IndexError: nobody waits."""
        if not self._length:
            raise IndexError("nobody waits")
        session, items = next(iter(self._sessions.items()))
        item = items.popleft()
        self._length -= 1
        if items:
            self._sessions.move_to_end(session)
        else:
            del self._sessions[session]
        return item

    def remove(self, item: Item) -> bool:
        """Take *item* out. Returns False when it does not wait."""
        items = self._sessions.get(item.session)
        if items is None or item not in items:
            return False
        items.remove(item)
        self._length -= 1
        if not items:
            del self._sessions[item.session]
        return True

    def older_than(self, moment: float) -> list[Item]:
        """Return those that came before *moment*; they still wait."""
        return [item for items in self._sessions.values() for item in items if item.since < moment]
