"""Heads that do not come, bodies that do not come, clients that take all connections: each has its end, on a server of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from websockets.sync.client import connect

from webapp.http import body_limit
from webapp.serving import front, http_limits
from webapp.serving.http_limits import BoundedHttp
from webapp.serving.pool import Pool
from webapp.work.lanes import lanes


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.contextmanager
def running(application: Any) -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = int(listening.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(application, http=BoundedHttp, lifespan="off", log_config=None))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield port
        server.should_exit = True
        thread.join(20)


def answer(connection: socket.socket, seconds: float = 10.0) -> bytes:
    """Return what comes until the other side closes, or nothing more for *seconds*."""
    connection.settimeout(seconds)
    found = b""
    try:
        while more := connection.recv(65536):
            found += more
    except TimeoutError:
        return found + b"(open)"
    except ConnectionError:
        pass
    return found


def answered(connection: socket.socket) -> bool:
    """Return whether the application's answer comes."""
    connection.settimeout(10)
    found = b""
    while not found.endswith(b"\r\n\r\nok"):
        if not (more := connection.recv(65536)):
            return False
        found += more
    return True


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_that_does_not_come_ends(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.3)
    with running(hello) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent)
        assert answer(connection) == b""


def test_a_head_that_drips_ends_in_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.5)
    with running(hello) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            for number in range(100):
                connection.sendall(b"X-%d: 1\r\n" % number)
                time.sleep(0.1)


def test_a_head_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(hello) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(400):
                connection.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
            assert b"(open)" not in answer(connection)


def test_a_request_in_pieces_is_answered_and_the_connection_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 1.0)
    with running(hello) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHo")
            time.sleep(0.05)
            connection.sendall(b"st: a\r\n\r\n")
            assert answered(connection)


def test_one_client_does_not_get_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "MOST_OF_ONE", 3)
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with running(hello) as port, contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)]
        for connection in held:
            connection.sendall(request)
            assert answered(connection)
        more = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        with contextlib.suppress(ConnectionError):
            more.sendall(request)
        assert answer(more) == b""
        held[0].close()
        time.sleep(0.2)
        again = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        again.sendall(request)
        assert answered(again)


def test_a_body_that_does_not_come_is_a_408(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    monkeypatch.setattr(front, "BODY_IDLE_SECONDS", 0.3)
    pool = Pool(lanes(), lambda *_: None, lambda *_: None)
    with running(front.Front(hello, pool, lambda: "")) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /snapshots/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
        found = answer(connection)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b"content-security-policy" in found.lower()
        assert b"(open)" not in found


@pytest.mark.parametrize("path", ["/static/css/base.css", "/live/demo", "/snapshots/new", "/healthz/", "/nowhere"])
def test_a_body_that_does_not_come_is_a_408_at_every_address(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "BODY_IDLE_SECONDS", 0.3)
    pool = Pool(lanes(), lambda *_: None, lambda *_: None)
    with running(front.Front(hello, pool, lambda: "")) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx".encode())
        assert answer(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_drips_is_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "BODY_IDLE_SECONDS", 0.5)
    pool = Pool(lanes(), lambda *_: None, lambda *_: None)
    with running(front.Front(hello, pool, lambda: "")) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /snapshots/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                connection.sendall(b"x")
                time.sleep(0.1)
        assert answer(connection).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_is_too_large_and_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    monkeypatch.setattr(body_limit, "_DRAIN_IDLE_SECONDS", 0.3)
    with running(body_limit.BodyLimit(hello)) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /snapshots/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\nx")
        assert answered(connection)


def test_an_empty_line_does_not_keep_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.5)
    with running(hello) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answered(connection)
        connection.sendall(b"\r\n")
        assert answer(connection) == b""


def test_a_socket_outlives_the_time_of_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.3)

    async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    with running(echo) as port, connect(f"ws://127.0.0.1:{port}/") as opened:
        for number in range(4):
            opened.send(str(number))
            assert opened.recv(10) == str(number)
            time.sleep(0.2)
