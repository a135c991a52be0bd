"""Damaged files: whatever the bytes, a trace answers or raises a TracerError, and its odds sum to 1. More inputs with ``FUZZ_EXAMPLES``."""

from __future__ import annotations

import os
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.made_cluster import MadeCluster
from tracer.errors import TracerError
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster


def _whole() -> dict[str, bytes]:
    cluster = MadeCluster(2, cni="bridge")
    cluster.pod("client", 1)
    pods = [cluster.pod("web-1", 1), cluster.pod("web-2", 2)]
    cluster.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="203.0.113.100", local=True)
    cluster.service("web6", pods, version=6)
    cluster.node(1).rules += [
        ("filter", ":web"),
        ("filter", "-A FORWARD -m set --match-set S src -g web"),
        ("filter", "-A web -m recent --set --name r"),
    ]
    cluster.node(1).texts["ipset-save.txt"] = "create S hash:net family inet\nadd S 10.1.0.0/16\nadd S 10.1.1.0/24 nomatch\n"
    return cluster.files()


FILES = _whole()
QUERIES = [
    Query(source=parse_source(source), destination=parse_destination(to))
    for source, to in (
        ("pod:default/client", "10.96.0.10:80"),
        ("pod:default/web-1", "[fd00:96::b]:80"),
        ("node:n1", "127.0.0.1:30080"),
        ("external:203.0.113.9", "203.0.113.100:80"),
    )
]
DUMPS = [p for p in FILES if re.search(r"tables-save|ipset", p)]
OTHERS = [p for p in FILES if p not in DUMPS]


def _damaged(data: bytes, order: random.Random) -> bytes:
    """The bytes with a few changes: cut, doubled, swapped for others of the file, or for noise."""
    for _ in range(order.randint(1, 4)):
        if not data:
            return data
        at, size = order.randrange(len(data)), order.choice([1, 1, 2, 5, 20, 200])
        other = order.randrange(len(data))
        piece = order.choice(
            [b"", data[other : other + size], bytes([order.randrange(256)]), b'"', b"-1", b"9" * size, b"null", b"\n", b" ! ", b"[]", b"-j"]
        )
        data = data[: at if order.random() < 0.95 else 0] + piece + data[at + order.choice([0, size]) :]
        if order.random() < 0.05:
            data = data[:at]
    return data


@pytest.mark.parametrize("paths", [DUMPS, OTHERS], ids=["rules and sets", "objects, routes and sysctls"])
@settings(deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")))
@given(seed=st.integers(0, 1 << 40))
def test_damaged_files(paths: list[str], seed: int) -> None:
    order = random.Random(seed)
    files = dict(FILES)
    for path in order.sample(paths, order.randint(1, 2)):
        files[path] = _damaged(files[path], order)
    try:
        answer = trace(Cluster.from_snapshot(Snapshot.from_files(files)), order.choice(QUERIES))
    except TracerError:
        return
    assert sum(o.probability for o in answer.outcomes) == 1
    assert answer.to_dict()
