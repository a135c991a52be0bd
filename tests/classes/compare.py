"""Asks each question twice, by classes and plainly, and says where the answers differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import tracer.simulate.classes as by_classes
from tests.classes.drawn import DrawnCluster
from tracer.errors import TracerError
from tracer.explain.findings import diagnose
from tracer.limits import Limits
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.simulate.walk import Ending
from tracer.snapshot import Snapshot
from tracer.told_odds import read_odds
from tracer.topology.cluster import Cluster
from tracer.trace import Outcome
from tracer.unopened import items_of

_LARGE = Limits(work=3_000_000, settings=1)
"""What one answer may cost: those that are cut off are not compared. What-ifs, which are walks of their own, are left out."""


@dataclass
class Compared:
    """What was asked, and what differed, findings included. *counts* has the ways that were walked, and those of them all."""

    questions: int = 0
    differing: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@contextmanager
def grouped(many: int, counts: Counter[str]) -> Iterator[None]:
    """Walk by classes from *many* destinations on, and count."""
    before, expanded = by_classes.MANY, by_classes.Classes.expanded

    def counted(self: by_classes.Classes, endings: list[Ending]) -> list[Ending]:
        found = expanded(self, endings)
        counts["ways that were walked"] += len(endings)
        counts["ways"] += len(found)
        return found

    by_classes.MANY, by_classes.Classes.expanded = many, counted  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        by_classes.MANY, by_classes.Classes.expanded = before, expanded  # type: ignore[method-assign]


def compare(drawn: DrawnCluster, result: Compared, *, many: int = 1) -> None:
    """Ask the questions of *drawn*, and note what differs in *result*."""
    cluster = Cluster.from_snapshot(Snapshot.from_files(drawn.made.files(), limits=_LARGE))
    for source, to, assume in drawn.questions:
        query = Query(source=parse_source(source), destination=parse_destination(to), assume=assume)
        ask(cluster, query, result, f"{source} to {to} {assume}: {', '.join(drawn.features)}", many=many)
    for feature in drawn.features:
        result.counts[f"feature {feature}"] += 1


def ask(cluster: Cluster, query: Query, result: Compared, said: str, *, many: int = 1) -> None:
    """Ask one question both ways."""
    result.questions += 1
    try:
        with grouped(many, result.counts):
            found = trace(cluster, query)
        plain = trace(cluster, query, is_plain=True)
        found, plain = diagnose(cluster, found), diagnose(cluster, plain)
    except TracerError as error:
        result.counts[f"refused: {error}"] += 1
        return
    if any(unknown.code == "UNSUPPORTED" for unknown in plain.unknowns):
        result.counts["answers that were cut off (not compared)"] += 1
        return
    result.counts["outcomes"] += len(found.outcomes)
    result.counts["outcomes that were opened"] += sum(isinstance(item, Outcome) for item in items_of(found.outcomes))
    told, reference = (one.to_dict(with_steps=True, expand=True) for one in (found, plain))
    wrong = wrong_classes(told)
    told.pop("classes", None)
    if wrong or told != reference or found != plain:
        result.differing.append(f"{said} {wrong}".rstrip())


def wrong_classes(answer: dict[str, Any]) -> str:
    """Return what is wrong with the classes of *answer*, which tells all outcomes; "" where nothing is."""
    outcomes = answer["outcomes"]
    if sum(read_odds(outcomes)) != 1:
        return "the odds are not 1 in all"
    if "classes" not in answer:
        return ""
    classes = answer["classes"]
    if sum(read_odds([odds_of_share(one) for one in classes])) != 1:
        return "the shares are not 1 in all"
    if sum(one["members"]["count"] for one in classes) != len(outcomes):
        return "the members are not the outcomes"
    places = Counter(_place(outcome["destination"]) for outcome in outcomes if outcome["destination"])
    if Counter(_place(place) for one in classes for place in one["members"]["endpoints"]) != places:
        return "the members' destinations are not the outcomes'"
    return "" if all(one["outcome"] in outcomes for one in classes) else "a class has an outcome that is none"


def odds_of_share(one: dict[str, Any]) -> dict[str, Any]:
    """Return the share of a class under the names that an outcome's odds have."""
    return {name.replace("share", "probability"): value for name, value in one.items() if name.startswith("share")}


def _place(place: dict[str, Any]) -> str:
    return json.dumps(place, sort_keys=True)
