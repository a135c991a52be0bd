"""The trace page as one value: everything its templates show, made from an answer document and a query alone.

Live pages and frozen links use the same presenter; they differ only in where their addresses point.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from tracer.graph import Graph, Path, matches, modelled_nodes, most_likely, named
from tracer.odds_text import odds_text
from tracer.packet import endpoint_text, host_text
from tracer.query import parse_destination, parse_protocol
from tracer.trace import LATER
from tracer.values import dataclass
from webapp.answering.document import Answer
from webapp.drawing.graph_svg import LayoutError
from webapp.presenters.also import AlsoWay, also_ways
from webapp.presenters.assumed import Assumed, assumed
from webapp.presenters.drawing import Drawing, drawing
from webapp.presenters.facts import facts
from webapp.presenters.inspector import Inspector, inspector
from webapp.presenters.journey import Moment, journey
from webapp.presenters.legend import Legend, legend
from webapp.presenters.reasons_for import reason_url
from webapp.presenters.shown import Shown
from webapp.presenters.steps import StepItem, step_items
from webapp.presenters.verdict import Verdict, path_to_show, unchecked, verdict
from webapp.presenters.what_if import WhatIf, what_if
from webapp.questions.trace_query import TraceQuery

Json = Mapping[str, Any]
EXPORTS = (("svg", "SVG picture"), ("png", "PNG picture"), ("dot", "DOT graph"), ("mmd", "Mermaid"), ("json", "JSON answer"))
PAGE_ROWS = 100
MOST_REFS = 400
NOTHING = Shown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One value of a control, as a link."""

    label: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRow:
    """One row of the table of all paths."""

    target: str
    address: str
    node: str
    zone: str
    verdict: str
    odds: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PathTable:
    """All paths, searched and sorted. *hidden* rows match and are not shown: the search box narrows them."""

    rows: tuple[PathRow, ...]
    total: int
    hidden: int
    sorts: tuple[Choice, ...]
    close_url: str
    zones: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TracePage:
    """Everything below the form. *here* is the query with the step that is shown.

    *drawing* is None when there is no layout; *graph_error* then says why.
    """

    query: TraceQuery
    here: TraceQuery
    verdict: Verdict
    verdict_url: str
    verdict_parts: tuple[tuple[str, str], ...]
    detail_parts: tuple[tuple[str, str], ...]
    reason_url: str
    others: tuple[tuple[str, str, str], ...]
    heading: str
    following: str
    folded: str
    folds: tuple[Choice, ...]
    notes: tuple[str, ...]
    drawing: Drawing | None
    graph_error: str
    smaller_url: str
    there: tuple[StepItem, ...]
    back: tuple[StepItem, ...]
    has_reply: bool
    reply_note: str
    inspector: Inspector
    step: int
    steps_url: tuple[str, str, str, str]
    picks: tuple[tuple[Any, str], ...]
    question_url: str
    details: tuple[Choice, ...]
    views: tuple[Choice, ...]
    exports: tuple[tuple[str, str, str], ...]
    table: PathTable | None
    list_url: str
    self_url: str
    conditions: tuple[str, ...]
    assumed: tuple[Assumed, ...]
    what_if: WhatIf
    unknowns: tuple[str, ...]
    unchecked: tuple[str, ...]
    remarks: tuple[str, ...]
    also: tuple[AlsoWay, ...]
    title: str
    question: str
    printed: str
    affinity: Mapping[str, int]
    follow: str
    facts: str
    depends: str
    generation: str
    taken_at: str
    engine_version: str
    legend: Legend
    is_sketch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What a page is drawn from: the answer as it is looked at, the path that is followed, and where on it the reader stands."""

    shown: Answer
    query: TraceQuery
    here: TraceQuery
    path: str
    paths: tuple[Path, ...]
    followed: Path
    outcome: Json
    moments: tuple[Moment, ...]
    said: Verdict
    step: int


def with_origins(page: TracePage, origins: Mapping[str, str]) -> TracePage:
    """Return *page* with what each file that it names was called when it was handed in; *origins* is documented path → that."""
    named = tuple(replace(one, origin=origins.get(one.file, "")) for one in page.inspector.evidence)
    return replace(page, inspector=replace(page.inspector, evidence=named))


def trace_page(answer: Answer, query: TraceQuery, path: str, before: Shown = NOTHING) -> TracePage:
    """Return the page for *answer* looked at as *query* says; *path* is the page's own path, to which its addresses belong.

    *before* is what the browser shows by now: that is followed on where *query* names nothing else, or nothing that there is.
    """
    wanted, looked = query.follow, _looked(answer, query, path, before)
    query, here, step, moments, outcome = looked.query, looked.here, looked.step, looked.moments, looked.outcome
    graph = looked.shown.graph(follow=looked.followed.id, detail=query.detail, group=query.group, expand=query.expand, find=query.find)
    picture, failed = _draw(graph, moments, here, path, step, looked.shown.owners)
    urls = {moment.n: query.but(step=moment.n, find="").url(path) for moment in moments}
    there, back = step_items(moments, urls, step, with_rules=query.detail == "rules")
    panel = inspector(looked.shown.document, outcome, moments, step, looked.paths, looked.followed)
    return TracePage(
        query=query,
        here=here,
        folded=_folded(graph),
        folds=tuple(_folds(graph, here, path)),
        notes=(*graph.notes, *_unmatched(query, looked.paths)),
        drawing=picture,
        graph_error=failed,
        there=there,
        back=back,
        has_reply="reply" in outcome,
        reply_note=_reply_note(outcome),
        inspector=panel,
        step=step,
        steps_url=_transport(urls, step, len(moments)),
        picks=tuple((row, query.but(follow=row.follow, step=None).url(path)) for row in panel.picks),
        question_url=_question_url(query, panel, path),
        **_words(looked),
        **_choices_of(looked),
        **_record(looked),
        follow=before.mark(looked.followed, wanted),
    )


def _looked(answer: Answer, query: TraceQuery, path: str, before: Shown) -> _Looked:
    shown = answer if query.seed is None else answer.sample(query.seed)
    paths = shown.paths
    followed = before.among(paths, query.follow) or path_to_show(shown.answer, paths)
    if query.follow and before.path:
        query = query.but(follow=followed.id)
    outcome = shown.answer["outcomes"][followed.index]
    moments = journey(outcome, shown.answer.get("lookups") or ())
    said = verdict(shown.answer, paths, followed)
    step = _step(query if query.step else query.but(step=before.step), said, moments)
    return _Looked(
        shown=shown,
        query=query,
        here=query.but(step=step),
        path=path,
        paths=paths,
        followed=followed,
        outcome=outcome,
        moments=moments,
        said=said,
        step=step,
    )


def _words(looked: _Looked) -> dict[str, Any]:
    """The fields that say what came of the question, and of which one."""
    said, shown, query, path = looked.said, looked.shown, looked.query, looked.path
    return {
        "verdict": said,
        "verdict_url": _verdict_url(query, said, path),
        "verdict_parts": tuple(_coloured(said.text, looked.moments)),
        "detail_parts": tuple(_coloured(said.detail, looked.moments)),
        "reason_url": reason_url(said.code),
        "others": tuple((word, odds, query.but(follow=best, step=None).url(path)) for word, odds, best in said.others),
        "heading": _heading(looked.paths, query),
        "following": _following(looked.paths, looked.followed, query),
        "conditions": looked.followed.conditions,
        "assumed": assumed(shown.answer, query, path),
        "what_if": what_if(shown.document, looked.outcome, query, path),
        "unknowns": tuple(dict.fromkeys(item["text"] for item in shown.answer.get("unknowns") or ())),
        "unchecked": unchecked(shown.answer),
        "remarks": tuple(remark["text"] for remark in looked.outcome.get("remarks") or () if remark["code"] not in LATER),
        "also": also_ways(looked.outcome),
        "title": _title(shown.answer, said),
        "question": " → ".join(_ends(shown.answer)),
        "printed": _printed(shown),
        "is_sketch": bool(shown.answer.get("origin")),
        "facts": facts(said.whole, looked.paths),
        "legend": legend(
            with_reply="reply" in looked.outcome,
            with_dns=bool(shown.answer.get("lookups")),
            with_outside=bool(looked.outcome.get("left_from")),
            with_modelled=bool(modelled_nodes(shown.answer)),
        ),
    }


def _choices_of(looked: _Looked) -> dict[str, Any]:
    """The fields by which the reader looks otherwise: detail, views, exports, the list of all paths."""
    query, here, path = looked.query, looked.here, looked.path
    listed = "all" in query.expand
    return {
        "smaller_url": here.but(group="zone", expand=()).url(path),
        "details": tuple(_choices(here, path, "detail", (("objects", "objects only"), ("chains", "chains"), ("rules", "every rule")))),
        "views": tuple(_choices(here, path, "view", (("steps", "Steps"), ("graph", "Graph")))),
        "exports": tuple(
            (suffix, label, here.url(f"{path}/trace.{suffix}" if path.startswith("/t/") else f"{path}.{suffix}"))
            for suffix, label in EXPORTS
        ),
        "table": _table(looked.shown, looked.paths, looked.followed, here, path) if listed else None,
        "list_url": here.but(expand=tuple(sorted({*query.expand, "all"}))).url(path) if len(looked.paths) > 1 else "",
        "self_url": here.url(path),
    }


def _record(looked: _Looked) -> dict[str, Any]:
    """The fields that a live page and a frozen one keep: of which moment the answer is, and what it rests on."""
    document = looked.shown.document
    return {
        "affinity": document.get("affinity") or {},
        "depends": _depends(document),
        "generation": looked.shown.generation,
        "taken_at": str(document.get("snapshot", {}).get("taken_at") or ""),
        "engine_version": str(document.get("engine_version", "")),
    }


def _depends(document: Json) -> str:
    """Return what a change must touch to change this answer, ``*`` where that is more than can be told."""
    refs = document.get("live", {}).get("depends", ())
    return " ".join(refs) if 0 < len(refs) <= MOST_REFS else "*"


def _step(query: TraceQuery, said: Verdict, moments: Sequence[Moment]) -> int:
    """Return the step to show: the one asked for, within bounds; else the verdict's, when it lies on this path; else the first."""
    if query.step is not None:
        return min(query.step, len(moments)) or 1
    return said.step if not said.follow and said.step <= len(moments) and (said.code or said.icon != "ok") else 1


