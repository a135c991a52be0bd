"""The outlines of boxes: one shape for each kind of thing, sized by its text (the mono font's advance is known)."""

from __future__ import annotations

import math

from tracer.graph import Box, BoxKind
from tracer.values import dataclass

ADVANCE, ADVANCE_SMALL = 7.28, 6.96
LONGEST = 20
LONGEST_POD = 15
_CENTRED = (BoxKind.CLIENT, BoxKind.LOAD_BALANCER, BoxKind.DNS, BoxKind.CONNTRACK)
_SMALLEST = {BoxKind.CLIENT: 112, BoxKind.LOAD_BALANCER: 122, BoxKind.DNS: 104, BoxKind.CONNTRACK: 104, BoxKind.POD: 110}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One outline around (0, 0).

    *paths* are (class, path data); *text_x* and *anchor* say where the text stands; *columns* how many letters of each line fit.
    """

    width: float
    height: float
    paths: tuple[tuple[str, str], ...]
    text_x: float
    anchor: str
    columns: tuple[int, int]
    left_badge: float = 2.0
    chips_x: float = 0.0
    y1: float = -3.5
    y2: float = 12.0
    dot_x: float | None = None

    @property
    def tag_y(self) -> float:
        """Return where a word stands below the outline."""
        return self.height / 2 + 11


def fit(text: str, columns: int) -> str:
    """Return *text* in at most *columns* letters, its middle left out: names differ at their ends."""
    if len(text) <= columns:
        return text
    tail = min(6, columns // 2)
    return f"{text[: columns - tail - 1]}…{text[-tail:]}"


def outline(box: Box) -> Shape:
    """Return the outline of *box*, as wide as its text needs."""
    chip = 44.0 * len(box.chips)
    second = len(box.subtitle) * ADVANCE_SMALL if not box.chips else chip + (len(chip_words(box)) * 6.4 if chip_words(box) else 0)
    longest = LONGEST_POD if box.kind is BoxKind.POD and len(box.subtitle) <= LONGEST_POD else LONGEST
    text = min(max(len(box.title) * ADVANCE, second), longest * ADVANCE)
    text = max(text, (len(second_line(box)) + 1) * ADVANCE_SMALL if state_word(box) else 0)
    extra = {
        BoxKind.CLIENT: 24,
        BoxKind.LOAD_BALANCER: 38,
        BoxKind.DNS: 34,
        BoxKind.PICK: 29,
        BoxKind.POD: 35 if box.state else 27,
        BoxKind.DROP: 36,
        BoxKind.REJECT: 36,
    }.get(box.kind, 21)
    width = max(_SMALLEST.get(box.kind, 92), math.ceil(text + extra + (8 if box.count > 1 else 0)))
    height = 50.0 if box.count > 1 else 40.0 if box.kind in (BoxKind.DNS, BoxKind.CONNTRACK) else 46.0
    room = width - extra + (0 if box.kind in (BoxKind.DROP, BoxKind.REJECT) else 8) - (8 if box.count > 1 else 0)
    columns = (int((room + 1) / ADVANCE), int((room + 1) / ADVANCE_SMALL))
    if box.count > 1:
        return _stack(box, width, height, columns)
    paths, text_x, anchor = _outline(box.kind, width, height)
    left = 14.0 if box.kind in _CENTRED else 2.0
    dot = width / 2 - 10 if box.kind is BoxKind.POD else None
    return Shape(
        width=width, height=height, paths=paths, text_x=text_x, anchor=anchor, columns=columns, left_badge=left, chips_x=text_x, dot_x=dot
    )


def state_word(box: Box) -> str:
    """Return the word for a pod's state that needs one: all but ready."""
    return "" if box.state == "ready" else box.state


def second_line(box: Box) -> str:
    """Return the second line of a box, with the state of a pod that is not ready."""
    return f"{box.subtitle} {state_word(box)}".strip()


def chip_words(box: Box) -> str:
    """Return what stands beside a chip."""
    if box.kind is BoxKind.DNAT:
        return "to pod" if box.subtitle == "" or box.subtitle.startswith("line") else box.subtitle
    if box.kind is BoxKind.SNAT:
        return "to node IP"
    return ""


