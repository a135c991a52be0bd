"""What the serving process makes of a request: who asks, what is asked, and how the database is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.db import InterfaceError

from webapp.serving import front, serve
from webapp.serving.front import DatabaseHealth


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
