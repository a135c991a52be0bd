"""The packet tape shows the packet as it is at every step, both ways, of every recording and mode; and whose each address is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import DEMO
from tests.tracer.migration.shops import files_of
from tracer.explain.example_queries import example_queries
from tracer.explain.findings import diagnose
from tracer.query import Query, query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from webapp.answering.document import Answer, document
from webapp.answering.surroundings import surroundings
from webapp.presenters.journey import Moment, journey, side_text
from webapp.presenters.tape import pieces, tape

RECORDINGS = sorted(path.name for path in DEMO.iterdir() if path.is_dir())
OWNERS = {"Service", "load balancer", "external IP", "node", "pod", "client", "outside"}


def answers(name: str, *queries: Query) -> Iterator[Answer]:
    """Yield the answers to *queries*, or to the examples, of a demonstration cluster."""
    cluster = Cluster.from_snapshot(Snapshot.from_files(files_of(name)))
    for query in queries or [example.query for example in example_queries(cluster.objects, most=30)]:
        traced = diagnose(cluster, trace(cluster, query))
        made = document(traced, cluster.snapshot, snapshot={}, engine_version="0")
        yield Answer(made | surroundings(cluster, traced))


def _sides(moments: list[Moment], side: str) -> Iterator[tuple[int, str, str]]:
    """Yield each moment's step, the packet's side behind it, and what the tape shows there."""
    cut = pieces(moments, side)
    for moment in moments:
        shown = [side_text(packet, side) for step, packet in cut if step <= moment.n]
        yield moment.n, side_text(moment.after, side), shown[-1]


@pytest.mark.parametrize("name", RECORDINGS)
def test_it_is_the_packet_at_every_step(name: str) -> None:
    seen = 0
    for answer in answers(name):
        for outcome in answer.answer["outcomes"][:4]:
            moments = journey(outcome, answer.answer.get("lookups") or ())
            there = [m for m in moments if not m.reply and m.kind != "dns" and m.before]
            back = [m for m in moments if m.reply]
            for way in (there, back):
                for side in ("source", "destination"):
                    for n, packet, shown in _sides(way, side):
                        assert packet == shown, (outcome["id"], n, side)
                        seen += 1
            for hops, way in ((outcome.get("hops") or [], there), ((outcome.get("reply") or {}).get("hops") or [], back)):
                last = {m.hop: m for m in way}
                for at, moment in last.items():
                    for side in ("source", "destination"):
                        assert moment.after[side] == hops[at]["packet_out"][side], (outcome["id"], moment.n, side)
    assert seen > 100


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_address_has_an_owner(name: str) -> None:
    found: dict[str, set[str]] = {}
    for answer in answers(name):
        for outcome in answer.answer["outcomes"]:
            for moment in journey(outcome, answer.answer.get("lookups") or ()):
                for packet in (moment.before, moment.after):
                    for side in ("source", "destination") if packet else ():
                        found.setdefault(answer.owners[packet[side]], set()).add(packet[side])
    assert found.keys() <= OWNERS
    assert found.keys() >= {"Service", "load balancer", "node", "pod", "client"}
    assert found["client"] == {"203.0.113.10"}


def test_an_endpoint_outside_is_no_pod_in_either_row() -> None:
    client = {"kind": "pod", "namespace": "default", "name": "client-5b59cb7b48-4p52n"}
    asked = {"id": "", "from": client, "to": {"host": "10.96.251.210", "port": 8080}, "protocol": "tcp"}
    (answer,) = answers("shop-iptables", query_from_dict(asked))
    moments = journey(answer.answer["outcomes"][0])
    drawn = tape(moments, lambda n: 100.0 * n, 100.0 * len(moments) + 300, 0, answer.owners)
    told = {(segment.value.split()[-1], segment.owner) for segment in drawn.segments if segment.value.endswith("8080")}
    assert ("203.0.113.10:8080", "outside") in told
    assert {owner for value, owner in told if value.startswith("10.96.")} == {"Service"}


def test_the_reply_through_a_proxy_ends_at_the_client() -> None:
    """kube-proxy in userspace mode answers on a connection of its own: the destination becomes the client's, and not by a rule."""
    answer = next(a for a in answers("shop-userspace-v1.20") if a.answer["outcomes"][0].get("reply"))
    moments = [m for m in journey(answer.answer["outcomes"][0]) if m.reply]
    to = [side_text(packet, "destination") for _, packet in pieces(moments, "destination")]
    assert len(to) > 1
    assert to[-1].startswith("203.0.113.10:")
