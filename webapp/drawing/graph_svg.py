"""Where everything in the picture stands: a Graph laid out by Graphviz, as shapes and paths for the SVG template.

Owns DOT for layout and the ``dot`` process. Graphviz sees only our ids and numbers: fixed-size boxes without labels. Text never reaches it.
A layout is pure, so it is cached by its DOT. :class:`LayoutError` means: show the steps without a picture.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from tracer.graph import Box, BoxKind, Edge, EdgeKind, Graph
from tracer.values import dataclass
from webapp.drawing.curves import Curve, Point, along, arrow, bent, cubic, diamond, middle, read_curve, spline
from webapp.drawing.shapes import Shape, fit, outline, second_line

TIMEOUT_SECONDS = 2.0
MARGIN_X, MARGIN_Y = 16.0, 2.0
DNS_ROOM = 20.0
"""How much taller than drawn a DNS server's box is laid out: the line to its client needs room for two tips."""
_CELL = '<td fixedsize="true" width="{w}" height="{h}"></td>'
_LABEL = f'label=<<table border="0" cellborder="0" cellspacing="0" cellpadding="0"><tr>{_CELL}</tr></table>>'
_processes = threading.BoundedSemaphore(os.cpu_count() or 1)


class LayoutError(Exception):
    """The picture could not be laid out: no Graphviz, or it took too long. The message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedBox:
    """One box with its centre, size and outline; *lines* are its two lines of text, cut to fit."""

    box: Box
    x: float
    y: float
    shape: Shape
    lines: tuple[str, str]
    chips: tuple[tuple[str, str, float], ...] = ()
    badges: tuple[tuple[str, int, float, float, bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedEdge:
    """One edge as one cubic curve, its arrow head, the mark at its start, and its label."""

    edge: Edge
    path: str
    head: str
    tail: str
    width: float
    mark: str = ""
    label_x: float = 0.0
    label_y: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedWay:
    """A stop on an edge."""

    id: str
    step: int
    title: str
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRegion:
    """A frame with its title; *fold* is the sentence about the nodes that it stands for."""

    id: str
    kind: str
    title: str
    x: float
    y: float
    width: float
    height: float
    fold: str = ""
    fold_x: float = 0.0
    expand: str = ""
    is_modelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything placed, sorted by id. *width* and *height* are the graph's own, without margins and tape."""

    width: float
    height: float
    boxes: tuple[PlacedBox, ...]
    edges: tuple[PlacedEdge, ...]
    ways: tuple[PlacedWay, ...]
    regions: tuple[PlacedRegion, ...]

    def place_of(self, step: int) -> Point:
        """Return where station *step* of the followed path is drawn: the centre x and the lower edge of its box."""
        for placed in self.boxes:
            if step in placed.box.steps or step in placed.box.replies:
                return placed.x, placed.y + placed.shape.height / 2
        for way in self.ways:
            if way.step == step:
                return way.x, way.y + 10
        return 0.0, 0.0


def picture(graph: Graph) -> Picture:
    """Return *graph* with a place for everything. :raises LayoutError: Graphviz is missing or too slow."""
    shapes = {box.id: outline(box) for box in graph.boxes}
    layout = _Layout.read(_run_dot(layout_dot(graph, shapes)), graph)
    moved = layout.with_rows_in_order(graph)
    boxes = tuple(_place_box(box, moved.places[box.id], shapes[box.id]) for box in sorted(graph.boxes, key=lambda b: b.id))
    edges = tuple(_place_edge(edge, moved, shapes) for edge in sorted(graph.edges, key=lambda e: e.id) if edge.id in moved.curves)
    ways = tuple(way for edge in graph.edges for way in _place_ways(edge, moved))
    regions = tuple(_place_region(graph, moved, index) for index in range(len(graph.regions)))
    return Picture(
        width=layout.width,
        height=layout.height,
        boxes=boxes,
        edges=edges,
        ways=tuple(sorted(ways, key=lambda w: w.id)),
        regions=tuple(region for region in regions if region is not None),
    )


# --- DOT for layout --------------------------------------------------------------------------------------------------


