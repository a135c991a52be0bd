"""Two answers to one question beside each other, as trace-json.md writes them: before a change, after it, and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracer.compare import differences, told
from tracer.trace import VERSION, Trace

Json = Mapping[str, Any]


def compared(told_before: Json, told_after: Json, before: Trace, after: Trace) -> dict[str, object]:
    """Return both answers as they were told, with what differs between them."""
    return {"version": VERSION, "before": told_before, "after": told_after, **differing(before, after)}


def differing(before: Trace, after: Trace) -> dict[str, object]:
    """Return ``{"same", "text", "differences"}``: whether packets end alike, that as a sentence, and each difference."""
    found = differences(before, after)
    same = all(one.kind.is_of_the_way for one in found)
    return {"same": same, "text": told(found), "differences": [one.to_dict() for one in found]}
