"""The picture: what Graphviz gets to see, where rows stand, and what happens without Graphviz."""

from __future__ import annotations

import re

import pytest
from django.template.loader import render_to_string

from tests.frozen_links import made_document
from tests.made_traces import Made, lb_trace
from tracer.graph import Graph, build
from tracer.trace import Trace
from webapp.answering.document import Answer
from webapp.drawing import graph_svg
from webapp.drawing.graph_svg import LayoutError, layout_dot, picture
from webapp.drawing.shapes import outline
from webapp.presenters.page import trace_page
from webapp.questions.trace_query import TraceQuery, parse

HOSTILE = Made(service='a"><script>alert(1)</script>/</text>{x|y}', pod='p</text>"; x -> y [label="z"] \\N').trace()


def graph_of(trace: Trace, **options: object) -> Graph:
    return build(Answer(made_document(trace)).answer, **options)


def page_of(trace: Trace, query: str = "") -> str:
    answer = Answer(made_document(trace))
    page = trace_page(answer, parse(query, frozen=True), "/t/x")
    return render_to_string("trace/_graph.svg", {"d": page.drawing})


@pytest.mark.parametrize("trace", [lb_trace(), HOSTILE, lb_trace(endpoints=30)])
@pytest.mark.parametrize("detail", ["objects", "chains", "rules"])
def test_graphviz_sees_ids_and_numbers_only(trace: Trace, detail: str) -> None:
    graph = graph_of(trace, detail=detail)
    dot = layout_dot(graph, {box.id: outline(box) for box in graph.boxes})
    words = set(re.findall(r"[A-Za-z_][A-Za-z_0-9]*", dot))
    known = {
        "digraph",
        "trace",
        "rankdir",
        "LR",
        "newrank",
        "true",
        "splines",
        "spline",
        "nodesep",
        "ranksep",
        "node",
        "shape",
        "box",
        "fixedsize",
        "label",
        "subgraph",
        "margin",
        "labeljust",
        "l",
        "table",
        "border",
        "cellborder",
        "cellspacing",
        "cellpadding",
        "tr",
        "td",
        "width",
        "height",
        "rank",
        "same",
        "style",
        "invis",
        "weight",
        "id",
        "dir",
        "both",
        "back",
    }
    assert {word for word in words - known if not re.fullmatch(r"[ne]_[0-9a-f_]+|cluster_[0-9]+", word)} == set()


def test_hostile_names_are_text() -> None:
    svg = page_of(HOSTILE)
    assert "<script" not in svg
    assert "&lt;/text&gt;" in svg


def test_the_same_question_gives_the_same_bytes() -> None:
    assert page_of(lb_trace(endpoints=50)) == page_of(lb_trace(endpoints=50))


@pytest.mark.parametrize("endpoints", [2, 3, 4, 6, 30])
def test_rows_stand_in_the_graphs_order_the_followed_one_last(endpoints: int) -> None:
    graph = graph_of(lb_trace(endpoints=endpoints))
    placed = {box.box.id: box for box in picture(graph).boxes}
    heights = [placed[row[0]].y for row in graph.rows]
    assert heights == sorted(heights)
    assert placed[graph.rows[-1][0]].box.on


@pytest.mark.parametrize("endpoints", [1, 3, 6, 12, 100])
@pytest.mark.parametrize("detail", ["objects", "chains", "rules"])
def test_boxes_do_not_overlap(endpoints: int, detail: str) -> None:
    boxes = picture(graph_of(lb_trace(endpoints=endpoints), detail=detail)).boxes
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            apart_x = abs(one.x - other.x) >= (one.shape.width + other.shape.width) / 2 - 0.5
            apart_y = abs(one.y - other.y) >= (one.shape.height + other.shape.height) / 2 - 0.5
            assert apart_x or apart_y, (one.lines, other.lines)


@pytest.mark.parametrize(
    "name", ["x", "kube-system", "a-very-long-name-that-goes-on-and-on-and-on-7f9c4", "fd00:10:244:1111:2222:3333:4444:5555"]
)
def test_text_fits_its_box(name: str) -> None:
    for placed in picture(graph_of(Made(pod=name).trace())).boxes:
        assert len(placed.lines[0]) * 7.28 <= placed.shape.width
        if not placed.chips:
            assert len(placed.lines[1]) * 6.96 <= placed.shape.width


def test_without_graphviz_the_steps_remain(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    graph_svg._run_dot.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    page = trace_page(Answer(made_document(lb_trace(endpoints=5))), TraceQuery(), "/t/x")
    assert page.drawing is None
    assert "Graphviz is not installed" in page.graph_error
    assert [item.n for item in page.there] == list(range(1, len(page.there) + 1))


def test_a_slow_layout_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    graph_svg._run_dot.cache_clear()
    monkeypatch.setattr(graph_svg, "TIMEOUT_SECONDS", 0.0001)
    with pytest.raises(LayoutError, match="too large to draw in time"):
        picture(graph_of(lb_trace(endpoints=6)))