def _draw(
    graph: Graph, moments: Sequence[Moment], query: TraceQuery, path: str, step: int, owners: Mapping[str, str]
) -> tuple[Drawing | None, str]:
    try:
        return drawing(graph, moments, query, lambda target: target.url(path), step, owners), ""
    except LayoutError as error:
        return None, str(error)


def _question_url(query: TraceQuery, panel: Inspector, path: str) -> str:
    """Return the address that traces this step's own question to the DNS server, "" where there is none to follow."""
    if not panel.questions or query.source is None:
        return ""
    server, transport = panel.questions[0].server, panel.questions[0].transport
    asked = TraceQuery(source=query.source, destination=parse_destination(endpoint_text(server, 53)), protocol=parse_protocol(transport))
    return asked.url(path)


def _verdict_url(query: TraceQuery, said: Verdict, path: str) -> str:
    return query.but(step=said.step, follow=said.follow or query.follow).url(path)


def _coloured(text: str, moments: Sequence[Moment]) -> Iterator[tuple[str, str]]:
    """Yield *text* in parts, addresses of the caller's side with ``s``, those of the called side with ``d``."""
    sides: dict[str, str] = {}
    for moment in moments:
        for packet in (moment.before, moment.after):
            if packet and not moment.reply:
                sides[str(packet["destination"])] = sides.get(str(packet["destination"]), "d")
                sides[str(packet["source"])] = "s"
    if not sides:
        yield text, ""
        return
    # An address that both sides bear (a node's own) is the caller's here: the ribbons tell the rest.
    for part in re.split(rf"(?<![\w.:])({'|'.join(map(re.escape, sorted(sides, key=len, reverse=True)))})(?!:?\w|\.[0-9])", text):
        if part:
            yield part, sides.get(part, "")


