"""The progress socket, through the whole ASGI application: owner only, every change, closed at the end."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings as django_settings

from webapp.asgi import application
from webapp.models import UploadJob
from webapp.storing import upload_jobs

pytestmark = pytest.mark.django_db(transaction=True)


def session_cookie(**values: str) -> bytes:
    session = import_module(django_settings.SESSION_ENGINE).SessionStore()
    session.update(values)
    session.save()
    return f"{django_settings.SESSION_COOKIE_NAME}={session.session_key}".encode()


class Socket:
    """A client of /live/uploads/JOB, spoken to in ASGI messages (channels' own test client wants a server that we do not use)."""

    def __init__(self, job: str, cookie: bytes = b"", origin: bytes = b"http://localhost") -> None:
        headers = [(b"host", b"localhost"), (b"origin", origin), *([(b"cookie", cookie)] if cookie else [])]
        path = f"/live/uploads/{job}"
        scope = {"type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers, "subprotocols": []}
        self._talk = ApplicationCommunicator(application, scope)

    async def connect(self) -> bool:
        """Return whether the server accepted the socket."""
        await self._talk.send_input({"type": "websocket.connect"})
        return (await self._talk.receive_output(timeout=5))["type"] == "websocket.accept"

    async def message(self) -> dict:
        """Return the next message."""
        return json.loads((await self._talk.receive_output(timeout=5))["text"])

    async def close_code(self) -> int:
        """Return the code with which the server closes the socket, which must be the next thing it does."""
        message = await self._talk.receive_output(timeout=5)
        assert message["type"] == "websocket.close", message
        await self._talk.send_input({"type": "websocket.disconnect", "code": message.get("code") or 1000})
        await self._talk.wait(timeout=5)
        return int(message.get("code") or 1000)


def test_the_owner_sees_where_it_stands_and_every_change() -> None:
    job = UploadJob.objects.create(owner="me", name="x", text="Reading rules: node 1 of 2", total=2)

    def change(**values: object) -> None:
        for name, value in values.items():
            setattr(job, name, value)
        job.save()
        upload_jobs._tell_sockets(job)

    async def follow() -> list[dict]:
        one = Socket(job.id, session_cookie(owner="me"))
        assert await one.connect()
        seen = [await one.message()]
        # From another thread, as uploads are read.
        await asyncio.to_thread(change, text="Reading rules: node 2 of 2", done=1)
        seen.append(await one.message())
        await asyncio.to_thread(change, state="done", text="Stored", done=2, status=200)
        seen.append(await one.message())
        assert await one.close_code() == 1000
        return seen

    seen = asyncio.run(follow())
    assert [(message["text"], message["done"], message["state"]) for message in seen] == [
        ("Reading rules: node 1 of 2", 0, "reading"),
        ("Reading rules: node 2 of 2", 1, "reading"),
        ("Stored", 2, "done"),
    ]


def test_an_upload_that_is_finished_is_told_and_closed() -> None:
    job = UploadJob.objects.create(owner="me", name="x", state="failed", problems=["why"])

    async def follow() -> dict:
        one = Socket(job.id, session_cookie(owner="me"))
        assert await one.connect()
        message = await one.message()
        assert await one.close_code() == 1000
        return message

    assert asyncio.run(follow())["problems"] == ["why"]


@pytest.mark.parametrize("who", ["you", "", None])
def test_nobody_else_sees_anything(who: str | None) -> None:
    job = UploadJob.objects.create(owner="me", name="x")
    assert refused(Socket(job.id, session_cookie(owner=who) if who is not None else b"")) == 4404


def test_no_such_upload() -> None:
    assert refused(Socket("nothing", session_cookie(owner="me"))) == 4404


def test_the_access_key_stands_before_sockets_too(settings) -> None:
    settings.ACCESS_KEY = "a key"
    job = UploadJob.objects.create(owner="me", name="x")
    assert refused(Socket(job.id, session_cookie(owner="me"))) == 4404


def test_another_sites_page_is_not_let_in() -> None:
    job = UploadJob.objects.create(owner="me", name="x")

    async def connect() -> bool:
        return await Socket(job.id, session_cookie(owner="me"), origin=b"https://evil.example").connect()

    assert asyncio.run(connect()) is False


def refused(one: Socket) -> int:
    """Return the code that the socket is closed with before anything is said."""

    async def follow() -> int:
        assert await one.connect()
        return await one.close_code()

    return asyncio.run(follow())
