"""Asks a cluster something while it is watched, and says whether a change touches what was asked.

A row of the tests here is one thing that can be asked (a method of what is watched). Whatever change makes it another answer must touch who
asked; and of the changes tried at least one must, so that a watch that is taken away is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracer.changes import Change
from tracer.errors import TracerError
from tracer.explain.dependencies import Dependencies, WatchedCluster
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

Ask = Callable[[Cluster], object]


def cluster_of(files: Mapping[str, bytes]) -> Cluster:
    return Cluster.from_snapshot(Snapshot.from_files(files))


def dependencies_of_asking(ask: Ask, cluster: Cluster) -> Dependencies:
    """Return what the answer to *ask* rests on."""
    watched = WatchedCluster(cluster)
    answered(ask, watched)
    reads = watched.reads
    return Dependencies(
        refs=frozenset(),
        asked=frozenset(reads.asked),
        facets={name: frozenset(found) for name, found in reads.facets.items()},
        held=frozenset(reads.held),
        nodes=frozenset(cluster.node_names),
    )


def answered(ask: Ask, cluster: Cluster) -> object:
    """Return the answer as values; an input that cannot be read is one, too."""
    try:
        found = ask(cluster)
        return list(found) if hasattr(found, "__next__") else found
    except TracerError as error:
        return str(error)


def check(name: str, ask: Ask, before: Cluster, changes: list[tuple[Change, Cluster]], *, everything: bool = False) -> None:
    """Hold what asking noted against every one of *changes*, each with the cluster after it. It may rest on *everything*."""
    asked = dependencies_of_asking(ask, before)
    was = answered(ask, before)
    assert answered(ask, WatchedCluster(before)) == was, f"{name} is another answer when it is watched"
    telling = [change for change, after in changes if answered(ask, after) != was]
    assert telling, f"no change tells whether {name} is watched"
    unnoticed = [change for change in telling if not asked.touched_by(change, lines=False)]
    assert unnoticed == [], name
    if not everything:
        assert [change for change, _ in changes if not asked.touched_by(change, lines=False)], f"every change touches {name}"
