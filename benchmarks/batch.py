"""The kernel truth's 1,256 queries with steps in one batch, beside the same with nothing kept from one query to the next.

    python benchmarks/batch.py [EVERY]

Without the engine's caches each query opens the snapshot anew; EVERY (10) asks only every tenth query that way, and says so.
Needs ../shared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from in_process import snapshot_files
from measuring import PROJECT, SHOP, verdict

from tracer.query import Query, query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

_SHARED = PROJECT.parent / "shared"


def _queries() -> list[Query]:
    script = [sys.executable, _SHARED / "bin/kernel_truth.py", "queries", _SHARED / "truth/shop-iptables.connections.json.gz"]
    lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    return [query_from_dict(json.loads(line)) for line in lines]


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    every = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    queries, files = _queries(), snapshot_files(SHOP)
    begin = time.perf_counter()
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    for query in queries:
        trace(cluster, query).to_dict(with_steps=True)
    kept = (time.perf_counter() - begin) / len(queries)
    begin = time.perf_counter()
    for query in queries[::every]:
        trace(Cluster.from_snapshot(Snapshot.from_files(files)), query).to_dict(with_steps=True)
    anew = (time.perf_counter() - begin) / len(queries[::every])
    print(f"{len(queries)} queries in one batch: {kept * 1e3:.1f} ms each")
    print(f"{len(queries[::every])} with nothing kept: {anew * 1e3:.1f} ms each")
    return 0 if verdict("without caches, to with", anew / kept, 3, at_least=True) else 1


if __name__ == "__main__":
    sys.exit(main())
