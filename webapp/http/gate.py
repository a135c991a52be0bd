"""The gate in front of pages and sockets: what Django or Channels would stumble over is refused here, before its body is read.

* An address longer than LONGEST_ADDRESS, or with a NUL, which PostgreSQL takes in no text.
* A Host that is none of ``HOPLINE_ALLOWED_HOSTS``; a Content-Type that cannot be read, or a form in another charset than UTF-8.
* A socket or stream of events that another site's page opens: its Origin must have scheme, host and port of the request itself, or be
  one of ``HOPLINE_CSRF_TRUSTED_ORIGINS`` or ``HOPLINE_WEBSOCKET_ORIGINS``. Forms are checked the same way by Django.

The health check passes: a probe's Host header is an address nobody listed.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.utils.http import is_same_domain

from webapp.http.refusals import Refusal, bare_response, log_refusal, socket_refused

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_ADDRESS = 16_384
"""The longest path with query, in bytes as sent."""
TOO_LONG = Refusal(
    status=414,
    why=f"the address has more than {LONGEST_ADDRESS} bytes",
    heading="This address is too long",
    words=f"Addresses of more than {LONGEST_ADDRESS:,} bytes are not taken. No page of Hopline has one: reload the page that led here.",
)
_SECURE = {"ws": "http", "wss": "https"}
_PORTS = {"http": 80, "https": 443}
_STREAMS = "/live/"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_CHARSETS = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})


class Gate:
    """An ASGI application around *app* that lets through what *app* can understand."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or refuse it."""
        is_checked = scope["type"] in ("http", "websocket") and scope["path"] != "/healthz"
        if is_checked and (refusal := refusal_of(scope)):
            await refuse(refusal, scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def no_such_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a socket whose path is none of routing.py's."""
    refusal = Refusal(status=404, why="there is no such socket", heading="Nobody owns this address", words="There is no socket here.")
    await refuse(refusal, scope, receive, send)


def refusal_of(scope: Scope) -> Refusal | None:
    """Return why a request or socket must not pass, None where it may."""
    if len(scope.get("raw_path") or scope["path"].encode()) + len(scope.get("query_string", b"")) > LONGEST_ADDRESS:
        return TOO_LONG
    if "\0" in scope["path"]:
        return Refusal(status=400, why="the address holds a NUL")
    try:
        request = ASGIRequest(_as_page(scope), io.BytesIO())
        host = request.get_host()
    except DisallowedHost as error:
        return Refusal(
            status=400,
            why=str(error).partition(". ")[0],
            heading="This server is not called that",
            words="It answers to the names that HOPLINE_ALLOWED_HOSTS lists. Whoever runs it can add the one in your address bar.",
        )
    except (LookupError, ValueError) as error:
        return Refusal(status=400, why=f"a header cannot be read: {error}")
    if scope["type"] == "websocket" or (scope["path"].startswith(_STREAMS) and "HTTP_ORIGIN" in request.META):
        return _of_origin(request, host)
    return _of_charset(request)


def is_own_origin(origin: str, *, scheme: str, host: str) -> bool:
    """Return whether *origin* is that of the page's own server (``http://host:port``), or one that the operator trusts.

    A trusted one may begin with ``*.`` and then means all names below, as Django has it for forms.
    """
    asked = _parts(origin)
    if asked is None:
        return False
    trusted = [*settings.CSRF_TRUSTED_ORIGINS, *settings.WEBSOCKET_ORIGINS]
    return any(_is_of(asked, _parts(known)) for known in (f"{scheme}://{host}", *trusted))


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send, more: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Answer with the page of *refusal*, or close the socket where the server cannot answer a socket with a page.

    *more* are headers of the answer beside the usual ones.
    """
    log_refusal(refusal.status, f"{scope.get('method', 'socket')} {scope['path']}", refusal.why)
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        kind = "websocket.http.response"
        socket_refused.set(True)
    page = bare_response(refusal)
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in page.items()] + list(more)
    if kind == "http.response":
        # What the client still sends is not read: the connection ends with the answer.
        headers.append((b"connection", b"close"))
    body = b"" if scope.get("method") == "HEAD" else page.content
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def _as_page(scope: Scope) -> Scope:
    """Return *scope* as that of a request, which a socket's has no method for."""
    scheme = scope.get("scheme", "ws" if scope["type"] == "websocket" else "http")
    return scope | {"method": scope.get("method", "GET"), "scheme": _SECURE.get(scheme, scheme)}


def _of_charset(request: ASGIRequest) -> Refusal | None:
    charset = str((request.content_params or {}).get("charset", "")).lower()
    if request.method not in _WITH_BODY or charset in _CHARSETS:
        return None
    return Refusal(status=400, why=f"the form is in the charset {charset}", words="Forms are taken in UTF-8 only. Nothing was changed.")


def _of_origin(request: ASGIRequest, host: str) -> Refusal | None:
    origin = request.META.get("HTTP_ORIGIN", "")
    if is_own_origin(origin, scheme=str(request.scheme), host=host):
        return None
    return Refusal(
        status=403,
        why=f"the origin {origin} is not {request.scheme}://{host}" if origin else "there is no Origin header",
        heading="Another site asked for this",
        words="Sockets and streams are for Hopline's own pages: scheme, host and port of their Origin must be those of this server.",
    )


def _parts(origin: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port of an origin, None where it is none."""
    try:
        parsed = urlsplit(origin.lower())
        scheme = _SECURE.get(parsed.scheme, parsed.scheme)
        port = parsed.port or _PORTS.get(scheme)
    except ValueError:
        return None
    return (scheme, parsed.hostname, port) if parsed.hostname and scheme in _PORTS else None


def _is_of(asked: tuple[str, str, int | None], known: tuple[str, str, int | None] | None) -> bool:
    if known is None or (asked[0], asked[2]) != (known[0], known[2]):
        return False
    name = known[1]
    # "*.example.com" is written ".example.com" where Django compares names.
    return bool(is_same_domain(asked[1], name.removeprefix("*") if name.startswith("*.") else name))
