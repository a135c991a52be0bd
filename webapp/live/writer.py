"""The one thread that writes what is learnt of a source: takes messages in batches, keeps the store, writes the journal, tells the sockets.

What could not be written stays pending and is written with the next batch; meanwhile the queue fills and the cluster waits.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import Error, connection
from django.utils import timezone

from webapp.cluster.kinds import FOLLOWED_KINDS
from webapp.live import announce, journal
from webapp.live.backoff import Backoff
from webapp.live.freshness import Freshness
from webapp.live.messages import Begun, Failed, Happened, LeftOut, Listed, Message, Resumed, VersionRead
from webapp.live.node_files import NodeFiles
from webapp.live.store import Store, UnfitObject, encoded
from webapp.live.stream import Outbox
from webapp.live.taping import Taping
from webapp.models import LiveItem, LiveSource
from webapp.reading.changes import NodeRead, StoredChange
from webapp.reading.paths import FOLDERS, VERSION, ObjectPath, parse_path
from webapp.reading.places import node_of

logger = logging.getLogger(__name__)

GATHERED_SECONDS = 0.05
"""What follows an event so closely is written with it."""
_MOST_AT_ONCE = 2_000
_TICK_SECONDS = 0.5
_HEADS_EVERY = 30.0
_NODES_EVERY = 1.0
_PRUNED_EVERY = 600.0
_MOST_LEFT_OUT = 1000
_PODS = f"objects/{FOLDERS['Pod']}/"
Noticed = Callable[[Sequence[StoredChange]], None]
"""Told what changed, after it was written."""


class Writer:
    """Writes for one source as *holder*. *noticed* and *unwanted* (pods' own stacks to be forgotten) are called in the writer's thread."""

    def __init__(
        self,
        source: str,
        holder: str,
        outbox: Outbox,
        noticed: Sequence[Noticed] = (),
        taping: Taping | None = None,
        unwanted: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._unwanted = unwanted
        self._source, self._holder, self._outbox = source, holder, outbox
        self._noticed = tuple(noticed)
        self._taping = taping
        self.store = Store()
        self._fresh = Freshness(tuple(kind.key for kind in FOLLOWED_KINDS))
        self._files = NodeFiles(self.store)
        self._left_out: dict[str, set[str]] = {}
        self._pending: list[StoredChange] = []
        self._columns: dict[str, Any] = {}
        self._told: tuple[str, str] | None = None
        self._heads_at = self._pruned_at = time.monotonic()
        self._nodes_at = 0.0
        self._owes_nodes = False  # changes were told whose nodes' readings were not written with them
        self._backoff = Backoff(first=0.2, most=5.0)
        self.is_over = threading.Event()

    def run(self) -> None:
        """Write until stopped, or until somebody else holds the lease ; ``is_over`` then."""
        try:
            self.restore()
            while not self._outbox.stop.is_set():
                self._take_batch()
                self._write()
                if self._taping is not None and not self._pending:
                    self._taping.tick(self.store, self._versions())
        except journal.LeaseLost:
            logger.info("source %s is followed by another process", self._source)
        except Exception:
            logger.exception("source %s cannot be written", self._source)
        finally:
            self._outbox.stop.set()
            if self._taping is not None:
                self._taping.close()
            connection.close()
            self.is_over.set()

    def restore(self) -> None:
        """Take back what was stored: the lists that follow then write only what differs."""
        rows = LiveItem.objects.filter(source=self._source, body_zstd__isnull=False)
        for path, refs, body in rows.values_list("path", "refs", "body_zstd").iterator(2000):
            if body is not None:
                self.store.restore(_stream_of(path), path, journal.unpacked(body), tuple(refs.split()))
        self._files.restore(LiveSource.objects.values_list("nodes", flat=True).get(id=self._source))
        now = time.time()
        known = [StoredChange(path=path, refs=(), before=None, after=self.store[path], seen_at=now) for path in self.store]
        for noticed in self._noticed if known else ():
            noticed(known)

    # -- messages -----------------------------------------------------------------------------------------------------------------

    def _take_batch(self) -> None:
        message = self._outbox.take(_TICK_SECONDS)
        until = time.monotonic() + GATHERED_SECONDS
        while message is not None:
            self._take(message)
            if len(self._pending) >= _MOST_AT_ONCE or isinstance(message, Listed):
                return
            message = self._outbox.take(until - time.monotonic())

    def _take(self, message: Message) -> None:
        try:
            changes = self._changes(message)
            self._files.note(changes)
            self._pending.extend(changes)
        except UnfitObject as error:
            logger.warning("source %s: %s", self._source, error)
        finally:
            if isinstance(message, Listed):
                message.taken.set()

    def _changes(self, message: Message) -> Sequence[StoredChange]:
        match message:
            case Begun(kind=kind):
                self.store.begin(kind.key)
                self._left_out.pop(kind.key, None)
            case Listed():
                return self._listed(message)
            case Happened():
                return self._happened(message)
            case LeftOut():
                self._leave_out(message)
            case Resumed(kind=kind):
                self._fresh[kind.key].resumed(time.monotonic())
            case Failed(kind=kind, text=text, for_good=for_good):
                self._fresh[kind.key].failed(text, time.monotonic(), for_good=for_good)
            case NodeRead():
                return self._files.take(message)
            case VersionRead(value=value):
                return self._version(encoded(value))
        return ()

    def _listed(self, page: Listed) -> Sequence[StoredChange]:
        key, stream = page.kind.key, self._fresh[page.kind.key]
        changes = self.store.page(key, page.kind.kind, page.items, seen_at=page.seen_at)
        if page.is_last:
            changes += self.store.finish(key, seen_at=page.seen_at)
            stream.is_listed = True
            stream.resource_version = page.resource_version
        stream.heard()
        stream.count = self.store.count(key)
        stream.expected = None if page.remaining is None else stream.count + page.remaining
        return changes

    def _happened(self, happened: Happened) -> Sequence[StoredChange]:
        key, stream = happened.kind.key, self._fresh[happened.kind.key]
        stream.heard()
        stream.resource_version = happened.resource_version
        if happened.event == "BOOKMARK":
            return ()
        change = self.store.apply(key, happened.kind.kind, happened.event, happened.object, seen_at=happened.seen_at)
        stream.count = self.store.count(key)
        return () if change is None else (change,)

    def _leave_out(self, message: LeftOut) -> None:
        names = self._left_out.setdefault(message.kind.key, set())
        (names.add if message.is_there and len(names) < _MOST_LEFT_OUT else names.discard)(message.name)
        self._heads_at = float("-inf")

    def _heads(self) -> dict[str, Any]:
        """Return how each stream is doing; what had to be left out is an error of its kind, and makes nothing stale."""
        heads = self._fresh.to_dict()
        for key, names in self._left_out.items():
            if names:
                shown = ", ".join(sorted(names)[:3]) + (" …" if len(names) > 3 else "")
                heads[key]["error"] = f"{heads[key]['error']} Left out, for want of a usable name: {shown}.".strip()
        return heads

    def _version(self, body: bytes) -> Sequence[StoredChange]:
        before = self.store.get(VERSION)
        return () if before == body else (self.store.put_file(VERSION, body, seen_at=time.time()),)

    # -- writing ------------------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        changes = journal.latest((*self._pending, *self._forgotten(self._pending)))
        columns = self._due_columns(is_written=bool(changes))
        if not changes and not columns:
            return
        try:
            generation = journal.write(self._source, self._holder, changes, **columns)
        except Error as error:
            self._pending = list(changes)
            self._columns = columns
            logger.warning("source %s could not be written: %s", self._source, error)
            connection.close()
            self._outbox.stop.wait(self._backoff.failed())
            return
        self._backoff.succeeded()
        self._pending, self._columns = [], {}
        self._tell(generation, changes, columns)
        self._prune()

    def _forgotten(self, changes: Sequence[StoredChange]) -> Sequence[StoredChange]:
        """Return the files of nodes that are no more, as gone, and of pods' own stacks."""
        nodes = dict.fromkeys(node for change in changes if (node := self._gone_with(change)))
        stacks = (stack for change in changes if (stack := _stack_gone_with(change)) in self._files.to_dict())
        gone = dict.fromkeys((*nodes, *stacks, *self._unwanted(), *(stack for node in nodes for stack in self._files.stacks_on(node))))
        return tuple(change for node in gone for change in self._files.forget(node, time.time()))

    def _gone_with(self, change: StoredChange) -> str | None:
        """Return the node that is no more because of *change*: it was its object, or the last pod on a node that is no object."""
        parsed = parse_path(change.path)
        match parsed:
            case ObjectPath(kind="Node", name=name) if change.after is None:
                return name
            case ObjectPath(kind="Pod") if change.before is not None:
                node = node_of(json.loads(change.before))
                return node if node in self._files.to_dict() and not self._is_there(node) else None
        return None

    def _is_there(self, node: str) -> bool:
        """Return whether *node* is an object or has a pod. NB: Pods are looked through as they are kept, encoded and without spaces."""
        says = b'"nodeName":' + json.dumps(node).encode()
        return str(ObjectPath(kind="Node", namespace="", name=node)) in self.store or any(
            says in self.store[path] for path in self.store if path.startswith(_PODS)
        )

    def _due_columns(self, *, is_written: bool) -> dict[str, Any]:
        """Return what else of the source's row is to be written now."""
        now = time.monotonic()
        columns = self._columns
        state, text = self._fresh.state(now)
        text = text[:500]
        if (state, text) != self._told:
            columns |= {"state": state, "state_text": text}
            if self._told is None or self._told[0] != state:
                columns["state_since"] = timezone.now()
        if self._files.is_changed and now - self._nodes_at >= _NODES_EVERY:
            columns["nodes"] = self._files.to_dict()
            self._nodes_at = now
        if is_written or "state" in columns or now - self._heads_at >= _HEADS_EVERY:
            columns["heads"] = self._heads()
            self._heads_at = now
        return columns

    def _tell(self, generation: int, changes: Sequence[StoredChange], columns: dict[str, Any]) -> None:
        if "state" in columns:
            self._told = (columns["state"], columns["state_text"])
        brings_nodes = "nodes" in columns
        if "state" in columns or (brings_nodes and self._owes_nodes and not changes):
            row = LiveSource.objects.only("state", "state_text", "state_since", "lease_until").get(id=self._source)
            announce.send(self._source, announce.source_message(row) | {"nodes": brings_nodes})
        if brings_nodes:
            self._files.is_changed = self._owes_nodes = False
        elif changes:
            self._owes_nodes = self._owes_nodes or self._files.is_changed
        if changes:
            announce.send(self._source, announce.generation_message(generation, (ref for change in changes for ref in change.refs)))
            for noticed in self._noticed:
                noticed(changes)

    def _versions(self) -> dict[str, str]:
        """Return the newest resourceVersion of each kind that has been listed."""
        listed = ((kind.kind, self._fresh[kind.key].resource_version) for kind in FOLLOWED_KINDS)
        return {kind: version for kind, version in listed if version}

    def _prune(self) -> None:
        if time.monotonic() - self._pruned_at >= _PRUNED_EVERY:
            self._pruned_at = time.monotonic()
            journal.prune(self._source)


def _stack_gone_with(change: StoredChange) -> str | None:
    """Return what the own stack was called of a pod that is no more because of *change*; None: it is no such change."""
    match parse_path(change.path):
        case ObjectPath(kind="Pod", namespace=namespace, name=name) if change.before is not None and change.after is None:
            return f"{node_of(json.loads(change.before))}/pods/{namespace}_{name}"
    return None


def _stream_of(path: str) -> str | None:
    """Return the stream that brings the object at *path*; None for a file."""
    parsed = parse_path(path)
    if not isinstance(parsed, ObjectPath):
        return None
    kinds = [kind for kind in FOLLOWED_KINDS if kind.kind == parsed.kind]
    return next((kind.key for kind in kinds if kind.name == parsed.name), kinds[0].key if kinds else None)
