"""The application that the server runs: answers what costs nothing, hands everything else to the pool, and never computes.

On the loop: ``/healthz``. In this process, by Django: static files, sockets, and what a page hears of a followed cluster. All other
requests are read to their end (bounded, spooled to disk), answered by a worker, and passed on as fast as the client takes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any

from django.conf import settings
from django.http import QueryDict
from django.urls import Resolver404, resolve

from webapp import __version__
from webapp.http.access import raw_session
from webapp.http.failures import FAILURES, RETRY_AFTER, log_seldom
from webapp.http.gate import App, Receive, Scope, Send, refuse
from webapp.questions.trace_query import from_params
from webapp.serving.disk_share import DiskShare, NoShare
from webapp.serving.fair_queue import Full
from webapp.serving.pool import Ask, Pool
from webapp.serving.reply import Failed, Reply
from webapp.work.lanes import lane_of

logger = logging.getLogger(__name__)

BODY_IDLE_SECONDS, SEND_SECONDS = 30.0, 60.0
"""How long a client may take for the next part of a request, and for taking the next part of an answer."""
MOST_SOCKETS = 5_000
"""Open sockets, of everybody."""
SLOWEST_BODY = 4_000.0
"""Bytes a second that a body comes with at least, after its first BODY_IDLE_SECONDS."""
_KEPT_BODY = 256_000
_SCOPE_WORDS = ("method", "path", "scheme", "server", "client", "root_path", "http_version")
_HERE = ("live-state", "live-events")
_QUESTIONS = frozenset({"trace", "trace-export", "trace-freeze", "compare", "compare-export"})


class Front:
    """The ASGI application around *pages*, which is Django with its sockets."""

    def __init__(self, pages: App, pool: Pool, health: Callable[[], str]) -> None:
        self._pages, self._pool, self._health = pages, pool, health
        self._sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._socket(scope, receive, send)
        elif scope["path"] == "/healthz":
            await self._say_health(send)
        else:
            name, source = _address(scope["path"])
            if name in _HERE or scope["path"].startswith(settings.STATIC_URL):
                await self._here(scope, receive, send)
            else:
                await self._by_worker(scope, receive, send, name, source)

    async def _here(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let this process answer, once the request is whole: nothing asks for its body here, and Django would wait for it for ever."""
        with contextlib.ExitStack() as stack:
            try:
                await _body(receive, stack)
            except _Gone:
                return
            except Failed as error:
                await self._fail(scope, receive, send, error.why)
                return
        await self._pages(scope, _Read(receive), send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sockets >= MOST_SOCKETS:
            await refuse(FAILURES["full"], scope, receive, send)
            return
        self._sockets += 1
        try:
            await self._pages(scope, receive, send)
        finally:
            self._sockets -= 1

    async def _say_health(self, send: Send) -> None:
        trouble = self._health()
        body = json.dumps({"status": trouble or "ok", "version": __version__}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 503 if trouble else 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _by_worker(self, scope: Scope, receive: Receive, send: Send, name: str, source: str) -> None:
        with contextlib.ExitStack() as stack:
            try:
                content, path = await _body(receive, stack)
                ask = Ask(
                    scope=_plain(scope),
                    session=_session(scope),
                    key=_question(scope, name, source, content),
                    content=content,
                    path=path,
                    is_safe=scope["method"] in ("GET", "HEAD"),
                )
                reply = self._pool.ask(ask, lane_of(name, scope["method"]))
            except _Gone:
                return
            except (Full, Failed) as error:
                await self._fail(scope, receive, send, error.why if isinstance(error, Failed) else "full")
                return
            try:
                await self._pass_on(scope, receive, send, reply)
            finally:
                if not reply.is_over:
                    self._pool.abandon(ask)
                reply.close()
                if path is not None:
                    # NB: the file's number would be another request's file when a worker opens it late.
                    await reply.over()

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, reply: Reply) -> None:
        """Send the answer as it comes, until it ends or the client goes."""
        gone = asyncio.ensure_future(_gone(receive))
        sending = asyncio.ensure_future(self._send(scope, receive, send, reply))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (gone, sending):
                task.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)

    async def _send(self, scope: Scope, receive: Receive, send: Send, reply: Reply) -> None:
        try:
            status, headers = await reply.head()
        except Failed as error:
            await self._fail(scope, receive, send, error.why)
            return
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        # NB: an answer that breaks off must not look whole: the server closes the connection of one that was not ended.
        try:
            async for part in reply.body():
                await asyncio.wait_for(send({"type": "http.response.body", "body": part, "more_body": True}), SEND_SECONDS)
        except (Failed, TimeoutError) as error:
            logger.warning("an answer broke off: %s", error.why if isinstance(error, Failed) else "the client takes nothing")
            return
        await send({"type": "http.response.body", "body": b""})

    async def _fail(self, scope: Scope, receive: Receive, send: Send, why: str) -> None:
        refusal = FAILURES.get(why, FAILURES["fault"])
        again = ((b"retry-after", str(RETRY_AFTER).encode()),) if refusal.status == 503 else ()
        await refuse(refusal, scope, receive, send, again)


