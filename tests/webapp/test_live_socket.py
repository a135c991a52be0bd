"""The live socket, through the whole ASGI application: who may listen, what is said at once, what changes, and what a slow one gets."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from asgiref.testing import ApplicationCommunicator
from django.db import OperationalError

from tests.webapp.test_upload_socket import session_cookie
from webapp.asgi import application
from webapp.consumers import merged
from webapp.http import socket_loop
from webapp.live import announce
from webapp.models import LiveSource

pytestmark = pytest.mark.django_db(transaction=True)


class Socket:
    """A client of /live/SOURCE in ASGI messages."""

    def __init__(self, source: str, cookie: bytes = b"", origin: bytes = b"http://localhost") -> None:
        headers = [(b"host", b"localhost"), (b"origin", origin), *([(b"cookie", cookie)] if cookie else [])]
        path = f"/live/{source}"
        scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers, "subprotocols": []}
        self.talk = ApplicationCommunicator(application, scope)

    async def connect(self) -> bool:
        """Return whether the server accepted the socket."""
        await self.talk.send_input({"type": "websocket.connect"})
        return (await self.talk.receive_output(timeout=5))["type"] == "websocket.accept"

    async def say(self, text: str) -> None:
        """Send *text*."""
        await self.talk.send_input({"type": "websocket.receive", "text": text})

    async def hear(self) -> dict:
        """Return the next message; a closed socket as {"closed": code}."""
        message = await self.talk.receive_output(timeout=5)
        return json.loads(message["text"]) if message["type"] == "websocket.send" else {"closed": message["code"]}

    async def leave(self) -> None:
        """Close the socket from this side."""
        await self.talk.send_input({"type": "websocket.disconnect", "code": 1001})
        await self.talk.wait(timeout=5)


def made(**values: object) -> LiveSource:
    return LiveSource.objects.create(
        **({"name": "shop", "kind": "context", "context": "shop", "state": "connecting", "generation": 7} | values)
    )


def talk(row: LiveSource, *said: str, cookie: bytes = b"", count: int = 1) -> list[dict]:
    """Return the first *count* messages after the browser has said each of *said*."""

    async def follow() -> list[dict]:
        one = Socket(row.id, cookie)
        assert await one.connect()
        for text in said:
            await one.say(text)
        heard = [await one.hear() for _ in range(count)]
        if "closed" not in heard[-1]:
            await one.leave()
        return heard

    return asyncio.run(follow())


def test_it_says_the_state_and_what_changed_since() -> None:
    state, generation = talk(made(told_from=0), '{"since": 5}', count=2)
    assert (state["type"], state["state"], state["gen"]) == ("source", "connecting", 7)
    assert (generation["type"], generation["gen"], generation["changed"]) == ("generation", 7, [])


def test_a_page_that_is_current_is_told_the_state_only() -> None:
    row = made()

    async def follow() -> None:
        one = Socket(row.id)
        assert await one.connect()
        await one.say('{"since": 7}')
        assert (await one.hear())["type"] == "source"
        assert await one.talk.receive_nothing(timeout=0.3)
        await one.leave()

    asyncio.run(follow())


@pytest.mark.parametrize(
    "nonsense",
    ['{"since": "x"}', '{"since": true}', '{"since": true', "[]", '"', '{"since": 1.5}', '{"since": 1e999}', "[" * 100_000, "9" * 5000],
)
def test_nonsense_is_answered_like_a_page_that_knows_nothing(nonsense: str) -> None:
    heard = talk(made(), nonsense, '{"since": 5}', count=3)
    assert [message["type"] for message in heard] == ["source", "source", "generation"]


def test_a_binary_frame_ends_it() -> None:
    row = made()

    async def follow() -> list[dict]:
        one = Socket(row.id)
        assert await one.connect()
        await one.talk.send_input({"type": "websocket.receive", "bytes": b"\x00\x01"})
        return [await one.hear()]

    assert asyncio.run(follow()) == [{"closed": 1003}]


def test_every_change_is_passed_on() -> None:
    row = made()

    async def follow() -> list[dict]:
        one, two = Socket(row.id), Socket(row.id)
        assert await one.connect()
        assert await two.connect()
        for socket in (one, two):
            await socket.say('{"since": 7}')
            await socket.hear()
        await asyncio.to_thread(announce.send, row.id, announce.generation_message(8, ["svc/shop/web", "node/n1"]))
        heard = [await one.hear(), await two.hear()]
        await one.leave()
        await two.leave()
        return heard

    assert asyncio.run(follow()) == [{"type": "generation", "gen": 8, "changed": ["svc/shop/web", "node/n1"]}] * 2


def test_a_database_that_is_away_for_a_moment_does_not_silence_it(monkeypatch: pytest.MonkeyPatch) -> None:
    row, asked = made(), threading.Event()

    def away(_row: LiveSource) -> None:
        asked.set()
        raise OperationalError("server closed the connection")

    async def follow() -> dict:
        one = Socket(row.id)
        assert await one.connect()
        await one.say("{}")
        await one.hear()
        monkeypatch.setattr("webapp.consumers.live.watched", away)
        assert await asyncio.to_thread(asked.wait, 5)
        await socket_loop.layer().group_send(announce.group_of(row.id), {"type": "live.message", "message": {"type": "source", "n": 1}})
        heard = await one.hear()
        await one.leave()
        return heard

    monkeypatch.setattr("webapp.consumers.WATCHED_EVERY", 0.05)
    assert asyncio.run(follow()) == {"type": "source", "n": 1}


def test_a_slow_socket_gets_the_newest_with_all_that_changed() -> None:
    first = merged(None, announce.generation_message(8, ["a", "b"]))
    assert merged(first, announce.generation_message(10, ["b", "c"])) == {"type": "generation", "gen": 10, "changed": ["a", "b", "c"]}
    assert merged(announce.generation_message(10, ["a"]), announce.generation_message(9, ["b"]))["gen"] == 10
    assert merged(first, announce.generation_message(11, ["*"]))["changed"] == ["*"]
    many = announce.generation_message(12, [f"pod/a/{n}" for n in range(200)])
    assert merged(many, announce.generation_message(13, [f"pod/b/{n}" for n in range(200)]))["changed"] == ["*"]
    assert merged({"type": "source", "state": "live"}, {"type": "source", "state": "stale"})["state"] == "stale"


def test_a_timeline_is_its_sessions_only() -> None:
    row = made(kind="timeline", owner="me", context="")
    mine = talk(row, '{"since": 7}', cookie=session_cookie(owner="me"), count=1)
    assert mine[0]["type"] == "source"
    assert talk(row, cookie=session_cookie(owner="you")) == [{"closed": 4404}]
    assert talk(row) == [{"closed": 4404}]


def test_no_such_source() -> None:
    made()
    assert talk(LiveSource(id="nobody")) == [{"closed": 4404}]


def test_a_source_that_goes_while_somebody_listens_closes_the_socket() -> None:
    row = made()

    async def follow() -> list[dict]:
        one = Socket(row.id)
        assert await one.connect()
        await asyncio.to_thread(LiveSource.objects.all().delete)
        await one.say('{"since": 7}')
        return [await one.hear()]

    assert asyncio.run(follow()) == [{"closed": 4404}]


def test_the_access_key_stands_before_it(settings) -> None:
    row = made()
    settings.ACCESS_KEY = "a key"
    assert talk(row) == [{"closed": 4404}]


def test_another_sites_page_is_not_let_in() -> None:
    row = made()
    assert asyncio.run(Socket(row.id, origin=b"https://evil.example").connect()) is False
