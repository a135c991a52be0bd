"""A migration report on the large recording, beside verdict-only traces of the same questions on the cluster as it is.

    python benchmarks/migration.py [SEED]

Of the large recording 25 Services are drawn, and what a report asks of them is asked by the report (before and after the switch, compared
and explained) and by plain verdict traces. Each has a cluster of its own that read nothing before, and is a process of its own; the figure
is the ratio of the processor times, the reading and the making of the other mode's rules included: the median of three rounds.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from multiprocessing import get_context
from pathlib import Path

from in_process import opened
from measuring import extracted, seed

from tracer.migration.report import Migration
from tracer.simulate import trace

_SERVICES, _ROUNDS, _LIMIT = 25, 3, 3.0


def _services(folder: Path, chosen: int) -> list[tuple[str, str]]:
    every = [service.key for service in opened(folder).objects.services if service.cluster_ips and not service.headless]
    return random.Random(chosen).sample(every, _SERVICES)


def _reported(folder: Path, chosen: int) -> tuple[float, int]:
    services, before = _services(folder, chosen), time.process_time()
    migration = Migration.to(opened(folder), "nftables", services=services)
    count = sum(1 for _ in migration.run())
    return time.process_time() - before, count


def _asked(folder: Path, chosen: int) -> tuple[float, int]:
    services = _services(folder, chosen)
    queries = [one.cell.query for one in Migration.to(opened(folder), "nftables", services=services).run()]
    before = time.process_time()
    cluster = opened(folder)
    for query in queries:
        trace(cluster, query, is_verdict=True)
    return time.process_time() - before, len(queries)


def main() -> int:
    """Measure both; the exit code is 0 where the limit is kept."""
    chosen = seed()
    ratios = []
    with extracted() as folder, get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for _ in range(_ROUNDS):
            report, count = pool.apply(_reported, (folder, chosen))
            plain, asked = pool.apply(_asked, (folder, chosen))
            print(f"{count:,} questions by the report in {report:.1f} s, {asked:,} verdicts in {plain:.1f} s of processor time")
            ratios.append(report / plain)
    ratio = statistics.median(ratios)
    print(f"report to verdicts: {ratio:.2f} (at most {_LIMIT})")
    return 0 if ratio <= _LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
