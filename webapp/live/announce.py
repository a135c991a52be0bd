"""What sockets are told of a followed cluster, and by which name they listen.

A consumer joins ``group_of(source id)`` and has a method ``live_message(event)``; ``event["message"]`` is what the browser gets:
``{"type": "generation", "gen", "changed": [refs]}``, ``{"type": "source", "state", "since", "text"}``,
``{"type": "playback", "position", "speed", "playing", "duration", "step", "title", "steps": [{"title", "starts", "position"}]}``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone

from tracer.values import dataclass
from webapp.http import socket_loop
from webapp.live.playback import position_at, step_at
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a source stands: its *state*, *since* when, and a sentence about it (*text*, often empty)."""

    state: LiveSource.State
    since: datetime
    text: str


def standing(row: LiveSource) -> Standing:
    """Return how *row* stands, for pages and messages alike. What nobody keeps fresh is stale, whatever was written last."""
    if row.state == LiveSource.State.LIVE and (row.lease_until is None or row.lease_until < timezone.now()):
        since = row.lease_until or row.state_since
        return Standing(state=LiveSource.State.STALE, since=since, text="No server follows it at the moment.")
    return Standing(state=LiveSource.State(row.state), since=row.state_since, text=row.state_text)


def source_message(row: LiveSource) -> dict[str, Any]:
    """Return what says how fresh the picture is."""
    now = standing(row)
    return {"type": "source", "state": str(now.state), "since": now.since.isoformat(), "text": now.text}


def playback_message(row: LiveSource, now: float | None = None) -> dict[str, Any]:
    """Return where the timeline stands at *now* (Unix seconds; None: this moment)."""
    position, playing = position_at(row.playback, time.time() if now is None else now)
    steps = row.playback.get("steps", [])
    step = step_at(row.playback, position)
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
