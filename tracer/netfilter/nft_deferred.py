"""A sequence that is read when it is first asked for: the rules of a chain, the elements of a set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class Deferred(Sequence[T]):
    """The items that *read* returns, read once. Equal to any sequence of equal items."""

    __slots__ = ("_items", "_read")

    def __init__(self, read: Callable[[], Sequence[T]]) -> None:
        self._read = read
        self._items: Sequence[T] | None = None

    @property
    def items(self) -> Sequence[T]:
        """Return the items."""
        if self._items is None:
            self._items = self._read()
        return self._items

    @property
    def was_read(self) -> bool:
        """Return whether the items have been asked for."""
        return self._items is not None

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        return self.items[at]

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self.items) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self.items))
