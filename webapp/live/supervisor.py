"""Which sources this process follows: a thread that takes leases, starts followers and stops them."""

from __future__ import annotations

import threading

_wake = threading.Event()


def nudge() -> None:
    """Make this process's supervisor look at the sources now, if it runs."""
    _wake.set()
