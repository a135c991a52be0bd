"""The other ways to the same end: what would have to hold for them, and by which stacks and rules they go instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tracer.values import dataclass

Json = Mapping[str, Any]
_MOST = 40
"""How many are written on the page; the JSON has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlsoWay:
    """One of them. *stacks* are those it passes, "" where they are the ones that are told; *rules* are those that only it takes."""

    condition: str
    stacks: str
    rules: tuple[str, ...]


def also_ways(outcome: Json) -> tuple[AlsoWay, ...]:
    """Return the other ways of *outcome*, as many as fit on a page."""
    told, taken = _stacks(outcome["hops"]), set(_rules(outcome["hops"]))
    found = []
    for way in (outcome.get("also") or ())[:_MOST]:
        stacks = _stacks(way["hops"])
        own = tuple(dict.fromkeys(rule for rule in _rules(way["hops"]) if rule not in taken))
        found.append(AlsoWay(condition=way["condition"], stacks=stacks if stacks != told else "", rules=own))
    return tuple(found)


def _stacks(hops: list[Json]) -> str:
    return " → ".join(f"{hop['stack']['kind']} {hop['stack']['name']}" for hop in hops)


def _rules(hops: list[Json]) -> Iterator[str]:
    """Yield the rules of a way with their places."""
    for hop in hops:
        for step in hop.get("steps") or ():
            if step.get("rule"):
                yield f"{step['file']}:{step['line']} {step['rule']}"
