"""What was worked out and may be asked for again: kept within a bound, what was kept first is let go first.

Nothing here knows what a value rests on. Whoever keeps one has everything in its key that the value depends on, or keeps the store
itself beside what its values rest on, so that both are let go together.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
W = TypeVar("W")


class Kept(Generic[K, V]):
    """Values by key, of which the sizes come to no more than *most*. Several threads may ask and keep: at worst one works out again."""

    __slots__ = ("_held", "_most", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[K, tuple[V, int]] = {}
        self.size = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._held)

    def get(self, key: K) -> V | None:
        """Return what is kept for *key*, None where nothing is."""
        held = self._held.get(key)
        return None if held is None else held[0]

    def once(self: Kept[K, tuple[W]], key: K, worked_out: Callable[[], W]) -> W:
        """Return what was *worked_out* for *key* before, be it None, else do so now."""
        found = self.get(key)
        return (self.put(key, (worked_out(),)) if found is None else found)[0]

    def put(self, key: K, value: V, size: int = 1) -> V:
        """Keep *value*, unless it is larger than all that is kept may be. Return it."""
        if size > self._most:
            return value
        held = value, size
        before = self._held.setdefault(key, held)
        self.size += size
        if before is not held:  # what is kept anew is the last to be let go
            self.size -= before[1]
            self._held.pop(key, None)
            self._held[key] = held
        while self.size > self._most:
            try:
                oldest = next(iter(self._held), None)
            except RuntimeError:  # another thread keeps something just now, and looks at the bound itself
                break
            if oldest is None:
                self.size = 0
                break
            dropped = self._held.pop(oldest, None)
            self.size -= dropped[1] if dropped is not None else 0
        return value
