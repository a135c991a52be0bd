"""How much of a path is drawn: objects only, chains (one box a station), or every rule of the followed path."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from tracer.graph.paths import Json, Path, Stop, place_of
from tracer.patterns import pattern

_HASHED = pattern(r"(?P<name>.+)-(?P<hash>[A-Z0-9]{16})", re.ASCII)


def detailed(path: Path, detail: str, answer: Json, followed: Path) -> Path:
    """Return *path* with the stops that *detail* (objects, chains or rules) shows.

    With ``rules`` the followed path is unfolded, and of other paths what they share with it.
    """
    if detail == "objects":
        return replace(path, stops=_objects(path.stops))
    if detail != "rules":
        return path
    hops = answer["outcomes"][path.index]["hops"]
    shared = len(path.stops) if path.id == followed.id else common(path.stops, followed.stops)
    unfolded = tuple(part for stop in path.stops[:shared] for part in _rules(stop, hops))
    return replace(path, stops=unfolded + path.stops[shared:])


def common(one: Sequence[Stop], other: Sequence[Stop]) -> int:
    """Return with how many of the same stops two paths begin."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a.key != b.key), min(len(one), len(other)))


def short_chain(name: str, *, alone: bool) -> str:
    """Return a chain's name without the long hash that generated names end in.

    *alone* drops all of the hash; otherwise four of its letters stay to tell chains apart.
    """
    m = _HASHED.fullmatch(name)
    if not m:
        return name
    return m["name"] if alone else f"{m['name']}-{m['hash'][:4]}"


def _objects(stops: Sequence[Stop]) -> tuple[Stop, ...]:
    groups: list[tuple[tuple[str, ...], list[Stop]]] = []
    for stop in stops:
        key = _object(stop, groups[-1][0] if groups else ())
        if groups and groups[-1][0] == key:
            groups[-1][1].append(stop)
        else:
            groups.append((key, [stop]))
    return tuple(_together(key, members) for key, members in groups)


def _object(stop: Stop, before: tuple[str, ...]) -> tuple[str, ...]:
    """Return the object a stop belongs to: the Service that chooses and rewrites, the node that does the rest, or the stop itself."""
    passes = stop.kind == "chain" and not stop.chain and not stop.way
    if stop.stack_kind != "node" or passes or stop.kind in ("send", "deliver", "leave", "drop", "reject", "unknown"):
        return ("self", stop.key)
    if stop.kind in ("pick", "dnat") and stop.service:
        return ("service", stop.service, str(stop.hop))
    if stop.way and before:
        return before
    if before[:1] == ("service",) and before[2] == str(stop.hop):
        return ("node", stop.stack, str(stop.hop), "leaves")
    return before if before[:3] == ("node", stop.stack, str(stop.hop)) else ("node", stop.stack, str(stop.hop), "arrives")


def _together(key: tuple[str, ...], members: Sequence[Stop]) -> Stop:
    first, last = members[0], members[-1]
    if key[0] == "self":
        return first
    badge = first.badge if first.n == last.n else f"{first.n}–{last.n}"
    kinds = {stop.kind for stop in members}
    chips = tuple(kind for kind in ("dnat", "snat") if kind in kinds)
    named = {"service": key[1].rpartition("/")[2], "node": key[1]}[key[0]]
    return replace(
        first,
        kind=key[0],
        key="|".join(("object", *key)),
        chain=named,
        subtitle=key[1].rpartition("/")[0] if key[0] == "service" else "node",
        numbers=tuple(stop.n for stop in members),
        badge=badge,
        way=False,
        rewrote=chips,
        steps=tuple(i for stop in members for i in stop.steps),
        title=key[1],
    )


def _rules(stop: Stop, hops: Sequence[Json]) -> tuple[Stop, ...]:
    """Return one stop for each rule step of *stop*; the last one keeps its kind."""
    if stop.kind == "chain" and not stop.chain and not stop.way:
        # A node that only forwards stays one box; its rules are in the list.
        return (stop,)
    if len(stop.steps) < 2:
        return (replace(stop, way=False, chain=stop.chain or stop.title if stop.way else stop.chain),)
    steps = [hops[stop.hop]["steps"][i] for i in stop.steps]
    parts = []
    for part, step in enumerate(steps, start=1):
        last = part == len(steps)
        line = place_of(step) or f"policy {step.get('policy', '')}"
        kind = stop.kind if last else "chain"
        key = stop.key if last else f"{stop.key}|{part}"
        parts.append(
            replace(
                stop,
                kind=kind,
                key=key,
                chain=step["chain"],
                subtitle=line,
                way=False,
                badge=f"{stop.n}.{part}",
                rewrote=tuple(sorted(step.get("rewrote", ()))),
            )
        )
    return tuple(parts)
