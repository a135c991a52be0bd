"""What a follower knows of a cluster: every object and node file as compact JSON or bytes, and what each list or event changed.

Pure: no clock, no I/O, no threads (one thread owns a store). Objects are kept as bytes: two are the same when their bytes are, and tens
of thousands of them stay small. A list is taken page by page; what it did not mention is gone when it ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any

from tracer.kube.configmap import is_wanted
from tracer.kube.kinds import BY_NAME
from tracer.values import dataclass
from webapp.reading.changes import StoredChange
from webapp.reading.paths import FilePath, ObjectPath, parse_path, refs_of
from webapp.reading.stored_parts import kept


@dataclass(slots=True, kw_only=True)
class _Stream:
    """One list-and-watch: the paths it brought, and those a list under way has mentioned (None: no list is under way)."""

    paths: set[str] = field(default_factory=set)
    mentioned: set[str] | None = None


class UnfitObject(ValueError):
    """The API server sent something that is no object with a name."""


class Store:
    """The parts of one cluster by path. *stream* is the name of a list-and-watch, of which several may bring one kind (ConfigMaps)."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}
        self._refs: dict[str, tuple[str, ...]] = {}
        self._streams: dict[str, _Stream] = {}
        self._files: dict[str, set[str]] = {}

    def __getitem__(self, path: str) -> bytes:
        return self._bodies[path]

    def __contains__(self, path: object) -> bool:
        return path in self._bodies

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def __len__(self) -> int:
        return len(self._bodies)

    def count(self, stream: str) -> int:
        """Return how many objects *stream* holds."""
        return len(self._stream(stream).paths)

    def get(self, path: str) -> bytes | None:
        """Return the part at *path*, or None."""
        return self._bodies.get(path)

    def restore(self, stream: str | None, path: str, body: bytes, refs: tuple[str, ...]) -> None:
        """Take back what was stored earlier; *stream* None for a file."""
        self._bodies[path], self._refs[path] = body, refs
        if stream is not None:
            self._stream(stream).paths.add(path)
        self._note_file(path, is_there=True)

    # -- lists --------------------------------------------------------------------------------------------------------------------

    def begin(self, stream: str) -> None:
        """A list of *stream* begins (again)."""
        self._stream(stream).mentioned = set()

    def page(self, stream: str, kind: str, items: Iterable[Mapping[str, Any]], *, seen_at: float) -> tuple[StoredChange, ...]:
        """Take one page of the list under way; return what changed by it. :raises UnfitObject: an item has no name."""
        known = self._stream(stream)
        if known.mentioned is None:
            raise RuntimeError(f"no list of {stream} is under way")
        changes = []
        for item in items:
            path, value = _named(kind, item)
            if value is None:
                continue
            known.mentioned.add(path)
            changes.append(self._put(known, path, value, seen_at))
        return tuple(change for change in changes if change)

    def finish(self, stream: str, *, seen_at: float) -> tuple[StoredChange, ...]:
        """End the list under way; return what it no longer mentioned, as gone."""
        known = self._stream(stream)
        if known.mentioned is None:
            raise RuntimeError(f"no list of {stream} is under way")
        gone = sorted(known.paths - known.mentioned)
        known.mentioned = None
        return tuple(self._drop(known, path, seen_at) for path in gone)

    def replace(self, stream: str, kind: str, items: Iterable[Mapping[str, Any]], *, seen_at: float) -> tuple[StoredChange, ...]:
        """Take a whole list at once; return what changed by it, and what is gone."""
        self.begin(stream)
        changed = self.page(stream, kind, items, seen_at=seen_at)
        return changed + self.finish(stream, seen_at=seen_at)

    # -- events -------------------------------------------------------------------------------------------------------------------

    def apply(self, stream: str, kind: str, event: str, item: Mapping[str, Any], *, seen_at: float) -> StoredChange | None:
        """Take one event (``ADDED``, ``MODIFIED``, ``DELETED``); return what changed, None when nothing did.

        :raises UnfitObject: the object has no name, or the event is another one.
        """
        known = self._stream(stream)
        path, value = _named(kind, item)
        if event == "DELETED":
            return self._drop(known, path, seen_at) if path in known.paths else None
        if event not in ("ADDED", "MODIFIED"):
            raise UnfitObject(f"an event {event!r} is none that changes an object")
        return None if value is None else self._put(known, path, value, seen_at)

    # -- files --------------------------------------------------------------------------------------------------------------------

    def put_file(self, path: str, content: bytes | None, *, seen_at: float) -> StoredChange:
        """Keep the file at *path* (None: there is none any more); return the change, also where nothing is new but the reading."""
        refs = refs_of(path, None)
        change = StoredChange(path=path, refs=refs, before=self._bodies.get(path), after=content, seen_at=seen_at)
        self._note_file(path, is_there=content is not None)
        if content is None:
            self._bodies.pop(path, None)
            self._refs.pop(path, None)
        else:
            self._bodies[path], self._refs[path] = content, refs
        return change

    def files_of(self, node: str) -> tuple[str, ...]:
        """Return the names of the files kept of *node*."""
        return tuple(sorted(self._files.get(node, ())))

    def _note_file(self, path: str, *, is_there: bool) -> None:
        parsed = parse_path(path)
        if isinstance(parsed, FilePath):
            names = self._files.setdefault(parsed.node, set())
            (names.add if is_there else names.discard)(parsed.name)

    # -----------------------------------------------------------------------------------------------------------------------------

    def _stream(self, stream: str) -> _Stream:
        return self._streams.setdefault(stream, _Stream())

    def _put(self, known: _Stream, path: str, value: dict[str, Any], seen_at: float) -> StoredChange | None:
        body, before = encoded(value), self._bodies.get(path)
        known.paths.add(path)
        if body == before:
            return None
        refs = refs_of(path, value)
        both = tuple(dict.fromkeys((*self._refs.get(path, ()), *refs)))
        self._bodies[path], self._refs[path] = body, refs
        return StoredChange(path=path, refs=both, before=before, after=body, seen_at=seen_at)

    def _drop(self, known: _Stream, path: str, seen_at: float) -> StoredChange:
        known.paths.discard(path)
        return StoredChange(path=path, refs=self._refs.pop(path), before=self._bodies.pop(path), after=None, seen_at=seen_at)


def encoded(value: Mapping[str, Any]) -> bytes:
    """Return *value* as compact JSON with its keys in order, so that equal objects are equal bytes."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode(errors="surrogatepass")


def kept_object(kind: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of an API object: what ``manage.py collect`` keeps (no environment, no commands, no copies).

    Items of a List come without their kind and version; these are put back.
    """
    return {**kept(item, kind), "kind": kind, "apiVersion": item.get("apiVersion") or BY_NAME[kind].api_version}


def _named(kind: str, item: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """Return the item's path and what is kept of it: None for a ConfigMap that is nobody's business."""
    metadata = item.get("metadata") if isinstance(item, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    namespace = metadata.get("namespace") or "" if isinstance(metadata, Mapping) else None
    if not (isinstance(name, str) and name and isinstance(namespace, str)) or "/" in name + namespace:
        raise UnfitObject(f"an object of kind {kind} has no name")
    path = str(ObjectPath(kind=kind, namespace=namespace, name=name))
    is_kept = kind != "ConfigMap" or is_wanted(namespace, name)
    return path, kept_object(kind, item) if is_kept else None
