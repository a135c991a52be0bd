"""Zstandard for what Hopline packs itself: rows, containers, downloads. What others packed is webapp/uploads' to open, within its bounds.

Strategy: a compressor or decompressor is made for each call: neither is safe to share between threads, and making one costs microseconds.
"""

from __future__ import annotations

from typing import Protocol

import zstandard

Damaged = zstandard.ZstdError
"""Raised where packed bytes are not what ``packed`` returned."""


class Stream(Protocol):
    """Takes bytes piece by piece and gives what is packed of them so far."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def packed(content: bytes, *, level: int, checksum: bool = False) -> bytes:
    """Return *content* as one frame that says how long it is; with a *checksum*, damage is found when it is unpacked."""
    return zstandard.ZstdCompressor(level=level, write_checksum=checksum).compress(content)


def unpacked(frame: bytes) -> bytes:
    """Return the content of a frame that ``packed`` made. :raises Damaged: it is no such frame, or one whose length is not said."""
    return zstandard.ZstdDecompressor().decompress(frame)


def stream(*, level: int) -> Stream:
    """Return what packs a download while it is sent."""
    return zstandard.ZstdCompressor(level=level).compressobj()
