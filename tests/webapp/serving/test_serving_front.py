"""What the serving process makes of a request: who asks, what is asked, and how the database is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.db import InterfaceError

from webapp.serving import front, serve
from webapp.serving.front import DatabaseHealth
from webapp.serving.pool import Ask, Pool
from webapp.serving.reply import Reply
from webapp.work.lanes import Lane


def asked(cookie: str = "", address: str = "192.0.2.1", query: str = "") -> dict[str, Any]:
    headers = [(b"cookie", f"hopline={cookie}".encode())] if cookie else []
    return {"headers": headers, "client": (address, 1), "query_string": query.encode()}


def signed(**content: str) -> str:
    session = SessionStore()
    session.update(content)
    session.save()
    return str(session.session_key)


def test_sessions_are_told_apart_and_cookies_of_ones_own_making_are_none() -> None:
    one, other = signed(owner="a"), signed(owner="b")
    assert front._session(asked(one)) == front._session(asked(one, address="192.0.2.2"))
    assert front._session(asked(one)) != front._session(asked(other))
    for made in ("", "made-up", one[:-1], signed()):
        assert front._session(asked(made)) == "192.0.2.1"


def test_a_key_of_a_question_is_short_whatever_is_asked() -> None:
    name = "n" * 60
    keys = {front._question(asked(query=f"from=pod:shop/{name}{n}&to=svc:shop/{name}:80"), "trace", "demo", b"") for n in range(3)}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {64}
    assert front._question(asked(query="from=pod:shop/a&to=svc:shop/b:80"), "trace", "other", b"") not in keys


def test_a_page_and_its_link_ask_the_same_and_a_file_does_not() -> None:
    query = "from=pod:shop/a&to=svc:shop/b:80"
    page = front._question(asked(query=query), "trace", "demo", b"")
    form = urlencode({"query": query}).encode()
    assert front._question(asked(), "trace-freeze", "demo", form) == page
    assert front._question(asked(query=query), "trace-export", "demo", b"") not in ("", page)


@pytest.mark.parametrize("error", [InterfaceError("connection already closed"), RuntimeError("anything")])
def test_the_health_of_the_database_is_asked_again_whatever_went_wrong(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DatabaseHealth, "EVERY", 0.01)
    answers = iter([error])

    def ask() -> str:
        for one in answers:
            raise one
        return ""

    async def look() -> tuple[str, str]:
        health = DatabaseHealth(ask, lambda: None)
        task = asyncio.create_task(health.look_for_ever())
        await asyncio.sleep(0)
        while not health():
            await asyncio.sleep(0.001)
        broken = health()
        async with asyncio.timeout(10):
            while health():
                await asyncio.sleep(0.001)
        task.cancel()
        return broken, health()

    assert asyncio.run(look()) == ("database unreachable", "")


def test_a_connection_that_broke_is_a_database_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def cursor(self) -> None:
            raise InterfaceError("connection already closed")

        def close(self) -> None:
            return

    monkeypatch.setattr(serve, "connection", Broken())
    assert serve._database_trouble() == "database unreachable"


class Late(Pool):
    """A pool whose worker has not opened the body yet when the client goes."""

    def __init__(self) -> None:
        super().__init__({}, lambda *_: None, lambda *_: None)
        self.asked: list[Ask] = []

    def ask(self, ask: Ask, lane: Lane) -> Reply:
        self.asked.append(ask)
        return ask.reply

    def abandon(self, ask: Ask) -> None:
        ask.is_abandoned = True


def test_the_body_of_a_client_that_went_is_kept_until_nobody_opens_it(tmp_path: Path, settings) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    content = b"mine" * 100_000
    messages = iter([{"type": "http.request", "body": content, "more_body": False}, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(messages)

    async def send(_message: dict[str, Any]) -> None:
        return

    async def nothing(*_: Any) -> None:
        return

    async def test() -> None:
        pool = Late()
        scope = asked() | {"type": "http", "path": "/snapshots/new", "method": "POST"}
        serving = asyncio.create_task(front.Front(nothing, pool, lambda: "")(scope, receive, send))
        while not (pool.asked and pool.asked[0].is_abandoned):
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        path = pool.asked[0].path
        assert path is not None
        assert Path(path).read_bytes() == content
        pool.asked[0].reply.fail("died")
        await asyncio.wait_for(serving, 10)
        assert not Path(path).exists()

    asyncio.run(test())


def test_messages_of_workers_keep_their_order_and_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.Telling, "MOST", 5)
    told: list[int] = []
    go = asyncio.Event()

    async def sent(group: str, message: dict[str, Any]) -> None:
        if not message["n"]:
            await go.wait()
        await asyncio.sleep(0.001 * (10 - message["n"] % 10))
        told.append(message["n"])

    monkeypatch.setattr(serve, "_sent", sent)

    async def test() -> None:
        tell = serve.Telling()
        for number in range(3):
            tell("g", {"n": number})
            await asyncio.sleep(0)
        for number in range(3, 20):
            tell("g", {"n": number})
        go.set()
        while len(told) < 6:
            await asyncio.sleep(0.001)
        tell("g", {"n": 20})
        while len(told) < 7:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(test(), 10))
    assert told == [0, 15, 16, 17, 18, 19, 20]


def test_there_are_so_many_sockets_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "MOST_SOCKETS", 2)
    go = asyncio.Event()

    async def pages(*_: Any) -> None:
        await go.wait()

    async def connecting() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def test() -> None:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        made = front.Front(pages, Late(), lambda: "")
        scope = asked() | {"type": "websocket", "path": "/live/demo"}
        held = [asyncio.create_task(made(scope, connecting, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await made(scope, connecting, send)
        assert [message["type"] for message in sent] == ["websocket.close"]
        go.set()
        await asyncio.gather(*held)
        await made(scope, connecting, send)
        assert len(sent) == 1

    asyncio.run(asyncio.wait_for(test(), 10))
