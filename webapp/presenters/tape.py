"""The packet tape: source and destination as ribbons under the graph, broken exactly where an address is rewritten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tracer.values import dataclass
from webapp.presenters.journey import Moment, shown, side_text

Json = Mapping[str, Any]
ROW_HEIGHT = 23.0
MARK_HEIGHT = 19.0
GAP = 2.5
NOTCH = 7.0
LEAST = 16.0
"""How much of a ribbon each piece has at least, in the picture's units: none is left out."""
MONO, UI = 7.28, 5.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One piece of a ribbon: *css* says side and state, *step* where it begins, *points* its outline.

    *value* and *owner* are written on it as far as there is room; *whole* has both.
    """

    css: str
    step: int
    points: str
    text_x: float
    text_y: float
    value: str
    owner: str
    whole: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkSegment:
    """How long the packet carries a mark on one node."""

    step: int
    x: float
    y: float
    width: float
    value: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """All rows. *height* is the drawing's full height; the playhead ends at *request_bottom*, or *reply_bottom* for reply steps."""

    segments: tuple[Segment, ...]
    marks: tuple[MarkSegment, ...]
    height: float
    top: float
    request_bottom: float
    reply_bottom: float
    caption_y: float
    has_reply: bool


Place = Callable[[int], float]
Owners = Mapping[str, str]
"""Address → whose it is, in a word."""


def tape(moments: Sequence[Moment], place: Place, width: float, top: float, owners: Owners) -> Tape:
    """Return the tape of a path; *place* gives the x of a step, *top* the y of the first row."""
    there = [moment for moment in moments if not moment.reply and moment.kind != "dns" and moment.before]
    back = [moment for moment in moments if moment.reply]
    rows = {"src": top, "dst": top + 26, "mark": top + 52, "rsrc": top + 77, "rdst": top + 103}
    ribbon = _Ribbon(place, width, owners)
    segments: list[Segment] = []
    if there:
        segments += ribbon.row(there, "source", "src", rows["src"])
        segments += ribbon.row(there, "destination", "dst", rows["dst"])
    if back and there:
        segments += ribbon.row(back, "source", "dst", rows["rsrc"], original=side_text(there[0].before, "destination"))
        segments += ribbon.row(back, "destination", "src", rows["rdst"], original=side_text(there[0].before, "source"))
    marks = tuple(_marks(there, place, rows["mark"]))
    bottom = rows["mark"] + MARK_HEIGHT if marks or back else rows["dst"] + ROW_HEIGHT
    end = rows["rdst"] + ROW_HEIGHT if back else bottom
    return Tape(
        segments=tuple(segments),
        marks=marks,
        height=end + 10,
        top=rows["src"] - 6,
        request_bottom=bottom,
        reply_bottom=end + 3,
        caption_y=rows["mark"] + 14,
        has_reply=bool(back),
    )


def pieces(moments: Sequence[Moment], side: str) -> list[tuple[int, Json]]:
    """Return the packets of one side, each with the step from which on the side is as it is there."""
    found: list[tuple[int, Json]] = []
    for moment in moments:
        for packet in (moment.before, moment.after):
            if found and side_text(found[-1][1], side) == side_text(packet, side):
                continue
            if found and found[-1][0] == moment.n and len(found) > 1:
                found.pop()
            if not found or side_text(found[-1][1], side) != side_text(packet, side):
                found.append((moment.n, packet))
    return found


def starts(places: Sequence[float], width: float) -> list[float]:
    """Return where a ribbon's pieces begin: at their *places* along it, moved as far as each needs to be seen, in their order."""
    found = [0.0]
    for place in places[1:]:
        found.append(max(place, found[-1] + LEAST))
    room = width
    for at in range(len(found) - 1, 0, -1):
        room -= LEAST
        found[at] = min(found[at], max(room, 0.0))
    return found


