"""What happened in one step of a recording, in a few words: the title that the timeline's scrubber shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tracer.kube.kinds import KINDS
from tracer.values import dataclass

_WORDS = {"ADDED": "added", "MODIFIED": "changed", "DELETED": "deleted"}
CAUSES_FIRST = tuple(kind.name for kind in sorted(KINDS, key=lambda kind: kind.cause_rank or 0) if kind.cause_rank is not None)
_MOST_PARTS = 3
_LONGEST = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """One event: ``ADDED``, ``MODIFIED`` or ``DELETED``, and which object."""

    event: str
    kind: str
    namespace: str
    name: str


def title_of(happened: Sequence[Happened], nodes: Collection[str]) -> str:
    """Return what *happened* in words, the causes first; *nodes* are those whose files changed, named when nothing else did.

    An object that came, changed and changed again is said once; EndpointSlices are said only when they changed alone.
    """
    net = _net(happened)
    found = {one.kind for one in net}
    kinds = [kind for kind in CAUSES_FIRST if kind in found] + sorted(found - set(CAUSES_FIRST))
    told = [kind for kind in kinds if kind != "EndpointSlice"] or kinds
    parts = [part for kind in told for part in _parts(kind, net)]
    if not parts:
        return _of_nodes(nodes)
    more = len(parts) - _MOST_PARTS
    text = ", ".join(parts[:_MOST_PARTS]) + (f" and {more} more" if more > 0 else "")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _net(happened: Sequence[Happened]) -> list[Happened]:
    """Return the last word on each object; what came within the step stays "added", what came and went is left out."""
    first: dict[tuple[str, str, str], Happened] = {}
    last: dict[tuple[str, str, str], Happened] = {}
    for one in happened:
        key = (one.kind, one.namespace, one.name)
        first.setdefault(key, one)
        last[key] = one
    came = {key for key, one in first.items() if one.event == "ADDED"}
    return [first[key] if key in came else one for key, one in last.items() if not (key in came and one.event == "DELETED")]


def _parts(kind: str, net: Sequence[Happened]) -> list[str]:
    parts = []
    for event, word in _WORDS.items():
        found = [one for one in net if one.kind == kind and one.event == event]
        if len(found) == 1:
            where = f"{found[0].namespace}/" if found[0].namespace else ""
            parts.append(f"{kind} {where}{found[0].name} {word}")
        elif found:
            parts.append(f"{len(found)} {_plural(kind)} {word}{_common(found)}")
    return parts


def _plural(kind: str) -> str:
    if kind.endswith("y"):
        return f"{kind[:-1]}ies"
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _common(found: Sequence[Happened]) -> str:
    namespaces = {one.namespace for one in found}
    return f" in {namespaces.pop()}" if len(namespaces) == 1 and all(namespaces) else ""


def _of_nodes(nodes: Collection[str]) -> str:
    if not nodes:
        return "nothing changed"
    named = sorted(nodes)
    pods = [node for node in named if "/pods/" in node]
    if len(named) == 1:
        return f"rules of {named[0].rpartition('/')[2].replace('_', '/', 1) if pods else named[0]} changed"
    whose = "pods" if len(pods) == len(named) else "nodes and pods" if pods else "nodes"
    return f"rules of {len(named)} {whose} changed"
