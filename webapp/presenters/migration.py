"""A migration report as a page shows it: the verdict, each reason with the kinds of changes that it explains, and Services one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.urls import reverse
from django.utils.http import urlencode

from tracer.migration.cells import Outcome
from tracer.migration.known import Row
from tracer.migration.report import Kind, Report
from tracer.migration.universe import UNIVERSE
from tracer.migration.words import listed
from tracer.override_words import MODES
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeLink:
    """A mode as a link to its report."""

    name: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """Equal changes; *url* leads to both answers of one of its questions beside each other."""

    asker: str
    way: str
    about: str
    before: str
    after: str
    questions: int
    services: str
    example: str
    url: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One row of the table of modes with the changes that it explains; *id* is "" for those that none does."""

    id: str
    text: str
    keep: str
    source: str
    kinds: tuple[KindRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """What came of the questions about one Service."""

    name: str
    same: int
    changed: int
    unexplained: int
    unknown: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationPage:
    """The report. *state* is ``none``, ``changes`` or ``unexplained``; *next_url* leads to Services not asked about here."""

    title: str
    sentence: str
    state: str
    counts: tuple[tuple[str, int], ...]
    reasons: tuple[Reason, ...]
    services: tuple[ServiceRow, ...]
    whys: tuple[str, ...]
    notes: tuple[str, ...]
    asked: tuple[str, ...]
    left: int
    next_url: str
    exports: Mapping[str, str]


def mode_links(path: str, chosen: str) -> tuple[ModeLink, ...]:
    """Return every mode that nodes can be switched to, as links below *path*."""
    return tuple(ModeLink(name=mode, url=f"{path}?{urlencode({'to': mode})}", current=mode == chosen) for mode in MODES)


def migration_page(report: Report, source: str, *, begin: str = "") -> MigrationPage:
    """Return the page of a *report* about *source*, which began at the Service *begin*."""
    asked = {"to": report.switch.mode} | ({"from": begin} if begin else {})
    exports = {s: f"{reverse('migrate-export', args=[source, s])}?{urlencode(asked)}" for s in ("md", "json")}
    more = report.not_asked[1:] if not report.cells else report.not_asked
    further = urlencode({"to": report.switch.mode, "from": more[0]}) if more else ""
    return MigrationPage(
        title=report.title,
        sentence=report.sentence,
        state=_state(report),
        counts=tuple((outcome.value, report.totals[outcome]) for outcome in Outcome),
        reasons=tuple(_reasons(report, source)),
        services=tuple(_services(report)),
        whys=tuple(report.whys),
        notes=report.notes,
        asked=UNIVERSE,
        left=len(report.not_asked),
        next_url=f"{reverse('migrate', args=[source])}?{further}" if further else "",
        exports=exports,
    )


def _state(report: Report) -> str:
    if report.totals[Outcome.UNEXPLAINED]:
        return "unexplained"
    return "changes" if report.totals[Outcome.CHANGED] else "none"


def _reasons(report: Report, source: str) -> Iterator[Reason]:
    rows: tuple[Row | None, ...] = (*report.rows, None)
    for row in rows:
        kinds = tuple(_kind(kind, report.switch.mode, source) for kind in report.of(row))
        if row is not None:
            yield Reason(id=row.id, text=row.text, keep=row.keep.get(report.switch.mode, ""), source=row.source, kinds=kinds)
        elif kinds:
            text = "No row of the table of modes says why: one of the two answers may be wrong."
            yield Reason(id="", text=text, keep="", source="", kinds=kinds)


def _kind(kind: Kind, mode: str, source: str) -> KindRow:
    query = kind.example.cell.query
    asked = {"from": str(query.source), "to": str(query.destination), "protocol": query.protocol.value, "set": f"mode={mode}"}
    return KindRow(
        asker=kind.asker,
        way=kind.way,
        about=kind.about,
        before=kind.before,
        after=kind.after,
        questions=kind.cells,
        services=listed(kind.service_names),
        example=f"{query.source} → {query.destination}",
        url=f"{reverse('compare', args=[source])}?{urlencode(asked)}",
        sentences=kind.sentences,
    )


def _services(report: Report) -> Iterator[ServiceRow]:
    for (namespace, name), counts in report.services.items():
        why = ", ".join(row.id for row in report.rows if counts[row.id])
        numbers = {outcome.value: counts[outcome.value] for outcome in Outcome}
        yield ServiceRow(name=f"{namespace}/{name}", why=why, **numbers)
