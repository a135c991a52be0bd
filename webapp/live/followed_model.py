"""The engine's model of a followed cluster: made anew from files after changes (until the engine's own can be changed in place)."""

from __future__ import annotations

from collections.abc import Sequence

from tracer.changes import Change, FileChange
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from webapp.live.model import snapshot_files
from webapp.live.paths import FilePath, ObjectPath
from webapp.live.store import encoded


class FollowedModel:
    """Takes changes; *cluster* is made of what there is when somebody asks."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}
        self._cluster: Cluster | None = None

    def apply(self, changes: Sequence[Change], *, now: float) -> None:
        """Take *changes*; *now* in Unix seconds."""
        for change in changes:
            if isinstance(change, FileChange):
                self._put(str(FilePath(node=change.node, name=change.name)), change.after)
            else:
                path = str(ObjectPath(kind=change.kind, namespace=change.namespace, name=change.name))
                self._put(path, None if change.after is None else encoded(change.after))
        self._cluster = None

    def _put(self, path: str, body: bytes | None) -> None:
        if body is None:
            self._bodies.pop(path, None)
        else:
            self._bodies[path] = body

    @property
    def cluster(self) -> Cluster:
        """Return the cluster as it is now."""
        if self._cluster is None:
            self._cluster = Cluster.from_snapshot(Snapshot.from_files(snapshot_files(self._bodies)))
        return self._cluster
