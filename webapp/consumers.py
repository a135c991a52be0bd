"""Sockets tell what changed; pages fetch the rest themselves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer

from webapp.http import access, socket_loop
from webapp.http.failures import cause_of, log_seldom
from webapp.live import announce
from webapp.live import live_sources as live
from webapp.models import LiveSource
from webapp.questions import sources
from webapp.storing import stored_snapshots

_REFUSED, _NOT_TEXT, _LATER = 4404, 1003, 1013
"""Close codes: nothing of that name is here; a frame that is no text; try again later (RFC 6455, 7.4.1, and IANA's registry)."""
WATCHED_EVERY = 240.0


class _TextSocket(AsyncJsonWebsocketConsumer):
    """A socket that takes any text a stranger may send: what is no JSON is heard as None, and a binary frame ends it.

    It is closed, to be opened again later, while Redis or the database is away.
    """

    _sender: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve the socket until it ends."""
        try:
            await super().__call__(scope, receive, send)
        except Exception as error:
            if isinstance(error, OSError) or cause_of(error) is None:
                raise
            log_seldom("sockets are closed", error)
            with contextlib.suppress(RuntimeError):
                await send({"type": "websocket.close", "code": _LATER})
        finally:
            if self._sender is not None:
                self._sender.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Take one frame."""
        if text_data is None:
            await self.close(code=_NOT_TEXT)
            return
        await super().receive(text_data=text_data, **kwargs)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """Return what the browser says, None when it is no JSON, or nested deeper than anything it has to say."""
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text_data)
        return None


class UploadProgress(_TextSocket):
    """The progress of one upload, to the session that started it: UploadJob.to_dict() at once and after every change.

    Closes when the upload is finished; with code 4404 when the session does not own such an upload.
    """

    _group: str | None = None

    async def connect(self) -> None:
        """Accept the socket and say where the upload stands."""
        await self.accept()
        socket_loop.remember()
        job = self.scope["url_route"]["kwargs"]["job"]
        owner = access.scope_owner(self.scope)
        if not access.scope_is_granted(self.scope) or not await sync_to_async(stored_snapshots.find_upload)(job, owner):
            await self.close(code=_REFUSED)
            return
        # First the group, then the state: a change in between is told twice rather than never.
        self._group = stored_snapshots.upload_group(job)
        await self.channel_layer.group_add(self._group, self.channel_name)
        row = await sync_to_async(stored_snapshots.find_upload)(job, owner)
        if row is not None:
            await self._tell(row.to_dict())

    async def disconnect(self, code: int) -> None:
        """Leave the upload's group."""
        if self._group is not None:
            await self.channel_layer.group_discard(self._group, self.channel_name)

    async def upload_changed(self, event: dict[str, Any]) -> None:
        """Pass one change on."""
        await self._tell(event["job"])

    async def _tell(self, job: dict[str, Any]) -> None:
        await self.send_json(job)
        if job["state"] != "reading":
            await self.close()


class LiveUpdates(_TextSocket):
    """What changes in one followed cluster, to a session that may watch it: the messages of announce.py.

    The browser says once which generation its page shows, ``{"since": 4182}``, and is told the state, and what changed since.
    One that takes its messages slowly gets the newest of each type, with the changes of those left out.
    Closes with 4404 when there is no such source.
    """

    _source: LiveSource | None = None

    async def connect(self) -> None:
        """Accept the socket of somebody who may watch the source."""
        await self.accept()
        socket_loop.remember()
        try:
            if not access.scope_is_granted(self.scope):
                raise sources.NoSuchSource
            slug, owner = self.scope["url_route"]["kwargs"]["source"], access.scope_owner(self.scope)
            self._source = await sync_to_async(sources.find_live)(slug, owner)
        except sources.NoSuchSource:
            await self.close(code=_REFUSED)
            return
        self._waiting: dict[str, dict[str, Any]] = {}
        self._wake = asyncio.Event()
        await self.channel_layer.group_add(live.group_of(self._source.id), self.channel_name)
        self._sender = asyncio.create_task(self._send_what_waits(self._source))

    async def disconnect(self, code: int) -> None:
        """Leave the source's group."""
        if self._sender is not None:
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
        if self._source is not None:
            await self.channel_layer.group_discard(live.group_of(self._source.id), self.channel_name)

    async def receive_json(self, content: Any, **_: Any) -> None:
        """Tell what changed since the generation that the browser shows."""
        if self._source is None:
            return
        try:
            told = await sync_to_async(live.messages)(self._source, _since(content))
        except LiveSource.DoesNotExist:
            await self.close(code=_REFUSED)
            return
        for message in told:
            self._put(message)

    async def live_message(self, event: dict[str, Any]) -> None:
        """Pass one message on."""
        self._put(event["message"])

    def _put(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        self._waiting[kind] = merged(self._waiting.get(kind), message)
        self._wake.set()

    async def _send_what_waits(self, source: LiveSource) -> None:
        """Send until cancelled; say every few minutes that somebody still watches."""
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), WATCHED_EVERY)
            except TimeoutError:
                try:
                    await sync_to_async(live.watched)(source)
                except Exception as error:
                    # NB: a socket that nothing is sent by any more, and that stays open, is a page that stands still.
                    log_seldom("that somebody watches cannot be noted", error)
                continue
            self._wake.clear()
            waiting, self._waiting = self._waiting, {}
            for message in waiting.values():
                await self.send_json(message)


def _since(content: Any) -> int | None:
    """Return the generation that *content* names, None where it names none: 1e999 is a number in JSON, and no generation."""
    since = content.get("since") if isinstance(content, dict) else None
    return since if isinstance(since, int) and not isinstance(since, bool) else None


def merged(earlier: dict[str, Any] | None, message: dict[str, Any]) -> dict[str, Any]:
    """Return *message* with the changes of the one that it overtook: the newest generation, and all that changed on the way."""
    if earlier is None or message["type"] != "generation":
        return message
    changed = announce.named((*earlier["changed"], *message["changed"]))
    everything = announce.EVERYTHING in changed
    return message | {"gen": max(earlier["gen"], message["gen"]), "changed": [announce.EVERYTHING] if everything else changed}
