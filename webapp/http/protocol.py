"""The server's HTTP protocol, with our words where uvicorn refuses a request itself: the usual page with its policy, one line of log.

What is no HTTP, or no WebSocket handshake, never reaches the application; the handshake is judged by the websockets library.
"""

from __future__ import annotations

import logging

from django.http import HttpResponse
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.server import ServerProtocol

from webapp.http.gate import LONGEST_ADDRESS, TOO_LONG
from webapp.http.refusals import Refusal, bare_response, log_refusal

_SWITCHING_PROTOCOLS = 101


class HttpProtocol(HttpToolsProtocol):
    """One connection of a client."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed. uvicorn has written the line of log."""
        refusal = TOO_LONG if len(getattr(self, "url", b"")) > LONGEST_ADDRESS else Refusal(status=400, why=msg)
        self._answer(refusal)

    def handle_websocket_upgrade(self) -> None:
        """Hand a good handshake to the socket's protocol, and refuse any other."""
        refusal = handshake_refusal(self.scope["method"], self.url, list(self.scope["headers"]))
        if refusal is None:
            super().handle_websocket_upgrade()
            return
        log_refusal(refusal.status, f"socket {self.url.decode('latin-1')}", refusal.why)
        self._answer(refusal)

    def _answer(self, refusal: Refusal) -> None:
        """Write the page of *refusal* and end the connection."""
        if not self.transport.is_closing():
            self.transport.write(_as_bytes(bare_response(refusal)))
            self.transport.close()


def handshake_refusal(method: str, url: bytes, headers: list[tuple[bytes, bytes]]) -> Refusal | None:
    """Return why a request is no WebSocket handshake, None where it is one.

    Source: RFC 6455, 4.2.1, as websockets.server.ServerProtocol.accept() checks it.
    """
    if len(url) > LONGEST_ADDRESS:
        return TOO_LONG
    given = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])
    judge = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()], logger=_silent())
    answer = judge.accept(Request(url.decode("latin-1"), given, method))
    if answer.status_code == _SWITCHING_PROTOCOLS:
        return None
    return Refusal(status=answer.status_code, why=str(judge.handshake_exc), heading="This is no WebSocket handshake")


def _silent() -> logging.Logger:
    made = logging.getLogger(f"{__name__}.handshake")
    made.disabled = True
    return made


def _as_bytes(page: HttpResponse) -> bytes:
    named = [f"{name}: {value}" for name, value in page.items()]
    head = [f"HTTP/1.1 {page.status_code} {page.reason_phrase}", *named, "Connection: close", "", ""]
    return "\r\n".join(head).encode("latin-1") + page.content
