"""The outcomes of a large answer as they are stored: what many of them share stands once, and one is put together when it is asked for.

Most of 1,500 outcomes are steps, packets and stations that others have, too: written out they are 26 MB, which takes longer to read than
the question takes to answer. ``packed`` is for JSON: a table each of steps, packets, hops, stations and findings, where a hop has the
places of its packets and steps, and the outcomes, which have those of the others. ``like`` and ``drawn`` say of each what
``OutcomeDicts`` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tracer.told_odds import read_odds
from webapp.answering.outcome_dicts import Json, OutcomeDicts, SomeOpened

PACKED = "packed"
_PACKETS = ("packet_in", "packet_out")
_LISTS = ("stations", "findings")
_encoded = json.JSONEncoder(separators=(",", ":")).encode


class StoredOutcomes(SomeOpened):
    """The outcomes that :func:`packed` made *held* of. :raises KeyError: it did not."""

    def __init__(self, held: Json) -> None:
        super().__init__()
        self._rows, self._likes, self._drawn = held["outcomes"], held["like"], held["drawn"]
        self._steps = held["steps"]
        hops = [self._hop(hop, held["packets"]) for hop in held["hops"]]
        self._tables = {"hops": hops, **{name: held[name] for name in _LISTS}}

    def _hop(self, hop: Json, packets: Sequence[Json]) -> Json:
        return {**hop, **{side: packets[hop[side]] for side in _PACKETS}, "steps": [self._steps[at] for at in hop["steps"]]}

    def _at(self, place: int) -> dict[str, Any]:
        return {key: _unpacked(key, value, self._tables) for key, value in self._rows[place].items()}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    @property
    def odds(self) -> list[Fraction]:
        """Return the exact odds of each."""
        return read_odds(self._rows)

    def like(self, place: int) -> int:
        """Return the place of the outcome that the one at *place* is like: its own where it is like no other."""
        return int(self._likes[place])

    def end(self, place: int) -> Json | None:
        """Return the ``destination`` of the outcome at *place*."""
        found: Json | None = self._rows[place].get("destination")
        return found

    def drawn(self, place: int) -> tuple[int, Sequence[Json]]:
        """Return the steps that the outcome at *place* has of its own, and the hop that begins with them."""
        hop, steps = self._drawn[place]
        return hop, [self._steps[at] for at in steps]

    def whole(self) -> list[dict[str, Any]]:
        """Return all of them as one list, long odds told in a row."""
        return list(self)


def packed(outcomes: OutcomeDicts) -> dict[str, Any]:
    """Return *outcomes* for JSON, from which ``StoredOutcomes`` is made."""
    tables = {name: _Table() for name in ("steps", "packets", "hops", *_LISTS)}

    def placed(hop: Json) -> int:
        sides = {side: tables["packets"].place(hop[side]) for side in _PACKETS}
        return tables["hops"].place({**hop, **sides, "steps": [tables["steps"].place(step) for step in hop["steps"]]})

    def row(outcome: Json) -> dict[str, Any]:
        lists = {name: [tables[name].place(value) for value in outcome[name]] for name in _LISTS if name in outcome}
        found = {**outcome, "hops": [placed(hop) for hop in outcome["hops"]], **lists}
        if found.get("reply"):
            found["reply"] = {**found["reply"], "hops": [placed(hop) for hop in found["reply"]["hops"]]}
        if "also" in found:
            found["also"] = [{**way, "hops": [placed(hop) for hop in way["hops"]]} for way in found["also"]]
        return found

    rows = [row(outcome) for outcome in outcomes.whole()]
    drawn = [[hop, [tables["steps"].place(step) for step in steps]] for hop, steps in map(outcomes.drawn, range(len(outcomes)))]
    likes = [outcomes.like(place) for place in range(len(outcomes))]
    return {**{name: table.values for name, table in tables.items()}, "outcomes": rows, "like": likes, "drawn": drawn}


def _unpacked(key: str, value: Any, tables: Mapping[str, Sequence[Json]]) -> Any:
    """What an outcome has under *key*, with what stands in *tables* instead of its places there."""
    if key in tables:
        return [tables[key][at] for at in value]
    if key == "also":
        return [_with_hops(way, tables) for way in value]
    return _with_hops(value, tables) if key == "reply" and value else value


def _with_hops(way: Json, tables: Mapping[str, Sequence[Json]]) -> Json:
    return {**way, "hops": [tables["hops"][at] for at in way["hops"]]}


class _Table:
    """Values of JSON, each once."""

    def __init__(self) -> None:
        self.values: list[object] = []
        self._places: dict[str, int] = {}
        self._known: dict[int, tuple[object, int]] = {}  # by id: the value is held so that its id stays its own

    def place(self, value: object) -> int:
        """Return the place of *value*, which is put last where it is not there. What is in a table stays as it is."""
        known = self._known.get(id(value))
        if known is None:
            at = self._places.setdefault(_encoded(value), len(self.values))
            if at == len(self.values):
                self.values.append(value)
            known = self._known[id(value)] = value, at
        return known[1]


def for_storing(document: Json) -> dict[str, Any]:
    """Return *document* for JSON: outcomes of which some wait to be opened are packed, also in the one that it is compared with."""
    return _each_answer(document, lambda outcomes: {PACKED: packed(outcomes)} if isinstance(outcomes, OutcomeDicts) else outcomes)


def from_stored(document: Json) -> dict[str, Any]:
    """Return the document of which :func:`for_storing` made *document*. :raises KeyError: of none."""
    return _each_answer(document, lambda outcomes: StoredOutcomes(outcomes[PACKED]) if isinstance(outcomes, Mapping) else outcomes)


def _each_answer(document: Json, changed: Callable[[Any], object]) -> dict[str, Any]:
    held = {**document, "answer": {**document["answer"], "outcomes": changed(document["answer"]["outcomes"])}}
    if "compared" in held:
        held["compared"] = {**held["compared"], "before": _each_answer(held["compared"]["before"], changed)}
    return held
