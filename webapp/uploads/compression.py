"""Compressed files as readers of their content, told by their first bytes: gzip, xz, zstd."""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Callable
from typing import BinaryIO

import zstandard

from webapp.uploads.limits import Budget

CHUNK = 1 << 16
_XZ_MEMORY = 256 << 20

Unpack = Callable[[BinaryIO], Callable[[int], bytes]]
"""Makes an open file into a read function for its content."""


def plain(file: BinaryIO) -> Callable[[int], bytes]:
    """Return the reader of a file that is not compressed."""
    return file.read


def decompressor(start: bytes) -> Unpack | None:
    """Return what makes an open compressed file into a reader of its content, or None when the first bytes are of no known kind."""
    if start[:2] == b"\x1f\x8b":
        return lambda file: gzip.GzipFile(fileobj=file, mode="rb").read
    if start[:6] == b"\xfd7zXZ\x00":
        return lambda file: _XzReader(file).read
    if start[:4] == b"\x28\xb5\x2f\xfd":
        return lambda file: zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file, read_across_frames=True).read
    return None


class CountedReader(io.RawIOBase):
    """What *read* gives, counted against the budget."""

    def __init__(self, read: Callable[[int], bytes], budget: Budget) -> None:
        self._read, self._budget = read, budget

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes. :raises UploadError: the budget is spent."""
        content = self._read(CHUNK if size < 0 else size)
        self._budget.spend(len(content))
        return content


class _XzReader:
    """Reads an xz file with a bound on the memory its dictionary may take, which lzma.open() does not offer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes, b"" at the end. :raises EOFError: the file ends inside the stream."""
        while True:
            if self._decoder.eof:
                rest = (self._decoder.unused_data or self._file.read(CHUNK)).lstrip(b"\x00")
                if not rest:
                    return b""
                self._decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
            else:
                rest = self._file.read(CHUNK) if self._decoder.needs_input else b""
                if not rest and self._decoder.needs_input:
                    raise EOFError("the xz stream ends too early")
            if content := self._decoder.decompress(rest, max_length=size):
                return content
