"""Clusters opened in this process."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tracer.query import Query, parse_destination, parse_source
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster


def snapshot_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a snapshot's folder by path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def opened(folder: Path) -> Cluster:
    """Return the cluster of a folder, nothing parsed yet."""
    return Cluster.from_snapshot(Snapshot.from_files(snapshot_files(folder)))


_PORTS = itertools.count(20_000)


def anew(query: Query) -> Query:
    """Return *query* from a source port of its own: a cluster that was asked the very same before has the answer."""
    return replace(query, source_port=next(_PORTS))


def asked(source: str, to: str) -> Query:
    """Return the query in the command's words."""
    return Query(source=parse_source(source), destination=parse_destination(to))
