"""A comparison as files: JSON with both answers and what differs, and Markdown for a ticket or a pull request."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tracer.carriers_folded import carriers_folded
from tracer.trace import VERSION
from webapp.answering.document import Answer, as_told
from webapp.exports.formats import ExportError
from webapp.presenters.compare import ComparePage, compare_page
from webapp.questions.trace_query import TraceQuery

FROZEN = "/t/"
"""A file leads nowhere, as a frozen page does not."""
CONTENT_TYPES = {"json": "application/json", "md": "text/markdown; charset=utf-8"}


def export_comparison(answer: Answer, query: TraceQuery, suffix: str) -> bytes:
    """Return the file of kind *suffix*. :raises ExportError: there is no such kind."""
    if suffix not in CONTENT_TYPES:
        raise ExportError(f"There is no “.{suffix}” of a comparison: {', '.join(CONTENT_TYPES)}.")
    return (_json(answer) if suffix == "json" else markdown(compare_page(answer, query, FROZEN))).encode()


def _json(answer: Answer) -> str:
    told = [carriers_folded(as_told(one.answer, expand=False)) for one in (answer.before, answer)]
    said = {name: answer.comparison[name] for name in ("same", "text", "differences")}
    return json.dumps({"version": VERSION, "before": told[0], "after": told[1], **said}, ensure_ascii=False, indent=1) + "\n"


def markdown(page: ComparePage) -> str:
    """Return the comparison as Markdown: the words, the verdicts, what differs, and where packets end."""
    return "\n".join(_markdown(page))


def _markdown(page: ComparePage) -> Iterator[str]:
    yield f"# What if: {_text(page.question)}"
    yield ""
    yield from (f"- `{chip.word.replace('`', '')}`" for chip in page.what_if.chips)
    yield from (f"- {_text(text)}" for text in (*page.what_if.changes, *page.what_if.notes))
    yield from ("", f"**{_text(page.sentence)}**", "")
    for side in page.sides:
        yield f"- {side.name}: {_text(side.page.verdict.whole)} {_text(side.page.verdict.text)}"
    for group in page.groups:
        yield from ("", f"## {group.title}", "")
        yield from (f"- {_text(text)}" for text in group.texts)
    yield from (
        "",
        "## Where packets end",
        "",
        "| end | before | after | source seen before | after | differs |",
        "|---|---|---|---|---|---|",
    )
    for row in page.rows:
        cells = (f"{row.title} {row.subtitle}".strip(), row.before, row.after, row.seen_before, row.seen_after, row.changed)
        yield f"| {' | '.join(_text(cell).replace('|', chr(92) + '|') for cell in cells)} |"
    if page.hidden:
        yield from ("", f"and {page.hidden} more")
    yield ""


def _text(text: str) -> str:
    """Return *text* on one line, with nothing in it that Markdown or HTML would take for its own."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#" else letter for letter in shown)
