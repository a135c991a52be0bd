"""What is kept from packet to packet and from question to question changes no answer: with and without it, every answer is the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.made_cluster import MadeCluster
from tests.sizes import every
from tracer.errors import TooMuchWork, TracerError
from tracer.limits import DEFAULT, Limits
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


def read(folder: Path, limits: Limits = DEFAULT) -> Cluster:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return Cluster.from_snapshot(Snapshot.from_files(files, limits))


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


def answer(cluster: Cluster, query: Query, patience: int | None = None) -> object:
    try:
        return trace(cluster, query, patience=patience)
    except TooMuchWork:
        return "no patience left"
    except TracerError as error:
        return str(error)


def assert_same(made: Callable[[], Cluster], asked: list[Query], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask one cluster everything, then everything once more from the last on, and compare with walks that keep nothing."""
    kept = made()
    first = [answer(kept, query) for query in asked]
    again = [answer(kept, query) for query in reversed(asked)][::-1]
    with monkeypatch.context() as patch:
        patch.setattr(HookRunner, "_leaves", plain)
        patch.setattr(Cluster, "keeps_answers", False)
        reference = made()
        walked = [answer(reference, query) for query in asked]
    for query, one, two, other in zip(asked, first, again, walked, strict=True):
        assert one == other, query
        assert two == other, query


@pytest.mark.needs_shared
@pytest.mark.parametrize(
    "recording",
    [
        "shop-iptables", "shop-iptables-v1.20", "shop-iptables-v1.30", "shop-ipvs", "shop-ipvs-sh", "shop-nftables", "shop-nftables-v1.30",
        "shop-userspace-v1.20",
    ],
)  # fmt: skip
def test_on_the_recordings(shared: Path, recording: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared / "recordings" / recording
    asked = list(questions(read(folder), random.Random(f"{SEED} {recording}"), EACH))
    assert_same(lambda: read(folder), asked, monkeypatch)


@pytest.mark.needs_shared
@pytest.mark.parametrize("recording", every(["shop-iptables", "shop-nftables", "shop-ipvs-sh"], 3))
def test_a_question_costs_the_same_whatever_was_asked_before(shared: Path, recording: str) -> None:
    """So that an answer that a limit cuts off is the same, too, and whoever has little patience gets as much."""
    folder, drawn = shared / "recordings" / recording, random.Random(f"{SEED} {recording} costs")
    asked = list(questions(read(folder), drawn, 12))
    for work in (300, 3_000, 30_000):
        kept = read(folder, Limits(work=work))
        for query in (*asked, *asked):
            assert answer(kept, query) == answer(read(folder, Limits(work=work)), query), (work, query)
    kept = read(folder)
    for query in (*asked, *asked):
        patience = drawn.choice([1_000, 4_000, 10_000])
        assert answer(kept, query, patience) == answer(read(folder), query, patience), (patience, query)


@pytest.mark.parametrize("seed", every(range(8), 2))
def test_on_made_clusters(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(f"{SEED} {seed}")
    nodes = drawn.randint(1, 3)
    made = MadeCluster(nodes, cni=drawn.choice(["bridge", "route"]))
    made.pod("client", 1)
    for number in range(drawn.randint(1, 3)):
        pods = [made.pod(f"web-{number}-{n}", drawn.randint(1, nodes)) for n in range(drawn.randint(1, 7))]
        made.service(f"web-{number}", pods, type="LoadBalancer", node_port=30080 + number, lb_ip=f"198.51.100.{number + 7}")
    assert_same(made.cluster, list(questions(made.cluster(), drawn, 12)), monkeypatch)
