"""A timeline being played: its recorded API server on loopback, moved along as the source's row says."""

from __future__ import annotations

import logging
import threading
import time

from django.db import Error, connection

from webapp.cluster.connection import Connection
from webapp.live import announce
from webapp.live.clock import ClockWatch
from webapp.live.playback import open_timeline, position_at, step_at
from webapp.models import LiveSource
from webapp.pods_wanted import By, PodsWanted
from webapp.recorded_api import RecordedApi, serve

logger = logging.getLogger(__name__)
_MOVED_EVERY = 0.1
_LOOKED_EVERY = 0.5


class Player:
    """Serves the timeline of a source and moves it. :raises TracerError: (when made) the recording cannot be read."""

    def __init__(self, row: LiveSource) -> None:
        if row.timeline is None:
            raise ValueError(f"{row.id} is no timeline")
        self._source = row.id
        self._api = RecordedApi(open_timeline(row.timeline))
        self._playback = row.playback
        self._looked_at = 0.0
        self._clock, self._clock_was_set = ClockWatch(), 0.0
        self._step = -1
        self._went_back_at = self._playback.get("went_back_at")
        self._api.advance_to(position_at(self._playback, time.time())[0])
        self._server = serve(self._api)
        self._wake = threading.Event()

    def connect(self) -> Connection:
        """Return a connection to the recorded API server."""
        return Connection.to_url(self._server.url)

    @property
    def stacks(self) -> tuple[PodsWanted, ...]:
        """Return the pods whose own stacks were recorded."""
        pods = (stack.rpartition("/")[2].partition("_") for stack in self._api.timeline.stacks)
        return tuple(PodsWanted(by=By.POD, namespace=namespace, name=name) for namespace, _, name in pods)

    def nudge(self) -> None:
        """Look at the source's row now: somebody has steered."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Move the timeline until *stop*."""
        try:
            while not stop.is_set():
                self._move()
                self._wake.wait(_MOVED_EVERY if self._playback.get("playing") else _LOOKED_EVERY)
        finally:
            connection.close()

    def close(self) -> None:
        """Stop serving. Returns at once; the server takes a moment to see its clients off."""
        self._wake.set()
        threading.Thread(target=self._server.stop, name="player's end", daemon=True).start()

    def _move(self) -> None:
        now = time.monotonic()
        self._clock_was_set += self._clock.set_by()
        if self._clock_was_set or self._wake.is_set() or now - self._looked_at >= _LOOKED_EVERY:
            self._wake.clear()
            self._looked_at = now
            self._look()
        at, _ = position_at(self._playback, time.time())
        self._clock_was_set += self._clock.set_by()
        if self._clock_was_set:
            return  # set while this was worked out: what it came to is of neither clock, and nothing takes an advance back
        if self._playback.get("went_back_at") == self._went_back_at:
            # Whoever paused it read the clock a moment before this thread did: going back for that would end every watch.
            at = max(at, self._api.position)
        self._went_back_at = self._playback.get("went_back_at")
        self._api.advance_to(at)
        step = step_at(self._playback, at)
        if step != self._step:
            self._step = step
            self._tell()

    def _look(self) -> None:
        try:
            found = LiveSource.objects.filter(id=self._source).values_list("playback", flat=True).first()
            if found is not None:
                self._playback = found
                if self._clock_was_set:
                    self._stay_where_it_is()
                self._stop_at_the_end()
        except Error as error:
            logger.warning("timeline %s: %s", self._source, error)
            connection.close()

    def _stay_where_it_is(self) -> None:
        """A clock that was set moves no timeline: the moment from which its position counts is moved with it."""
        set_at = self._playback.get("set_at")
        self._playback = self._playback | {"set_at": (set_at or 0.0) + self._clock_was_set}
        if LiveSource.objects.filter(id=self._source, playback__set_at=set_at).update(playback=self._playback):
            self._tell()
        self._clock_was_set = 0.0

    def _stop_at_the_end(self) -> None:
        """Write that a timeline which has come to its end no longer plays, unless somebody has steered it meanwhile."""
        at, moves = position_at(self._playback, time.time())
        self._clock_was_set += self._clock.set_by()
        if not self._playback.get("playing") or moves or self._clock_was_set:
            return
        stopped = self._playback | {"position": at, "playing": False, "set_at": time.time()}
        same = LiveSource.objects.filter(id=self._source, playback__set_at=self._playback.get("set_at"))
        if same.update(playback=stopped):
            self._playback = stopped
            self._tell()

    def _tell(self) -> None:
        announce.send(self._source, announce.playback_message(LiveSource(id=self._source, playback=self._playback)))
