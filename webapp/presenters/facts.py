"""An answer in short, as a page keeps it to tell what a change of the cluster changed in it: the verdict, and where its paths end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction

from tracer.graph import Path
from tracer.odds_text import odds_text

MOST_ENDS = 60


def facts(said: str, paths: Sequence[Path]) -> str:
    """Return ``{"verdict", "ends": {title: [odds, state, is_reached]}, "more": count}`` as JSON.

    *state* is the pod's (ready, not ready, ending), or the path's disposition where it does not end at a pod. Who is dropped, or whose
    fate is not known, is not said to reach anybody.
    """
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(f"{path.title} {path.subtitle}".strip(), []).append(path)
    ends = {title: _end(members) for title, members in sorted(groups.items())[:MOST_ENDS]}
    return json.dumps({"verdict": said, "ends": ends, "more": max(0, len(groups) - MOST_ENDS)}, ensure_ascii=False)


def _end(members: Sequence[Path]) -> list[str | bool]:
    first = members[0]
    return [_odds(members), first.state or first.disposition, first.disposition == "delivered"]


def _odds(members: Sequence[Path]) -> str:
    if any(path.conditions for path in members):
        return ""
    return odds_text(sum((path.probability for path in members), Fraction(0)))