class _Read:
    """The receive channel of a request whose body was read, and is nobody's concern."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._is_said = receive, False

    async def __call__(self) -> dict[str, Any]:
        if self._is_said:
            return await self._receive()
        self._is_said = True
        return {"type": "http.request", "body": b"", "more_body": False}


class _Gone(Exception):
    """The client went while it was sending."""


async def _body(receive: Receive, stack: contextlib.ExitStack) -> tuple[bytes, str | None]:
    """Return the request's body, or the path by which a process of ours opens the file that holds it.

    :raises Failed: it does not come, or the disk is full. :raises _Gone: the client went.
    """
    kept: bytearray = bytearray()
    loop = asyncio.get_running_loop()
    seen, begun = 0, loop.time()
    file: IO[bytes] | None = None
    share = DiskShare()
    stack.callback(share.give_back)
    while True:
        try:
            left = begun + BODY_IDLE_SECONDS + seen / SLOWEST_BODY - loop.time()
            message = await asyncio.wait_for(receive(), max(0.0, min(BODY_IDLE_SECONDS, left)))
        except TimeoutError:
            raise Failed("slow") from None
        if message["type"] == "http.disconnect":
            raise _Gone
        part = message.get("body", b"")
        seen += len(part)
        try:
            if file is not None:
                share.take(len(part))
            elif len(kept) + len(part) > _KEPT_BODY:
                share.take(len(kept) + len(part))
                # Without a name: nothing is left of it, however this process ends.
                file = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR, buffering=0)  # noqa: SIM115 - open until it is answered
                stack.enter_context(file)
                _write(file, kept)
                kept.clear()
            if file is None:
                kept += part
            else:
                _write(file, part)
            if not message.get("more_body"):
                return bytes(kept), f"/proc/{os.getpid()}/fd/{file.fileno()}" if file is not None else None
        except NoShare:
            raise Failed("full") from None
        except OSError as error:
            log_seldom("bodies of requests cannot be kept", error)
            raise Failed("disk") from error


def _write(file: IO[bytes], content: bytes | bytearray) -> None:
    """Write all of *content*: a raw file takes what there is room for."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _address(path: str) -> tuple[str, str]:
    """Return what the address is called, and which source it is about ("" for none)."""
    try:
        found = resolve(path)
    except (Resolver404, ValueError):
        return "", ""
    return found.url_name or "", str(found.kwargs.get("source", ""))


def _session(scope: Scope) -> str:
    """Return who asks: the browser session, else the address. A cookie of somebody's own making gives nobody one more turn."""
    return raw_session(scope) or str((scope.get("client") or ("",))[0])


def _question(scope: Scope, name: str, source: str, content: bytes) -> str:
    """Return what is asked of which source, "" where nothing is: two that are equal have one answer."""
    if name not in _QUESTIONS:
        return ""
    try:
        if name == "trace-freeze":
            text = QueryDict(content[:_KEPT_BODY]).get("query", "")
            query = from_params(dict(QueryDict(str(text)).lists()))
        else:
            query = from_params(dict(QueryDict(scope["query_string"]).lists()))
        if query.errors or query.is_empty:
            return ""
        # A file that is drawn is another question: pages find a stored answer, drawing it is not for them. So are two answers in one.
        return hashlib.sha256(f"{name == 'trace-export'} {name.startswith('compare')} {source} {query.question()}".encode()).hexdigest()
    except Exception:
        # Whatever is wrong with it, the view says so.
        return ""


def _plain(scope: Scope) -> dict[str, Any]:
    """Return the scope as JSON has it."""
    words = {name: scope.get(name) for name in _SCOPE_WORDS} | {k: v for k, v in scope.items() if k.startswith("hopline.")}
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return words | {"headers": headers, "query_string": scope["query_string"].decode("latin-1")}


class DatabaseHealth:
    """Whether the database answers, asked again and again in a thread, so that the health check waits for nobody.

    *ask* returns what is wrong; *is_back* is called when nothing is wrong any more.
    """

    EVERY, STALE = 1.0, 10.0

    def __init__(self, ask: Callable[[], str], is_back: Callable[[], None]) -> None:
        self._ask, self._is_back = ask, is_back
        self._said, self._at = "", time.monotonic()
        self._tidying: asyncio.Task[None] | None = None

    def __call__(self) -> str:
        """Return what is wrong, "" when nothing is."""
        return self._said if time.monotonic() - self._at < self.STALE else "database does not answer"

    async def look_for_ever(self) -> None:
        """Ask until cancelled."""
        while True:
            before = self._said
            try:
                self._said = await asyncio.to_thread(self._ask)
            except Exception:
                logger.exception("the database could not be asked how it is")
                self._said = "database unreachable"
            self._at = time.monotonic()
            if self._said != before:
                logger.warning("health: %s", self._said or "ok")
            if before and not self._said:
                # It may take longer than an answer may be old.
                self._tidying = asyncio.create_task(self._tidy())
            await asyncio.sleep(self.EVERY)

    async def _tidy(self) -> None:
        try:
            await asyncio.to_thread(self._is_back)
        except Exception:
            logger.exception("what was left while the database was away could not be done")
