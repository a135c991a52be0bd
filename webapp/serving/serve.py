"""The serving process: uvicorn on one loop, the pool beside it, an end within ten seconds whatever runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from webapp.http import socket_loop
from webapp.http.body_limit import BodyLimit
from webapp.http.failures import cause_of, log_seldom
from webapp.http.gate import App, Gate
from webapp.live import wake
from webapp.serving.front import DatabaseHealth, Front
from webapp.serving.http_limits import BoundedHttp
from webapp.serving.pool import Pool
from webapp.storing import stored_snapshots, upload_jobs
from webapp.work.lanes import Lane, lanes

logger = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE_SECONDS, _GIVEN_UP_AFTER, _LAST_SECONDS = 4, 2.5, 9.0
"""How long connections may go on once the server is asked to stop, how long work may, and after what time it ends whatever hangs."""


def serve(host: str, port: int) -> int:
    """Serve until stopped; return the exit code."""
    from webapp.asgi import pages

    _open_as_many_files_as_we_may()
    pool = Pool(lanes(), Telling(), _lost)
    health = DatabaseHealth(_database_trouble, _tidy)
    application = Gate(BodyLimit(Front(cast(App, pages), pool, health)))
    server = _Server(_config(application, host, port), pool, health)
    server.run()
    if not server.started:
        return 1
    return 128 + server.stopped_by if server.stopped_by else 0


def _config(application: Any, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        log_config=None,
        access_log=settings.ACCESS_LOG,
        lifespan="off",
        http=BoundedHttp,
        proxy_headers=settings.HTTPS,
        forwarded_allow_ips=settings.TRUSTED_PROXIES,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ws_max_size=65_536,
        # What sockets are told is short: compressing it would cost each of them 160 kB.
        ws_per_message_deflate=False,
    )


class _Server(uvicorn.Server):
    """Uvicorn with the pool between its start and its end. The signal that stops it is not raised again: the end is not over then."""

    def __init__(self, config: uvicorn.Config, pool: Pool, health: DatabaseHealth) -> None:
        super().__init__(config)
        self._pool, self._health = pool, health
        self._looking: asyncio.Task[None] | None = None
        self.stopped_by = 0

    async def startup(self, sockets: Any = None) -> None:
        """Start the workers, then listen."""
        loop = asyncio.get_running_loop()
        wake.forward_to(lambda: _from_any_thread(loop, self._pool))
        self._pool.start(Lane.PAGES, Lane.QUICK, Lane.LIVE)
        self._looking = asyncio.create_task(self._health.look_for_ever())
        await super().startup(sockets)

    async def shutdown(self, sockets: Any = None) -> None:
        """Stop listening, let what runs go on for a moment, say to whoever still waits that it is over, then end the workers."""
        asyncio.get_running_loop().call_later(_GIVEN_UP_AFTER, self._pool.give_up)
        await super().shutdown(sockets)
        if self._looking is not None:
            self._looking.cancel()
        await self._pool.stop()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Remember what stopped the server, and see to it that this is its end: a thread that waits for a database may never be done."""
        if not self.stopped_by:
            last = threading.Timer(_LAST_SECONDS, _end_now, (128 + sig,))
            last.daemon = True
            last.start()
        self.stopped_by = sig
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop when a signal says so, and let nothing else be done about it."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _from_any_thread(loop: asyncio.AbstractEventLoop, pool: Pool) -> None:
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(pool.nudge)


def _end_now(code: int) -> None:
    """End this process, and by that its workers."""
    logger.warning("something did not end in %g s; the server does", _LAST_SECONDS)
    os._exit(code)


class Telling:
    """Tells sockets what workers say, one message after the other: a later one never overtakes an earlier one, and where the layer hangs,
    the oldest are forgotten. Pages ask as well."""

    MOST = 1_000

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque(maxlen=self.MOST)
        self._task: asyncio.Task[None] | None = None

    def __call__(self, group: str, message: dict[str, Any]) -> None:
        """Send *message* to the sockets of *group*; on the loop."""
        self._waiting.append((group, message))
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._tell_all())

    async def _tell_all(self) -> None:
        while self._waiting:
            await _sent(*self._waiting.popleft())


async def _sent(group: str, message: dict[str, Any]) -> None:
    try:
        await socket_loop.layer().group_send(group, message)
    except Exception as error:
        if cause_of(error):
            log_seldom("sockets are not told", error)
        else:
            logger.exception("the sockets of %s were not told", group)


def _lost(doing: dict[str, Any], why: str) -> None:
    """A worker ended while it was *doing* something that its request did not wait for."""
    if job := doing.get("upload"):
        threading.Thread(target=_upload_lost, args=(str(job), why), name="lost upload", daemon=True).start()


def _upload_lost(job: str, why: str) -> None:
    try:
        upload_jobs.lost(job, why)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("upload %s was lost, and nobody could be told: %s", job, error)
    finally:
        connection.close()


def _database_trouble() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, InterfaceError):
        return "database unreachable"
    finally:
        connection.close()
    return ""


def _tidy() -> None:
    """Remove what could not be removed, and say what could not be said, while the database was away."""
    try:
        stored_snapshots.clean_up()
    except (OSError, DatabaseError, InterfaceError) as error:
        logger.warning("not everything could be tidied up: %s", error)
    finally:
        connection.close()


def _open_as_many_files_as_we_may() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
