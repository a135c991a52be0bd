"""A bounded cache of parsed snapshots and the clusters made of them."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import TYPE_CHECKING

from django.conf import settings

from tracer.values import dataclass
from webapp.models import Snapshot
from webapp.storing.snapshot_store import open_container
from webapp.work import place
from webapp.work.lanes import Lane

if TYPE_CHECKING:
    from tracer.snapshot import Snapshot as RecordedSnapshot
    from tracer.topology.cluster import Cluster

QUICK_BYTES = 8_000_000
"""Recorded bytes of the largest snapshot that is opened where quick questions are answered."""


@dataclass(slots=True, kw_only=True)
class _Opened:
    """One snapshot of the cache; *cluster* is made on first use."""

    recorded: RecordedSnapshot
    size: int
    lock: threading.RLock = field(default_factory=threading.RLock)
    cluster: Cluster | None = None


class OpenSnapshots:
    """The parsed snapshots, by digest: least recently used go first when their recorded bytes pass the limit."""

    def __init__(self, most_bytes: Callable[[], int]) -> None:
        self._most_bytes = most_bytes
        self._opened: OrderedDict[str, _Opened] = OrderedDict()
        self._lock = threading.Lock()

    def snapshot(self, row: Snapshot) -> RecordedSnapshot:
        """Return the engine's snapshot of *row*; its files are parsed when they are first needed."""
        return self._entry(row).recorded

    def cluster(self, row: Snapshot) -> Cluster:
        """Return the engine's cluster of *row*, made once however many ask at the same time."""
        entry = self._entry(row)
        from tracer.topology.cluster import Cluster

        with entry.lock:
            if entry.cluster is None:
                entry.cluster = Cluster.from_snapshot(entry.recorded)
            return entry.cluster

    @contextlib.contextmanager
    def using(self, row: Snapshot) -> Iterator[Cluster]:
        """Give the cluster of *row* to one thread at a time: the engine keeps what it parses, and knows nothing of threads."""
        with self._entry(row).lock:
            yield self.cluster(row)

    def forget(self, digest: str) -> None:
        """Drop the snapshot with that digest, if it is here."""
        with self._lock:
            self._opened.pop(digest, None)

    def sizes(self) -> dict[str, int]:
        """Return the recorded bytes of what is kept, by digest, least recently used first."""
        with self._lock:
            return {digest: entry.size for digest, entry in self._opened.items()}

    def _entry(self, row: Snapshot) -> _Opened:
        with self._lock:
            entry = self._opened.get(row.digest)
            if entry is None:
                place.belongs_in(Lane.QUICK if row.size <= QUICK_BYTES else Lane.HEAVY, Lane.HEAVY, Lane.LIVE, Lane.UPLOADS)
                from tracer.snapshot import Snapshot as RecordedSnapshot

                entry = _Opened(recorded=RecordedSnapshot.from_files(open_container(row), settings.QUESTION_LIMITS), size=row.size)
                self._opened[row.digest] = entry
            self._opened.move_to_end(row.digest)
            while len(self._opened) > 1 and sum(e.size for e in self._opened.values()) > self._most_bytes():
                self._opened.popitem(last=False)
            return entry


opened = OpenSnapshots(lambda: settings.CACHE_MAX_BYTES)
