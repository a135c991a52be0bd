"""A cluster that is followed: its snapshot and its model change in place, by what changed, and nothing else is read again.

Owns the moment: every object with when it was seen, every file of a node with when it was read, and the same as the files of a snapshot.
Knows no clock and no network: who follows the cluster says what changed and when.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeVar

from tracer.changes import Change, FileChange, ObjectChange
from tracer.kube import kinds
from tracer.kube.fields import Origin
from tracer.kube.kept_objects import KeptObjects
from tracer.kube.objects import Objects
from tracer.limits import DEFAULT, Limits
from tracer.packet import Address
from tracer.snapshot.layout import KINDS, Bundle, Layout, ObjectPath
from tracer.snapshot.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.endpoint_times import EndpointTimes

FOLLOWED = tuple(kind.name for kind in kinds.FOLLOWED)
"""The kinds that a follower lists and watches."""

K = TypeVar("K")
_ABOUT = "snapshot.json"
_RULING = kinds.moving(kinds.Follows.SERVICE_RULES)
_FILES = {kind: f"{plural}.json" for plural, kind in KINDS.items()}


def file_of(kind: str) -> str:
    """Return the file of a snapshot that objects of *kind* stand in."""
    return _FILES.get(kind, f"{kind.lower()}s.json")


class FollowedFiles(Mapping[str, bytes]):
    """The files of a snapshot of this moment. Those of objects are written when they are asked for."""

    def __init__(self, objects: KeptObjects, kinds: Iterable[str]) -> None:
        self._objects = objects
        self._kinds = {file_of(kind): kind for kind in kinds}
        self._written: dict[str, bytes] = {}
        self.of_nodes: dict[str, bytes] = {}
        self.about: Callable[[], Mapping[str, object]] = dict

    def add_kind(self, kind: str) -> None:
        """Let objects of *kind* have a file, also while there are none."""
        self._kinds[file_of(kind)] = kind

    def forget(self, path: str) -> None:
        """Forget the text of a file of objects: they changed."""
        self._written.pop(path, None)

    def __getitem__(self, path: str) -> bytes:
        if path in self.of_nodes:
            return self.of_nodes[path]
        if path == _ABOUT:
            return json.dumps(self.about(), indent=2).encode()
        if path not in self._written:
            self._written[path] = _listed(self._objects.texts(self._kinds[path]))
        return self._written[path]

    def __iter__(self) -> Iterator[str]:
        yield from self._kinds
        yield from self.of_nodes
        yield _ABOUT

    def __len__(self) -> int:
        return len(self._kinds) + len(self.of_nodes) + 1


def _listed(texts: Iterable[bytes]) -> bytes:
    """Return objects as ``kubectl get -o json`` prints a list of them."""
    items = [json.loads(text) for text in texts]
    wrapper = {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}
    return (json.dumps(wrapper, indent=4, ensure_ascii=False) + "\n").encode(errors="surrogatepass")


class FollowedSnapshot(Snapshot):
    """The snapshot of a followed cluster at this moment: it changes in place."""

    called = "cluster"
    files: FollowedFiles

    def __init__(self, kinds: Collection[str], limits: Limits = DEFAULT) -> None:
        self.kept = KeptObjects()
        self.renewed_kinds: set[str] = set()
        self._seen_at: dict[tuple[str, str, str], float] = {}
        self._read_at: dict[str, float] = {}
        self._asked_for_at: float | None = None
        self._endpoints = EndpointTimes()
        self._node_files: dict[str, dict[str, str]] = {}
        self._pod_stacks: dict[str, dict[str, str]] = {}
        paths = tuple(ObjectPath(path=file_of(kind), kind=kind) for kind in kinds)
        layout = Layout(bundle=Bundle.HOPLINE, objects=paths, node_files=self._node_files, about=_ABOUT, pod_stacks=self._pod_stacks)
        super().__init__(FollowedFiles(self.kept, kinds), layout, limits)

    @cached_property
    def objects(self) -> Objects:
        """Return the API objects as they are now."""
        return self.kept

    def is_refusal(self, path: str) -> bool:
        """Return False: a kind that was refused is not among those that are followed."""
        return False

    @cached_property
    def node_files(self) -> Mapping[str, Mapping[str, str]]:
        """Return node → documented name → path, as they are now."""
        return self._node_files

    def seen_at(self, kind: str, namespace: str, name: str) -> float | None:
        """Return when the object was last seen to change (Unix seconds), None when nobody said."""
        return self._seen_at.get((kind, namespace, name))

    def read_at(self, node: str, name: str) -> float | None:
        """Return when the file *name* of *node* was read (Unix seconds), None when nobody said."""
        return self._read_at.get(self.path_of(node, name))

    def objects_read_at(self, kind: str) -> float | None:
        """Return None: followed objects are not read at one moment."""
        return None

    def rules_asked_for_at(self) -> float | None:
        """Return when an object that Services' rules follow was last seen to change (Unix seconds), None when nobody said."""
        return self._asked_for_at

    def endpoint_changed_at(self, namespace: str, service: str, address: Address) -> float | None:
        """Return when an endpoint of a Service was seen to come, go, or change its readiness (Unix seconds), None when nobody said."""
        return self._endpoints.changed_at(namespace, service, address)

    def put_object(self, change: ObjectChange) -> ObjectChange:
        """Keep the object as it is now. Return the change with what was there before."""
        known = any(o.kind == change.kind for o in self.layout.objects)
        path = file_of(change.kind)
        if not known:
            self.layout = replace(self.layout, objects=(*self.layout.objects, ObjectPath(path=path, kind=change.kind)))
            self.files.add_kind(change.kind)
        replaced = self.kept.put(change.kind, change.namespace, change.name, change.after, origin=Origin(file=path))
        if not replaced.says_the_same:
            self.renewed_kinds.add(change.kind)
            if change.kind in _RULING and change.seen_at is not None:
                self._asked_for_at = max(self._asked_for_at or 0.0, change.seen_at)
        self._forget(path)
        self.files.forget(path)
        if change.kind == "Node" and not replaced.says_the_same:
            self.__dict__.pop("node_names", None)
        key = (change.kind, change.namespace, change.name)
        _keep_time(self._seen_at, key, change.seen_at if change.after is not None else None)
        done = replace(change, before=json.loads(replaced.text) if replaced.text is not None else None)
        self._endpoints.note(done)
        return done

    def put_file(self, change: FileChange) -> FileChange:
        """Keep the node's file as it is now. Return the change with what was there before."""
        path = f"nodes/{change.node}/{change.name}"
        before = self.files.of_nodes.pop(path, None)
        if change.after is None:
            self._drop(change.node, change.name)
        else:
            self.files.of_nodes[path] = change.after
            self._files_like(change.node).setdefault(change.node, {})[change.name] = path
        self._forget(path)
        self.__dict__.pop("node_names", None)
        _keep_time(self._read_at, path, change.read_at if change.after is not None else None)
        return replace(change, before=before)

    def describe(self, about: Mapping[str, object], now: float) -> None:
        """Let snapshot.json say when this moment is, when each file was read, and what *about* holds."""
        self.files.about = lambda: {
            **about,
            "collected_at": _text(now),
            "files": {path: {"read_at": _text(at)} for path, at in sorted(self._read_at.items())},
        }
        self._forget(_ABOUT)

    def _drop(self, node: str, name: str) -> None:
        files = self._files_like(node)
        named = files.get(node, {})
        named.pop(name, None)
        if not named:
            files.pop(node, None)

    def _files_like(self, node: str) -> dict[str, dict[str, str]]:
        """Return where the files of *node* are kept: of a node, or of a pod's own stack."""
        return self._pod_stacks if "/pods/" in node else self._node_files

    def _forget(self, path: str) -> None:
        self._texts.pop(path, None)
        self._lines.pop(path, None)


