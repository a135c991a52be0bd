"""Hopline as its users start it: ``manage.py serve`` in a process of its own, on a free port, with a data folder of its own."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
_START_SECONDS = 120
_PORTS = range(12000, 28000)  # below those that the system draws from
_WORKERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveServer:
    """A running server: its address, data folder, log and process."""

    url: str
    data: Path
    log: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Kill the server as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def environment(data: Path, **changes: str) -> dict[str, str]:
    """Return the environment of a server with its data in *data*: this one's without Hopline's own variables, then *changes*."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HOPLINE_") and k not in ("DATABASE_URL", "REDIS_URL")}
    return kept | {"HOPLINE_DATA": str(data), "DJANGO_SETTINGS_MODULE": "webapp.settings", "PYTHONUNBUFFERED": "1"} | changes


def of_an_operator() -> dict[str, str]:
    """Return the environment of a command as somebody types it: this one's without the tests' settings and Hopline's own variables."""
    return {
        k: v
        for k, v in os.environ.items()
        if not k.startswith("HOPLINE_") and k not in ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
    }


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on: one of the worker's own, and none that the system gives to others meanwhile."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = _PORTS.start + worker % _WORKERS * (len(_PORTS) // _WORKERS)
    for port in random.sample(range(first, first + len(_PORTS) // _WORKERS), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"a hundred ports from {first} on are all taken")


@contextlib.contextmanager
def live_server(data: Path, *arguments: str, port: int | None = None, inside: tuple[str, ...] = (), **changes: str) -> Iterator[LiveServer]:
    """Start ``manage.py serve`` with *arguments* and environment *changes*, by the command *inside*; stop it when the context ends."""
    port = port or free_port()
    data.mkdir(parents=True, exist_ok=True)
    log = data / "server.log"
    command = [*inside, sys.executable, "manage.py", "serve", "--port", str(port), *arguments]
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment(data, **changes), stdout=output, stderr=subprocess.STDOUT)
    server = LiveServer(url=f"http://127.0.0.1:{port}", data=data, log=log, process=process)
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_until_healthy(server: LiveServer) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended with {server.process.returncode}:\n{server.log.read_text()[-4000:]}")
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{server.url}/healthz", timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the server did not answer in {_START_SECONDS} s:\n{server.log.read_text()[-4000:]}")
