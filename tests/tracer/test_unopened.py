"""Outcomes that nobody opened: which of them are made, and that they are what they tell of themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.stations import Numbering, stations_of
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, Place, Sees, Trace
from tracer.unopened import Outcomes, first_of, firsts, items_of, many, seen


def outcome(odds: int) -> Outcome:
    return Outcome(probability=Fraction(1, odds), disposition=Disposition.DROPPED)


class Counting:
    """An outcome that counts how often it is opened."""

    place, drawn = 0, ()

    def __init__(self, first: Outcome, odds: int) -> None:
        self.first, self.probability, self.times = first, Fraction(1, odds), 0

    def told(self, view: Callable[[Outcome], Any]) -> Any:
        return view(self.first)

    def opened(self) -> Outcome:
        self.times += 1
        return outcome(self.probability.denominator)


def test_an_outcome_is_opened_once_and_only_when_it_is_asked_for() -> None:
    first = outcome(2)
    one, other = Counting(first, 3), Counting(first, 6)
    held = many([first, one, other])
    assert isinstance(held, Outcomes)
    assert (len(held), firsts(held), [item.probability.denominator for item in items_of(held)]) == (3, [first], [2, 3, 6])
    assert [seen(item, lambda o: o.disposition) for item in items_of(held)] == [Disposition.DROPPED] * 3
    assert (one.times, other.times) == (0, 0)
    assert held[1] is held[1]
    assert held[:2] == (first, outcome(3))
    assert (one.times, other.times) == (1, 0)
    assert held == (first, outcome(3), outcome(6))
    assert (first, outcome(3)) != held
    assert hash(held) == hash((first, outcome(3), outcome(6)))
    assert (one.times, other.times) == (1, 1)
    assert [first_of(item) for item in items_of(held)] == list(held)


def test_where_all_are_opened_they_are_a_tuple() -> None:
    assert many([outcome(1)]) == (outcome(1),)
    assert isinstance(many([outcome(1)]), tuple)


# -- the outcomes of a class --------------------------------------------------------------------------------------------------------------


def asked(source: str, to: str) -> Query:
    return Query(source=parse_source(source), destination=parse_destination(to))


def many_endpoints(count: int = 60) -> MadeCluster:
    made = MadeCluster(3)
    made.pod("client", 1)
    pods = [made.pod(f"web-{i}", i % 3 + 1) for i in range(count)]
    made.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    return made


def answered(cluster: Cluster, query: Query, *, is_plain: bool = False) -> Trace:
    return diagnose(cluster, trace(cluster, query, is_plain=is_plain))


def opened(found: Trace) -> Counter[bool]:
    return Counter(isinstance(item, Outcome) for item in items_of(found.outcomes))


QUESTIONS = [("external:203.0.113.9", "198.51.100.7:80"), ("pod:default/client", "10.96.0.10:80"), ("node:n2", "10.96.0.10:80")]


def place(one: Outcome) -> Place | None:
    return one.destination


def sees(one: Outcome) -> tuple[Sees, Place | None]:
    return one.client_sees, one.destination


@pytest.mark.parametrize(("source", "to"), QUESTIONS)
def test_of_each_class_one_is_opened_until_another_is_asked_for(source: str, to: str) -> None:
    cluster = many_endpoints().cluster()
    found = answered(cluster, asked(source, to))
    assert opened(found)[True] == len(found.classes)
    told = [(seen(item, place), seen(item, sees), item.probability) for item in items_of(found.outcomes)]
    assert [(o.destination, (o.client_sees, o.destination), o.probability) for o in found.outcomes] == told
    assert len({one[0] for one in told}) == 60


@pytest.mark.parametrize(("source", "to"), QUESTIONS)
def test_stations_are_numbered_without_opening(source: str, to: str) -> None:
    cluster = many_endpoints().cluster()
    found, plain = (answered(cluster, asked(source, to), is_plain=is_plain) for is_plain in (False, True))
    before = opened(found)
    numbering = Numbering(found)
    assert opened(found) == before
    assert tuple(map(numbering.of, found.outcomes)) == stations_of(plain)


@pytest.mark.parametrize(("source", "to"), QUESTIONS)
def test_what_was_found_of_the_first_is_said_of_each(source: str, to: str) -> None:
    made = many_endpoints()
    for pod in made.pods[1:]:
        pod.port = 9090  # what the Service's target port is not
    made.services[0].target_port = 8080
    cluster = made.cluster()
    found, plain = (answered(cluster, asked(source, to), is_plain=is_plain) for is_plain in (False, True))
    assert opened(found)[True] < len(found.outcomes) // 4
    assert found == plain
    assert any(finding.code == "TARGET_PORT_UNPROVEN" for o in found.outcomes for finding in o.findings)
