"""Following one kind of objects: list in pages, then watch, resume where the watch ended, list anew when the server has forgotten that.

One thread each. What it learns goes into a bounded queue; while that is full nothing more is read, and the server waits.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time

from webapp.cluster.connection import Connection
from webapp.cluster.errors import ClusterError, Denied, Gone, Refused, TooLarge
from webapp.cluster.kinds import FollowedKind
from webapp.cluster.watch import Event
from webapp.live.backoff import Pace
from webapp.live.messages import Begun, Failed, Happened, LeftOut, Listed, Message, Resumed

logger = logging.getLogger(__name__)

_RANDOM = random.SystemRandom()
PAGE = 500
_LEAST_PAGE = 1
# client-go asks for 5 to 10 minutes; shorter ones notice sooner that the other end is gone without a word, and cost next to nothing.
_WATCH_SECONDS = (90, 150)
_STEADY_SECONDS = 5.0
_RELIST_AFTER = 3
"""Watches that failed in a row before the list is taken anew: what the server says to our resourceVersion may be its trouble."""


class Stopped(Exception):
    """Nobody wants to know any more."""


class Outbox:
    """The bounded queue between those who read from the cluster and the one who writes."""

    def __init__(self, most: int = 200) -> None:
        self._queue: queue.Queue[Message] = queue.Queue(maxsize=most)
        self.stop = threading.Event()

    def put(self, message: Message) -> None:
        """Put *message* when there is room. :raises Stopped: nobody will take it."""
        while not self.stop.is_set():
            try:
                return self._queue.put(message, timeout=0.5)
            except queue.Full:
                continue
        raise Stopped

    def take(self, seconds: float) -> Message | None:
        """Return the next message, or None when there is none for *seconds*."""
        try:
            return self._queue.get(timeout=seconds) if seconds > 0 else self._queue.get_nowait()
        except queue.Empty:
            return None

    def wait(self, seconds: float) -> None:
        """Wait. :raises Stopped: nobody wants to know any more."""
        if self.stop.wait(seconds):
            raise Stopped


class Stream:
    """The list and watch of one kind."""

    def __init__(self, kind: FollowedKind, connection: Connection, outbox: Outbox, pace: Pace) -> None:
        self.kind = kind
        self._connection = connection
        self._outbox = outbox
        self._refused = pace.refused
        self._backoff = pace.backoff()
        self._version: str | None = None
        self._limit = PAGE

    def run(self) -> None:
        """Follow until stopped; no error of the cluster ends it."""
        try:
            while True:
                self._outbox.wait(self._attempt())
        except Stopped:
            return

    def _attempt(self) -> float:
        """List or resume, then watch until that ends; return how long to wait before the next attempt, in seconds."""
        try:
            self._listed_or_resumed()
            self._watch()
            return 0.0
        except Gone:
            self._version = None
            return self._backoff.failed()
        except TooLarge as error:
            return self._too_large(error)
        except (Denied, Refused) as error:
            self._version = None
            self._outbox.put(Failed(kind=self.kind, text=str(error), for_good=True))
            return _RANDOM.uniform(*self._refused)
        except ClusterError as error:
            return self._failed(str(error), getattr(error, "retry_after", None) or 0.0)
        except Stopped:
            raise
        except Exception:
            logger.exception("following %s failed", self.kind.key)
            self._version = None
            return self._failed("Something went wrong here; the server's log says what.")

    def _failed(self, text: str, at_least: float = 0.0) -> float:
        wait = self._backoff.failed(at_least)
        if self._backoff.failures >= _RELIST_AFTER:
            self._version = None
        self._outbox.put(Failed(kind=self.kind, text=text))
        return wait

    def _too_large(self, error: TooLarge) -> float:
        """Ask for smaller pages; an event that is too large is in a page as well, so the list is taken anew."""
        self._version = None
        self._limit = max(_LEAST_PAGE, self._limit // 4)
        return self._failed(str(error))

    def _listed_or_resumed(self) -> None:
        if self._version is None:
            self._version = self._list()
            self._limit = PAGE
        elif self._backoff.failures:
            # Only whoever has been answered since may call the picture live again.
            self._connection.version()
        self._outbox.put(Resumed(kind=self.kind))

    def _list(self) -> str:
        self._outbox.put(Begun(kind=self.kind))
        token: str | None = None
        while True:
            asked_at = time.time()
            page = self._connection.list_page(self.kind, limit=self._limit, continue_=token, unfit=self._leave_out)
            token = page.continue_
            listed = Listed(
                kind=self.kind,
                items=page.items,
                resource_version=page.resource_version,
                is_last=token is None,
                remaining=page.remaining,
                seen_at=asked_at,
            )
            self._outbox.put(listed)
            self._until_taken(listed)
            if token is None:
                return page.resource_version

    def _until_taken(self, listed: Listed) -> None:
        while not listed.taken.wait(0.5):
            if self._outbox.stop.is_set():
                raise Stopped

    def _watch(self) -> None:
        begun = time.monotonic()
        seconds = _RANDOM.randint(*_WATCH_SECONDS)
        with self._connection.watch(self.kind, self._version or "", timeout_seconds=seconds, unfit=self._leave_out) as watch:
            for event in watch:
                self._take(event)
                self._backoff.succeeded()
        if time.monotonic() - begun >= _STEADY_SECONDS:
            self._backoff.succeeded()
        elif not self._outbox.stop.is_set():
            # A server that ends its watches at once must not be asked in a busy loop.
            self._outbox.wait(self._backoff.failed())

    def _leave_out(self, name: str, is_there: bool) -> None:
        self._outbox.put(LeftOut(kind=self.kind, name=name, is_there=is_there))

    def _take(self, event: Event) -> None:
        happened = Happened(
            kind=self.kind, event=event.type, object=event.object, resource_version=event.resource_version, seen_at=time.time()
        )
        self._outbox.put(happened)
        self._version = event.resource_version
