"""The list of steps: the graph's text alternative, with the packet tape in its gutter on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracer.graph import place_of
from tracer.values import dataclass
from webapp.presenters.journey import Moment, shown, side_text

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One rule of a station, shown when every rule is asked for: its number (9.1), what it says, and where it stands."""

    number: str
    text: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepItem:
    """One row of the list. *changes* are (side, label, value): side ``s`` is the caller's address, ``d`` the called one, "" the mark.

    *caller* and *called* draw the gutter: ``o`` as the client knows it, ``w`` rewritten; the breaks say where it changes.
    *rules* are the texts of its rules, *parts* the same for who asks to see every rule.
    """

    n: int
    title: str
    where: str
    url: str
    current: bool
    changes: tuple[tuple[str, str, str], ...]
    caller: str = ""
    called: str = ""
    breaks: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    rules: tuple[str, ...] = ()


def step_items(
    moments: Sequence[Moment], urls: Mapping[int, str], current: int, *, with_rules: bool
) -> tuple[tuple[StepItem, ...], tuple[StepItem, ...]]:
    """Return the rows of the way there and of the way back."""
    first = next((moment.before for moment in moments if moment.kind != "dns" and moment.before), {})
    items = [_item(moment, first, urls, current, with_rules=with_rules) for moment in moments]
    there = tuple(item for item, moment in zip(items, moments, strict=True) if not moment.reply)
    back = tuple(item for item, moment in zip(items, moments, strict=True) if moment.reply)
    return there, back


def _item(moment: Moment, first: Json, urls: Mapping[int, str], current: int, *, with_rules: bool) -> StepItem:
    # The reply's source is the called side: colour follows the role, not the field.
    sides = {"source": "d", "destination": "s"} if moment.reply else {"source": "s", "destination": "d"}
    changes = []
    if moment.changes_source:
        changes.append((sides["source"], "src", side_text(moment.after, "source")))
    if moment.changes_destination:
        changes.append((sides["destination"], "dst", side_text(moment.after, "destination")))
    if moment.kind == "dns":
        changes.append(("", "asks", moment.question))
    if moment.changed == ("mark",):
        changes.append(("", "mark", shown(moment.after, "mark")))
    if moment.is_inferred:
        changes.append(("", "route", "inferred"))
    caller, called = ("destination", "source") if moment.reply else ("source", "destination")
    drawn = bool(moment.before)
    return StepItem(
        n=moment.n,
        title=moment.title,
        where=moment.where,
        url=urls[moment.n],
        current=moment.n == current,
        changes=tuple(changes),
        caller=_state(first, "source", moment.after, caller) if drawn else "",
        called=_state(first, "destination", moment.after, called) if drawn else "",
        breaks=tuple(side for side, _, _ in changes if side),
        parts=_parts(moment) if with_rules else (),
        rules=tuple(str(step.get("rule") or step.get("policy") or "") for step in moment.steps),
    )


def _state(first: Json, original: str, packet: Json, field: str) -> str:
    return "o" if first.get(original) == packet.get(field) and first.get(f"{original}_port") == packet.get(f"{field}_port") else "w"


def _parts(moment: Moment) -> tuple[Part, ...]:
    return tuple(
        Part(
            number=f"{moment.n}.{place}",
            text=str(step.get("rule") or f"{step['chain']}: policy {step.get('policy', '')}"),
            place=_place(step),
        )
        for place, step in enumerate(moment.steps, start=1)
    )


def _place(step: Json) -> str:
    where = f"{step['table']} {step['hook'].upper()}"
    return ", ".join(filter(None, (where, place_of(step))))
