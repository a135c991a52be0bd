"""``manage.py migrate SNAPSHOT --to MODE``: what changes for whom when kube-proxy runs in another mode."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from enum import IntEnum

from tracer.migration.cells import Outcome
from tracer.migration.report import Key, Migration, Report
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from webapp.exports.migration_text import markdown, text
from webapp.management.drifting import UnusableSnapshotError


class Answer(IntEnum):
    """What the command found, as its exit code."""

    EXPLAINED = 0
    UNEXPLAINED = 1
    UNKNOWN = 2


def migration_of(snapshot: Snapshot, mode: str, *, nodes: Iterable[str], services: Iterable[str]) -> Migration:
    """Return the migration of *snapshot* to *mode*, for all *nodes* and *services* (``NAMESPACE/NAME``) where none is named.

    :raises UnusableSnapshotError: one that is named is not there.
    :raises TracerError: the mode cannot be switched to.
    """
    cluster = Cluster.from_snapshot(snapshot)
    asked = [_key(cluster, name) for name in services]
    if missing := next((node for node in nodes if node not in cluster.node_names), None):
        raise UnusableSnapshotError(f"the snapshot has no node {missing!r}")
    return Migration.to(cluster, mode, nodes=list(nodes) or None, services=asked or None)


def run(migration: Migration, name: str, answer: Callable[[str], object], *, form: str, with_cells: bool = False) -> Answer:
    """Ask everything, answer as *form* (text, markdown, json) says, and return what was found; *with_cells*: a line of JSON a question."""
    report = migration.report
    for one in migration.run():
        if with_cells:
            answer(json.dumps(one.to_dict(), separators=(",", ":")))
    if not with_cells:
        answer(_written(report, name, form))
    if report.totals[Outcome.UNEXPLAINED]:
        return Answer.UNEXPLAINED
    return Answer.EXPLAINED if report.totals[Outcome.SAME] or report.totals[Outcome.CHANGED] else Answer.UNKNOWN


def _written(report: Report, name: str, form: str) -> str:
    if form == "json":
        return json.dumps(report.to_dict(), indent=1)
    return markdown(report, name) if form == "markdown" else text(report, name)


def _key(cluster: Cluster, name: str) -> Key:
    namespace, _, service = name.partition("/")
    if cluster.objects.service(namespace, service) is None:
        near = " or ".join(cluster.objects.near_names("Service", name))
        raise UnusableSnapshotError(f"the snapshot has no Service {name!r}" + (f": did you mean {near}?" if near else ""))
    return namespace, service
