"""The server's HTTP protocol with what uvicorn lacks: a time limit for a request's head, and one client's share of the connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

from webapp.http.protocol import HttpProtocol

HEAD_SECONDS = 15.0
"""From the connection, or the first byte of a request, until its headers are whole."""
MOST_CONNECTIONS, MOST_OF_ONE = 2_000, 1_000
MOST_HEAD_BYTES = 64_000
_open: Counter[str] = Counter()


class BoundedHttp(HttpProtocol):
    """One connection."""

    _late: asyncio.TimerHandle | None = None
    _peer = ""
    _head_bytes = 0
    _in_head = True
    _is_counted = _is_socket = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        self._peer = str((transport.get_extra_info("peername") or ("",))[0])
        _open[self._peer] += 1
        self._is_counted = True
        if _open[self._peer] > MOST_OF_ONE or _open.total() > MOST_CONNECTIONS:
            transport.abort()
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._expect_nothing()
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; of a head no more than there is room for."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._late is None and self._is_idle():
            # NB: an empty line before a request begins none, and still ends the time that a silent connection has.
            self._expect_head()
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Count the time of the next request's head from here."""
        super().on_message_begin()
        self._in_head = True
        if self._late is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head, self._head_bytes = False, 0
        self._expect_nothing()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; how many sockets there may be, front.py says."""
        self._is_socket = True
        self._expect_nothing()
        self._leave()
        super().handle_websocket_upgrade()

    def _is_idle(self) -> bool:
        return not self._is_socket and (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing()

    def _leave(self) -> None:
        if self._is_counted:
            self._is_counted = False
            _open[self._peer] -= 1
            if _open[self._peer] <= 0:
                del _open[self._peer]

    def _expect_head(self) -> None:
        self._late = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._close_late)

    def _expect_nothing(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        self._late = None
        transport = cast(Any, self.transport)
        if transport is not None and not transport.is_closing():
            transport.close()
