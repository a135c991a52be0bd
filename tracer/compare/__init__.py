"""What differs between two answers to one question: where packets end, with which odds, what both ends see, and which rules they meet."""

from __future__ import annotations

from tracer.compare.comparing import differences, is_same
from tracer.compare.difference import Difference, Kind, told

__all__ = ["Difference", "Kind", "differences", "is_same", "told"]
