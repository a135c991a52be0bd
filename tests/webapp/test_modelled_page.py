"""The page of an answer whose rules were not recorded: it says so, in words and in the picture, and shows no line that nobody has."""

from __future__ import annotations

import json

import pytest

from tests.tracer.simulate.test_programmed import NODE_PORT, OUTSIDE, ask, cluster_of, no_rules, shop
from webapp.answering.document import Answer, document
from webapp.exports.formats import json_text, svg
from webapp.presenters.page import TracePage, trace_page
from webapp.questions.trace_query import TraceQuery, parse

SAID = "No rules of nodes n1, n2 were recorded: what is shown is what kube-proxy 1.36 iptables would program for the objects."


def answer(*, recorded: bool = False) -> Answer:
    cluster = cluster_of(shop(), without=(lambda path: False) if recorded else no_rules)
    found = ask(cluster, OUTSIDE, NODE_PORT)
    return Answer(document(found, cluster.snapshot, snapshot={"id": "x", "name": "x"}, engine_version="0"))


def page(found: Answer, words: str = "") -> TracePage:
    return trace_page(found, parse(f"from={OUTSIDE}&to={NODE_PORT}{words}", frozen=True), "/c/x")


def test_the_page_says_that_the_rules_are_modelled_and_as_what() -> None:
    shown = page(answer())
    assert [(row.word, row.text) for row in shown.assumed if row.word == "modelled"] == [("modelled", SAID)]
    assert any("modelled" in line.css or "not recorded" in line.label for line in shown.legend.lines)
    recorded = page(answer(recorded=True))
    assert not any(row.word == "modelled" for row in recorded.assumed)
    assert not any("not recorded" in line.label for line in recorded.legend.lines)


def test_the_picture_frames_such_nodes_in_their_own_way() -> None:
    drawn, recorded = svg(answer(), TraceQuery()), svg(answer(recorded=True), TraceQuery())
    assert 'class="region mod"' in drawn
    assert 'class="region mod"' not in recorded
    assert f"Modelled: {SAID}" in drawn


@pytest.mark.parametrize("detail", ["objects", "chains", "rules"])
def test_a_rule_has_its_place_in_the_chain_instead_of_a_line(detail: str) -> None:
    shown = page(answer(), f"&detail={detail}&step=8")
    titles = [one.title for one in shown.inspector.evidence]
    assert any(title == "As kube-proxy 1.36 iptables would write it" for title in titles)
    assert not any(title.startswith("The exact rule") for title in titles)
    places = [item.place for step in shown.there for item in step.parts] if detail == "rules" else []
    assert not any(", line " in place for place in places)
    assert detail != "rules" or any(", rule 1" in place for place in places)


def test_the_export_has_the_contracts_words() -> None:
    told = json.loads(json_text(answer(), TraceQuery()))
    steps = [step for outcome in told["outcomes"] for hop in outcome["hops"] for step in hop["steps"] if "rule" in step]
    assert {step["origin"] for step in steps} == {"modelled"}