def layout_dot(graph: Graph, shapes: Mapping[str, Shape]) -> str:
    """Return the DOT that Graphviz lays out: ids, sizes and edges, nothing that anybody wrote."""
    lines = ['digraph trace{rankdir=LR;newrank=true;splines=spline;nodesep=.2;ranksep=.25;node[shape=box,fixedsize=true,label=""];']
    for index, region in enumerate(sorted(graph.regions, key=lambda r: r.id)):
        inside = [box for box in graph.boxes if box.region == region.id]
        label = _LABEL.format(w=1, h=9)
        boxes = "".join(_dot_box(box, shapes) for box in _in_order(inside, graph))
        lines.append(f"subgraph cluster_{index}{{margin=12;labeljust=l;{label};{boxes}}}")
    known = {region.id for region in graph.regions}
    lines.extend(_dot_box(box, shapes) for box in graph.boxes if box.region not in known)
    lines.extend(_rank_sets(graph))
    lines.extend(_dot_edge(edge) for edge in sorted(graph.edges, key=lambda e: (not e.on, e.id)))
    lines.append("}")
    return "\n".join(lines)


def _in_order(boxes: Sequence[Box], graph: Graph) -> list[Box]:
    order = {box: place for place, row in enumerate(graph.rows) for box in row}
    return sorted(boxes, key=lambda box: (order.get(box.id, -1), box.id))


def _dot_box(box: Box, shapes: Mapping[str, Shape]) -> str:
    shape = shapes[box.id]
    height = shape.height + (DNS_ROOM if box.kind is BoxKind.DNS else 0)
    return f"{_name(box.id)}[width={shape.width / 72:.4f},height={height / 72:.4f}];"


def _name(identifier: str) -> str:
    return identifier.replace("-", "_")


def _rank_sets(graph: Graph) -> list[str]:
    """Return one rank for each column: what happens at the same point of different paths stands in one line, pods in the last."""
    columns: dict[int, list[str]] = {}
    for box, column in _columns(graph).items():
        columns.setdefault(column, []).append(box)
    below = _under(graph)
    sets = []
    for _, boxes in sorted(columns.items()):
        hanging = [(over, table) for over, table in below if over in boxes]
        names = [*boxes, *(table for _, table in hanging)]
        order = "".join(f"{_name(over)}->{_name(table)}[style=invis];" for over, table in hanging)
        if len(names) > 1:
            sets.append(f"{{rank=same;{';'.join(map(_name, names))};{order}}}")
    return sets


def _columns(graph: Graph) -> dict[str, int]:
    """Return each box's column: the longest way to it, and for the last boxes of the rows the end (a second node's box just before)."""
    heads: dict[str, list[str]] = {}
    for edge in graph.edges:
        if edge.kind not in (EdgeKind.REPLY, EdgeKind.DNS):
            heads.setdefault(edge.tail, []).append(edge.head)
    column = {box.id: 0 for box in graph.boxes if box.kind is not BoxKind.CONNTRACK}
    for _ in graph.boxes:
        moved = [(head, column[tail] + 1) for tail, found in heads.items() for head in found if column[head] <= column[tail]]
        if not moved:
            break
        for head, at in moved:
            column[head] = max(column[head], at)
    last = max(column.values(), default=0)
    ends = [box for box in graph.boxes if box.region == "pods"]
    for box in ends:
        if len(ends) > 1:
            column[box.id] = last - 1 if box.kind is BoxKind.HOST else last
    return column


