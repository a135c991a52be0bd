"""A followed cluster as its rows, with nobody following: the recorded shop, or whatever a test changes in it."""

from __future__ import annotations

import time
from typing import Any

from tests.webapp.live.following import recorded
from webapp.cluster.kinds import FOLLOWED_KINDS
from webapp.live import journal, lease
from webapp.live.store import Store
from webapp.models import LiveSource
from webapp.reading.changes import StoredChange

KINDS = {kind.plural: kind for kind in FOLLOWED_KINDS if kind.name is None}
FROM, TO = "pod:default/client-5b59cb7b48-2bqm6", "svc:default/api:80"
ASKED = f"from={FROM}&to={TO}"


class KeptCluster:
    """The shop of the timeline at its start, written as a follower would have; ``put`` writes one more generation."""

    def __init__(self, *, node_files: bool = True, **columns: Any) -> None:
        self.store, self._holder = Store(), lease.holder_name()
        values = {"name": "shop", "kind": LiveSource.Kind.CONTEXT, "context": "shop", "readings": "exec"} | columns
        self.row = LiveSource.objects.create(**values)
        assert lease.take(self.row.id, self._holder)
        timeline = recorded()
        changes = []
        for plural, kind in KINDS.items():
            changes += self.store.replace(kind.key, kind.kind, timeline.objects.get(plural, ()), seen_at=time.time())
        for node, files in timeline.node_files.items() if node_files else ():
            for name in files:
                content = timeline.node_file(node, name, 0.0, lag=0.0)
                changes.append(self.store.put_file(f"nodes/{node}/{name}", content, seen_at=time.time()))
        self._write(changes, state="live", nodes={node: {} for node in timeline.node_files})

    def put(self, plural: str, event: str, value: dict[str, Any]) -> int:
        """Write that *value* was ADDED, MODIFIED or DELETED; return the generation."""
        kind = KINDS[plural]
        change = self.store.apply(kind.key, kind.kind, event, value, seen_at=time.time())
        return self._write([change] if change else [])

    def put_file(self, node: str, name: str, content: bytes) -> int:
        """Write a node's file; return the generation."""
        return self._write([self.store.put_file(f"nodes/{node}/{name}", content, seen_at=time.time())])

    def set(self, **columns: Any) -> None:
        """Write columns of the source."""
        self._write([], **columns)

    def object(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        """Return a copy of an object as the recording has it at its start."""
        import copy

        found = next(o for o in recorded().objects[plural] if (o["metadata"].get("namespace"), o["metadata"]["name"]) == (namespace, name))
        return copy.deepcopy(dict(found))

    def _write(self, changes: list[StoredChange], **columns: Any) -> int:
        generation = journal.write(self.row.id, self._holder, changes, **columns)
        self.row.refresh_from_db()
        return generation