@dataclass(frozen=True, slots=True)
class _Ribbon:
    """Draws ribbons: *place* gives the x of a step, *width* is the picture's, *owners* are those of addresses."""

    place: Place
    width: float
    owners: Owners

    def row(self, moments: Sequence[Moment], side: str, css: str, y: float, *, original: str = "") -> list[Segment]:
        """Return one ribbon's pieces. The request's points right; the reply's, which has an *original*, points left."""
        forward, label = not original, "src" if side == "source" else "dst"
        original = original or side_text(moments[0].before, side)
        cut = pieces(moments, side)
        along = starts([self.place(step) if forward else self.width - self.place(step) for step, _ in cut], self.width)
        begins = [x if forward else self.width - x for x in along]
        found = []
        for at, (step, packet) in enumerate(cut):
            value, first, last = side_text(packet, side), at == 0, at == len(cut) - 1
            end = (self.width if forward else 0.0) if last else begins[at + 1]
            x0, x1 = (begins[at], end) if forward else (end, begins[at])
            x0 += 0 if (forward and first) or (not forward and last) else GAP - (NOTCH if forward else 0)
            x1 -= 0 if (forward and last) or (not forward and first) else GAP - (0 if forward else NOTCH)
            state = "orig" if value == original else "new"
            text, owner = f"{label} {value}" if first else value, self.owners.get(str(packet.get(side)), "")
            opens = {"open_start": forward and not first, "open_end": not forward and not first}
            found.append(_segment(f"{css} {state}", step, x0, x1, y, text, owner, forward=forward, **opens))
        return found


def _segment(
    css: str, step: int, x0: float, x1: float, y: float, value: str, owner: str, *, forward: bool, open_start: bool, open_end: bool
) -> Segment:
    h, t = ROW_HEIGHT, NOTCH
    if forward:
        points = [(x0, y), (x1 - t, y), (x1, y + h / 2), (x1 - t, y + h), (x0, y + h)] + ([(x0 + t, y + h / 2)] if open_start else [])
    else:
        points = [(x0 + t, y), (x1, y), *([(x1 - t, y + h / 2)] if open_end else []), (x1, y + h), (x0 + t, y + h), (x0, y + h / 2)]
    room, whole = x1 - x0 - 24, f"{value} {owner}".strip()
    if len(value) * MONO > room:
        value, owner = "", ""
    elif len(value) * MONO + 7 + len(owner) * UI > room:
        owner = ""
    outline = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    text_x = x0 + (14 if open_start or not forward else 12)
    return Segment(css=css, step=step, points=outline, text_x=text_x, text_y=y + 15.5, value=value, owner=owner, whole=whole)


def _marks(moments: Sequence[Moment], place: Place, y: float) -> list[MarkSegment]:
    """Return the stretches on which the packet carries a mark: from the step that sets it to the one that clears it, or the node's last."""
    found: list[MarkSegment] = []
    begun: Moment | None = None
    previous: Moment | None = None
    for moment in moments:
        leaves = previous is not None and moment.hop != previous.hop
        if begun and previous and (leaves or shown(moment.after, "mark") != shown(begun.after, "mark")):
            end = previous if leaves else moment
            found.append(_mark(begun, end, place, y, cleared=not leaves))
            begun = None
        if "mark" in moment.changed and shown(moment.after, "mark") != "0x0":
            begun = moment
        previous = moment
    if begun and previous and previous is not begun:
        found.append(_mark(begun, previous, place, y, cleared=False))
    return [mark for mark in found if mark.width > 20]


def _mark(begun: Moment, end: Moment, place: Place, y: float, *, cleared: bool) -> MarkSegment:
    x0, x1 = place(begun.n), place(end.n)
    value, words = f"mark {shown(begun.after, 'mark')}", "“rewrite my source later”" if cleared and end.kind == "snat" else ""
    room = x1 - x0 - 20
    if len(value) * 7.0 > room:
        value = ""
    if len(value) * 7.0 + 7 + len(words) * UI > room:
        words = ""
    return MarkSegment(step=begun.n, x=x0, y=y, width=x1 - x0, value=value, words=words)
