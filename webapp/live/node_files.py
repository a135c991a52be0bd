"""What was read from nodes: the files in the store, and for each node when, how large, how long, what failed and what is lacking.

A reading that says the same as the one before is a change only while it tells something about a race: the objects changed, and these
rules were read after that and are still the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from webapp.live.messages import FileRead, NodeRead
from webapp.live.paths import FilePath, ObjectPath, parse_path
from webapp.live.same_reading import as_kept, is_same
from webapp.live.store import Store, StoredChange
from webapp.node_commands import NODE_COMMANDS

_KINDS = ("Service", "EndpointSlice")
_RULES = frozenset(command.file for command in NODE_COMMANDS if command.prints_rules)
_RACE_SECONDS = 70.0
"""So long after the last change of an object a reading of rules that found nothing new is news …"""
_TOLD_EVERY = 8.0
"""… but not more often than this."""


class NodeFiles:
    """The readings of every node of one source. *is_changed*: what ``to_dict`` returns has changed since somebody set it to False."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._nodes: dict[str, dict[str, Any]] = {}
        self._changed_at = 0.0
        self._rules_changed_at: dict[str, float] = {}
        self._told_at: dict[str, float] = {}
        self._gone: set[str] = set()
        self.is_changed = False

    def restore(self, nodes: dict[str, dict[str, Any]]) -> None:
        """Take back what was stored."""
        self._nodes = dict(nodes)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return node → ``{"pod", "read_at", "seconds", "bytes", "error", "lacking": [files], "files": {…}}``; Unix seconds."""
        return dict(self._nodes)

    def note(self, changes: Iterable[StoredChange]) -> None:
        """Note when the objects that rules are made of last changed."""
        for change in changes:
            parsed = parse_path(change.path)
            if isinstance(parsed, ObjectPath) and parsed.kind in _KINDS:
                self._changed_at = max(self._changed_at, change.seen_at)

    def take(self, reading: NodeRead) -> Sequence[StoredChange]:
        """Take one reading; return what of it is news: nothing of a node that went while it was read."""
        if reading.node in self._gone and str(ObjectPath(kind="Node", namespace="", name=reading.node)) not in self._store:
            return ()
        known = self._nodes.get(reading.node, {})
        told: dict[str, dict[str, Any]] = dict(known.get("files", {}))
        changes = [change for file in reading.files if (change := self._file(reading.node, file))]
        for file in reading.files:
            told[file.name] = _said(file, told.get(file.name, {}))
        lacking = {file.name for file in reading.files if file.is_lacking}
        still = {name for name in known.get("lacking", ()) if name not in {file.name for file in reading.files}}
        self._nodes[reading.node] = {
            "pod": reading.pod,
            "read_at": reading.read_at if reading.files or not reading.error else known.get("read_at"),
            "seconds": round(reading.seconds, 3),
            "bytes": sum(file.get("bytes", 0) for file in told.values()),
            "error": reading.error,
            "lacking": sorted(lacking | still),
            "files": told,
        }
        self.is_changed = True
        return tuple(changes)

    def forget(self, node: str, now: float) -> Sequence[StoredChange]:
        """Return the files of a node that is no more, as gone."""
        self._gone.add(node)
        if self._nodes.pop(node, None) is not None:
            self.is_changed = True
        return tuple(self._store.put_file(str(FilePath(node=node, name=name)), None, seen_at=now) for name in self._store.files_of(node))

    def _file(self, node: str, file: FileRead) -> StoredChange | None:
        path = str(FilePath(node=node, name=file.name))
        before = self._store.get(path)
        if file.content is None:
            # A program that is not there any more leaves nothing; one that failed leaves what was read before, with its age.
            return self._store.put_file(path, None, seen_at=file.read_at) if file.is_lacking and before is not None else None
        content = as_kept(file.name, file.content)
        is_other = not is_same(file.name, before, content)
        if is_other:
            self._rules_changed_at[path] = file.read_at
        elif not self._is_news(path, file):
            return None
        self._told_at[path] = file.read_at
        return self._store.put_file(path, content if is_other else before, seen_at=file.read_at)

    def _is_news(self, path: str, file: FileRead) -> bool:
        """Return whether rules that were read after the objects changed, and are still the old ones, are to be told (again)."""
        since = file.read_at - self._changed_at
        if file.name not in _RULES or not self._changed_at or not 0 < since <= _RACE_SECONDS:
            return False
        has_caught_up = self._rules_changed_at.get(path, 0.0) > self._changed_at
        told_at = self._told_at.get(path, 0.0)
        return not has_caught_up and (told_at <= self._changed_at or file.read_at - told_at >= _TOLD_EVERY)


def _said(file: FileRead, known: dict[str, Any]) -> dict[str, Any]:
    """Return what the source's row says of a file: of its last good reading, and of the error since, if there is one."""
    if file.content is None:
        kept = {} if file.is_lacking else {name: known[name] for name in ("read_at", "bytes") if name in known}
        return kept | {"error": file.error, "seconds": round(file.seconds, 3)}
    return {"read_at": file.read_at, "bytes": len(file.content), "seconds": round(file.seconds, 3), "error": ""}
