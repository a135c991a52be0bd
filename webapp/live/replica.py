"""One web process's picture of a followed cluster: caught up from the rows when somebody looks, given to one thread at a time.

Answers made from it are kept until a change touches what they depend on.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings

from tracer.changes import Change, FileChange, ObjectChange
from tracer.topology.followed import FollowedCluster
from tracer.values import dataclass
from webapp.live.journal import unpacked
from webapp.models import LiveItem, LiveSource
from webapp.reading.paths import FilePath, ObjectPath, parse_path

if TYPE_CHECKING:
    from tracer.topology.cluster import Cluster

_ROWS_AT_ONCE = 2000
_ANSWERS_KEPT = 64
_IDLE_SECONDS = 900.0


class Dependencies(Protocol):
    """What an answer depends on: the engine's ``dependencies_of``."""

    def touched_by(self, change: Change) -> bool:
        """Return whether *change* may make the answer another one."""
        ...


@dataclass(slots=True, kw_only=True)
class _Kept:
    value: Any
    dependencies: Dependencies


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The cluster at *generation*, for as long as the context is open; *at*: when that generation was written, None before the first."""

    cluster: Cluster
    generation: int
    at: datetime | None
    answers: Answers


class Answers:
    """Values made from a cluster, by key, each with what it depends on; the least recently used go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, _Kept] = OrderedDict()

    def get(self, key: Any) -> Any | None:
        """Return the value kept under *key*, or None: it was never made, or something has touched it."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return kept.value

    def keep(self, key: Any, value: Any, dependencies: Dependencies) -> None:
        """Keep *value* until a change touches *dependencies*."""
        self._kept[key] = _Kept(value=value, dependencies=dependencies)
        self._kept.move_to_end(key)
        while len(self._kept) > _ANSWERS_KEPT:
            self._kept.popitem(last=False)

    def drop_touched(self, changes: Sequence[Change]) -> None:
        """Forget what one of *changes* touches."""
        for key in [key for key, kept in self._kept.items() if any(map(kept.dependencies.touched_by, changes))]:
            del self._kept[key]

    def __len__(self) -> int:
        return len(self._kept)


class Replica:
    """The engine's model of one source, at one generation."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lock = threading.RLock()
        self._model = FollowedCluster(limits=settings.QUESTION_LIMITS)
        self._paths: set[str] = set()
        self._connected_at: datetime | None = None
        self.answers = Answers()
        self.generation = 0
        self.used_at = time.monotonic()

    @contextmanager
    def using(self) -> Iterator[View]:
        """Give the model to one thread, caught up. :raises LiveSource.DoesNotExist: nobody follows that source any more."""
        with self._lock:
            self.used_at = time.monotonic()
            row = self.catch_up()
            yield View(cluster=self._model.cluster, generation=self.generation, at=row.changed_at, answers=self.answers)

    def touch(self) -> None:
        """Catch up although nobody looks. :raises LiveSource.DoesNotExist: nobody follows that source any more."""
        with self._lock:
            self.used_at = time.monotonic()
            self.catch_up()

    def catch_up(self) -> LiveSource:
        """Apply what was written since the generation it has; return the source's row as it was before.

        A batch's rows and its generation are written in one transaction, and the rows read in one statement: no batch is seen in half.
        """
        row = LiveSource.objects.defer("nodes", "heads").get(id=self._source)
        if row.created_at != self._connected_at or row.generation < self.generation:
            self._forget()
            self._connected_at = row.created_at
        if row.generation > self.generation:
            # What is gone leaves no row for ever: who knows too little looks at everything.
            self._read(row, self.generation if self.generation >= row.told_from else None)
        return row

    def _forget(self) -> None:
        """Know nothing: the source was disconnected and connected again, and may be another cluster by the same name."""
        self._model, self._paths, self.answers, self.generation = FollowedCluster(limits=settings.QUESTION_LIMITS), set(), Answers(), 0

    def _read(self, row: LiveSource, after: int | None) -> None:
        items = LiveItem.objects.filter(source=row.id, **({} if after is None else {"generation__gt": after}))
        seen: set[str] = set()
        newest = row.generation
        batch: list[Change] = []
        for path, generation, seen_at, body in items.values_list("path", "generation", "seen_at", "body_zstd").iterator(_ROWS_AT_ONCE):
            newest = max(newest, generation)
            seen.add(path)
            batch.extend(self._taken(path, None if body is None else unpacked(body), seen_at))
            if len(batch) >= _ROWS_AT_ONCE:
                self._apply(batch)
                batch = []
        if after is None:
            for path in self._paths - seen:
                batch.extend(self._taken(path, None, time.time()))
        self._apply(batch)
        self.generation = newest

    def _taken(self, path: str, body: bytes | None, seen_at: float) -> Iterator[Change]:
        """Yield the change that the row says, if it says one."""
        parsed = parse_path(path)
        if parsed is None or (body is None and path not in self._paths):
            return
        (self._paths.discard if body is None else self._paths.add)(path)
        yield change_of(parsed, body, seen_at)

    def _apply(self, batch: list[Change]) -> None:
        if batch:
            changed = self._model.apply(batch, now=time.time())
            # A file read once more that says the same is no change, but it is younger, and an answer may speak of its age.
            again = [replace(c, before=c.after) for c in batch if isinstance(c, FileChange) and c.after is not None]
            self.answers.drop_touched([*changed, *again])


def change_of(path: ObjectPath | FilePath, body: bytes | None, seen_at: float) -> Change:
    """Return the change that lets *path* be *body* (None: gone); the model knows what was there before."""
    if isinstance(path, FilePath):
        return FileChange(node=path.node, name=path.name, before=None, after=body, read_at=seen_at)
    value = None if body is None else json.loads(body)
    return ObjectChange(kind=path.kind, namespace=path.namespace, name=path.name, before=None, after=value, seen_at=seen_at)


class Replicas:
    """The replicas of this process; those nobody has looked at for a while are dropped."""

    def __init__(self) -> None:
        self._kept: dict[str, Replica] = {}
        self._lock = threading.Lock()

    def of(self, source: str) -> Replica:
        """Return the replica of the source with that id."""
        with self._lock:
            oldest = time.monotonic() - _IDLE_SECONDS
            for idle in [name for name, replica in self._kept.items() if replica.used_at < oldest and name != source]:
                del self._kept[idle]
            return self._kept.setdefault(source, Replica(source))

    def forget(self, source: str) -> None:
        """Drop the replica of the source with that id."""
        with self._lock:
            self._kept.pop(source, None)


replicas = Replicas()
