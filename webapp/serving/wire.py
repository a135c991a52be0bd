"""Frames between the serving process and a worker: a JSON head and raw bytes, each with its length in front."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

_LENGTHS = struct.Struct(">II")
MOST_HEAD, MOST_BYTES = 1 << 20, 1 << 22


def packed(head: dict[str, Any], content: bytes = b"") -> bytes:
    """Return one frame. :raises ValueError: it is larger than the other side takes."""
    text = json.dumps(head, separators=(",", ":")).encode()
    if len(text) > MOST_HEAD or len(content) > MOST_BYTES:
        raise ValueError(f"a frame of {len(text)} and {len(content)} bytes")
    return _LENGTHS.pack(len(text), len(content)) + text + content


def receive(line: socket.socket) -> tuple[dict[str, Any], bytes] | None:
    """Wait for the next frame; None when the other side is gone."""
    lengths = _exactly(line, _LENGTHS.size)
    if lengths is None:
        return None
    head, content = _LENGTHS.unpack(lengths)
    text, rest = _exactly(line, head), _exactly(line, content)
    return None if text is None or rest is None else (json.loads(text), rest)


async def read(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes] | None:
    """Return the next frame; None when the other side is gone, or says what no worker says."""
    try:
        head, content = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        if head > MOST_HEAD or content > MOST_BYTES:
            return None
        return json.loads(await reader.readexactly(head)), await reader.readexactly(content)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return None


def _exactly(line: socket.socket, size: int) -> bytes | None:
    found = bytearray()
    while len(found) < size:
        try:
            more = line.recv(min(size - len(found), 1 << 16))
        except (ConnectionError, OSError):
            return None
        if not more:
            return None
        found += more
    return bytes(found)
