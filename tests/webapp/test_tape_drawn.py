"""The tape as the page draws it against the packets of the answer: of every recording and example question, at every step."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import zip_longest
from typing import Any

import pytest
from django.template.loader import render_to_string

from tests.conftest import DEMO
from tests.frozen_links import made_document
from tests.made_traces import lb_trace
from tracer.explain.example_queries import example_queries
from tracer.explain.findings import diagnose
from tracer.packet import endpoint_text
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from webapp.answering.document import Answer, document
from webapp.answering.surroundings import surroundings
from webapp.presenters.journey import journey
from webapp.presenters.page import trace_page
from webapp.presenters.tape import LEAST, tape
from webapp.questions.trace_query import TraceQuery

Json = Mapping[str, Any]
RECORDINGS = sorted(str(p.parent.relative_to(DEMO)) for p in DEMO.glob("**/services.json")) if DEMO.is_dir() else []
recorded = pytest.mark.parametrize("name", RECORDINGS or [pytest.param("", marks=pytest.mark.skip(reason="demo/ is not there"))])
OUTSIDE = Query(source=parse_source("external:203.0.113.10"), destination=parse_destination("198.51.100.10:443"))
BREADTHS = re.compile(r"([-0-9.]+),")
PIECE = re.compile(r'<g class="sg (src|dst) [^"]*" data-from="([0-9]+)"><title>([^<]*)</title><polygon class="sb" points="([^"]*)"')
MOST_FOLLOWED = 6
"""How many paths of an answer are looked at: those of one answer are alike."""


@cache
def cluster_of(name: str) -> Cluster:
    folder = DEMO / name
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return Cluster.from_snapshot(Snapshot.from_files(files))


def answer_of(cluster: Cluster, query: Query) -> Answer:
    traced = diagnose(cluster, trace(cluster, query))
    made = document(traced, cluster.snapshot, snapshot={"id": "x", "name": "x"}, engine_version="0")
    return Answer(made | surroundings(cluster, traced))


def rows_of(answer: Answer, follow: str) -> dict[tuple[str, bool], list[tuple[int, str, str]]]:
    """Return the pieces of each ribbon as the page draws them, (step, text, outline) by (side, is the answer's)."""
    page = trace_page(answer, TraceQuery(follow=follow), "/c/x")
    drawn = html.unescape(render_to_string("trace/_graph.svg", {"d": page.drawing}))
    first_back = page.back[0].n if page.back else 10**6
    found: dict[tuple[str, bool], list[tuple[int, str, str]]] = {}
    for css, step, whole, points in PIECE.findall(drawn):
        back = int(step) >= first_back
        side = {"src": "destination", "dst": "source"}[css] if back else {"src": "source", "dst": "destination"}[css]
        found.setdefault((side, back), []).append((int(step), re.sub("^(src|dst) ", "", whole), points))
    return found


def packets(outcome: Json) -> Iterator[tuple[int, bool, Json]]:
    """Yield (step, is the answer's, packet as its stack sends it on) for the last step on each stack, from the answer itself."""
    for back, hops in ((False, outcome["hops"]), (True, (outcome.get("reply") or {}).get("hops") or [])):
        stations = [s for s in outcome["stations"] if bool(s.get("reply")) is back and s["kind"] != "dns"]
        for station, after in zip_longest(stations, stations[1:]):
            if after is None or after["hop"] != station["hop"]:
                yield station["n"], back, hops[station["hop"]]["packet_out"]


def at(pieces: list[tuple[int, str, str]], step: int) -> str:
    return [whole for begins, whole, _ in pieces if begins <= step][-1]


@recorded
def test_the_tape_is_the_packet_at_every_step(name: str) -> None:
    cluster, compared = cluster_of(name), 0
    for query in [*(example.query for example in example_queries(cluster.objects)), OUTSIDE]:
        answer = answer_of(cluster, query)
        for outcome in answer.answer["outcomes"][:MOST_FOLLOWED]:
            rows = rows_of(answer, outcome["id"]) if outcome["hops"] else {}
            for step, back, packet in packets(outcome):
                for side in ("source", "destination"):
                    said, port = at(rows[side, back], step).split(" ")[0], packet.get(f"{side}_port")
                    where = (query, outcome["id"], step, side, rows[side, back])
                    if port is not None:
                        assert said == endpoint_text(packet[side], port), where
                    else:
                        assert said.removesuffix(":any").removesuffix(":random").strip("[]") == packet[side], where
                    compared += 1
    assert compared > 100


@recorded
def test_both_rows_call_an_address_its_owners(name: str) -> None:
    cluster, named = cluster_of(name), set()
    for query in [*(example.query for example in example_queries(cluster.objects)), OUTSIDE]:
        answer = answer_of(cluster, query)
        for outcome in answer.answer["outcomes"][:MOST_FOLLOWED]:
            called: dict[str, set[str]] = {}
            for pieces in (rows_of(answer, outcome["id"]) if outcome["hops"] else {}).values():
                for _, whole, _ in pieces:
                    text, _, owner = whole.partition(" ")
                    called.setdefault(re.sub(r":[a-z0-9]+$", "", text), set()).add(owner)
            assert all(len(owners) == 1 and owners != {""} for owners in called.values()), called
            named |= {owner for owners in called.values() for owner in owners}
    assert named >= {"client", "load balancer", "node", "pod", "Service"}, named


def test_no_piece_is_left_out_however_close_the_steps_stand() -> None:
    outcome = Answer(made_document(lb_trace())).answer["outcomes"][0]
    moments = journey(outcome)
    spread, close = (tape(moments, place, 900, 0, {}) for place in (lambda n: n * 50.0, lambda n: 450.0))
    assert [(s.css, s.step, s.whole) for s in spread.segments] == [(s.css, s.step, s.whole) for s in close.segments]
    for segment in close.segments:
        places = [float(x) for x in BREADTHS.findall(segment.points)]
        assert min(places) >= 0 and max(places) <= 900 and max(places) - min(places) >= LEAST - 5


def test_the_answers_port_is_the_one_that_the_request_was_sent_from() -> None:
    cluster = cluster_of("shop-iptables")
    for example in example_queries(cluster.objects):
        answer = answer_of(cluster, example.query)
        for outcome in answer.answer["outcomes"][:MOST_FOLLOWED]:
            moments = journey(outcome)
            there = [m for m in moments if not m.reply and m.before]
            back = [m for m in moments if m.reply and m.before]
            if back and outcome["reply"]["disposition"] == "delivered" and outcome["disposition"] == "delivered":
                rows = rows_of(answer, outcome["id"])
                assert at(rows["source", False], there[-1].n) == at(rows["destination", True], back[0].n)
                assert rows["source", False][0][1] == at(rows["destination", True], back[-1].n)


@recorded
def test_the_odds_of_one_choice_are_in_one_notation(name: str) -> None:
    four = Query(source=parse_source("node:shop-worker"), destination=parse_destination("svc:production/backend-api:80"))
    answer, fans = answer_of(cluster_of(name), four), defaultdict[str, set[str]](set)
    page = trace_page(answer, TraceQuery(), "/c/x")
    assert page.drawing is not None
    for edge in page.drawing.edges:
        if edge.text:
            fans[edge.placed.edge.tail].add(re.sub("[0-9./]+", "", edge.text))
    assert fans or page.conditions
    assert all(len(kinds) == 1 for kinds in fans.values()), fans


def test_an_endpoint_outside_is_no_pod_in_either_row() -> None:
    asked = Query(source=parse_source("pod:default/client-5b59cb7b48-4p52n"), destination=parse_destination("svc:legacy/mainframe:8080"))
    answer = answer_of(cluster_of("shop-iptables"), asked)
    rows = rows_of(answer, answer.answer["outcomes"][0]["id"])
    for side, back in (("destination", False), ("source", True)):
        told = {whole for _, whole, _ in rows[side, back]}
        assert "203.0.113.10:8080 outside" in told
        assert {whole.partition(" ")[2] for whole in told if whole.startswith("10.96.")} == {"Service"}


def test_the_reply_through_a_proxy_ends_at_the_client() -> None:
    """kube-proxy in userspace mode answers on a connection of its own: the destination becomes the client's, and not by a rule."""
    answer = answer_of(cluster_of("shop-userspace-v1.20"), OUTSIDE)
    rows = rows_of(answer, answer.answer["outcomes"][0]["id"])
    assert len(rows["destination", True]) > 1
    assert rows["destination", True][-1][1].startswith("203.0.113.10:")
