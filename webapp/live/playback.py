"""A recorded timeline that is played: its steps, where it stands, and what moves it. The source's row keeps all of it as JSON.

``{"position", "speed", "playing", "set_at", "duration", "steps": [{"title", "starts", "position"}]}``: from *starts* on a step's change
happens, at *position* it has settled (seconds from the beginning; *set_at* in Unix seconds).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webapp.models import Snapshot
from webapp.storing.snapshot_store import open_container

if TYPE_CHECKING:
    from webapp.recorded_api import Playback, Timeline


def open_timeline(row: Snapshot) -> Timeline:
    """Return the recording in *row*; an ordinary snapshot is a timeline of one moment. :raises TracerError: it cannot be read."""
    from webapp.recorded_api import Timeline

    container = open_container(row)
    try:
        return Timeline.open(container)
    finally:
        container.close()


def playback_of(timeline: Timeline, *, now: float) -> dict[str, Any]:
    """Return the playback of *timeline* at its beginning, standing still."""
    steps = [{"title": step.title, "starts": round(step.starts, 3), "position": round(step.position, 3)} for step in timeline.steps]
    return _playback({"set_at": now}).to_dict() | {"duration": round(timeline.length, 3), "steps": steps}


def position_at(playback: dict[str, Any], now: float) -> tuple[float, bool]:
    """Return where the timeline stands at *now*, in seconds, and whether it still moves: it stops at its end."""
    value, length = _playback(playback), _length(playback)
    return value.position_at(now, length), value.playing and not value.has_ended(now, length)


def step_at(playback: dict[str, Any], position: float) -> int:
    """Return the number of the step that is under way, or has settled, at *position* seconds."""
    return max((number for number, step in enumerate(playback.get("steps", ())) if step["starts"] <= position), default=0)


def steered(playback: dict[str, Any], now: float, **changes: Any) -> dict[str, Any]:
    """Return *playback* after a person has, at *now*, changed position, speed or playing; *went_back_at* says when they last went back."""
    changed = _playback(playback).changed(now, _length(playback), **changes).to_dict()
    went_back = float(str(changed["position"])) < position_at(playback, now)[0]
    return playback | changed | ({"went_back_at": now} if went_back else {})


def _playback(value: dict[str, Any]) -> Playback:
    # Its package serves timelines and brings a web server and the cluster's client along: only those who play one pay for that.
    from webapp.recorded_api import Playback

    return Playback.from_dict(value)


def _length(playback: dict[str, Any]) -> float:
    return float(playback.get("duration") or 0.0)
