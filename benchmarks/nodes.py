"""A first question to a balancer before 20 nodes and 100 endpoints, beside three nodes and three endpoints: nine outcomes.

    python benchmarks/nodes.py

Both are asked from outside, in made clusters with rules of iptables, in one process: processor time, findings included, once each after
a question to another such cluster.
"""

from __future__ import annotations

import gc
import resource
import sys
import time

from in_process import asked
from measuring import PROJECT, verdict

sys.path.insert(0, str(PROJECT))

from tests.made_cluster import MadeCluster
from tracer.explain.findings import diagnose
from tracer.simulate import trace


def _took(endpoints: int, nodes: int) -> float:
    """Return the seconds that the first question to a new cluster takes."""
    made = MadeCluster(nodes)
    pods = [made.pod(f"web-{n}", n % nodes + 1) for n in range(endpoints)]
    made.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    cluster = made.cluster()
    gc.collect()
    begin = time.process_time()
    found = diagnose(cluster, trace(cluster, asked("external:203.0.113.9", "198.51.100.7:80")))
    took = time.process_time() - begin
    if len(found.outcomes) != endpoints * nodes:
        raise SystemExit(f"{len(found.outcomes)} outcomes of {endpoints * nodes}: a limit was met")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{nodes} nodes x {endpoints} endpoints: {took:.2f} s, {len(found.classes)} classes, {memory:.0f} MB at most so far")
    return took


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    _took(3, 3)  # what is imported and compiled once is no part of either
    few, many = _took(3, 3), _took(100, 20)
    return 0 if verdict("20 nodes x 100 endpoints, of nine outcomes", many / few, 20) else 1


if __name__ == "__main__":
    sys.exit(main())
