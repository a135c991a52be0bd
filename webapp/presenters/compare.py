"""Two answers beside each other as one value: verdicts, differences, where packets end, pictures and steps, with what only one has marked.

Either side is an ordinary trace page; here ends are matched and the sides lined up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from fractions import Fraction
from itertools import zip_longest
from typing import Any

from tracer.dispositions import WORDS
from tracer.graph import Path, most_likely
from tracer.odds_text import odds_text
from tracer.values import dataclass
from webapp.answering.document import Answer
from webapp.presenters.drawing import Drawing, DrawnBox
from webapp.presenters.page import NOTHING, TracePage, trace_page
from webapp.presenters.shown import Shown
from webapp.presenters.steps import StepItem
from webapp.presenters.what_if import WhatIf
from webapp.questions.trace_query import TraceQuery

Json = Mapping[str, Any]
MOST_ROWS = 60
_NEAR = Fraction(1, 1_000_000)
_KINDS = {
    "disposition": "How packets end",
    "destination": "Whom they reach",
    "odds": "Odds",
    "source_seen": "Source that is seen",
    "reply": "Answers",
    "client_sees": "What the client meets",
    "listener": "Who listens",
    "conditions": "What is not known",
    "findings": "What is found",
    "lookups": "Look-ups",
    "steps": "Rules on the way",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two answers: *name* heads it, *url* is its own page, "" where there is none; *key* tells its ids from the other's."""

    key: str
    name: str
    page: TracePage
    url: str
    drawing: Drawing | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Differences of one kind, as sentences."""

    title: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndRow:
    """One end that either answer has. *changed* names what differs, in words; *url* follows it on both sides."""

    title: str
    subtitle: str
    before: str
    after: str
    seen_before: str
    seen_after: str
    changed: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """Steps that stand beside each other. *mark* says how they differ, "" where they do not."""

    before: StepItem | None
    after: StepItem | None
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePage:
    """The whole page. *verdicts_differ*: the headlines say something else."""

    title: str
    question: str
    sentence: str
    same: bool
    sides: tuple[Side, Side]
    verdicts_differ: bool
    groups: tuple[Group, ...]
    rows: tuple[EndRow, ...]
    hidden: int
    steps: tuple[StepRow, ...]
    what_if: WhatIf
    exports: tuple[tuple[str, str], ...]
    self_url: str

    @property
    def page(self) -> TracePage:
        """Return the page of the answer after the change: what a live page is kept fresh by."""
        return self.sides[1].page


def compare_page(answer: Answer, query: TraceQuery, path: str, shown: Shown = NOTHING) -> ComparePage:
    """Return the page of *answer*, which is a comparison; *path* is its own path. Its sides lead to trace pages, unless it is frozen."""
    before, after = answer.before, answer
    live = not path.startswith("/t/")
    there = path.removesuffix("/compare") + "/trace" if live else path
    rows = list(_rows(before, after, query, path))
    was, now = _followed(before.paths, after.paths, query.follow or shown.path, rows)
    plain = query.plain().but(step=None)
    pages = trace_page(before, plain.but(follow=was.id), there), trace_page(after, query.but(follow=now.id, step=None), there, shown)
    told = answer.comparison
    return ComparePage(
        title=f"What if: {pages[1].title}",
        question=pages[1].question,
        sentence=told["text"],
        same=told["same"],
        sides=_sides(pages, (plain.url(there), query.but(follow="", step=None).url(there)) if live else ("", "")),
        verdicts_differ=_said(pages[0]) != _said(pages[1]),
        groups=tuple(_groups(told["differences"])),
        rows=tuple(replace(row, current=_holds(ends, query.follow or now.id)) for ends, row in rows[:MOST_ROWS]),
        hidden=max(0, len(rows) - MOST_ROWS),
        steps=tuple(_steps(pages)),
        what_if=pages[1].what_if,
        exports=tuple((label, query.url(_file(path, suffix))) for suffix, label in (("json", "JSON of both"), ("md", "Markdown"))),
        self_url=query.url(path),
    )


def _file(path: str, suffix: str) -> str:
    return f"{path}/compare.{suffix}" if path.startswith("/t/") else f"{path}.{suffix}"


def _said(page: TracePage) -> tuple[str, str, str]:
    return page.verdict.head, page.verdict.lit, page.verdict.text


def _groups(differences: Sequence[Json]) -> Iterator[Group]:
    for kind, title in _KINDS.items():
        if texts := tuple(str(one["text"]) for one in differences if one["kind"] == kind):
            yield Group(title=title, texts=texts)


# --- ends ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _End:
    """The paths of one answer that end alike."""

    paths: tuple[Path, ...]
    seen: str
    meets: str

    @property
    def share(self) -> Fraction:
        return sum((path.probability for path in self.paths), Fraction(0))

    @property
    def odds(self) -> str:
        return "depends" if any(path.conditions for path in self.paths) else odds_text(self.share)

    @property
    def verdict(self) -> str:
        return WORDS[self.paths[0].disposition].title


def _ends(answer: Answer) -> dict[str, _End]:
    groups: dict[str, list[Path]] = {}
    for path in answer.paths:
        groups.setdefault(f"{path.disposition} {path.target}", []).append(path)
    return {key: _End(tuple(paths), _seen(answer, paths), _meets(answer, paths)) for key, paths in groups.items()}


def _seen(answer: Answer, paths: Sequence[Path]) -> str:
    found = [answer.answer["outcomes"][path.index].get("source_seen") or {} for path in paths]
    return " or ".join(sorted({str(one.get("ip") or f"an address of node {one['node']}") for one in found if one})) or "–"


def _meets(answer: Answer, paths: Sequence[Path]) -> str:
    return " or ".join(sorted({str(answer.answer["outcomes"][path.index].get("client_sees", "unknown")) for path in paths}))


def _rows(before: Answer, after: Answer, query: TraceQuery, path: str) -> Iterator[tuple[tuple[_End | None, _End | None], EndRow]]:
    """Every end, those that differ first."""
    was, now = _ends(before), _ends(after)
    found = [(key, was.get(key), now.get(key)) for key in dict.fromkeys((*was, *now))]
    found.sort(key=lambda row: (not _changed(row[1], row[2]), -max(end.share for end in row[1:] if end is not None)))
    for _, one, other in found:
        any_end = other or one
        if any_end is None:
            continue
        first = any_end.paths[0]
        ends = first.title if first.disposition == "delivered" else any_end.verdict
        yield (
            (one, other),
            EndRow(
                title=ends,
                subtitle=f"{first.subtitle} {first.node}".strip(),
                before=one.odds if one else "not",
                after=other.odds if other else "not",
                seen_before=one.seen if one else "",
                seen_after=other.seen if other else "",
                changed=_changed(one, other),
                url=query.but(follow=most_likely(any_end.paths).id, step=None).url(path),
                current=False,
            ),
        )


def _holds(ends: tuple[_End | None, _End | None], wanted: str) -> bool:
    return any(path.id == wanted for end in ends if end is not None for path in end.paths)


def _changed(one: _End | None, other: _End | None) -> str:
    """What differs of an end, in words."""
    if one is None or other is None:
        return "only before" if one is not None else "only after"
    found = [
        *(["odds"] if abs(one.share - other.share) > _NEAR else []),
        *(["source seen"] if one.seen != other.seen else []),
        *(["what the client meets"] if one.meets != other.meets else []),
    ]
    return ", ".join(found)


def _followed(
    was: Sequence[Path], now: Sequence[Path], wanted: str, rows: Sequence[tuple[tuple[_End | None, _End | None], EndRow]]
) -> tuple[Path, Path]:
    """The path to follow on either side: the one asked for, else the first end that differs and both have, else what only one has."""
    for (one, other), row in rows:
        found = next((path for end in (other, one) if end is not None for path in end.paths if path.id == wanted), None)
        if found is not None or (not wanted and row.changed and one is not None and other is not None):
            return _pair(one, other, was, now, found)
    only = next((ends for ends, row in rows if row.changed == "only after"), (None, None))
    gone = next((ends for ends, row in rows if row.changed == "only before"), (None, None))
    return _pair(gone[0], only[1], was, now, None)


def _pair(one: _End | None, other: _End | None, was: Sequence[Path], now: Sequence[Path], wanted: Path | None) -> tuple[Path, Path]:
    """A path of either side, by the same node where there are such; *wanted* is one of them."""
    before, after = (one.paths if one else was), (other.paths if other else now)
    if wanted is not None:
        before, after = ((wanted,) if wanted in before else before), ((wanted,) if wanted in after else after)
    first = most_likely(before)
    for start in (first, *before):
        if same := [path for path in after if path.entry == start.entry]:
            return start, most_likely(same)
    return first, most_likely(after)


# --- pictures --------------------------------------------------------------------------------------------------------


def _sides(pages: tuple[TracePage, TracePage], urls: tuple[str, str]) -> tuple[Side, Side]:
    one, other = (page.drawing for page in pages)
    drawings = _marked(one, other, "only before", "before-"), _marked(other, one, "only after", "after-")
    before, after = (
        Side(key=key, name=name, page=page, url=url, drawing=drawn)
        for key, name, page, url, drawn in zip(("before", "after"), ("As it is", "What if"), pages, urls, drawings, strict=True)
    )
    return before, after


def _marked(drawn: Drawing | None, other: Drawing | None, words: str, prefix: str) -> Drawing | None:
    """Return *drawn* with what the *other* picture lacks marked."""
    if drawn is None:
        return None
    name = f", {'as it is' if prefix.startswith('before') else 'what if'}"
    if other is None:
        return replace(drawn, prefix=prefix, name=name)
    have = {_box_key(box) for box in other.boxes}
    boxes = tuple(box if _box_key(box) in have else _only(box, words) for box in drawn.boxes)
    values = {(segment.css.split()[0], segment.whole) for segment in other.tape.segments}
    segments = tuple(
        segment if (segment.css.split()[0], segment.whole) in values else replace(segment, css=f"{segment.css} only")
        for segment in drawn.tape.segments
    )
    return replace(drawn, boxes=boxes, tape=replace(drawn.tape, segments=segments), prefix=prefix, name=name)


def _box_key(box: DrawnBox) -> tuple[str, ...]:
    one = box.placed.box
    return (one.kind, one.title, one.region, *one.chips)


def _only(box: DrawnBox, words: str) -> DrawnBox:
    return replace(box, css=f"{box.css} only", mark=words, label=f"{box.label}. {words.capitalize()}")


# --- steps -----------------------------------------------------------------------------------------------------------


def _steps(pages: tuple[TracePage, TracePage]) -> Iterator[StepRow]:
    """The steps of both sides in one list; those that both have stand beside each other."""
    for one, other in ((pages[0].there, pages[1].there), (pages[0].back, pages[1].back)):
        matcher = SequenceMatcher(a=[_step_key(s) for s in one], b=[_step_key(s) for s in other], autojunk=False)
        for word, a0, a1, b0, b1 in matcher.get_opcodes():
            for before, after in zip_longest(one[a0:a1], other[b0:b1]):
                yield StepRow(before=before, after=after, mark="" if word == "equal" and _alike(before, after) else _how(before, after))


def _step_key(step: StepItem) -> tuple[str, str]:
    return step.title, step.where


def _alike(before: StepItem | None, after: StepItem | None) -> bool:
    return before is not None and after is not None and before.changes == after.changes and before.rules == after.rules


def _how(before: StepItem | None, after: StepItem | None) -> str:
    if before is None or after is None:
        return "only after" if before is None else "only before"
    if _step_key(before) != _step_key(after):
        return "another step"
    return "another address" if before.changes != after.changes else "another rule"
