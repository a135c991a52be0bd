"""A migration report as Markdown: what stays, what changes and why, what to set, Service by Service. The terminal shows the same text."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.migration.cells import Outcome
from tracer.migration.known import Row
from tracer.migration.report import Kind, Report
from tracer.migration.universe import UNIVERSE
from tracer.migration.words import listed

_MOST_SERVICES = 500
_PLAIN = str.maketrans({"|": "\\|", "\n": " "})


def markdown(report: Report, name: str) -> str:
    """Return the report of the cluster *name* as Markdown."""
    return "\n".join(_lines(report, name)) + "\n"


def text(report: Report, name: str) -> str:
    """Return the same for a terminal: without Markdown's tables and marks."""
    return "\n".join(_terminal(report, name))


def _lines(report: Report, name: str) -> Iterator[str]:
    yield from (f"# {report.title}: {name}", "", report.sentence, "")
    yield from ("| what came of a question | questions |", "|---|---|")
    yield from (f"| {outcome.value} | {report.totals[outcome]:,} |" for outcome in Outcome)
    yield ""
    for row in report.rows:
        yield from (f"## {row.id}", "", row.text, "", f"**To keep what was:** {row.keep.get(report.switch.mode, '')}", "")
        yield from (f"Source: {row.source}.", "", *_table(report.of(row)), "")
    if unexplained := report.of(None):
        yield from ("## Unexplained", "", "No row of the table of modes says why: one of the two answers may be wrong.", "")
        yield from (*_table(unexplained), "")
    yield from _services(report)
    yield from (part for heading, said in _told(report) for part in (f"## {heading}", "", *(f"* {one}" for one in said), ""))


def _table(kinds: tuple[Kind, ...]) -> Iterator[str]:
    yield from ("| who dials | what | where | before | after | questions | Services |", "|---|---|---|---|---|---|---|")
    for kind in kinds:
        cells = (kind.asker, kind.way, kind.about, kind.before, kind.after, f"{kind.cells:,}", listed(kind.service_names))
        yield f"| {' | '.join(cell.translate(_PLAIN) for cell in cells)} |"


def _services(report: Report) -> Iterator[str]:
    yield from ("## Services", "", "| Service | same | changed | unexplained | cannot tell | why |", "|---|---|---|---|---|---|")
    for (namespace, name), counts in list(report.services.items())[:_MOST_SERVICES]:
        numbers = " | ".join(f"{counts[outcome.value]:,}" for outcome in Outcome)
        why = ", ".join(row.id for row in report.rows if counts[row.id])
        yield f"| {namespace}/{name} | {numbers} | {why} |"
    if (more := len(report.services) - _MOST_SERVICES) > 0:
        yield from ("", f"and {more:,} more Services: the JSON has all.")
    yield ""


def _told(report: Report) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What else is to be said, by its heading."""
    if report.whys:
        yield "What cannot be told", tuple(f"{why} ({count:,})" for why, count in report.whys.items())
    if report.not_asked:
        more = listed(report.not_asked)
        yield "Not asked", (f"{len(report.not_asked):,} Services, beyond the bound on questions: {more}",)
    if report.notes:
        yield "What the switch takes for granted", report.notes
    yield "What is asked", UNIVERSE


def _terminal(report: Report, name: str) -> Iterator[str]:
    yield f"{report.title}: {name}"
    yield report.sentence
    yield "  " + ", ".join(f"{outcome.value}: {report.totals[outcome]:,}" for outcome in Outcome)
    rows: tuple[Row | None, ...] = (*report.rows, None)
    for row in rows:
        kinds = report.of(row)
        if kinds and row is None:
            yield "unexplained: no row of the table of modes says why; one of the two answers may be wrong"
        elif row is not None:
            yield from (f"{row.id}: {row.text}", f"  to keep what was: {row.keep.get(report.switch.mode, '')}")
        yield from (line for kind in kinds for line in _kind(kind))
    for heading, said in _told(report):
        yield f"{heading}:"
        yield from (f"  {one}" for one in said)


def _kind(kind: Kind) -> Iterator[str]:
    where = f" ({kind.about})" if kind.about else ""
    yield f"  {kind.asker} -> {kind.way}{where}: {kind.before} -> {kind.after}; {kind.cells:,} questions: {listed(kind.service_names)}"
    if kind.row is None:
        query = kind.example.cell.query
        yield f"    {query.source} -> {query.destination} {query.protocol.value}"
        yield from (f"    {sentence}" for sentence in kind.sentences)
