"""What a trace keeps from packet to packet changes no answer: with and without it, every answer is the same."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.made_cluster import MadeCluster
from tracer.errors import TracerError
from tracer.netfilter.base_chain import BaseChain
from tracer.netfilter.leaf import Leaf, StepList
from tracer.netfilter.view import View
from tracer.packet import Protocol
from tracer.query import Destination, FlowState, Query, parse_source
from tracer.simulate import trace
from tracer.simulate.hooks import HookRunner
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

SEED = 20
EACH = 40


def plain(runner: HookRunner, chain: BaseChain, view: View, steps: StepList | None) -> Iterator[Leaf]:
    """Walk the chain anew for every packet: the reference."""
    return chain.run(view, steps)


def read(folder: Path) -> Cluster:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return Cluster.from_snapshot(Snapshot.from_files(files))


def questions(cluster: Cluster, drawn: random.Random, count: int) -> Iterator[Query]:
    """Draw questions from every kind of source to Services, node ports and pods."""
    objects = cluster.objects
    sources = ["external:203.0.113.10", "external:2001:db8:c::10", *(f"node:{n.name}" for n in objects.nodes)]
    sources += [f"pod:{p.namespace}/{p.name}" for p in objects.pods]
    places = [(a, p.port, p.protocol) for s in objects.services for p in s.ports for a in s.cluster_ips]
    places += [(i.ip, p.port, p.protocol) for s in objects.services for p in s.ports for i in s.load_balancer_ingress if i.ip]
    nodes = [a for n in objects.nodes for a in n.ips]
    places += [(a, p.node_port, p.protocol) for s in objects.services for p in s.ports if p.node_port for a in nodes]
    places += [(a, 8080, Protocol.TCP) for p in objects.pods for a in p.ips]
    for _ in range(count):
        address, port, protocol = drawn.choice(places)
        yield Query(
            source=parse_source(drawn.choice(sources)),
            destination=Destination(host=str(address), port=port),
            protocol=protocol,
            source_port=drawn.choice([None, None, 80, 40000]),
            state=drawn.choice([FlowState.NEW, FlowState.NEW, FlowState.RETURNING]),
            ttl=drawn.choice([None, None, 64]),
        )


def answers(cluster: Cluster, asked: list[Query]) -> list[object]:
    found: list[object] = []
    for query in asked:
        try:
            found.append(trace(cluster, query))
        except TracerError as error:
            found.append(str(error))
    return found


def assert_same(cluster: Cluster, asked: list[Query], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = answers(cluster, asked)
    with monkeypatch.context() as patch:
        patch.setattr(HookRunner, "_leaves", plain)
        walked = answers(cluster, asked)
    for query, one, other in zip(asked, kept, walked, strict=True):
        assert one == other, query


@pytest.mark.needs_shared
@pytest.mark.parametrize(
    "recording",
    [
        "shop-iptables", "shop-iptables-v1.20", "shop-iptables-v1.30", "shop-ipvs", "shop-ipvs-sh", "shop-nftables", "shop-nftables-v1.30",
        "shop-userspace-v1.20",
    ],
)  # fmt: skip
def test_on_the_recordings(shared: Path, recording: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = read(shared / "recordings" / recording)
    assert_same(cluster, list(questions(cluster, random.Random(f"{SEED} {recording}"), EACH)), monkeypatch)


@pytest.mark.parametrize("seed", range(8))
def test_on_made_clusters(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(f"{SEED} {seed}")
    nodes = drawn.randint(1, 3)
    made = MadeCluster(nodes, cni=drawn.choice(["bridge", "route"]))
    made.pod("client", 1)
    for number in range(drawn.randint(1, 3)):
        pods = [made.pod(f"web-{number}-{n}", drawn.randint(1, nodes)) for n in range(drawn.randint(1, 7))]
        made.service(f"web-{number}", pods, type="LoadBalancer", node_port=30080 + number, lb_ip=f"198.51.100.{number + 7}")
    cluster = made.cluster()
    assert_same(cluster, list(questions(cluster, drawn, 12)), monkeypatch)
