"""Waking this process's supervisor, by whoever has just changed a source's row; without the weight of what the supervisor needs."""

from __future__ import annotations

import threading
from collections.abc import Callable

from webapp.work import place
from webapp.work.lanes import Lane

_wake = threading.Event()
_forward: Callable[[], None] | None = None


def nudge() -> None:
    """Make the supervisor look at the sources now, if one runs here or in the process that follows for this server."""
    _wake.set()
    if place.here() is not Lane.LIVE and not place.send({"type": "nudge"}) and _forward is not None:
        _forward()


def forward_to(other: Callable[[], None]) -> None:
    """Call *other*, which reaches the process that follows clusters, whenever somebody nudges here."""
    global _forward
    _forward = other


def wait(seconds: float) -> None:
    """Wait until somebody nudges, or *seconds* have passed."""
    _wake.wait(seconds)
    _wake.clear()
