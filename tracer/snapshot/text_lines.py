"""The lines of a large text, without a string for each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload


class TextLines(Sequence[str]):
    """Lines of *text* by index from 0, cut out when asked for; a carriage return before the newline is no part of them."""

    __slots__ = ("_starts", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        starts = array("Q", [0])
        position = text.find("\n")
        while position >= 0:
            starts.append(position + 1)
            position = text.find("\n", position + 1)
        if starts[-1] != len(text):
            starts.append(len(text) + 1)
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._line(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError("line out of range")
        return self._line(index % len(self))

    def _line(self, index: int) -> str:
        return self._text[self._starts[index] : self._starts[index + 1] - 1].removesuffix("\r")

    def __iter__(self) -> Iterator[str]:
        return map(self._line, range(len(self)))
