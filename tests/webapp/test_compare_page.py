"""Two answers beside each other: of answers made by hand, as a frozen link shows them."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from tests.frozen_links import made_document
from tests.made_traces import dropped_trace, lb_trace
from tracer.trace import Trace
from webapp.answering.comparison import differing
from webapp.answering.document import Answer
from webapp.exports.compared import export_comparison
from webapp.exports.formats import ExportError
from webapp.models import TraceLink
from webapp.presenters.compare import ComparePage, compare_page
from webapp.questions.trace_query import TraceQuery
from webapp.storing.frozen_document import to_freeze

WORD = "svc/production/public-api.spec.externalTrafficPolicy=Local"


def comparison(before: Trace, after: Trace) -> dict[str, Any]:
    after = replace(after, query=replace(after.query, overrides=(WORD,)))
    return made_document(after) | {"compared": {"before": made_document(before), **differing(before, after)}}


def page_of(before: Trace, after: Trace, query: TraceQuery | None = None) -> ComparePage:
    return compare_page(Answer(comparison(before, after)), query or TraceQuery(), "/t/x")


def link(document: dict[str, Any]) -> str:
    row = TraceLink(
        owner="tests", query={"text": "", "query": document["answer"]["query"]}, snapshot_digest="0" * 64, engine_version="made"
    )
    row.document = document
    row.save(force_insert=True)
    return f"/t/{row.token}"


def words(text: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def test_ends_are_matched_and_what_differs_comes_first() -> None:
    page = page_of(lb_trace(nodes=2, endpoints=3), lb_trace(nodes=2, endpoints=2))
    assert not page.same
    assert [(row.before, row.after, row.changed) for row in page.rows] == [
        ("1/3", "1/2", "odds"),
        ("1/3", "1/2", "odds"),
        ("1/3", "not", "only before"),
    ]
    assert [group.title for group in page.groups] == ["Whom they reach", "Odds", "Rules on the way"]
    assert page.page is page.sides[1].page


def test_the_same_answer_says_that_nothing_changes() -> None:
    page = page_of(lb_trace(), lb_trace())
    assert page.same and not page.groups and not page.verdicts_differ
    assert page.sentence.startswith("Nothing changes for these packets")
    assert {row.changed for row in page.rows} == {""}
    assert {row.mark for row in page.steps} == {""}
    assert not any(box.mark for side in page.sides if side.drawing for box in side.drawing.boxes)


def test_a_verdict_that_differs_and_steps_that_only_one_has() -> None:
    page = page_of(lb_trace(nodes=1, endpoints=1), dropped_trace())
    assert page.verdicts_differ
    assert {row.changed for row in page.rows} == {"only before", "only after"}
    marks = {row.mark for row in page.steps}
    assert {"only before"} & marks and marks & {"only after", "another step"}
    assert all(row.before or row.after for row in page.steps)


def test_pictures_mark_what_only_they_have_and_share_no_id() -> None:
    page = page_of(lb_trace(nodes=2, endpoints=3), lb_trace(nodes=2, endpoints=2))
    before, after = (side.drawing for side in page.sides)
    assert before and after
    assert {box.mark for box in before.boxes} == {"", "only before"}
    assert {box.mark for box in after.boxes} <= {"", "only after"}
    assert (before.prefix, after.prefix) == ("before-", "after-")


def test_a_path_that_is_asked_for_is_followed_on_its_side() -> None:
    document = comparison(lb_trace(nodes=2, endpoints=3), lb_trace(nodes=2, endpoints=2))
    answer = Answer(document)
    gone = next(row for row in compare_page(answer, TraceQuery(), "/t/x").rows if row.changed == "only before")
    wanted = gone.url.partition("follow=")[2]
    page = compare_page(answer, TraceQuery(follow=wanted), "/t/x")
    assert page.sides[0].page.query.follow == wanted
    assert [row.changed for row in page.rows if row.current] == ["only before"]
    assert page.sides[1].page.query.follow in {path.id for path in answer.paths}


@pytest.mark.django_db
def test_a_frozen_comparison_is_a_page_with_files(client: Client) -> None:
    path = link(to_freeze(comparison(lb_trace(nodes=2, endpoints=3), lb_trace(nodes=2, endpoints=2)), neighbours=True))
    response = client.get(path)
    page = response.content.decode()
    assert response.status_code == 200
    assert WORD in page and "Packets end otherwise." in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert sorted(ids) == sorted(set(ids))
    assert f'href="{path}/compare.json"' in page
    told = json.loads(client.get(f"{path}/compare.json").content)
    assert (told["version"], told["same"]) == (1, False)
    assert [one["kind"] for one in told["differences"]][:2] == ["destination", "odds"]
    assert (len(told["before"]["outcomes"]), len(told["after"]["outcomes"])) == (6, 4)
    text = client.get(f"{path}/compare.md").content.decode()
    assert text.startswith("# What if: 203.0.113.10 → ") and f"- `{WORD}`" in text and "| only before |" in text
    assert client.get(f"{path}/compare.pdf").status_code == 404
    assert client.get(f"{path}/trace.json").status_code == 200


@pytest.mark.django_db
def test_a_link_to_one_answer_has_no_comparison(client: Client) -> None:
    path = link(made_document(lb_trace()))
    assert client.get(f"{path}/compare.json").status_code == 404
    assert client.get("/t/nothing/compare.json").status_code == 404


def test_a_link_keeps_no_names_that_are_on_no_way() -> None:
    document = comparison(lb_trace(), lb_trace()) | {"policies": {"a/b": ["a/secret"]}, "services": {}}
    document["compared"]["before"] |= {"policies": {"a/b": ["a/secret"]}}
    assert "secret" not in json.dumps(to_freeze(document, neighbours=False))


def test_names_cannot_break_out_of_markdown() -> None:
    answer = Answer(comparison(lb_trace(pod="a|b*<i>`"), dropped_trace()))
    text = export_comparison(answer, TraceQuery(), "md").decode()
    assert "a\\|b\\*\\<i\\>\\`" in text
    with pytest.raises(ExportError):
        export_comparison(answer, TraceQuery(), "svg")
