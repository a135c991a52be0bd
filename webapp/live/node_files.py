"""What was read from nodes: the files in the store, and for each node when, how large, how long, what failed and what is lacking.

A reading that says the same as the one before is a change only where it tells something: the objects changed, and these rules were read
after that and are still the old ones. How far they are behind is seen by when they were read, so that has to be told again: often at
first, then once a minute, for as long as they stay the old ones. Rules that did change after the objects may have followed, or changed for
another reason and still be behind: they are told at growing intervals, so that their age is right within a tenth and a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tracer.kube.kinds import Follows, moving
from tracer.snapshot.node_files import READ
from tracer.values import dataclass
from webapp.live.store import Store
from webapp.reading.changes import FileRead, NodeRead, StoredChange
from webapp.reading.paths import FilePath, ObjectPath, parse_path
from webapp.reading.same_reading import as_kept, is_same

_KINDS = moving(Follows.SERVICE_RULES)
_RULES = frozenset(file.name for file in READ if file.prints_rules)
_RACE_SECONDS, _TOLD_EVERY = 70.0, 8.0
"""So long after the last change of an object rules that are still the old ones are told so often …"""
_TOLD_LATER_EVERY = 50.0
"""… and afterwards so often: once in the minute that is between two readings."""
_AGE_SHARE = 0.1
"""The share of its age by which the age of rules that changed after the objects may be wrong."""
_GONE_SECONDS = 3600.0
"""A reading of a node that is no more may come so long after the last one that did."""


@dataclass(slots=True)
class _Times:
    """When one file of a node last changed, and when it was last told (Unix seconds of the readings)."""

    changed_at: float = 0.0
    told_at: float = 0.0


class NodeFiles:
    """The readings of every node of one source. *is_changed*: what ``to_dict`` returns has changed since somebody set it to False."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._nodes: dict[str, dict[str, Any]] = {}
        self._changed_at = 0.0
        self._times: dict[str, dict[str, _Times]] = {}
        self._gone: dict[str, float] = {}
        self.is_changed = False

    def restore(self, nodes: dict[str, dict[str, Any]]) -> None:
        """Take back what was stored. What changed meanwhile nobody saw: rules may be behind, as after any change."""
        self._nodes = dict(nodes)
        read = [at for told in nodes.values() for file in told.get("files", {}).values() if (at := file.get("read_at")) is not None]
        self._changed_at = max(read, default=0.0)
        self._times = {node: {name: _Times(changed_at=self._changed_at) for name in told.get("files", {})} for node, told in nodes.items()}

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return node → ``{"pod", "read_at", "seconds", "bytes", "error", "lacking": [files], "files": {…}}``; Unix seconds."""
        return dict(self._nodes)

    def note(self, changes: Iterable[StoredChange]) -> None:
        """Note when the objects that rules are made of last changed."""
        for change in changes:
            parsed = parse_path(change.path)
            if not isinstance(parsed, ObjectPath):
                continue
            if parsed.kind in _KINDS:
                self._changed_at = max(self._changed_at, change.seen_at)

    def take(self, reading: NodeRead) -> Sequence[StoredChange]:
        """Take one reading; return what of it is news: nothing of a node that went while it was read."""
        if self._is_gone(reading):
            return ()
        known = self._nodes.get(reading.node, {})
        told: dict[str, dict[str, Any]] = dict(known.get("files", {}))
        # A reading that fails leaves what was read before, with its age. Of later pods old routes know nothing: the engine says so.
        void = {file.name for file in reading.files if file.is_lacking}
        changes = [change for file in reading.files if (change := self._file(reading.node, file, is_void=file.name in void))]
        for file in reading.files:
            told[file.name] = _said(file, {} if file.name in void else told.get(file.name, {}))
        lacking = {file.name for file in reading.files if file.is_lacking}
        still = {name for name in known.get("lacking", ()) if name not in {file.name for file in reading.files}}
        self._nodes[reading.node] = {
            "pod": reading.pod,
            "read_at": reading.read_at if not reading.error or any(f.content is not None for f in reading.files) else known.get("read_at"),
            "seconds": round(reading.seconds, 3),
            "bytes": sum(file.get("bytes", 0) for file in told.values()),
            "error": reading.error,
            "lacking": sorted(lacking | still),
            "files": told,
        }
        self.is_changed = True
        return tuple(changes)

    def stacks_on(self, node: str) -> tuple[str, ...]:
        """Return what the own stacks are called of which pods on *node* were read."""
        return tuple(name for name in self._nodes if name.startswith(f"{node}/pods/"))

    def forget(self, node: str, now: float) -> Sequence[StoredChange]:
        """Return the files of a node that is no more, or of a pod's own stack, as gone."""
        self._gone = {name: at for name, at in self._gone.items() if now - at < _GONE_SECONDS} | {node: now}
        self._times.pop(node, None)
        if self._nodes.pop(node, None) is not None:
            self.is_changed = True
        return tuple(self._store.put_file(str(FilePath(node=node, name=name)), None, seen_at=now) for name in self._store.files_of(node))

    def _is_gone(self, reading: NodeRead) -> bool:
        """Return whether the node, or the pod, was deleted and has not come back. A node's pods may outlive it, and be read on."""
        if reading.node not in self._gone:
            return False
        is_gone = str(_object_of(reading.node)) not in self._store
        if is_gone:
            self._gone[reading.node] = reading.read_at
        else:
            del self._gone[reading.node]
        return is_gone

    def _file(self, node: str, file: FileRead, *, is_void: bool) -> StoredChange | None:
        path = str(FilePath(node=node, name=file.name))
        before = self._store.get(path)
        if file.content is None:
            # Otherwise what was read before stays, with its age.
            return self._store.put_file(path, None, seen_at=file.read_at) if is_void and before is not None else None
        content = as_kept(file.name, file.content)
        times = self._times.setdefault(node, {}).setdefault(file.name, _Times())
        is_other = not is_same(file.name, before, content)
        if is_other:
            times.changed_at = file.read_at
        elif not self._is_news(times, file):
            return None
        times.told_at = file.read_at
        return self._store.put_file(path, content if is_other else before, seen_at=file.read_at)

    def _is_news(self, times: _Times, file: FileRead) -> bool:
        """Return whether rules that were read after the objects changed, and say what they said before, are to be told (again)."""
        since = file.read_at - self._changed_at
        if file.name not in _RULES or not file.content or not self._changed_at or since <= 0:
            return False
        if times.changed_at < self._changed_at:
            every = _TOLD_EVERY if since <= _RACE_SECONDS else _TOLD_LATER_EVERY
            return times.told_at <= self._changed_at or file.read_at - times.told_at >= every
        return file.read_at - times.told_at >= max(_TOLD_LATER_EVERY, since * _AGE_SHARE)


def _object_of(node: str) -> ObjectPath:
    """Return the object whose files those of *node* are: a Node, or for a pod's own stack the Pod."""
    _, of_pod, pod = node.partition("/pods/")
    namespace, _, name = pod.partition("_")
    return ObjectPath(kind="Pod", namespace=namespace, name=name) if of_pod else ObjectPath(kind="Node", namespace="", name=node)


def _said(file: FileRead, known: dict[str, Any]) -> dict[str, Any]:
    """Return what the source's row says of a file: of its last good reading, and of the error since, if there is one."""
    if file.content is None:
        kept = {name: known[name] for name in ("read_at", "bytes") if name in known}
        return kept | {"error": file.error, "seconds": round(file.seconds, 3)}
    return {"read_at": file.read_at, "bytes": len(file.content), "seconds": round(file.seconds, 3), "error": ""}
