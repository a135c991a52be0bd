"""The walk: one packet, from its source through every stack to every way it can end."""

from __future__ import annotations

from tracer.simulate.tracing import trace

__all__ = ["trace"]