def _heading(paths: Sequence[Path], query: TraceQuery) -> str:
    if query.seed is not None:
        return f"One sample, seed {query.seed}"
    entries, targets = {path.entry for path in paths}, {path.target for path in paths}
    if len(entries) > 1 and len(targets) > 1 and len(entries) * len(targets) == len(paths):
        ends = "endpoints" if all(path.disposition == "delivered" for path in paths) else "ends"
        return f"{len(targets):,} {ends} × {len(entries):,} nodes = {len(paths):,} paths"
    return "1 path" if len(paths) == 1 else f"{len(paths):,} paths"


def _following(paths: Sequence[Path], followed: Path, query: TraceQuery) -> str:
    if len(paths) == 1 and query.seed is None:
        return ""
    ends = f"to {followed.title}" if followed.disposition == "delivered" else f"that ends {followed.title}"
    odds = "" if any(path.conditions for path in paths) else f", probability {odds_text(followed.probability)}"
    return f"{'The one' if query.seed is not None else 'Following the one'} {ends}{odds}"


def _folded(graph: Graph) -> str:
    return f"Folded by {graph.folded_by}." if graph.folded_by and any(box.count > 1 for box in graph.boxes) else ""


def _folds(graph: Graph, query: TraceQuery, path: str) -> Iterator[Choice]:
    if graph.endpoints <= 2:
        return
    if any(box.count > 1 for box in graph.boxes):
        other = "node" if graph.folded_by == "zone" else "zone"
        yield Choice(label=f"by {other}", url=query.but(group=other, expand=()).url(path), current=False)
    if query.group or [name for name in query.expand if name != "all"]:
        yield Choice(label="fold again", url=query.but(group="", expand=()).url(path), current=False)
    if "all" not in query.expand:
        yield Choice(
            label=f"list all {graph.endpoints}", url=query.but(expand=tuple(sorted({*query.expand, "all"}))).url(path), current=False
        )


