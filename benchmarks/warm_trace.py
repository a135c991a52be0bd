"""One more trace on 10,000 Services beside one more in the shop: the index makes them cost the same.

    python benchmarks/warm_trace.py [SEED]

Each figure is the median of many traces of the same pod and Service, in one process, after a first one; the two clusters take turns.
Both ask a Service of three endpoints behind a ClusterIP, from a pod of the node whose rules both recordings hold.
"""

from __future__ import annotations

import random
import statistics
import sys
import time

from in_process import anew, asked, opened
from measuring import ROUNDS, SHOP, Question, extracted, question, seed, verdict

from tracer.query import Query
from tracer.simulate import trace
from tracer.topology.cluster import Cluster

_TIMES = 40


def _seconds(cluster: Cluster, query: Query) -> float:
    query = anew(query)
    begin = time.perf_counter()
    trace(cluster, query)
    return time.perf_counter() - begin


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    drawn = random.Random(seed())
    ratios = []
    with extracted() as large:
        in_large, in_shop = opened(large), opened(SHOP)
        for _ in range(ROUNDS):
            there = question(large, drawn)
            here = Question(source=question(SHOP, drawn).source, to="svc:default/api:80")
            pairs = ((in_large, asked(there.source, there.to)), (in_shop, asked(here.source, here.to)))
            counts = [len(trace(cluster, query).outcomes) for cluster, query in pairs]
            times = [statistics.median(column) for column in zip(*([_seconds(*p) for p in pairs] for _ in range(_TIMES)), strict=True)]
            print(f"{there.source} -> {there.to}: {times[0] * 1e3:.2f} ms for {counts[0]} paths; ", end="")
            print(f"shop {here.source} -> {here.to}: {times[1] * 1e3:.2f} ms for {counts[1]} paths")
            ratios.append(times[0] / times[1])
    return 0 if verdict("warm trace, large to shop", statistics.median(ratios), 1.5) else 1


if __name__ == "__main__":
    sys.exit(main())
