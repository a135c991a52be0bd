"""Where a timeline stands as it plays: a position that moves with the clock, at some speed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from tracer.values import dataclass

SLOWEST, FASTEST = 0.1, 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Playback:
    """At the moment *set_at* (Unix seconds) the timeline stood at *position* seconds and began to move at *speed*, if *playing*."""

    position: float = 0.0
    speed: float = 1.0
    playing: bool = False
    set_at: float = 0.0

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> Playback:
        """Return the playback a JSON object describes; what is missing or no number has its default."""
        return cls(
            position=max(0.0, _number(value.get("position"), 0.0)),
            speed=min(max(_number(value.get("speed"), 1.0), SLOWEST), FASTEST),
            playing=value.get("playing") is True,
            set_at=_number(value.get("set_at"), 0.0),
        )

    def to_dict(self) -> dict[str, object]:
        """Return the JSON object of this playback."""
        return {"position": self.position, "speed": self.speed, "playing": self.playing, "set_at": self.set_at}

    def position_at(self, now: float, length: float) -> float:
        """Return the position in seconds at the Unix time *now*, from 0 to *length*."""
        moved = max(0.0, now - self.set_at) * self.speed if self.playing else 0.0
        return min(self.position + moved, length)

    def has_ended(self, now: float, length: float) -> bool:
        """Return whether the end has been reached."""
        return self.position_at(now, length) >= length

    def changed(
        self, now: float, length: float, *, position: float | None = None, speed: float | None = None, playing: bool | None = None
    ) -> Playback:
        """Return the playback after a person has, at *now*, moved it, changed its speed, or started or stopped it.

        Playing on from the end starts at the beginning again.
        """
        here = self.position_at(now, length) if position is None else min(max(0.0, position), length)
        plays = self.playing if playing is None else playing
        if playing and position is None and here >= length:
            here = 0.0
        chosen = self.speed if speed is None else min(max(speed, SLOWEST), FASTEST)
        return replace(self, position=here, speed=chosen, playing=plays, set_at=now)


def _number(value: object, otherwise: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return otherwise
    return float(value)
