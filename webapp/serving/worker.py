"""What runs inside a worker: one loop that takes requests from the serving process and answers them with Django.

A worker is forked from a process that has imported everything (preload.py). It ends when the serving process does, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from django.db import connections
from django.http.response import HttpResponseBase

from tracer.values import dataclass
from webapp.serving import wire
from webapp.serving.handler import Handler
from webapp.work import place
from webapp.work.lanes import Lane, LaneLimits
from webapp.work.place import ELSEWHERE, SPENT

logger = logging.getLogger(__name__)
_CHUNK = 1 << 16
_M_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 1 << 20  # malloc.h; bytes


@dataclass(frozen=True, slots=True)
class _Line:
    """The way to the serving process; used by every thread of the worker."""

    socket: socket.socket
    lock: threading.Lock

    def send(self, head: dict[str, Any], content: bytes = b"") -> None:
        frame = wire.packed(head, content)
        with self.lock:
            self.socket.sendall(frame)


def main(line: socket.socket, lifeline: socket.socket, lane: str, limits: LaneLimits) -> None:
    """Serve requests of *lane* that come by *line* until it is closed. Nothing comes by *lifeline*: its end is the serving process's."""
    _end_with(lifeline)
    from webapp.serving.preload import handler

    _limit(limits)
    sender = _Line(line, threading.Lock())
    place.enter(Lane(lane), lambda message: sender.send(message))
    ending = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end(*_: object) -> None:
        ending.set()
        line.shutdown(socket.SHUT_RD)

    signal.signal(signal.SIGTERM, end)
    worker = _Worker(sender, handler, limits)
    with _following(Lane(lane)):
        while not ending.is_set() and (frame := wire.receive(line)) is not None:
            worker.take(*frame)
    # NB: threads may be in the middle of something that never ends.
    os._exit(0)


class _Worker:
    def __init__(self, line: _Line, handler: Handler, limits: LaneLimits) -> None:
        self._line, self._handler, self._limits = line, handler, limits
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="request") if limits.threads > 1 else None

    def take(self, head: dict[str, Any], content: bytes) -> None:
        """Do what the serving process asks."""
        if head["do"] == "nudge":
            from webapp.live import wake

            wake.nudge()
        elif self._threads is not None:
            self._threads.submit(self._run, head, content)
        else:
            self._run(head, content)

    def _run(self, head: dict[str, Any], content: bytes) -> None:
        number = head["id"]
        try:
            _allow_cpu(self._limits.cpu_seconds)
            self._answer(number, head, content)
        except ConnectionError:
            return
        except BaseException as error:
            logger.exception("request %s was lost", number)
            self._line.send({"id": number, "type": "failed", "why": "memory" if isinstance(error, MemoryError) else "fault"})
        finally:
            self._end(number)

    def _end(self, number: int) -> None:
        """Do what was left for afterwards, and say that there is room again."""
        is_stored = False
        for work in place.take_afterwards():
            try:
                is_stored = work() or is_stored
            except Exception:
                logger.exception("what was left to do after request %s failed", number)
        with contextlib.suppress(ConnectionError):
            self._line.send({"id": number, "type": "idle", "rss": _resident(), "stored": is_stored})

    def _answer(self, number: int, head: dict[str, Any], content: bytes) -> None:
        with _body(head.get("body"), content) as body:
            request, response = self._handler.request_of(_scope(head["scope"]), body)
            try:
                if request is not None:
                    response = self._handler.get_response(request)
                if response is not None:
                    self._send(number, response)
            finally:
                if response is not None:
                    # Sends request_finished, by which the database connections are given back.
                    response.close()

    def _send(self, number: int, response: HttpResponseBase) -> None:
        if lane := response.headers.get(ELSEWHERE):
            self._line.send({"id": number, "type": "elsewhere", "lane": lane})
            return
        if why := response.headers.get(SPENT):
            self._line.send({"id": number, "type": "failed", "why": why})
            return
        headers = [[name, value] for name, value in response.headers.items()]
        headers += [["Set-Cookie", morsel.OutputString()] for morsel in response.cookies.values()]
        self._line.send({"id": number, "type": "start", "status": response.status_code, "headers": headers})
        for part in response:
            for begin in range(0, len(part), _CHUNK):
                self._line.send({"id": number, "type": "body"}, part[begin : begin + _CHUNK])
        self._line.send({"id": number, "type": "end"})


@contextlib.contextmanager
def _following(lane: Lane) -> Iterator[None]:
    """Follow clusters while the context is open, where this is the process that does."""
    from django.conf import settings

    if lane is not Lane.LIVE or not settings.FOLLOW:
        yield
        return
    from webapp.live.supervisor import Supervisor

    supervisor = Supervisor()
    supervisor.start()
    try:
        yield
    finally:
        supervisor.stop()


@contextlib.contextmanager
def _body(path: str | None, content: bytes) -> Iterator[IO[bytes]]:
    if path is None:
        yield BytesIO(content)
        return
    with Path(path).open("rb") as file:
        yield file


def _scope(given: dict[str, Any]) -> dict[str, Any]:
    """Return the ASGI scope that the serving process had, of which JSON has no bytes."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given["headers"]]
    query = given["query_string"].encode("latin-1")
    return given | {"type": "http", "headers": headers, "query_string": query, "client": given["client"] and tuple(given["client"])}


def _end_with(lifeline: socket.socket) -> None:
    """Let the kernel end this process when the other end of *lifeline* is closed, however that comes about and whatever runs here.

    SIGIO, which the kernel sends for it, ends a process that does not handle it. Source: fcntl(2), F_SETOWN and O_ASYNC; signal(7).
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    lifeline.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        if not lifeline.recv(1):
            os._exit(1)


def _limit(limits: LaneLimits) -> None:
    os.nice(limits.nice)
    _give_back()
    connections.close_all()
    have = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = limits.files if have == resource.RLIM_INFINITY else min(limits.files, have)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, have))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + limits.memory, resource.RLIM_INFINITY))


def _give_back() -> None:
    """Let the C library give back large blocks when they are freed: otherwise it keeps the first of them, and more from then on.

    Its threshold grows with every large block that is freed, and what lies below it goes where it is only given back when nothing lies
    above: a file that is read, decoded and written as JSON leaves such holes. Source: mallopt(3), M_MMAP_THRESHOLD. Other C libraries
    have no such call.
    """
    if (set_option := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def _allow_cpu(seconds: int) -> None:
    """Let the kernel end this process (SIGXCPU) after *seconds* more of processor time; 0: never. Source: getrlimit(2)."""
    if seconds:
        spent = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(spent) + seconds + 1, resource.RLIM_INFINITY))


def _pages(place_in_line: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[place_in_line]) * resource.getpagesize()


def _address_space() -> int:
    try:
        return _pages(0)
    except OSError:
        return 0


def _resident() -> int:
    try:
        return _pages(1)
    except OSError:
        return 0
