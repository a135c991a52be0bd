"""The graph as the SVG template draws it: every box with its link and its name, the tape under it, the playhead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tracer.graph import BoxKind, EdgeKind, Graph
from tracer.values import dataclass
from webapp.drawing.graph_svg import MARGIN_X, MARGIN_Y, Picture, PlacedBox, PlacedEdge, PlacedRegion, PlacedWay, picture
from webapp.drawing.shapes import chip_words
from webapp.presenters.journey import Moment
from webapp.presenters.tape import Tape, tape
from webapp.questions.trace_query import TraceQuery

TAPE_GAP = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBox:
    """A placed box with what the page adds: address, accessible name, state. *part* is what a click fetches: a step or a whole trace.

    *mark* is a word below it: of two pictures, that only this one has it.
    """

    placed: PlacedBox
    css: str
    url: str
    part: str
    label: str
    steps: str
    chip_words: str
    current: bool
    tab: bool
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnEdge:
    """A placed edge with its classes and label."""

    placed: PlacedEdge
    css: str
    text: str
    half: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnWay:
    """A stop on an edge with its address."""

    placed: PlacedWay
    url: str
    label: str
    current: bool
    tab: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRegion:
    """A frame; *fold_url* draws the nodes that it stands for."""

    placed: PlacedRegion
    fold_url: str
    fold_label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBadge:
    """A step's number on a box: *half* is half its width, *back* says that it belongs to the way back."""

    step: int
    text: str
    x: float
    y: float
    half: float
    back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The whole SVG: sizes include margins and tape. *prefix* stands before its ids, where a page has several; *name* tells them apart."""

    left: float
    top: float
    width: float
    height: float
    graph_width: float
    regions: tuple[DrawnRegion, ...]
    edges: tuple[DrawnEdge, ...]
    boxes: tuple[DrawnBox, ...]
    ways: tuple[DrawnWay, ...]
    tape: Tape
    head_x: float
    head_y1: float
    head_y2: float
    current: int
    badges: tuple[DrawnBadge, ...]
    heads: str
    prefix: str = ""
    name: str = ""

    @property
    def is_wide(self) -> bool:
        """Return whether the picture is so wide that it must scroll; one that is only a little too wide is shown a little smaller."""
        return self.width > 1630


Url = Callable[[TraceQuery], str]


def drawing(
    graph: Graph, moments: Sequence[Moment], query: TraceQuery, url: Url, step: int, owners: Mapping[str, str] | None = None
) -> Drawing:
    """Return the drawing of *graph* with *step* current. :raises LayoutError: there is no layout."""
    placed = picture(graph)
    ribbon = tape(moments, lambda n: placed.place_of(n)[0], placed.width, placed.height + TAPE_GAP, owners or {})
    base = query.but(find="")
    boxes = tuple(_box(box, base, url, step, query.find) for box in placed.boxes)
    ways = tuple(_way(way, base, url, step) for way in placed.ways)
    x, y = placed.place_of(step)
    reply = next((m.reply for m in moments if m.n == step), False)
    badges = sorted((_badge(box, *badge) for box in placed.boxes for badge in box.badges), key=lambda b: (b.step, b.text, b.x))
    above = max([MARGIN_Y, *(MARGIN_Y + 10 - badge.y for badge in badges)])
    return Drawing(
        left=-MARGIN_X,
        top=-above,
        width=round(placed.width + 2 * MARGIN_X),
        height=round(ribbon.height + above + MARGIN_Y),
        graph_width=placed.width,
        regions=tuple(_region(region, query, url) for region in placed.regions),
        edges=tuple(_edge(edge, graph) for edge in placed.edges),
        boxes=boxes,
        ways=ways,
        tape=ribbon,
        head_x=x,
        head_y1=y,
        head_y2=ribbon.reply_bottom if reply else ribbon.request_bottom,
        current=step,
        badges=tuple(badges),
        heads=_heads(placed, moments, ribbon),
    )


def _heads(placed: Picture, moments: Sequence[Moment], ribbon: Tape) -> str:
    """Return where the playhead stands for each step ("n:x:y1:y2"), so that stepping needs no new picture."""
    found = []
    for moment in moments:
        x, y = placed.place_of(moment.n)
        bottom = ribbon.reply_bottom if moment.reply else ribbon.request_bottom
        found.append(f"{moment.n}:{x:.1f}:{y:.1f}:{bottom:.1f}")
    return " ".join(found)


def _box(placed: PlacedBox, query: TraceQuery, url: Url, step: int, find: str) -> DrawnBox:
    box = placed.box
    numbers = (*box.steps, *box.replies)
    current = step in numbers
    state = "on" if box.on else "off"
    hit = " hit" if find and find.casefold() in f"{box.title} {box.subtitle} {box.words}".casefold() else ""
    hit += f" is-{box.state.replace(' ', '-')}" if box.state else ""
    stack = " k-stack" if box.count > 1 else ""
    words = chip_words(box) if box.count == 1 else ""
    seen = [placed.lines[0], *[chip for chip, _, _ in placed.chips], words if placed.chips else placed.lines[1]]
    if numbers:
        target, part = query.but(step=numbers[0]), "step"
        said = f"Step {numbers[0]}: {box.words}"
    elif box.expand:
        target, part = query.but(expand=tuple(sorted({*query.expand, box.expand})), step=None), "trace"
        said = f"{box.count} that behave alike. Show them one by one"
    else:
        target, part = query.but(follow=box.follow, step=None), "trace"
        said = "Follow the path through here"
    said += ". The pod is ready" if box.state == "ready" else ""
    name = f" ({box.title})" if placed.lines[0] != box.title else ""
    return DrawnBox(
        placed=placed,
        css=f"n k-{box.kind} {state}{stack}{hit}",
        url=url(target),
        part=part,
        label=f"{' '.join(filter(None, seen))}{name}. {said}",
        steps=",".join(map(str, numbers)),
        chip_words=words,
        current=current,
        tab=current,
    )


def _way(placed: PlacedWay, query: TraceQuery, url: Url, step: int) -> DrawnWay:
    return DrawnWay(
        placed=placed,
        url=url(query.but(step=placed.step)),
        label=f"{placed.step} {placed.title}",
        current=placed.step == step,
        tab=placed.step == step,
    )


def _edge(placed: PlacedEdge, graph: Graph) -> DrawnEdge:
    edge = placed.edge
    to = next(box for box in graph.boxes if box.id == edge.head)
    state = "on" if edge.on else "rp" if edge.kind is EdgeKind.REPLY else "off"
    stop = " stop" if to.kind in (BoxKind.DROP, BoxKind.REJECT) else ""
    return DrawnEdge(placed=placed, css=f"e {edge.kind} {state}{stop}", text=edge.odds, half=len(edge.odds) * 3.5 + 4)


def _badge(box: PlacedBox, text: str, step: int, dx: float, dy: float, back: bool) -> DrawnBadge:
    half = 9.5 if len(text) < 3 else len(text) * 3.5 + 4
    return DrawnBadge(step=step, text=text, x=box.x + dx + half - 9.5, y=box.y + dy, half=half, back=back)


def _region(placed: PlacedRegion, query: TraceQuery, url: Url) -> DrawnRegion:
    if not placed.expand:
        return DrawnRegion(placed=placed, fold_url="", fold_label="")
    target = query.but(expand=tuple(sorted({*query.expand, placed.expand})))
    return DrawnRegion(placed=placed, fold_url=url(target), fold_label=f"{placed.fold}. Draw every node")
