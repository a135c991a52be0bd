"""One event on 10,000 Services: the followed model and the next answer, beside a cluster that is read anew.

    python benchmarks/event.py [SEED]

An event takes an endpoint from a drawn Service's EndpointSlice; then one question is answered. The rebuild opens a snapshot of the same
bytes and answers the same question. Also: a node's 156,000-line dump that changes, and what it costs to know which answers are touched.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable

from in_process import asked, snapshot_files
from measuring import extracted, question, seed, verdict

from tracer.changes import Change, FileChange, ObjectChange
from tracer.explain.dependencies import dependencies_of
from tracer.query import Query
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FollowedCluster, changes_of

_TIMES, _REBUILDS = 20, 3


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _slices(followed: FollowedCluster) -> list[ObjectChange]:
    """Return every EndpointSlice with several endpoints, without the last of them."""
    found = []
    for raw, _ in followed.snapshot.objects.others("EndpointSlice"):
        less = json.loads(json.dumps(raw.value))
        if len(less.get("endpoints") or ()) > 1:
            less["endpoints"].pop()
            name = less["metadata"]
            found.append(ObjectChange(kind=raw.kind, namespace=name["namespace"], name=name["name"], before=raw.value, after=less))
    return found


def _rebuilt(files: dict[str, bytes], query: Query) -> None:
    trace(Cluster.from_snapshot(Snapshot.from_files(files)), query)


def _event(followed: FollowedCluster, change: Change, query: Query) -> None:
    followed.apply([change], now=0.0)
    trace(followed.cluster, query)


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    drawn = random.Random(seed())
    with extracted() as folder:
        files, there = snapshot_files(folder), question(folder, drawn)
    query, followed = asked(there.source, there.to), FollowedCluster()
    changes = tuple(changes_of(Snapshot.from_files(files)))
    print(f"the first list of {len(changes)} objects and files: {_seconds(lambda: followed.apply(changes, now=0.0)):.2f} s")
    print(f"{there.source} -> {there.to}: the first answer {_seconds(lambda: trace(followed.cluster, query)):.2f} s")
    events = drawn.sample(_slices(followed), _TIMES)
    event = statistics.median(_seconds(lambda e=e: _event(followed, e, query)) for e in events)
    rebuild = statistics.median(_seconds(lambda: _rebuilt(files, query)) for _ in range(_REBUILDS))
    print(f"one event and an answer: {event * 1e3:.1f} ms; a rebuild and the answer: {rebuild * 1e3:.0f} ms")
    _rules(followed, files, query, events)
    return 0 if verdict("rebuild, to event", rebuild / event, 20, at_least=True) else 1


def _rules(followed: FollowedCluster, files: dict[str, bytes], query: Query, events: list[ObjectChange]) -> None:
    node, name = "shop-worker", "iptables-save.txt"
    before = files[f"nodes/{node}/{name}"]
    line = b"\n-A KUBE-SERVICES -d 192.0.2.1/32 -j RETURN\nCOMMIT\n"
    cut = before.rindex(b"\nCOMMIT\n")
    change = FileChange(node=node, name=name, before=before, after=before[:cut] + line + before[cut + 8 :])
    answer = trace(followed.cluster, query)
    print(f"what an answer rests on: {_seconds(lambda: dependencies_of(followed.cluster, answer)) * 1e3:.1f} ms", end="")
    found = dependencies_of(followed.cluster, answer)
    print(f" the first time, then {_seconds(lambda: dependencies_of(followed.cluster, answer)) * 1e3:.1f} ms")
    asking = statistics.median(_seconds(lambda e=e: found.touched_by(e)) for e in events)
    print(f"does an object's change touch it: {asking * 1e6:.0f} us; a dump of {len(before) / 1e6:.1f} MB: ", end="")
    print(
        f"{_seconds(lambda: found.touched_by(change)):.2f} s the first time, then {_seconds(lambda: found.touched_by(change)) * 1e3:.1f} ms"
    )
    print(f"the dump changes, and an answer: {_seconds(lambda: _event(followed, change, query)):.2f} s")


if __name__ == "__main__":
    sys.exit(main())
