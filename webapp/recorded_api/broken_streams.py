"""Faults of streams: an answer's pieces, turned into what a client must survive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from webapp.recorded_api.faults import Fault, What
from webapp.recorded_api.watching import gone_event

_PIECE = 1 << 16


class BrokenOffError(Exception):
    """The connection is to be cut here."""


async def broken(lines: AsyncIterator[bytes], fault: Fault) -> AsyncIterator[bytes]:
    """Yield the *lines* of a watch, or the one of a list, as *fault* has it. :raises BrokenOffError: the connection is to be cut."""
    if fault.what is What.SLOW:
        async for piece in _slowly(lines, fault.seconds):
            yield piece
        return
    count = 0
    if fault.after == 0:
        async for piece in _instead(fault):
            yield piece
    async for line in lines:
        if fault.what is What.CUT and count == fault.after:
            yield line[: len(line) // 2]
            raise BrokenOffError
        yield line
        count += 1
        if count == fault.after:
            async for piece in _instead(fault):
                yield piece
    if fault.what is What.CUT:
        raise BrokenOffError


async def _slowly(lines: AsyncIterator[bytes], seconds: float) -> AsyncIterator[bytes]:
    async for line in lines:
        size = max(1, len(line) // 20)
        for begin in range(0, len(line), size):
            yield line[begin : begin + size]
            await asyncio.sleep(seconds)


async def _instead(fault: Fault) -> AsyncIterator[bytes]:
    """Yield what comes in place of the rest; ends by itself where the rest goes on."""
    match fault.what:
        case What.CUT_BETWEEN:
            raise BrokenOffError
        case What.SILENT:
            await asyncio.sleep(fault.seconds)
            raise BrokenOffError
        case What.GARBAGE:
            yield b'{"type":"MODIFIED","object":{\x00\xff garbage}\n'
        case What.NOT_AN_EVENT:
            yield b'{"type":"SURPRISE","object":{}}\n'
        case What.GONE_EVENT:
            yield gone_event()
        case What.HUGE:
            yield b'{"type":"ADDED","object":{"metadata":{"name":"'
            for _ in range(0, fault.size, _PIECE):
                yield b"x" * _PIECE
            yield b'"}}}\n'
