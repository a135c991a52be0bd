"""A stored snapshot's file: one zstd frame for each recorded file, then an index, so that one file is read without touching the others.

Layout: ``HOPLINE1``, the frames, the index (a zstd frame of JSON: name -> [offset, stored length, length]),
then 8 bytes of big-endian index offset and ``HOPLINEX``. A file that was cut short has no end mark and is refused.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator, Mapping
from typing import IO

from webapp import zstd

_MAGIC, _END = b"HOPLINE1", b"HOPLINEX"
_FOOTER = struct.Struct(">Q8s")
_LEVEL = 6


class ContainerError(Exception):
    """The stored file is not a whole container."""


class ContainerWriter:
    """Appends recorded files to *file*, which ends as a container when finish() is called."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._index: dict[str, tuple[int, int, int]] = {}
        file.write(_MAGIC)
        self._offset = len(_MAGIC)

    def add(self, name: str, content: bytes) -> None:
        """Append one file. :raises ValueError: the name was added before."""
        if name in self._index:
            raise ValueError(f"{name!r} added twice")
        frame = zstd.packed(content, level=_LEVEL, checksum=True)
        self._file.write(frame)
        self._index[name] = (self._offset, len(frame), len(content))
        self._offset += len(frame)

    def finish(self) -> None:
        """Write the index and the end mark."""
        self._file.write(zstd.packed(json.dumps(self._index).encode(), level=_LEVEL, checksum=True))
        self._file.write(_FOOTER.pack(self._offset, _END))


class Container(Mapping[str, bytes]):
    """The recorded files of a container as a mapping from name to bytes; each is decompressed when asked for, and not kept.

    Safe to use from several threads. *file* stays open as long as the mapping lives.
    :raises ContainerError: *file* is not a whole container.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._index: dict[str, tuple[int, int, int]] = _read_index(file)

    def __getitem__(self, name: str) -> bytes:
        offset, stored, length = self._index[name]
        with self._lock:
            self._file.seek(offset)
            frame = self._file.read(stored)
        content = zstd.unpacked(frame)
        if len(content) != length:
            raise ContainerError(f"{name!r} is damaged in the store")
        return content

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def length(self, name: str) -> int:
        """Return the file's size in bytes without reading it."""
        return self._index[name][2]

    def close(self) -> None:
        """Close the underlying file."""
        self._file.close()


def _read_index(file: IO[bytes]) -> dict[str, tuple[int, int, int]]:
    end = file.seek(0, 2)
    if end < len(_MAGIC) + _FOOTER.size:
        raise ContainerError("the stored snapshot is cut short")
    file.seek(end - _FOOTER.size)
    offset, mark = _FOOTER.unpack(file.read(_FOOTER.size))
    file.seek(0)
    if mark != _END or file.read(len(_MAGIC)) != _MAGIC or not len(_MAGIC) <= offset < end - _FOOTER.size:
        raise ContainerError("the stored snapshot is cut short or not a snapshot")
    file.seek(offset)
    try:
        index = json.loads(zstd.unpacked(file.read(end - _FOOTER.size - offset)))
    except (zstd.Damaged, ValueError) as error:
        raise ContainerError("the stored snapshot's index is damaged") from error
    return {name: (int(at), int(stored), int(length)) for name, (at, stored, length) in index.items()}
