"""The limit of a request's body, enforced before Django reads it.

Django's ASGI handler stores the whole body before any middleware runs, so the limit sits around the ASGI application:
an oversized request reaches Django without its body and marked, and webapp.http.middleware answers it with 413.
What the client still sends is read and thrown away up to a second limit, since a browser shows an answer only when its request is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from webapp.http.access import raw_request_is_granted

_Scope = dict[str, Any]
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]
# Any: each library has types of its own for the three.
_App = Callable[[Any, Any, Any], Awaitable[None]]
_MARK = "hopline.body_limit"
# Boundaries, field names and the form's other fields beside the file itself.
_FORM_SLACK = 65_536
_DRAIN_FACTOR = 3
_DRAIN_IDLE_SECONDS = 30.0


def refused_limit(request: HttpRequest) -> int | None:
    """Return the limit in bytes that *request* went over, or None when it is within it."""
    limit = getattr(request, "scope", {}).get(_MARK)
    return limit if limit is None else int(limit)


class BodyLimit:
    """An ASGI application around *app* that hands it no body larger than ``UPLOAD_MAX_BYTES`` and a little form around it.

    Of somebody who does not have the access key it takes the little form only.
    """

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one connection. A body without a declared length is counted while it arrives."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"")
        # A stranger's upload is turned away, and public pages take small forms only: nothing larger is worth keeping on disk.
        limit = settings.UPLOAD_MAX_BYTES if raw_request_is_granted(scope) else 0
        if length.isdigit() and int(length) > limit + _FORM_SLACK:
            # A client that waits for "100 Continue" is refused before it sends anything.
            if headers.get(b"expect", b"").lower() != b"100-continue":
                await _drain(receive, settings.UPLOAD_MAX_BYTES * _DRAIN_FACTOR)
            return await self._app(_without_body(scope, limit), Ended(), send)
        return await self._app(scope, receive if length.isdigit() else _Counted(scope, receive, limit), send)


class Ended:
    """The receive channel of a request whose body is over; its client is not listened to any more."""

    def __init__(self) -> None:
        self._said = False

    async def __call__(self) -> dict[str, Any]:
        if self._said:
            await asyncio.get_running_loop().create_future()
        self._said = True
        return {"type": "http.request", "body": b"", "more_body": False}


class _Counted:
    """The receive channel of a request that did not declare its length: ends the body, and marks *scope*, where the limit is passed."""

    def __init__(self, scope: _Scope, receive: _Receive, limit: int) -> None:
        self._scope, self._receive, self._limit, self._seen = scope, receive, limit, 0

    async def __call__(self) -> dict[str, Any]:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen <= self._limit + _FORM_SLACK or _MARK in self._scope:
            return message
        if message.get("more_body"):
            await _drain(self._receive, settings.UPLOAD_MAX_BYTES * _DRAIN_FACTOR)
        self._scope[_MARK] = self._limit
        return {"type": "http.request", "body": b"", "more_body": False}


def _without_body(scope: _Scope, limit: int) -> _Scope:
    headers = [(k, v) for k, v in scope["headers"] if k not in (b"content-length", b"transfer-encoding", b"content-type")]
    return scope | {"headers": [*headers, (b"content-length", b"0")], _MARK: limit}


async def _drain(receive: _Receive, most: int) -> None:
    seen = 0
    while seen <= most:
        try:
            message = await asyncio.wait_for(receive(), _DRAIN_IDLE_SECONDS)
        except TimeoutError:
            return
        seen += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return
