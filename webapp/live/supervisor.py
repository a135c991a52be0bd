"""Which sources this process follows: a thread that takes leases, starts followers, looks after them and stops them.

Every server has one, in the process that its followed clusters live in. A source is followed by whoever got its lease; the others'
supervisors wait for it to end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta

from django.db import Error, close_old_connections, connection
from django.utils import timezone

from webapp.live import announce, lease, wake
from webapp.live.clock import ClockWatch
from webapp.live.follower import Follower
from webapp.live.playback import position_at
from webapp.live.replica import replicas
from webapp.models import LiveSource

logger = logging.getLogger(__name__)

_LOOKED_EVERY = 1.0
_UNWATCHED, _FORGOTTEN = timedelta(minutes=30), timedelta(days=7)
_AGAIN_AFTER = 5.0
_SWEPT_EVERY = 3600.0
_END_SECONDS = 4.0


class Supervisor:
    """Follows sources from ``start()`` to ``stop()``."""

    def __init__(self, holder: str | None = None) -> None:
        self.holder = holder or lease.holder_name()
        self._followers: dict[str, Follower] = {}
        self._stop = threading.Event()
        # Before any moment: a monotonic clock begins at 0 when the machine does.
        self._renewed_at = self._swept_at = float("-inf")
        self._not_before: dict[str, float] = {}
        self._clock = ClockWatch()
        self._clock_set_at: datetime | None = None
        self._warmer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="warmer")
        self._warming: Future[None] | None = None
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following and let other processes do it; waits until they may."""
        self._stop.set()
        wake.nudge()
        self._thread.join(timeout=_END_SECONDS + 1)

    @property
    def following(self) -> tuple[str, ...]:
        """Return the ids of the sources that this process follows."""
        return tuple(self._followers)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                close_old_connections()
                self._look()
            except Error as error:
                logger.warning("the followed clusters could not be looked up: %s", error)
                connection.close()
            except Exception:
                logger.exception("the supervisor stumbled")
            wake.wait(_LOOKED_EVERY)
        self._warmer.shutdown(wait=False, cancel_futures=True)
        self._release_all()
        connection.close()

    def _look(self) -> None:
        rows = {row.id: row for row in LiveSource.objects.filter(wanted=True).defer("nodes", "heads").select_related("timeline")}
        self._note_clock()
        for idle in [row for row in rows.values() if self._is_idle(row)]:
            _put_to_sleep(rows.pop(idle.id))
        self._renew()
        for source, follower in tuple(self._followers.items()):
            row = rows.get(source)
            if follower.is_over.is_set() and row is not None and not follower.is_of_another(row):
                # Whatever ended it may end the next one as well: not in a busy loop.
                self._not_before[source] = time.monotonic() + _AGAIN_AFTER
            if row is None or follower.is_over.is_set() or follower.is_of_another(row):
                self._drop(source)
            else:
                follower.look(row)
        for row in rows.values():
            is_time = self._not_before.get(row.id, 0.0) <= time.monotonic()
            if row.id not in self._followers and is_time and _may_be_free(row) and lease.take(row.id, self.holder):
                self._follow(row)
        self._sweep()
        self._keep_warm(rows)

    def _note_clock(self) -> None:
        """Notice that the clock was set: what it said before says nothing of how long ago anything was."""
        if self._clock.set_by():
            self._clock_set_at = timezone.now()

    def _is_idle(self, row: LiveSource) -> bool:
        watched_at = max(row.watched_at, self._clock_set_at) if self._clock_set_at else row.watched_at
        return row.kind == LiveSource.Kind.TIMELINE and watched_at < timezone.now() - _UNWATCHED

    def _renew(self) -> None:
        if time.monotonic() - self._renewed_at < lease.RENEW_EVERY:
            return
        self._renewed_at = time.monotonic()
        for source in tuple(self._followers):
            if not lease.renew(source, self.holder):
                self._drop(source)

    def _follow(self, row: LiveSource) -> None:
        logger.info("following source %s", row.id)
        follower = self._followers[row.id] = Follower(row, self.holder)
        follower.start()

    def _drop(self, source: str) -> None:
        self._followers.pop(source).stop()
        lease.release(source, self.holder)

    def _sweep(self) -> None:
        """Delete timelines that nobody has come back to for a week."""
        if time.monotonic() - self._swept_at >= _SWEPT_EVERY:
            self._swept_at = time.monotonic()
            old = timezone.now() - _FORGOTTEN
            LiveSource.objects.filter(kind=LiveSource.Kind.TIMELINE, wanted=False, watched_at__lt=old).delete()

    def _keep_warm(self, rows: dict[str, LiveSource]) -> None:
        """Let this process's pictures of clusters follow even while nobody looks: a first look at 10,000 Services takes seconds otherwise.

        Timelines are small, and wait for their watchers.
        """
        if self._warming is None or self._warming.done():
            wanted = [row.id for row in rows.values() if row.kind != LiveSource.Kind.TIMELINE and row.state == LiveSource.State.LIVE]
            self._warming = self._warmer.submit(_warmed, wanted) if wanted else None

    def _release_all(self) -> None:
        followers = tuple(self._followers.values())
        for follower in followers:
            follower.stop()
        deadline = time.monotonic() + _END_SECONDS
        for follower in followers:
            follower.join(max(0.0, deadline - time.monotonic()))
            try:
                self._drop(follower.source)
            except Error as error:
                logger.warning("source %s could not be released: %s", follower.source, error)


def _warmed(sources: Sequence[str]) -> None:
    try:
        for source in sources:
            replicas.of(source).touch()
    except (Error, LiveSource.DoesNotExist):
        # Whoever looks will be told.
        pass
    except Exception:
        logger.exception("a picture could not be caught up")
    finally:
        connection.close()


def _may_be_free(row: LiveSource) -> bool:
    """Return whether asking for the lease may be worth it; the database's clock decides."""
    if row.lease_until is None or not row.lease_holder:
        return True
    left = row.lease_until - timezone.now()
    return left < timedelta(seconds=2) or left > 2 * lease.LEASE


def _put_to_sleep(row: LiveSource) -> None:
    """Stop a timeline that nobody has watched for a while; it stands where it is until somebody comes back."""
    at, _ = position_at(row.playback, time.time())
    stopped = row.playback | {"position": at, "playing": False, "set_at": time.time()}
    text = "Stopped: nobody watched for 30 minutes"
    still = LiveSource.objects.filter(id=row.id, watched_at=row.watched_at)
    state = LiveSource.State.STOPPED
    if still.update(wanted=False, playback=stopped, state=state, state_text=text, state_since=timezone.now()):
        row.state, row.state_text, row.state_since = state, text, timezone.now()
        announce.send(row.id, announce.source_message(row))
