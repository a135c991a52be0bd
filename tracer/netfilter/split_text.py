"""The lines of a text as ``split`` gives them, without a string for each: a dump of megabytes is checked once and thrown away."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import overload


class SplitText(Sequence[str]):
    """``text.split("\\n")``, whose lines are cut out when they are asked for."""

    __slots__ = ("_ends", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        ends = array("Q")
        position = text.find("\n")
        while position >= 0:
            ends.append(position)
            position = text.find("\n", position + 1)
        ends.append(len(text))
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError("line out of range")
        return self._text[self._ends[place - 1] + 1 if place else 0 : self._ends[place]]

    def __iter__(self) -> Iterator[str]:
        begin = 0
        for end in self._ends:
            yield self._text[begin:end]
            begin = end + 1
