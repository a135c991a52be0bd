"""Waking this process's supervisor, by whoever has just changed a source's row; without the weight of what the supervisor needs."""

from __future__ import annotations

import threading

_wake = threading.Event()


def nudge() -> None:
    """Make this process's supervisor look at the sources now, if it runs."""
    _wake.set()


def wait(seconds: float) -> None:
    """Wait until somebody nudges, or *seconds* have passed."""
    _wake.wait(seconds)
    _wake.clear()
