"""What sockets are told of a followed cluster, and by which name they listen.

A consumer joins ``group_of(source id)`` and has a method ``live_message(event)``; ``event["message"]`` is what the browser gets:
``{"type": "generation", "gen", "changed": [refs]}``, ``{"type": "source", "state", "since", "text"}``,
``{"type": "playback", "position", "speed", "playing", "duration", "step", "title", "steps": [{"title", "position"}]}``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from webapp import socket_loop
from webapp.models import LiveSource

EVENT = "live.message"
EVERYTHING = "*"
"""Stands in ``changed`` for more than can be named: every page is touched."""
MOST_REFS = 300


def group_of(source: str) -> str:
    """Return the channel group that is told about the source with that id."""
    return f"live.{source}"


def send(source: str, message: dict[str, Any]) -> None:
    """Tell the sockets of the source with that id, from any thread but the one that serves them."""
    socket_loop.tell(group_of(source), {"type": EVENT, "message": message})


def named(refs: Iterable[str]) -> list[str]:
    """Return *refs* once each, or ``["*"]`` where they are too many to be told."""
    once = list(dict.fromkeys(refs))
    return once if len(once) <= MOST_REFS else [EVERYTHING]


def generation_message(generation: int, refs: Iterable[str]) -> dict[str, Any]:
    """Return what says that the cluster is at *generation* and what has changed."""
    return {"type": "generation", "gen": generation, "changed": named(refs)}


def source_message(row: LiveSource) -> dict[str, Any]:
    """Return what says how fresh the picture is."""
    return {"type": "source", "state": row.state, "since": row.state_since.isoformat(), "text": row.state_text}


def playback_message(row: LiveSource, now: float | None = None) -> dict[str, Any]:
    """Return where the timeline stands at *now* (Unix seconds; None: this moment)."""
    position, playing = position_at(row.playback, time.time() if now is None else now)
    steps = row.playback.get("steps", [])
    step = max((number for number, step in enumerate(steps) if step["position"] <= position), default=0)
    return {
        "type": "playback",
        "position": position,
        "speed": row.playback.get("speed", 1.0),
        "playing": playing,
        "duration": row.playback.get("duration", 0.0),
        "step": step,
        "title": steps[step]["title"] if steps else "",
        "steps": steps,
    }


def position_at(playback: dict[str, Any], now: float) -> tuple[float, bool]:
    """Return the timeline's position in seconds at *now*, and whether it still moves: it stops at its end."""
    position, duration = float(playback.get("position", 0.0)), float(playback.get("duration", 0.0))
    if not playback.get("playing"):
        return position, False
    moved = position + max(0.0, now - float(playback.get("set_at", now))) * float(playback.get("speed", 1.0))
    return (moved, True) if moved < duration else (duration, False)