def _stack(box: Box, width: float, height: float, columns: tuple[int, int]) -> Shape:
    x0, y0, w, h = -width / 2, -height / 2, width - 8, height - 8
    paths = tuple(("sh", f"M{x0 + d:.1f},{y0 + d:.1f}h{w:.1f}v{h:.1f}h{-w:.1f}z") for d in (8, 4, 0))
    return Shape(
        width=width,
        height=height,
        paths=paths,
        text_x=-4,
        anchor="middle",
        columns=columns,
        chips_x=-4 - 21.5 * len(box.chips) + 1.0,
        y1=-7.5,
        y2=9.0,
    )


def _outline(kind: BoxKind, w: float, h: float) -> tuple[tuple[tuple[str, str], ...], float, str]:
    x0, y0, x1, y1 = -w / 2, -h / 2, w / 2, h / 2
    rect = f"M{x0:.1f},{y0:.1f}H{x1:.1f}V{y1:.1f}H{x0:.1f}z"
    match kind:
        case BoxKind.CLIENT | BoxKind.OUTSIDE:
            return (("sh", _rounded(w, h, h / 2)),), 0, "middle"
        case BoxKind.LOAD_BALANCER:
            return (
                (("sh", f"M{x0 + 13:.1f},{y0:.1f}H{x1 - 13:.1f}L{x1:.1f},0 {x1 - 13:.1f},{y1:.1f}H{x0 + 13:.1f}L{x0:.1f},0z"),),
                0,
                "middle",
            )
        case BoxKind.PICK:
            return (("sh", f"M{x0:.1f},{y0:.1f}H{x1 - 14:.1f}L{x1:.1f},0 {x1 - 14:.1f},{y1:.1f}H{x0:.1f}z"),), x0 + 10, "start"
        case BoxKind.DNS:
            return (("sh", f"M{x0 + 10:.1f},{y0:.1f}H{x1:.1f}L{x1 - 10:.1f},{y1:.1f}H{x0:.1f}z"),), 0, "middle"
        case BoxKind.POD:
            return (("sh", _rounded(w, h, 11)),), x0 + 12, "start"
        case BoxKind.SERVICE:
            return (("sh", _rounded(w, h, 6)), ("inn", f"M{x0 + 5:.1f},{y0 + 3.5:.1f}H{x1 - 5:.1f}")), x0 + 12, "start"
        case BoxKind.HOST | BoxKind.PROCESS:
            return (("sh", rect), ("inn", f"M{x0 + 4:.1f},{y1 - 4:.1f}H{x1 - 4:.1f}")), x0 + 12, "start"
        case BoxKind.CONNTRACK:
            return (("sh", rect), ("inn", f"M{x0 + 3.5:.1f},{y0 + 3.5:.1f}H{x1 - 3.5:.1f}V{y1 - 3.5:.1f}H{x0 + 3.5:.1f}z")), 0, "middle"
        case BoxKind.DROP | BoxKind.REJECT:
            octagon = (
                f"M{x0 + 12:.1f},{y0:.1f}H{x1 - 12:.1f}L{x1:.1f},{y0 + 12:.1f}V{y1 - 12:.1f}"
                f"L{x1 - 12:.1f},{y1:.1f}H{x0 + 12:.1f}L{x0:.1f},{y1 - 12:.1f}V{y0 + 12:.1f}z"
            )
            cross = f"M{x0 + 10:.1f},-4l8,8M{x0 + 10:.1f},4l8,-8"
            return (("sh", octagon), ("cross", cross)), x0 + 26, "start"
        case BoxKind.UNKNOWN:
            return (("sh", rect),), x0 + 12, "start"
    return (("sh", rect), ("barl", f"M{x0:.1f},{y0:.1f}h4V{y1:.1f}h-4z")), x0 + 12, "start"


def _rounded(w: float, h: float, r: float) -> str:
    x0, y0 = -w / 2, -h / 2
    return (
        f"M{x0 + r:.1f},{y0:.1f}h{w - 2 * r:.1f}a{r:.1f},{r:.1f} 0 0 1 {r:.1f},{r:.1f}"
        f"v{h - 2 * r:.1f}a{r:.1f},{r:.1f} 0 0 1 {-r:.1f},{r:.1f}"
        f"h{2 * r - w:.1f}a{r:.1f},{r:.1f} 0 0 1 {-r:.1f},{-r:.1f}v{2 * r - h:.1f}a{r:.1f},{r:.1f} 0 0 1 {r:.1f},{-r:.1f}z"
    )


def small_outline(kind: BoxKind) -> tuple[tuple[str, str], ...]:
    """Return the outline of *kind* at the legend's size."""
    if kind is BoxKind.POD:
        return (("sh", _rounded(48, 24, 6)),)
    return _outline(kind, 48, 24)[0]