def _unmatched(query: TraceQuery, paths: Sequence[Path]) -> Iterator[str]:
    if query.find and not any(matches(path, query.find) for path in paths):
        yield f"Nothing here is called “{query.find}”."
    if query.follow and named(paths, query.follow) is None:
        yield "The path of this link is not among the answer's paths; the most likely one is followed."


def _reply_note(outcome: Json) -> str:
    """Return what stands where the reply's steps would, "" when there are some."""
    if outcome.get("reply"):
        return ""
    if outcome["disposition"] == "delivered":
        return "The way back is not modelled yet."
    if outcome["disposition"] == "leaves":
        return "Whether an answer comes, and finds its way back, is not recorded."
    return "The refusal is the answer." if outcome["disposition"] == "rejected" else "Nothing comes back from here."


def _transport(urls: Mapping[int, str], step: int, total: int) -> tuple[str, str, str, str]:
    return urls[1], urls[max(step - 1, 1)], urls[min(step + 1, total)], urls[total]


def _choices(query: TraceQuery, path: str, name: str, values: Sequence[tuple[str, str]]) -> Iterator[Choice]:
    for value, label in values:
        yield Choice(label=label, url=query.but(**{name: value}).url(path), current=getattr(query, name) == value)


def _table(shown: Answer, paths: Sequence[Path], followed: Path, query: TraceQuery, path: str) -> PathTable:
    sure = not any(p.conditions for p in paths)
    groups: dict[str, list[Path]] = {}
    for found in paths:
        if not query.find or matches(found, query.find):
            groups.setdefault(found.target, []).append(found)
    rows = [_path_row(members, followed, shown.zones, query, path, sure=sure) for members in groups.values()]
    order = {
        "probability": lambda row: (-row[0], row[1].target),
        "name": lambda row: (row[1].target, row[1].address),
        "node": lambda row: (row[1].node, row[1].target),
    }
    rows.sort(key=order[query.sort])
    close = query.but(expand=tuple(name for name in query.expand if name != "all"), sort="probability")
    return PathTable(
        rows=tuple(row for _, row in rows[:PAGE_ROWS]),
        total=len({p.target for p in paths}),
        hidden=max(0, len(rows) - PAGE_ROWS),
        sorts=tuple(_choices(query, path, "sort", (("probability", "Probability"), ("name", "Name"), ("node", "Node")))),
        close_url=close.url(path),
        zones=bool(shown.zones),
    )


def _path_row(
    members: Sequence[Path], followed: Path, zones: Mapping[str, str], query: TraceQuery, path: str, *, sure: bool
) -> tuple[Fraction, PathRow]:
    best = most_likely(members)
    share = sum((p.probability for p in members), Fraction(0))
    row = PathRow(
        target=best.title,
        address=best.subtitle,
        node=best.node,
        zone=zones.get(best.node, ""),
        verdict=best.disposition,
        odds=odds_text(share) if sure else "–",
        url=query.but(follow=best.id, step=None).url(path),
        current=followed.target == best.target,
    )
    return share, row


def _ends(answer: Json) -> tuple[str, str]:
    """Return who asked and for what, in few words."""
    query = answer["query"]
    source = query["from"].get("ip") or "/".join(filter(None, (query["from"].get("namespace"), query["from"].get("name"))))
    to = query["to"]
    service = to.get("service")
    host = f"{service['namespace']}/{service['name']}" if service else host_text(to["host"])
    return str(source), f"{host}:{to['port']}" if to.get("port") else host


def _printed(shown: Answer) -> str:
    """Return what a sheet of paper has to say by itself: what was asked, of which cluster, and of when its record is."""
    source, to = _ends(shown.answer)
    snapshot = shown.document.get("snapshot", {})
    taken = str(snapshot.get("taken_at") or "")
    when = f"as of {datetime.fromisoformat(taken):%Y-%m-%d %H:%M:%S %Z}".strip() if taken else "of no recorded time"
    kind, protocol = shown.answer["query"]["from"]["kind"], str(shown.answer["query"]["protocol"]).upper()
    return f"From {kind} {source} to {to}, {protocol}. Cluster {snapshot.get('name') or 'without a name'}, {when}."


def _title(answer: Json, said: Verdict) -> str:
    return f"{' to '.join(_ends(answer))}, {said.whole[:1].lower()}{said.whole[1:]}"
