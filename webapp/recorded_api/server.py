"""The recorded API on a free port of loopback, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from webapp.cluster.permissions import Permission
from webapp.recorded_api.application import Application
from webapp.recorded_api.faults import Faults
from webapp.recorded_api.recorded_api import RecordedApi

_START_SECONDS = 15
_STOP_SECONDS = 10
_BOOKMARK_SECONDS = 60.0
_THREAD = "recorded-api"


class RunningServer:
    """A recorded API being served at *url*, which nobody can guess: keep it to yourself. Ends with ``stop()``, or as a context."""

    def __init__(self, api: RecordedApi, url: str, token: str | None, faults: Faults, stop: Callable[[], None]) -> None:
        self.api = api
        self.url = url
        self.token = token
        self.faults = faults
        self._stop = stop

    def __repr__(self) -> str:
        return f"<RunningServer {self.url.rpartition('/')[0]}>"

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every watch and the server; returns when its thread has ended. May be called twice."""
        self._stop()

    def kubeconfig(self) -> str:
        """Return a kubeconfig (JSON, which is YAML) with one context, ``recorded``, for kubectl and for Connection.from_context.

        NB: kubectl sends no token without TLS; with *token*, only Connection gets in.
        """
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "recorded",
                "clusters": [{"name": "recorded", "cluster": {"server": self.url}}],
                "users": [{"name": "recorded", "user": {"token": self.token} if self.token else {}}],
                "contexts": [{"name": "recorded", "context": {"cluster": "recorded", "user": "recorded"}}],
            }
        )


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """uvicorn logs each exec in three lines, and what a fault cuts off; of this server only exceptions are news. Its logger is shared."""
    return record.threadName != _THREAD or record.exc_info is not None


def serve(
    api: RecordedApi,
    faults: Faults | None = None,
    *,
    token: str | None = None,
    may: Callable[[Permission], bool] = lambda _: True,
    bookmark_seconds: float = _BOOKMARK_SECONDS,
    certificate: tuple[Path, Path] | None = None,
) -> RunningServer:
    """Start serving *api* and return the running server; ``Connection.to_url(server.url)`` talks to it.

    Other people on this machine, and pages in their browsers, can reach loopback too: so the URL begins with a random path.
    *token*: what clients must present on top of that. *may* is the authorizer. *certificate* and its key, both PEM: serve TLS.
    :raises RuntimeError: the server did not start.
    """
    known, root = Faults() if faults is None else faults, f"/{secrets.token_urlsafe(24)}"
    logging.getLogger("uvicorn.error").addFilter(_is_worth_logging)
    # NB: asyncio switches Nagle's algorithm off (40 ms an answer) only for sockets that say their protocol.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))

    def application() -> Application:
        return Application(api, known, root=root, token=token, may=may, bookmark_seconds=bookmark_seconds)

    thread = _ServerThread(application, listening, certificate)
    thread.start()
    thread.wait_until_started()
    scheme = "https" if certificate else "http"
    return RunningServer(api, f"{scheme}://127.0.0.1:{listening.getsockname()[1]}{root}", token, known, thread.stop)


class _ServerThread(threading.Thread):
    """Runs uvicorn in an event loop of its own."""

    def __init__(self, application: Callable[[], Application], listening: socket.socket, certificate: tuple[Path, Path] | None) -> None:
        super().__init__(name=_THREAD, daemon=True)
        self._make_application = application
        self._listening = listening
        self._certificate = certificate or (None, None)
        self._application: Application | None = None
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._listening.close()
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._application = self._make_application()
        config = uvicorn.Config(
            self._application,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
            timeout_keep_alive=30,
            ws_ping_interval=None,
            ws_max_size=65_536,
            server_header=False,
            ssl_certfile=self._certificate[0],
            ssl_keyfile=self._certificate[1],
        )
        self._server = uvicorn.Server(config)
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._listening]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        self._ready.set()
        await serving

    def wait_until_started(self) -> None:
        """Return when requests are answered. :raises RuntimeError: they will not be."""
        self._ready.wait(_START_SECONDS)
        if self._server is None or not self._server.started:
            raise RuntimeError("the recorded API did not start")

    def stop(self) -> None:
        """End it and wait for that, at most 10 s."""
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._end)
        self.join(_STOP_SECONDS)

    def _end(self) -> None:
        if self._application is not None:
            self._application.stopping.set()
        if self._server is not None:
            self._server.should_exit = True
