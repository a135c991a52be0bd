"""A document of which not all outcomes are opened shows what one shows that holds them all, and opens few."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache

import pytest

from tests.made_cluster import MadeCluster
from tracer.explain.findings import diagnose
from tracer.graph import build, firsts, most_likely, paths_of
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.topology.cluster import Cluster
from tracer.trace import Outcome
from tracer.unopened import items_of
from webapp.answering.document import Answer, document
from webapp.answering.outcome_dicts import OutcomeDicts, plain
from webapp.answering.stored_outcomes import StoredOutcomes, for_storing, from_stored
from webapp.answering.surroundings import surroundings
from webapp.exports.formats import json_text
from webapp.presenters.page import trace_page
from webapp.questions.trace_query import TraceQuery

EXTERNAL, POD = ("external:203.0.113.9", "198.51.100.7:80"), ("pod:default/client", "10.96.0.10:80")


def web(count: int, nodes: int) -> MadeCluster:
    made = MadeCluster(nodes)
    made.pod("client", 1)
    pods = [made.pod(f"web-{i}", i % nodes + 1) for i in range(count)]
    made.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    return made


def dropping() -> MadeCluster:
    """One node drops what goes to a few endpoints, so that paths end otherwise."""
    made = web(60, 3)
    made.node(2).rules.append(("filter", "-A FORWARD -d 10.1.2.8/29 -j DROP"))
    return made


def local() -> MadeCluster:
    made = web(60, 2)
    made.services[0].local = True
    return made


CLUSTERS: dict[str, Callable[[], MadeCluster]] = {
    "web": lambda: web(60, 3),
    "two": lambda: web(30, 2),
    "dropping": dropping,
    "local": local,
}


@lru_cache(maxsize=16)
def cluster_of(name: str) -> Cluster:
    return CLUSTERS[name]().cluster()


def answered(name: str, question: tuple[str, str]) -> Answer:
    cluster = cluster_of(name)
    found = diagnose(cluster, trace(cluster, Query(source=parse_source(question[0]), destination=parse_destination(question[1]))))
    made = document(found, cluster.snapshot, snapshot={"id": "x", "name": "x"}, engine_version="0")
    return Answer(made | surroundings(cluster, found))


CASES = [("web", EXTERNAL), ("web", POD), ("dropping", EXTERNAL), ("local", EXTERNAL)]


def opened(answer: Answer) -> int:
    """How many outcomes somebody opened: for the document, or for what stands beside it."""
    outcomes = answer.answer["outcomes"]
    assert isinstance(outcomes, OutcomeDicts)
    return max(len(outcomes._held), sum(isinstance(item, Outcome) for item in items_of(outcomes._trace.outcomes)))


@pytest.mark.parametrize(("name", "question"), CASES)
def test_paths_are_the_same_opened_or_not(name: str, question: tuple[str, str]) -> None:
    answer, whole = answered(name, question), Answer(plain(answered(name, question).document))
    assert json.loads(json.dumps(whole.document)) == whole.document
    names = (
        "index",
        "probability",
        "target",
        "title",
        "subtitle",
        "node",
        "state",
        "behaviour",
        "rules",
        "entry",
        "conditions",
        "disposition",
    )
    for path, other in zip(answer.paths, whole.paths, strict=True):
        assert [getattr(path, field) for field in names] == [getattr(other, field) for field in names]
    assert opened(answer) <= len(firsts(answer.answer["outcomes"])) + sum(path.disposition != "delivered" for path in answer.paths)
    for path, other in zip(answer.paths, whole.paths, strict=True):
        assert (path.id, path.stops, path.replies) == (other.id, other.stops, other.replies)


def test_what_is_stored_of_a_comparison_is_whole_on_both_sides() -> None:
    held = answered("web", POD).document
    stored = plain(held | {"compared": {"before": answered("web", EXTERNAL).document, "same": False}})
    assert json.loads(json.dumps(stored)) == stored


@lru_cache(maxsize=8)
def stored_and_whole(name: str, question: tuple[str, str]) -> tuple[Answer, Answer]:
    """The answer as another process reads it, and as it is written out."""
    document = answered(name, question).document
    return Answer(from_stored(json.loads(json.dumps(for_storing(document))))), Answer(plain(document))


@pytest.mark.parametrize(("name", "question"), CASES)
def test_another_process_reads_the_same_outcomes(name: str, question: tuple[str, str]) -> None:
    stored, whole = stored_and_whole(name, question)
    document = answered(name, question).document
    held, wanted = stored.answer["outcomes"], document["answer"]["outcomes"]
    assert isinstance(held, StoredOutcomes)
    assert [json.dumps(one) for one in held] == [json.dumps(one) for one in whole.answer["outcomes"]]
    assert held.odds == wanted.odds
    for place in range(len(held)):
        hop, steps = held.drawn(place)
        assert (held.like(place), held.end(place), hop, list(steps)) == (
            wanted.like(place),
            wanted.end(place),
            wanted.drawn(place)[0],
            json.loads(json.dumps(wanted.drawn(place)[1])),
        )
    assert plain(stored.document) == json.loads(json.dumps(whole.document))


@pytest.mark.parametrize("more", [{}, {"step": 6}, {"seed": 4}, {"expand": ("all",), "find": "web-1"}], ids=str)
@pytest.mark.parametrize(("name", "question"), [("web", EXTERNAL), ("dropping", EXTERNAL)])
def test_another_process_shows_the_same_page(name: str, question: tuple[str, str], more: dict[str, object]) -> None:
    stored, whole = stored_and_whole(name, question)
    query = TraceQuery(source=parse_source(question[0]), destination=parse_destination(question[1]), **more)  # type: ignore[arg-type]
    assert trace_page(stored, query, "/c/x/trace") == trace_page(whole, query, "/c/x/trace")
    assert json_text(stored, query) == json_text(whole, query)


def test_what_is_stored_has_what_is_shared_once() -> None:
    document = answered("web", EXTERNAL).document
    assert len(json.dumps(for_storing(document))) * 3 < len(json.dumps(plain(document)))


def test_both_sides_of_a_comparison_are_read_again() -> None:
    document = answered("web", POD).document
    both = document | {"compared": {"before": answered("web", EXTERNAL).document, "same": False}}
    assert plain(from_stored(json.loads(json.dumps(for_storing(both))))) == json.loads(json.dumps(plain(both)))


LOOKS = [
    {},
    {"detail": "objects"},
    {"detail": "rules"},
    {"group": "none"},
    {"group": "zone"},
    {"expand": ("nodes",)},
    {"find": "web-17"},
    {"find": "KUBE-SEP"},
]


@pytest.mark.parametrize("looks", LOOKS, ids=str)
@pytest.mark.parametrize(("name", "question"), CASES)
def test_the_picture_is_the_same(name: str, question: tuple[str, str], looks: dict[str, object]) -> None:
    answer = answered(name, question)
    whole = plain(answer.document)["answer"]
    pods = answer.document["pods"]
    for follow in ("", paths_of(whole, pods)[21].id):
        found = build(answer.answer, paths=answer.paths, follow=follow, **looks)  # type: ignore[arg-type]
        assert found == build(whole, paths=paths_of(whole, pods), follow=follow, **looks)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "question"), CASES)
@pytest.mark.parametrize(
    "more", [{}, {"step": 6}, {"expand": ("all",)}, {"seed": 4}, {"expand": ("all",), "sort": "name", "find": "web-1"}], ids=str
)
def test_the_page_is_the_same(name: str, question: tuple[str, str], more: dict[str, object]) -> None:
    answer = answered(name, question)
    whole = Answer(plain(answer.document))
    query = TraceQuery(source=parse_source(question[0]), destination=parse_destination(question[1]), **more)  # type: ignore[arg-type]
    assert trace_page(answer, query, "/c/x/trace") == trace_page(whole, query, "/c/x/trace")
    assert json_text(answer, query) == json_text(whole, query)


@pytest.mark.parametrize("question", [EXTERNAL, POD])
def test_a_page_opens_few(question: tuple[str, str]) -> None:
    few, many = (answered(name, question) for name in ("two", "web"))
    query = TraceQuery(source=parse_source(question[0]), destination=parse_destination(question[1]))
    for answer in (few, many):
        trace_page(answer, query, "/c/x/trace")
    assert opened(many) <= 40
    assert opened(few) <= opened(many) < len(many.paths) // 2


def test_the_one_that_is_followed_is_opened() -> None:
    answer = answered("web", POD)
    path = most_likely(answer.paths)
    assert answer.answer["outcomes"][path.index]["id"] == path.id
