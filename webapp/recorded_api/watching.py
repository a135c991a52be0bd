"""Watches: the history as a stream of JSON lines, then whatever happens, with bookmarks, until its time is over.

A watch keeps nothing but its place in the history, so a client that reads slowly costs no memory.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping

from webapp.recorded_api.api_request import ApiRequest
from webapp.recorded_api.listing import selector_of
from webapp.recorded_api.recorded_api import HistoryEvent, RecordedApi, TooOldError
from webapp.recorded_api.selectors import Selector
from webapp.recorded_api.statuses import RequestError, status

_LONGEST = 1800.0
_NEVER = -1


class WatchStream:
    """One watch. ``lines()`` yields its events.

    NB: as on a real server, a resourceVersion that is too old is no HTTP 410: the watch begins, says so in an ERROR event, and ends.
    Source: k8s.io/apiserver/pkg/storage/cacher (newErrWatcher).
    """

    def __init__(self, api: RecordedApi, request: ApiRequest, query: Mapping[str, str], *, bookmark_seconds: float) -> None:
        self._api = api
        self._request = request
        self._is_chosen: Selector = selector_of(request, query)
        self._has_bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        self._bookmark_seconds = bookmark_seconds
        self._seconds = _seconds(query.get("timeoutSeconds", ""))
        self._epoch = api.epoch
        self._first: tuple[bytes, ...] = ()
        self._index = self._begin(query.get("resourceVersion", ""))

    def _begin(self, text: str) -> int:
        """Return the place in the history to begin at. Without a resourceVersion, or at 0, all that exists comes first, as ADDED."""
        if text in ("", "0"):
            version, objects = self._api.now(self._request.resource.plural)
            chosen = (o for o in objects if self._is_chosen(o))
            self._first = tuple(_line({"type": "ADDED", "object": o}) for o in chosen)
        elif not text.isascii() or not text.isdigit() or len(text) > 18:
            raise RequestError(400, f'invalid resource version: "{text[:40]}"')
        else:
            version = int(text)
        try:
            return self._api.index_after(version)
        except TooOldError as error:
            self._first, self._epoch = (gone_event(str(error)),), _NEVER
            return 0

    async def lines(self, stopping: asyncio.Event) -> AsyncIterator[bytes]:
        """Yield one line an event, each with its end, until the time is over, the playback is moved back, or *stopping* is set."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        unsubscribe = self._api.subscribe(lambda: _wake(loop, changed))
        ends, bookmark = loop.time() + self._seconds, loop.time() + self._bookmark_seconds
        try:
            for line in self._first:
                yield line
            while not stopping.is_set():
                changed.clear()
                news = self._api.since(self._epoch, self._index)
                if news is None:
                    return
                version, events = news
                self._index += len(events)
                for event in events:
                    if self._concerns(event):
                        yield event.line + b"\n"
                now = loop.time()
                if self._has_bookmarks and (now >= bookmark or now >= ends):
                    yield self._bookmark(version)
                    bookmark = now + self._bookmark_seconds
                if now >= ends:
                    return
                await _either(changed, stopping, min(ends, bookmark) - now)
        finally:
            unsubscribe()

    def _concerns(self, event: HistoryEvent) -> bool:
        return event.plural == self._request.resource.plural and self._is_chosen(event.object)

    def _bookmark(self, version: int) -> bytes:
        resource = self._request.resource
        metadata = {"resourceVersion": str(version), "creationTimestamp": None}
        return _line({"type": "BOOKMARK", "object": {"kind": resource.name, "apiVersion": resource.api_version, "metadata": metadata}})


def gone_event(message: str = "too old resource version: 1 (2)") -> bytes:
    """Return the line by which a watch is told that what it asks for is no longer known."""
    return _line({"type": "ERROR", "object": status(410, message)})


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _wake(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)


async def _either(one: asyncio.Event, other: asyncio.Event, seconds: float) -> None:
    """Wait until either is set, at most *seconds*."""
    tasks = [asyncio.ensure_future(one.wait()), asyncio.ensure_future(other.wait())]
    try:
        await asyncio.wait(tasks, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _seconds(text: str) -> float:
    if not text:
        return _LONGEST
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise RequestError(400, f"timeoutSeconds: {text!r} is no number")
    return float(int(text)) if int(text) else _LONGEST
