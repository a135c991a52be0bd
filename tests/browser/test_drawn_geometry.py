"""The geometry of drawn graphs, measured in Chromium on the SVG itself and not on the layout's own numbers.

Asked of the SVG: boxes and texts by getBBox and getComputedTextLength, lines by getPointAtLength.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import pytest
from django.template.loader import render_to_string

from tests.conftest import PROJECT
from tests.frozen_links import made_document
from tests.made_traces import Made
from tests.sizes import some
from webapp.answering.document import Answer
from webapp.presenters.page import trace_page
from webapp.questions.trace_query import parse

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.browser
MEASURE = (PROJECT / "tests/browser/drawn_geometry.js").read_text()
ORIGIN = "http://drawn.test"
STYLES = "".join(f'<link rel="stylesheet" href="{ORIGIN}/static/css/{name}.css">' for name in ("tokens", "base", "graph", "trace"))
STILL = "<style>* { transition: none !important }</style>"  # what is moved here is measured where it ends
CASES = list(product((1, 2, 3, 4, 6, 12), (1, 2, 3, 5, 8, 12, 40), ("objects", "chains", "rules")))


@pytest.fixture(scope="module")
def sheet(browser: Browser) -> Iterator[Page]:
    """Return a page with the application's styles and fonts, into which graphs are put one after another."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.route(f"{ORIGIN}/**", _serve)
    page.goto(f"{ORIGIN}/")
    yield page
    page.close()


def _serve(route: Route) -> None:
    path = PROJECT / route.request.url.removeprefix(f"{ORIGIN}/")
    if path.is_file():
        route.fulfill(path=path)
    else:
        route.fulfill(content_type="text/html; charset=utf-8", body=f"<!doctype html>{STYLES}{STILL}<main></main>")


def _draw(sheet: Page, nodes: int, endpoints: int, detail: str) -> list[tuple[str, str, str]]:
    """Put the graph of a made Service into *sheet* and return each edge's id with the ids of its two boxes."""
    answer = Answer(made_document(Made(nodes=nodes, endpoints=endpoints).trace()))
    drawn = trace_page(answer, parse(f"detail={detail}", frozen=True), "/t/x").drawing
    assert drawn is not None
    svg = render_to_string("trace/_graph.svg", {"d": drawn})
    sheet.evaluate("async (svg) => { document.querySelector('main').innerHTML = svg; await document.fonts.ready }", svg)
    return [(edge.placed.edge.id, edge.placed.edge.tail, edge.placed.edge.head) for edge in drawn.edges]


def _faults(sheet: Page, ends: list[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return [(rule, ids) for rule, ids in sheet.evaluate(MEASURE, ends)]


@pytest.mark.parametrize("detail", ["objects", "chains", "rules"])
def test_what_is_drawn_holds(sheet: Page, detail: str) -> None:
    found = {}
    for case in some([case for case in CASES if case[2] == detail], 2):
        if faults := _faults(sheet, _draw(sheet, *case)):
            found[case] = faults
    assert found == {}


MOVES = {
    "edge": "const path = document.querySelector('g.edges > g > path'); path.setAttribute('transform', 'translate(0 40)')",
    "box": "const [one, other] = document.querySelectorAll('g.nodes > a.n'); one.setAttribute('transform', other.getAttribute('transform'))",
    "text": "document.querySelector('g.nodes text.t1').textContent = 'a name that is much too long for its box'",
    "box on a line": "const a = document.querySelector('g.nodes > a.n'), e = document.querySelectorAll('g.edges > g > path'), p = e[e.length - 1]"
    ".getPointAtLength(9); a.setAttribute('transform', `translate(${p.x} ${p.y})`)",
    "lost edge": "document.querySelector('g.edges > g').remove()",
}
RULES = {
    "edge": "end does not touch",
    "box": "boxes overlap",
    "text": "text outside its box",
    "box on a line": "edge crosses a box",
    "lost edge": "edge not drawn",
}


@pytest.mark.parametrize("moved", MOVES)
def test_what_does_not_hold_is_found(sheet: Page, moved: str) -> None:
    ends = _draw(sheet, 3, 3, "chains")
    assert _faults(sheet, ends) == []
    sheet.evaluate(f"() => {{ {MOVES[moved]} }}")
    assert RULES[moved] in {rule for rule, _ in _faults(sheet, ends)}


def test_an_edge_moved_by_twenty_pixels_is_found(sheet: Page) -> None:
    ends = _draw(sheet, 3, 3, "chains")
    sheet.evaluate("() => document.querySelector('g.edges > g > path').setAttribute('transform', 'translate(20 0)')")
    assert {rule for rule, _ in _faults(sheet, ends)} == {"end does not touch"}
