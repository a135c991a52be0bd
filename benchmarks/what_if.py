"""An answer about a changed cluster, warm, beside the same question without the change.

    python benchmarks/what_if.py [SEED]

On the shop and on the large recording: a Service's policy, an endpoint that is not ready and a pod that is gone. Each cluster is asked
once before, so that what is read, changed and worked out once is there; then both are asked alternately, each time from a port of its own.
The figure is the ratio of the medians of processor time; beside it is what the first answer about the change takes.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from pathlib import Path

from in_process import anew, asked, opened
from measuring import SHOP, extracted, seed

from tracer.kube.service import ServiceType
from tracer.query import Query
from tracer.simulate import trace
from tracer.topology.cluster import Cluster

_ROUNDS, _LIMIT = 41, 2.0


def _words(cluster: Cluster, drawn: random.Random) -> tuple[Query, list[str]]:
    """A question to a Service with pods behind it, and changes of what is on its path."""
    objects = cluster.objects
    services = [s for s in objects.services if s.selector and s.cluster_ips and s.type is not ServiceType.EXTERNAL_NAME]
    drawn.shuffle(services)
    for service in services:
        ready = [
            (e, a) for one in objects.slices_of(*service.key) for e in one.endpoints for a in e.addresses if e.ready and a.version == 4
        ]
        pods = [p for p in objects.pods if p.owned_ips and p.node_name]
        if ready and pods and ready[0][0].target_ref is not None:
            named, pod = f"{service.namespace}/{service.name}", drawn.choice(pods)
            query = asked(f"pod:{pod.namespace}/{pod.name}", f"{service.cluster_ips[0]}:{service.ports[0].port}")
            gone = ready[0][0].target_ref
            return query, [
                f"svc/{named}.spec.internalTrafficPolicy=Local",
                f"endpoint/{named}/{ready[0][1]}.ready=false",
                f"pod/{gone.namespace}/{gone.name}=deleted",
            ]
    raise SystemExit("no Service with a pod behind it")


def _cost(cluster: Cluster, query: Query) -> float:
    before = time.process_time()
    trace(cluster, anew(query))
    return time.process_time() - before


def measured(name: str, folder: Path, drawn: random.Random) -> float:
    """Print the figures of one recording; return the worst ratio."""
    cluster, worst = opened(folder), 0.0
    query, words = _words(cluster, drawn)
    _cost(cluster, query)
    for word in words:
        changed = Query(source=query.source, destination=query.destination, overrides=(word,))
        first = _cost(cluster, changed)
        pairs = [(_cost(cluster, query), _cost(cluster, changed)) for _ in range(_ROUNDS)]
        plain, other = (statistics.median(values) for values in zip(*pairs, strict=True))
        worst = max(worst, other / plain)
        print(f"{name}, {word}: {other / plain:.2f} ({plain * 1e3:.1f} ms to {other * 1e3:.1f} ms; the first {first:.2f} s)")
    return worst


def main() -> int:
    """Measure both recordings; the exit code is 0 where both keep the limit."""
    drawn = random.Random(seed())
    worst = [measured("shop", SHOP, drawn)]
    with extracted() as large:
        worst.append(measured("large", large, drawn))
    print(f"warm, changed to plain: {max(worst):.2f} (at most {_LIMIT})")
    return 0 if max(worst) <= _LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
