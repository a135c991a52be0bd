"""One watch: the API server's stream of events, line by line, until it ends, breaks or is closed.

Strategy: a line counts only when its end has arrived, so an event is delivered whole or not at all. A line has a most length, nothing is
queued, and whoever iterates is the only one who reads: a slow reader slows the server down, not our memory.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Any

import urllib3

from tracer.values import dataclass
from webapp.cluster import responses
from webapp.cluster.errors import BadAnswer, TimedOut, TooLarge, Unreachable
from webapp.cluster.trimmed import Unfit, called, is_named, without_copies

MOST_LINE_BYTES = 16 << 20
"""An object in etcd has at most 1.5 MB, its JSON with managedFields a few times that."""
_GRACE_SECONDS = 15
EVENT_TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event: *type* is ADDED, MODIFIED, DELETED or BOOKMARK; *object* as it is kept; *raw* the server's own line, without its end.

    A BOOKMARK's object has nothing but kind, apiVersion and ``metadata.resourceVersion``.
    """

    type: str
    object: dict[str, Any]
    raw: bytes = field(repr=False)

    @property
    def resource_version(self) -> str:
        """Return where a watch resumes after this event."""
        return str(self.object["metadata"]["resourceVersion"])


class Watch:
    """A running watch, to be iterated by one thread. ``close()`` may come from any other, and ends the iteration at once."""

    def __init__(
        self,
        start: Callable[[], urllib3.BaseHTTPResponse],
        *,
        seconds: float,
        hide: Callable[[], tuple[str, ...]],
        most_line_bytes: int = MOST_LINE_BYTES,
        unfit: Unfit | None = None,
    ) -> None:
        self._start = start
        self._seconds = seconds
        self._hide = hide
        self._most_line_bytes = most_line_bytes
        self._unfit = unfit
        self._lock = threading.Lock()
        self._response: urllib3.BaseHTTPResponse | None = None
        self._closed = False

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_closed(self) -> bool:
        """Return whether close() was called."""
        return self._closed

    def close(self) -> None:
        """End the watch; an iteration that waits for bytes ends now, without an error. May be called twice, and by any thread."""
        with self._lock:
            self._closed = True
            response = self._response
        if response is not None:
            # The reader closes the rest: a buffer must not be closed under the one who reads from it.
            with contextlib.suppress(Exception):
                response.shutdown()

    def __iter__(self) -> Iterator[Event]:
        """Yield the events until the server ends the watch (which it does after its timeoutSeconds) or close() is called.

        :raises Gone: the resourceVersion is too old: list again.
        :raises TimedOut: the server went silent well past the time it was given.
        :raises ClusterError: refused, broken off, or not a watch's bytes. What came before counts; resume after the last event.
        """
        if self._closed:
            return
        try:
            yield from self._events()
        except Exception:
            if not self._closed:
                raise
        finally:
            self._release()

    def _events(self) -> Iterator[Event]:
        response = self._start()
        with self._lock:
            self._response = response
            if self._closed:
                return
        for line in self._lines(response):
            event = self._event(line)
            if self._closed:
                return
            yield event

    def _release(self) -> None:
        with self._lock:
            response, self._response, self._closed = self._response, None, True
        if response is not None:
            response.close()

    def _lines(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        deadline = time.monotonic() + self._seconds + _GRACE_SECONDS
        parts: list[bytes] = []
        size = 0
        for data in responses.chunks(response):
            *ends, rest = data.split(b"\n")
            for end in ends:
                self._check_length(size + len(end))
                line = b"".join((*parts, end))
                parts, size = [], 0
                if line.strip():
                    yield line
            if rest:
                parts.append(rest)
                size += len(rest)
                self._check_length(size)
            if time.monotonic() > deadline:
                raise TimedOut("The API server did not end the watch in time.")
        if parts and not self._closed:
            raise Unreachable("The connection to the API server broke in the middle of an event.")

    def _check_length(self, size: int) -> None:
        if size > self._most_line_bytes:
            raise TooLarge(f"An event of the API server is larger than {self._most_line_bytes:,} bytes.")

    def _event(self, line: bytes) -> Event:
        value = responses.decode(line)
        kind, thing = value.get("type"), value.get("object")
        if kind == "ERROR":
            raise responses.of_status_object(thing, hide=self._hide())
        metadata = thing.get("metadata") if isinstance(thing, dict) else None
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if kind not in EVENT_TYPES or not isinstance(thing, dict) or not isinstance(version, str) or not version:
            raise BadAnswer("The API server sent something that is no event of a watch.")
        if kind != "BOOKMARK" and not is_named(thing):
            if self._unfit is None:
                raise BadAnswer("The API server sent an event about an object without a usable name.")
            self._unfit(called(thing), kind != "DELETED")
            return Event(type="BOOKMARK", object={"metadata": {"resourceVersion": version}}, raw=line)
        return Event(type=kind, object=without_copies(thing), raw=line)
