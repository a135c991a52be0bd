"""The engine against a real kernel that ran kube-proxy in nftables mode: every connection, every rule, from either form of the listing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sizes import FULL, every
from tests.tracer.simulate import truth
from tests.tracer.simulate.truth import all_of, verdict
from tracer.query import Query, query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, Trace

pytestmark = pytest.mark.needs_shared

_TEXT = "nft-ruleset.txt"
Shown = tuple[object, ...]


@pytest.mark.usefixtures("shared")
def test_every_connection_is_predicted() -> None:
    assert verdict("shop-nftables", "check", "shop-nftables.connections.json.gz") == all_of(1256)


@pytest.mark.usefixtures("shared")
def test_every_rule_is_the_kernels() -> None:
    agree, total = verdict("shop-nftables", "rules", "shop-nftables.rules.json.gz")
    assert agree == total
    assert total == 1231 if FULL else total > 1231 / 16


# -- the same rules in other forms ------------------------------------------------------------------------------------------------


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _cluster(files: dict[str, bytes]) -> Cluster:
    return Cluster.from_snapshot(Snapshot.from_files(files))


def _without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    kept = {path: data for path, data in files.items() if not path.endswith(f"/{name}")}
    assert len(kept) < len(files)
    return kept


@pytest.fixture(scope="module")
def queries(shared: Path) -> list[Query]:
    lines = truth.queries(truth.whole("shop-nftables.connections.json.gz")).splitlines()
    return [query_from_dict(json.loads(line)) for line in lines]


def _shown(outcome: Outcome) -> Shown:
    """An outcome without the lines of its steps: a JSON listing has none."""
    steps = tuple(
        (hop.node, step.hook, step.family, step.table, step.chain, step.rule, step.policy, step.verdict, str(step.rewrote))
        for hop in outcome.hops
        for step in hop.steps
    )
    place = str(outcome.destination.to_dict()) if outcome.destination else ""
    return (outcome.probability, outcome.disposition, place, outcome.source_seen, outcome.reject_with, steps)


def test_json_alone_gives_the_same_answers_and_rule_texts(shared: Path, queries: list[Query]) -> None:
    files = _files(shared / "recordings/shop-nftables")
    text, only_json = _cluster(files), _cluster(_without(files, _TEXT))
    for query in every(queries, 18):
        assert list(map(_shown, trace(only_json, query).outcomes)) == list(map(_shown, trace(text, query).outcomes)), query


def test_steps_of_a_json_listing_name_its_file_and_no_line(shared: Path, queries: list[Query]) -> None:
    cluster = _cluster(_without(_files(shared / "recordings/shop-nftables"), _TEXT))
    steps = [s for q in queries[:40] for o in trace(cluster, q).outcomes for h in o.hops for s in h.steps]
    native = [s for s in steps if s.table == "kube-proxy" and s.rule is not None]
    assert native
    assert {(Path(s.file or "").name, s.line) for s in native} == {("nft-ruleset.json", None)}


# -- kube-proxy 1.30, whose nftables mode was alpha -------------------------------------------------------------------------------


def _asked(cluster: Cluster) -> Iterator[Trace]:
    """Every Service port, from a pod, a node and outside, at its cluster address, node ports and load balancer's address."""
    objects = cluster.objects
    pod = next(p for p in objects.pods if not p.host_network and p.namespace == "default" and p.ips)
    sources = [
        {"kind": "pod", "namespace": pod.namespace, "name": pod.name},
        {"kind": "node", "name": cluster.node_names[0]},
        {"kind": "external", "ip": "203.0.113.10"},
    ]
    nodes = [str(node.ips[0]) for node in objects.nodes]
    for service in objects.services:
        for port in service.ports:
            hosts = [(str(a), port.port) for a, _ in service.addresses]
            hosts += [(node, port.node_port) for node in nodes if port.node_port]
            for host, number in hosts:
                for source in sources if ":" not in host else sources[:2]:
                    to = {"host": host, "port": number}
                    yield trace(cluster, query_from_dict({"from": source, "to": to, "protocol": port.protocol.value}))


def test_kube_proxy_1_30_is_answered_without_unknowns(shared: Path) -> None:
    """Nothing of the rules is unknown; how a load balancer reaches pods without node ports is, in every mode."""
    cluster = _cluster(_files(shared / "recordings/shop-nftables-v1.30"))
    answers = list(_asked(cluster))
    assert {(u.code, str(u.at)) for a in answers for u in a.unknowns} == {("LB_NOT_MODELLED", "{'service': 'production/edge-direct'}")}
    known = [a for a in answers if not a.unknowns]
    assert len(known) > 200
    assert all(o.disposition is not Disposition.UNKNOWN and not o.conditions for a in known for o in a.outcomes)
