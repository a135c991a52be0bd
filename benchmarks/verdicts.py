"""Verdicts for every Service from every source of a made cluster, beside a bare tracer that is asked the same.

    python benchmarks/verdicts.py [ROUNDS]

The cluster has 10 nodes, 500 pods and 1,000 Services, and on each node the rules that kube-proxy writes for them: cluster IPs with up to
five endpoints, node ports, load balancers (with either traffic policy), and some without endpoints. Sources are each node, one pod of each
node, and a client outside for what has a load balancer: 20,100 questions. What is measured is the processor time of whole processes,
which take turns; the figure is the ratio of the medians of ROUNDS (3). The bare tracer (../shared/bin/plain_tracer.py) writes its whole
answers, and knows no replies, nor what the client sees. Needs ../shared.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measuring import PROJECT, middle, run, verdict

sys.path.insert(0, str(PROJECT))

from tests.made_cluster import MadeCluster

_NODES, _PODS, _SERVICES = 10, 500, 1_000
_ROUNDS, _LIMIT = 3, 1.0
_ENDPOINTS = (1, 2, 3, 5)
_OUTSIDE = {"kind": "external", "ip": "203.0.113.10"}


def _made() -> MadeCluster:
    """Return the cluster: the same each time."""
    drawn, cluster = random.Random(1), MadeCluster(nodes=_NODES)
    pods = [cluster.pod(f"web-{n}", n % _NODES + 1) for n in range(_PODS)]
    for n in range(_SERVICES):
        endpoints = drawn.sample(pods, drawn.choice(_ENDPOINTS)) if n % 50 else ()
        cluster.service(f"svc-{n}", endpoints, **_of_type(n))
    return cluster


def _of_type(number: int) -> dict[str, object]:
    """Return what makes the Service of a *number* one with a node port, or a load balancer; most are neither."""
    if number % 10 == 8:
        return {"type": "NodePort", "node_port": 30000 + number}
    if number % 10 == 9:
        address = f"198.51.{100 + number // 256}.{number % 256}"
        return {"type": "LoadBalancer", "node_port": 30000 + number, "lb_ip": address, "local": number % 20 == 9}
    return {}


def _questions(cluster: MadeCluster) -> Iterator[dict[str, object]]:
    sources = [{"kind": "node", "name": node.name} for node in cluster.nodes]
    sources += [{"kind": "pod", "namespace": "default", "name": pod.name} for pod in cluster.pods[:_NODES]]
    for service in cluster.services:
        for source in sources:
            yield {"from": source, "to": {"host": service.cluster_ip, "port": service.port}, "protocol": "tcp"}
        if service.lb_ip is not None:
            yield {"from": _OUTSIDE, "to": {"host": service.lb_ip, "port": service.port}, "protocol": "tcp"}


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS
    with tempfile.TemporaryDirectory(prefix="hopline-bench-") as folder:
        cluster, snapshot, batch = _made(), Path(folder, "cluster"), Path(folder, "questions.jsonl")
        for path, content in cluster.files().items():
            (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
            (snapshot / path).write_bytes(content)
        batch.write_text("".join(json.dumps({"id": str(n)} | asked) + "\n" for n, asked in enumerate(_questions(cluster))))
        ours = [sys.executable, "manage.py", "trace", snapshot, "--batch", batch, "--verdicts"]
        bare = [sys.executable, PROJECT.parent / "shared/bin/plain_tracer.py", snapshot, "--batch", batch]
        runs = [(run(ours), run(bare)) for _ in range(rounds)]
    one, other = (middle(column) for column in zip(*runs, strict=True))
    print(f"verdicts: {one.cpu:.1f} s of processor time, {one.memory / 1e6:.0f} MB; the bare tracer: {other.cpu:.1f} s")
    return 0 if verdict("verdicts, to the bare tracer", one.cpu / other.cpu, _LIMIT) else 1


if __name__ == "__main__":
    sys.exit(main())