def _under(graph: Graph) -> list[tuple[str, str]]:
    """Return each connection table with the box it hangs under: the middle one of the followed path on its node."""
    found = []
    for table in graph.boxes:
        path = sorted((b for b in graph.boxes if b.region == table.region and b.on and b.steps and not b.row), key=lambda b: b.steps)
        if table.kind is BoxKind.CONNTRACK and path:
            found.append((path[len(path) // 2].id, table.id))
    return found


def _dot_edge(edge: Edge) -> str:
    options = [f"id={_name(edge.id)}"]
    if edge.kind is EdgeKind.REPLY:
        # Drawn backwards, so that the answer does not pull its boxes out of their ranks.
        return f"{_name(edge.head)}->{_name(edge.tail)}[dir=back,weight=0,id={_name(edge.id)}];"
    if edge.labelled:
        options.append(_LABEL.format(w=len(edge.odds) * 7 + 10, h=14))
    elif edge.ways:
        options.append(_LABEL.format(w=22 * len(edge.ways), h=20))
    # What leads straight on is drawn straight; where paths part, the lines give way.
    options.append(f"weight={(200 if edge.on else 60) if not edge.labelled else 8 if edge.on else 4}")
    if edge.kind is EdgeKind.DNS:
        options.append("dir=both")
    return f"{_name(edge.tail)}->{_name(edge.head)}[{','.join(options)}];"


@lru_cache(maxsize=256)
def _run_dot(source: str) -> dict[str, Any]:
    """Return the layout of *source*. Layout is pure, so the same DOT gives the same answer for ever; failures are not kept."""
    with _processes:
        try:
            done = subprocess.run(["dot", "-Tjson0"], input=source.encode(), capture_output=True, check=True, timeout=TIMEOUT_SECONDS)
        except FileNotFoundError:
            raise LayoutError(
                "Graphviz is not installed, so the path is not drawn. Install the package “graphviz”; the steps below say the same."
            ) from None
        except subprocess.TimeoutExpired:
            raise LayoutError("The graph is too large to draw in time. Fold it by zone; the steps below say the same.") from None
        except subprocess.CalledProcessError as error:
            raise LayoutError("Graphviz could not lay this graph out; the steps below say the same.") from error
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# --- reading the layout ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What Graphviz answered, with y growing downwards: centres, frames (x, y, width, height), curves with both tips, label places."""

    width: float
    height: float
    places: Mapping[str, Point]
    frames: Mapping[int, tuple[float, float, float, float]]
    curves: Mapping[str, Curve]
    labels: Mapping[str, Point]

    @classmethod
    def read(cls, answer: Mapping[str, Any], graph: Graph) -> _Layout:
        """Return the layout in *answer*, the JSON of ``dot -Tjson0``."""
        _, _, width, height = map(float, answer["bb"].split(","))
        ids = {_name(box.id): box.id for box in graph.boxes}
        places: dict[str, Point] = {}
        frames: dict[int, tuple[float, float, float, float]] = {}
        for thing in answer.get("objects", ()):
            if thing["name"].startswith("cluster_"):
                x0, y0, x1, y1 = map(float, thing["bb"].split(","))
                frames[int(thing["name"].removeprefix("cluster_"))] = (x0, height - y1, x1 - x0, y1 - y0)
            elif "pos" in thing:
                x, y = map(float, thing["pos"].split(","))
                places[ids[thing["name"]]] = (x, height - y)
        curves, labels = {}, {}
        edges = {_name(edge.id): edge.id for edge in graph.edges}
        for edge in answer.get("edges", ()):
            # Invisible edges only keep boxes in order.
            if (key := edges.get(edge.get("id", ""))) is None:
                continue
            curves[key] = read_curve(edge["pos"], height)
            if "lp" in edge:
                x, y = map(float, edge["lp"].split(","))
                labels[key] = (x, height - y)
        return cls(width=width, height=height, places=places, frames=frames, curves=curves, labels=labels)

    def with_rows_in_order(self, graph: Graph) -> _Layout:
        """Return the layout with its rows moved up and down until they stand in the graph's order.

        Graphviz does not keep a wanted order. Rows are straight lines of boxes that share none, so each can take another's place.
        """
        rows = [row for row in graph.rows if row and all(box in self.places for box in row)]
        boxes = [box for row in rows for box in row]
        heights = [[self.places[box][1] for box in row] for row in rows]
        if len(rows) < 2 or len(boxes) != len(set(boxes)) or any(max(ys) - min(ys) > 1 for ys in heights):
            return self
        moves: dict[str, float] = {}
        firsts: dict[str, str] = {}
        slots = sorted(zip((ys[0] for ys in heights), rows, strict=True))
        for row, ys, (to, before) in zip(rows, heights, slots, strict=True):
            moves |= dict.fromkeys(row, to - ys[0])
            firsts[row[0]] = before[0]
        return self._moved(moves, firsts, graph)

    def _moved(self, moves: Mapping[str, float], firsts: Mapping[str, str], graph: Graph) -> _Layout:
        """Return the layout with each box of *moves* that much further down, and curves bent along.

        *firsts* maps the first box of each row to the one whose place it takes: the line that leads there is taken over, too.
        """
        places = {box: (x, y + moves.get(box, 0.0)) for box, (x, y) in self.places.items()}
        curves, labels = dict(self.curves), dict(self.labels)
        between = {(edge.tail, edge.head): edge.id for edge in graph.edges if edge.kind is not EdgeKind.REPLY}
        for edge in graph.edges:
            led = between.get((edge.tail, firsts.get(edge.head, edge.head))) if edge.kind is not EdgeKind.REPLY else None
            if edge.head in firsts and edge.tail not in moves and led is not None and led in self.curves:
                curves[edge.id] = self.curves[led]
                labels |= {edge.id: self.labels[led]} if led in self.labels else {}
                continue
            tail, head = moves.get(edge.tail, 0.0), moves.get(edge.head, 0.0)
            if edge.kind is EdgeKind.REPLY:
                tail, head = head, tail
            if edge.id in curves and (tail or head):
                curves[edge.id] = bent(curves[edge.id], tail, head)
            if edge.id in labels:
                x, y = labels[edge.id]
                labels[edge.id] = (x, y + (tail + head) / 2)
        return replace(self, places=places, curves=curves, labels=labels)


# --- placing ---------------------------------------------------------------------------------------------------------


def _place_box(box: Box, at: Point, shape: Shape) -> PlacedBox:
    lines = (fit(box.title, shape.columns[0]), fit(second_line(box), shape.columns[1]))
    badges: list[tuple[str, int, float, float, bool]] = []
    left = shape.left_badge
    if box.badge and box.steps:
        badges.append((box.badge, box.steps[0], -shape.width / 2 + left, -shape.height / 2, False))
    for place, number in enumerate(box.replies):
        if box.kind is BoxKind.CONNTRACK:
            badges.append((str(number), number, -shape.width / 2 + left + 22 * place, -shape.height / 2, True))
        else:
            badges.append((str(number), number, shape.width / 2 - 14 - 22 * place, shape.height / 2 + 3, True))
    chips = tuple((chip.upper(), "dst" if chip == "dnat" else "src", shape.chips_x + 43 * place) for place, chip in enumerate(box.chips))
    return PlacedBox(box=box, x=at[0], y=at[1], shape=shape, lines=lines, chips=chips, badges=tuple(badges))


def _place_edge(edge: Edge, layout: _Layout, shapes: Mapping[str, Shape]) -> PlacedEdge:
    points, start, end = _asking(edge, layout, shapes) if edge.kind is EdgeKind.DNS else layout.curves[edge.id]
    backwards = edge.kind is EdgeKind.REPLY
    curve = spline(points) if backwards else cubic(points)
    tip = 6.5 if edge.kind is EdgeKind.DNS else 8.0
    width = 1.2 + 2 * float(edge.probability or 0) ** 0.5
    mark = ""
    if edge.kind in (EdgeKind.DNAT, EdgeKind.SNAT):
        x, y = points[0]
        mark = diamond(x, y) if edge.kind is EdgeKind.DNAT else f"M{x - 2.5:.1f},{y - 3.5:.1f}h7v7h-7z"
    x, y = layout.labels.get(edge.id, middle(points))
    return PlacedEdge(
        edge=edge,
        path=curve,
        head=arrow(end, points[-1], tip) if end else "",
        tail=arrow(start, points[0], tip) if start else "",
        width=width,
        mark=mark,
        label_x=x,
        label_y=y,
    )


def _asking(edge: Edge, layout: _Layout, shapes: Mapping[str, Shape]) -> Curve:
    """Return the line from a DNS server down to the client under it, with room for both tips."""
    x, over = layout.places[edge.tail]
    _, under = layout.places[edge.head]
    top, bottom = over + shapes[edge.tail].height / 2, under - shapes[edge.head].height / 2
    third = (bottom - top) / 3
    return tuple((x, top + third + third * place / 3) for place in range(4)), (x, top), (x, bottom)


def _place_ways(edge: Edge, layout: _Layout) -> list[PlacedWay]:
    if not edge.ways or edge.id not in layout.curves:
        return []
    points, _, _ = layout.curves[edge.id]
    count = len(edge.ways)
    found = []
    for place, way in enumerate(edge.ways, start=1):
        x, y = along(points, place / (count + 1))
        found.append(PlacedWay(id=way.id, step=way.step, title=way.title, x=x, y=y))
    return found


def _place_region(graph: Graph, layout: _Layout, index: int) -> PlacedRegion | None:
    region = sorted(graph.regions, key=lambda r: r.id)[index]
    if index not in layout.frames:
        return None
    x, y, width, height = layout.frames[index]
    fold = f"1 of {region.total} nodes, same rules on each" if region.total > 1 and width > 420 else ""
    # The sentence stands in the middle, about 180 wide: the title ends before it.
    room = int((width / 2 - 104 if fold else width - 20) / 6.6)
    whole = ", ".join(filter(None, (region.title, region.mode, "modelled" if region.is_modelled else "")))
    return PlacedRegion(
        id=region.id,
        kind=region.kind,
        title=whole if len(whole) <= room else fit(region.title, max(room, 8)),
        x=x,
        y=y,
        width=width,
        height=height,
        fold=fold,
        fold_x=x + width / 2,
        expand=region.expand,
        is_modelled=region.is_modelled,
    )