def _keep_time(times: dict[K, float], key: K, at: float | None) -> None:
    if at is None:
        times.pop(key, None)
    else:
        times[key] = at


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class FollowedCluster:
    """The engine's model of a followed cluster. ``cluster`` is another one after every change; what it holds of unchanged nodes stays.

    *kinds* are those that are listed at all: of others nothing is known. *about* is what snapshot.json should say of the cluster.
    Not for several threads at once.
    """

    def __init__(self, *, kinds: Collection[str] = FOLLOWED, about: Mapping[str, object] | None = None, limits: Limits = DEFAULT) -> None:
        self.snapshot = FollowedSnapshot(tuple(kinds), limits)
        self._about = dict(about or {})
        self._cluster = Cluster.from_snapshot(self.snapshot)
        self.at: float | None = None

    @property
    def cluster(self) -> Cluster:
        """Return the cluster as it is now. NB: its objects change with the next ``apply``; ask anew then."""
        return self._cluster

    @property
    def files(self) -> Mapping[str, bytes]:
        """Return the files of a snapshot of this moment, which a later change leaves alone."""
        return dict(self.snapshot.files)

    def apply(self, changes: Sequence[Change], *, now: float) -> tuple[Change, ...]:
        """Let the model be as after *changes*, at *now* (Unix seconds). Return them with what was there before, for ``touched_by``.

        A change that changes nothing is not among them; when it was last seen or read counts all the same.
        """
        done = tuple(self._put(change) for change in changes)
        self.at = now
        self.snapshot.describe(self._about, now)
        changed = tuple(change for change in done if change.before != change.after)
        files: dict[str, set[str]] = {}
        for change in changed:
            if isinstance(change, FileChange):
                files.setdefault(change.node, set()).add(change.name)
        # What an object says may be the same although its text is not: then nothing that was worked out of it is stale.
        kinds = frozenset(self.snapshot.renewed_kinds)
        self.snapshot.renewed_kinds.clear()
        if files or kinds:
            self._cluster = self._cluster.renewed(files=files, kinds=kinds)
        return changed

    def _put(self, change: Change) -> Change:
        return self.snapshot.put_object(change) if isinstance(change, ObjectChange) else self.snapshot.put_file(change)


def changes_of(snapshot: Snapshot, kinds: Iterable[str] = FOLLOWED) -> Iterator[Change]:
    """Yield what must be applied to nothing to get the cluster of *snapshot*: every object of *kinds*, every file of a node or a pod."""
    for kind in kinds:
        for raw, _ in snapshot.objects.others(kind):
            metadata = raw.value.get("metadata")
            said = metadata if isinstance(metadata, Mapping) else {}
            yield ObjectChange(
                kind=kind, namespace=str(said.get("namespace") or ""), name=str(said.get("name") or ""), before=None, after=raw.value
            )
    for node, named in (*snapshot.node_files.items(), *snapshot.pod_stacks.items()):
        for name, path in named.items():
            yield FileChange(node=node, name=name, before=None, after=snapshot.files[path])
