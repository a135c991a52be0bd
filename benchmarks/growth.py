"""How a walk and its JSON grow with a Service's endpoints: 10 to 5,000 of them on 25 nodes in iptables mode.

    python benchmarks/growth.py

Each size is a cluster of its own. A node asks first, so that what is read once a cluster is read; then a pod asks for the cluster IP, which
is what is measured: seconds of processor time, findings included, and characters of JSON with steps. An exponent is the slope between the
smallest and the largest size: 1 is as fast as the endpoints.
"""

from __future__ import annotations

import json
import math
import sys
import time

from in_process import asked
from measuring import PROJECT, verdict

sys.path.insert(0, str(PROJECT))

from tests.made_cluster import MadeCluster
from tracer.explain.findings import diagnose
from tracer.simulate import trace
from webapp.management.tracing import few_collections

_SIZES, _NODES = (10, 100, 1_000, 5_000), 25
_SERVICE = "10.96.0.10:80"


def _grown(endpoints: int) -> tuple[float, int]:
    """Return the seconds that a question takes before so many endpoints, and the length of its answer."""
    made = MadeCluster(nodes=_NODES)
    made.pod("client", 1)
    made.service("web", [made.pod(f"web-{n}", n % _NODES + 1) for n in range(endpoints)])
    cluster = made.cluster()
    diagnose(cluster, trace(cluster, asked("node:n1", _SERVICE)))
    begin = time.process_time()
    found = diagnose(cluster, trace(cluster, asked("pod:default/client", _SERVICE)))
    took = time.process_time() - begin
    if len(found.outcomes) != endpoints:
        raise SystemExit(f"{len(found.outcomes)} outcomes of {endpoints}: a limit was met")
    return took, len(json.dumps(found.to_dict(with_steps=True)))


def _exponent(first: float, last: float) -> float:
    return math.log(last / first) / math.log(_SIZES[-1] / _SIZES[0])


def main() -> int:
    """Measure, print, and return 0 if both targets are met."""
    with few_collections():
        grown = [_grown(endpoints) for endpoints in _SIZES]
    for endpoints, (took, length) in zip(_SIZES, grown, strict=True):
        print(f"{endpoints:5} endpoints: {took:.2f} s, {length / 1e6:.2f} MB")
    (fast, short), (slow, long) = grown[0], grown[-1]
    walk = verdict("the walk, exponent", _exponent(fast, slow), 0.3)
    told = verdict("the JSON, exponent", _exponent(short, long), 1.05)
    return 0 if walk and told else 1


if __name__ == "__main__":
    sys.exit(main())
