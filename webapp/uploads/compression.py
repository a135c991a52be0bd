"""Compressed files as readers of their content, told by their first bytes: gzip, bzip2, xz, zstd."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Protocol, cast

from webapp.uploads.entry import CHUNK, Read
from webapp.uploads.limits import Budget, UploadError

FIRST = 512
"""So many bytes of a file say what it is."""
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_PACKED_CHUNK = 1 << 14
_XZ_MEMORY = 256 << 20
_GZIP = 31
"""zlib's word for: a gzip header and its checksum are expected."""
_MEMBERS_MAX = 100_000

_BZIP2_AT, _BZIP2 = 4, (b"1AY&SY", b"\x17rE8P\x90")
"""What follows "BZh" and the size of its blocks: pi where a block begins, the root of pi where there is none. A text may begin "BZh"."""


class Readable(Protocol):
    """What a file and a stream in an archive have in common."""

    def read(self, size: int, /) -> bytes: ...


Unpack = Callable[[Readable], Read]
"""Makes an open file into a read function for its content."""


def plain(file: Readable) -> Read:
    """Return the reader of a file that is not compressed."""
    return file.read


def decompressor(start: bytes) -> Unpack | None:
    """Return what makes an open compressed file into a reader of its content, or None when the first bytes are of no known kind."""
    if start[:2] == b"\x1f\x8b":
        return lambda file: _Members(file, lambda: zlib.decompressobj(_GZIP)).read
    if start[:6] == b"\xfd7zXZ\x00":
        return lambda file: _Members(file, lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)).read
    if start[:3] == b"BZh" and start.startswith(_BZIP2, _BZIP2_AT):
        return lambda file: _Members(file, bz2.BZ2Decompressor).read
    return _zstandard if start[:4] == b"\x28\xb5\x2f\xfd" else None


def _zstandard(file: Readable) -> Read:
    import zstandard

    return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(cast("IO[bytes]", file), read_across_frames=True).read


class CountedReader(io.RawIOBase):
    """What *read* gives, counted against the budget. What has failed once fails again: who opens an archive inside may have caught it."""

    def __init__(self, read: Read, budget: Budget) -> None:
        self._read, self._budget = read, budget
        self._failed: Exception | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Return up to *size* bytes. :raises PastBounds: the budget is spent."""
        if self._failed is not None:
            raise self._failed
        try:
            content = self._read(CHUNK if size < 0 else size)
        except Exception as error:
            self._failed = error
            raise
        self._budget.spend(len(content))
        return content


class _Decoder(Protocol):
    """What zlib's, bz2's and lzma's decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Members:
    """Reads a file of compressed members, one after the other, each with a decoder of its own.

    The library's readers bound neither the memory of an xz dictionary nor how many empty members may follow one another, and read the
    file name in a gzip header byte by byte.
    """

    def __init__(self, file: Readable, decoder: Callable[[], _Decoder]) -> None:
        self._file, self._new = file, decoder
        self._decoder, self._members = decoder(), 1
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes, b"" at the end.

        :raises EOFError: the file ends inside a member. :raises UploadError: there are too many members.
        """
        if size <= 0:
            return b""
        while True:
            if self._decoder.eof and not self._begin_next():
                return b""
            at_end = not self._rest and _is_hungry(self._decoder) and not self._fill()
            packed, self._rest = self._rest, b""
            content = self._decoder.decompress(packed, size)
            self._rest = getattr(self._decoder, "unconsumed_tail", b"")
            if content:
                return content
            if at_end and not self._decoder.eof:
                raise EOFError("the compressed file ends too early")

    def _fill(self) -> bytes:
        self._rest = self._file.read(_PACKED_CHUNK)
        return self._rest

    def _begin_next(self) -> bool:
        """Begin the member behind the one that has ended; return whether there is one. Zeros may fill the file up."""
        self._rest = self._decoder.unused_data.lstrip(b"\x00")
        while not self._rest:
            if not self._fill():
                return False
            self._rest = self._rest.lstrip(b"\x00")
        self._members += 1
        if self._members > _MEMBERS_MAX:
            raise UploadError(f"The archive consists of more than {_MEMBERS_MAX:,} compressed parts.")
        self._decoder = self._new()
        return True


def _is_hungry(decoder: _Decoder) -> bool:
    """Return whether the decoder can give nothing more without input; zlib's does not say."""
    return bool(getattr(decoder, "needs_input", True))
