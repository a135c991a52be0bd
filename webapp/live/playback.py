"""A recorded timeline that is played: its steps, and where it stands."""

from __future__ import annotations

import json
from typing import Any

from webapp.models import Snapshot
from webapp.snapshot_store import open_container

_TAIL_SECONDS = 4.0


def playback_of(timeline: Snapshot, *, now: float) -> dict[str, Any]:
    """Return the playback of *timeline* at its beginning, standing still: position, speed, playing, set_at, duration and steps.

    An ordinary snapshot is a timeline of one moment.
    """
    steps = _steps(timeline)
    duration = steps[-1]["position"] + _TAIL_SECONDS if len(steps) > 1 else 0.0
    return {"position": 0.0, "speed": 1.0, "playing": False, "set_at": now, "duration": duration, "steps": steps}


def _steps(timeline: Snapshot) -> list[dict[str, Any]]:
    container = open_container(timeline)
    try:
        name = "steps.json"
        recorded = json.loads(container[name]) if name in container else []
    finally:
        container.close()
    if not recorded:
        return [{"title": "as it was", "position": 0.0}]
    begin = float(recorded[0]["at"])
    return [{"title": str(step["title"]), "position": round(float(step["at"]) - begin, 3)} for step in recorded]
