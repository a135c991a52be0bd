"""The geometry of edges: from Graphviz' splines to path data, arrow heads and marks."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot

NEAR = 6.0
Point = tuple[float, float]
Curve = tuple[tuple[Point, ...], Point | None, Point | None]
"""Control points, and the tips of the arrows at the start and the end where there are some."""


def spline(points: Sequence[Point]) -> str:
    """Return the path data of a piecewise cubic: a point, then two controls and a point for each piece."""
    text = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    for i in range(1, len(points) - 2, 3):
        text += " C" + " ".join(f"{x:.1f},{y:.1f}" for x, y in points[i : i + 3])
    return text


def cubic(points: Sequence[Point]) -> str:
    """Return the curve as one cubic, so that every edge's path has the same commands and can glide to a new place."""
    if len(points) <= 4:
        return spline(points)
    (x0, y0), (x1, y1) = points[0], points[-1]
    third = abs(x1 - x0) / 2.6
    one = ((x0, y0), (x0 + third, y0 + (points[1][1] - y0)), (x1 - third, y1 + (points[-2][1] - y1)), (x1, y1))
    # Where the line goes around something one curve would cut the corner.
    return spline(one if all(_strays(one, joint) < NEAR for joint in points[3:-1:3]) else points)


def _strays(curve: Sequence[Point], point: Point) -> float:
    """Return how far *curve* passes from *point*."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = curve

    def at(t: float) -> float:
        u = 1 - t
        x = u**3 * ax + 3 * u * u * t * bx + 3 * u * t * t * cx + t**3 * dx
        y = u**3 * ay + 3 * u * u * t * by + 3 * u * t * t * cy + t**3 * dy
        return hypot(x - point[0], y - point[1])

    return min(at(step / 24) for step in range(25))


def along(points: Sequence[Point], part: float) -> Point:
    """Return the point at *part* (0 to 1) of a drawn edge."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    return x0 + (x1 - x0) * part, y0 + (y1 - y0) * part


def middle(points: Sequence[Point]) -> Point:
    """Return the point half-way along a drawn edge."""
    return along(points, 0.5)


def diamond(x: float, y: float, r: float = 4.2) -> str:
    """Return the path data of the mark at the start of an edge behind DNAT."""
    return f"M{x - r + 1:.1f},{y:.1f}L{x + 1:.1f},{y - r:.1f} {x + r + 1:.1f},{y:.1f} {x + 1:.1f},{y + r:.1f}z"


def arrow(tip: Point, origin: Point, length: float = 8, half: float = 4.2) -> str:
    """Return the three corners of an arrow head at *tip*, coming from *origin*."""
    dx, dy = tip[0] - origin[0], tip[1] - origin[1]
    size = (dx * dx + dy * dy) ** 0.5 or 1.0
    c, s = dx / size, dy / size
    left = (tip[0] - length * c + half * s, tip[1] - length * s - half * c)
    right = (tip[0] - length * c - half * s, tip[1] - length * s + half * c)
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in (tip, left, right))


def bent(curve: Curve, tail: float, head: float) -> Curve:
    """Return *curve* with its start moved down by *tail* and its end by *head*."""
    points, start, end = curve
    last = len(points) - 1
    moved = tuple((x, y + tail + (head - tail) * place / last) for place, (x, y) in enumerate(points))
    return moved, start and (start[0], start[1] + tail), end and (end[0], end[1] + head)


def read_curve(text: str, height: float) -> Curve:
    """Return the curve in an edge's ``pos`` of Graphviz, with y growing downwards from *height*."""
    start: Point | None = None
    end: Point | None = None
    points: list[Point] = []
    for part in text.split():
        numbers = part.split(",")
        if numbers[0] in ("s", "e"):
            tip = (float(numbers[1]), height - float(numbers[2]))
            start, end = (tip, end) if numbers[0] == "s" else (start, tip)
        else:
            points.append((float(numbers[0]), height - float(numbers[1])))
    return tuple(points), start, end
