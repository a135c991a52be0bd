"""The packet tape: source and destination as ribbons under the graph, broken exactly where an address is rewritten."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracer.values import dataclass
from webapp.presenters.journey import Moment, shown, side_text

ROW_HEIGHT = 23.0
MARK_HEIGHT = 19.0
GAP = 2.5
NOTCH = 7.0
MONO, UI = 7.28, 5.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One piece of a ribbon: *css* says side and state, *step* where it begins, *points* its outline."""

    css: str
    step: int
    points: str
    text_x: float
    text_y: float
    value: str
    owner: str


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


def tape(moments: Sequence[Moment], place: Place, width: float, top: float) -> Tape:
    """Return the tape of a path; *place* gives the x of a step, *top* the y of the first row."""
    there = [moment for moment in moments if not moment.reply and moment.kind != "dns" and moment.before]
    back = [moment for moment in moments if moment.reply]
    rows = {"src": top, "dst": top + 26, "mark": top + 52, "rsrc": top + 77, "rdst": top + 103}
    segments: list[Segment] = []
    if there:
        segments += _row(there, "source", "src", rows["src"], place, width, forward=True)
        segments += _row(there, "destination", "dst", rows["dst"], place, width, forward=True)
    if back and there:
        first = there[0].before
        segments += _row(
            back, "source", "dst", rows["rsrc"], place, width, forward=False, label="src", original=side_text(first, "destination")
        )
        segments += _row(
            back, "destination", "src", rows["rdst"], place, width, forward=False, label="dst", original=side_text(first, "source")
        )
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


def _row(
    moments: Sequence[Moment],
    side: str,
    css: str,
    y: float,
    place: Place,
    width: float,
    *,
    forward: bool,
    label: str = "",
    original: str = "",
) -> list[Segment]:
    """Return one ribbon's pieces. A forward ribbon points right, an answer's points left."""
    label = label or css
    original = original or side_text(moments[0].before, side)
    pieces: list[tuple[int, float, str, str]] = [
        (moments[0].n, 0.0 if forward else width, side_text(moments[0].before, side), _owner(moments[0], side))
    ]
    for moment in moments:
        if getattr(moment, f"changes_{side}"):
            pieces.append((moment.n, place(moment.n), side_text(moment.after, side), _owner(moment, side)))
    found = []
    for at, (step, start, value, owner) in enumerate(pieces):
        last = at == len(pieces) - 1
        end = (width if forward else 0.0) if last else pieces[at + 1][1]
        x0, x1 = (start, end) if forward else (end, start)
        x0 += 0 if (forward and at == 0) or (not forward and last) else GAP - (NOTCH if forward else 0)
        x1 -= 0 if (forward and last) or (not forward and at == 0) else GAP - (0 if forward else NOTCH)
        if x1 - x0 < 14:
            continue
        state = "orig" if value == original else "new"
        shown_value = f"{label} {value}" if at == 0 else value
        found.append(
            _segment(
                f"{css} {state}",
                step,
                x0,
                x1,
                y,
                shown_value,
                owner,
                forward=forward,
                open_start=forward and at > 0,
                open_end=not forward and at > 0,
            )
        )
    return found


def _segment(
    css: str, step: int, x0: float, x1: float, y: float, value: str, owner: str, *, forward: bool, open_start: bool, open_end: bool
) -> Segment:
    h, t = ROW_HEIGHT, NOTCH
    if forward:
        points = [(x0, y), (x1 - t, y), (x1, y + h / 2), (x1 - t, y + h), (x0, y + h)] + ([(x0 + t, y + h / 2)] if open_start else [])
    else:
        points = [(x0 + t, y), (x1, y), *([(x1 - t, y + h / 2)] if open_end else []), (x1, y + h), (x0 + t, y + h), (x0, y + h / 2)]
    room = x1 - x0 - 24
    if len(value) * MONO > room:
        value, owner = "", ""
    elif len(value) * MONO + 7 + len(owner) * UI > room:
        owner = ""
    outline = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    return Segment(
        css=css, step=step, points=outline, text_x=x0 + (14 if open_start or not forward else 12), text_y=y + 15.5, value=value, owner=owner
    )


def _owner(moment: Moment, side: str) -> str:
    """Return whose address it is, as far as the station says."""
    kind = str(moment.stack.get("kind", ""))
    if moment.kind == "reply" and kind == "external":
        return "host outside" if side == "source" else ""
    if moment.reply:
        return {"load-balancer": "load balancer", "external": "client"}.get(kind, kind) if side == "source" else ""
    if moment.kind == "send":
        return ("client" if kind == "external" else kind) if side == "source" else ""
    if moment.kind == "load-balancer":
        return "node"
    if moment.kind == "dnat":
        return "pod" if moment.steps and (moment.steps[-1].get("names") or {}).get("endpoint") else ""
    return "node" if moment.kind == "snat" else ""


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
