"""A timeline's bar: where it stands, its steps as places on a rail, its buttons.

The rail has the same distance between any two steps, however long they took: a place on it is counted in steps, with a fraction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tracer.values import dataclass
from webapp.live.announce import playback_message
from webapp.models import LiveSource

SPEEDS = ("0.5", "1", "2", "5", "10")
SLOWEST, FASTEST = 0.1, 60.0
"""The speeds that a timeline can be played at, as recorded_api/playback.py has them; that package is imported only to play."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One step on the rail: its number from 1, its title, and whether the timeline has passed it, or stands there."""

    index: int
    number: int
    title: str
    passed: bool
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The bar's values. *place* and *last* are places on the rail; *times* has the second at which each step begins, and the end."""

    number: int
    title: str
    playing: bool
    at_end: bool
    speeds: tuple[tuple[str, bool], ...]
    ticks: tuple[Tick, ...]
    place: str
    last: int
    times: str
    position: str

    @property
    def total(self) -> int:
        """Return how many steps there are."""
        return len(self.ticks)


def timeline(row: LiveSource, now: float | None = None) -> Timeline:
    """Return the bar of the timeline *row* at *now* (Unix seconds; None: this moment)."""
    said = playback_message(row, now)
    steps, step = said["steps"], said["step"]
    times = _times(said)
    speed = f"{said['speed']:g}"
    return Timeline(
        number=step + 1,
        title=said["title"],
        playing=said["playing"],
        at_end=said["position"] >= said["duration"],
        speeds=tuple((value, value == speed) for value in _speeds(speed)),
        ticks=tuple(Tick(index=n, number=n + 1, title=one["title"], passed=n < step, current=n == step) for n, one in enumerate(steps)),
        place=f"{_place(times, said['position']):.3f}",
        last=max(len(steps), 1),
        times=" ".join(f"{time:g}" for time in times),
        position=f"{said['position']:.2f}",
    )


def position_of(playback: Mapping[str, Any], place: float) -> float:
    """Return the seconds at *place* on the rail of *playback*. :raises ValueError: it is not on the rail."""
    times = _times(playback)
    if not math.isfinite(place) or not 0 <= place <= len(times) - 1:
        raise ValueError(f"the place is a number from 0 to {len(times) - 1}")
    whole = min(int(place), len(times) - 2)
    return times[whole] + (place - whole) * (times[whole + 1] - times[whole])


def settled_at(playback: Mapping[str, Any], step: int) -> float:
    """Return the seconds at which the change of *step* (from 0) has settled. :raises ValueError: there is no such step."""
    steps = playback.get("steps", ())
    if not 0 <= step < len(steps):
        raise ValueError(f"the step is a number from 0 to {len(steps) - 1}")
    return float(steps[step]["position"])


def speed_of(text: str) -> float:
    """Return the speed that a person chose. :raises ValueError: a timeline is not played at that speed."""
    speed = float(text)
    if not SLOWEST <= speed <= FASTEST:
        raise ValueError(f"the speed is a number from {SLOWEST:g} to {FASTEST:g}")
    return speed


def _times(playback: Mapping[str, Any]) -> list[float]:
    """Return the seconds at which each step's change begins, then the end."""
    begins = [float(step["starts"]) for step in playback.get("steps", ())] or [0.0]
    return [*begins, max(float(playback.get("duration", 0.0)), begins[-1])]


def _place(times: Sequence[float], position: float) -> float:
    for index, (begin, end) in enumerate(pairwise(times)):
        if position < end:
            return index + max(0.0, position - begin) / (end - begin)
    return float(len(times) - 1)


def _speeds(current: str) -> tuple[str, ...]:
    return SPEEDS if current in SPEEDS else tuple(sorted((*SPEEDS, current), key=float))
