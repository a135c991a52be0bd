"""One entry of an archive, whatever kind of archive it is, and how the start of a file is looked at before the rest."""

from __future__ import annotations

import io
from collections.abc import Callable

from tracer.values import dataclass

CHUNK = 1 << 16
Read = Callable[[int], bytes]
"""Gives up to so many bytes more, b"" at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of an archive: its raw name, the bytes that it says it has, why it is not read ("" if it is), and how to open it."""

    name: str
    is_folder: bool
    size: int
    why_not: str
    open: Callable[[], Read]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What was not read of a source, and why, in a few words."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


class Looked:
    """A stream whose first bytes can be looked at before it is read."""

    def __init__(self, read: Read) -> None:
        self._read, self._start = read, b""

    def start(self, size: int) -> bytes:
        """Return the first *size* bytes, fewer where there are not so many; they are still there to be read."""
        while len(self._start) < size and (more := self._read(size - len(self._start))):
            self._start += more
        return self._start[:size]

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes, b"" at the end."""
        if self._start:
            found, self._start = self._start[:size], self._start[size:]
            return found
        return self._read(size)

    def whole(self) -> bytes:
        """Return all that is left. NB: what is written into a BytesIO is handed out as it lies there; pieces would be there twice."""
        found = io.BytesIO()
        while chunk := self.read(CHUNK):
            found.write(chunk)
        return found.getvalue()
