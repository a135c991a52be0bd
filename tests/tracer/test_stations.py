"""Stations: what a person steps through, grouped without knowing any chain by name."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import pytest

from tests.made_traces import dropped_trace, lb_trace, unknown_trace
from tracer.stations import StationKind, stations_of
from tracer.trace import Disposition, Hop, Lookup, Outcome, StackKind, Step, Trace


def titles(trace: Trace, index: int = 0) -> list[tuple[str, str]]:
    return [(station.kind.value, station.title) for station in stations_of(trace)[index]]


def test_a_load_balanced_packet_steps_through_eleven_stations() -> None:
    assert titles(lb_trace(), 1) == [
        ("send", "Client sends SYN"),
        ("load-balancer", "Load balancer picks a node"),
        ("chain", "KUBE-SERVICES"),
        ("chain", "KUBE-NODEPORTS"),
        ("mark", "Marked for masquerade"),
        ("pick", "Endpoint 2 of 3 picked"),
        ("dnat", "Destination rewritten (DNAT)"),
        ("chain", "FORWARD accepts"),
        ("snat", "Source rewritten (SNAT)"),
        ("chain", "Passes shop-worker1"),
        ("deliver", "Pod receives"),
    ]


def test_the_last_rule_of_a_choice_is_a_choice_too() -> None:
    """It matches without a draw of its own, because the rules above left it nothing else."""
    assert titles(lb_trace(), 2)[5] == ("pick", "Endpoint 3 of 3 picked")


def test_one_endpoint_is_no_choice() -> None:
    assert "pick" not in [kind for kind, _ in titles(lb_trace(endpoints=1))]


def test_a_drop_is_the_last_station() -> None:
    assert titles(dropped_trace()) == [
        ("send", "Client sends SYN"),
        ("chain", "PREROUTING accepts"),
        ("drop", "Dropped by KUBE-EXTERNAL-SERVICES"),
    ]


def test_where_the_snapshot_ends_the_last_station_is_unknown() -> None:
    assert titles(unknown_trace())[-1] == ("unknown", "Unknown from here on")


@pytest.mark.parametrize("trace", [lb_trace(), lb_trace(nodes=1, endpoints=1), lb_trace(endpoints=40), dropped_trace(), unknown_trace()])
def test_every_step_belongs_to_exactly_one_station(trace: Trace) -> None:
    for outcome, stations in zip(trace.outcomes, stations_of(trace), strict=True):
        for index, hop in enumerate(outcome.hops):
            told = sorted(step for station in stations if station.hop == index for step in station.steps)
            assert told == list(range(len(hop.steps))), [(station.title, station.steps) for station in stations]
        assert [station.n for station in stations] == list(range(1, len(stations) + 1))


def test_names_of_chains_do_not_matter() -> None:
    """The same rules under other names give the same stations under other names."""
    trace = lb_trace()

    def renamed(text: str | None) -> str | None:
        return None if text is None else re.sub(r"KUBE-([A-Z0-9-]+)", lambda m: f"x{m[1].lower()}", text)

    def other(step: Step) -> Step:
        return replace(step, chain=renamed(step.chain), rule=renamed(step.rule), verdict=renamed(step.verdict))

    def moved(outcome: Outcome) -> Outcome:
        hops = tuple(replace(hop, steps=tuple(other(step) for step in hop.steps)) for hop in outcome.hops)
        return replace(outcome, hops=hops)

    again = stations_of(replace(trace, outcomes=tuple(moved(outcome) for outcome in trace.outcomes)))
    assert [[(s.kind, s.hop, s.steps) for s in one] for one in again] == [
        [(s.kind, s.hop, s.steps) for s in one] for one in stations_of(trace)
    ]


def test_a_chain_left_without_an_event_is_folded_into_the_next_station() -> None:
    outcome = lb_trace(nodes=1, endpoints=1).outcomes[0]
    node = next(hop for hop in outcome.hops if hop.kind is StackKind.NODE)
    visit = (
        Step(
            hook="prerouting",
            family="ip",
            table="nat",
            chain="PREROUTING",
            rule="-A PREROUTING -j OTHER",
            file="f",
            line=1,
            verdict="jump OTHER",
        ),
        Step(hook="prerouting", family="ip", table="nat", chain="OTHER", rule="-A OTHER -j RETURN", file="f", line=2, verdict="return"),
    )
    longer = replace(node, steps=(*visit, *node.steps))
    trace = Trace(query=lb_trace().query, outcomes=(replace(outcome, hops=tuple(longer if hop is node else hop for hop in outcome.hops)),))
    first = next(station for station in stations_of(trace)[0] if station.kind is StationKind.CHAIN)
    assert (first.title, first.steps) == ("KUBE-SERVICES", (0, 1, 2, 3))


def test_a_policy_that_drops_is_an_event() -> None:
    outcome = dropped_trace().outcomes[0]
    last = outcome.hops[-1]
    policy = Step(hook="input", family="ip", table="filter", chain="INPUT", policy="DROP")
    hop: Hop = replace(last, steps=(*last.steps[:2], policy))
    stations = stations_of(Trace(query=dropped_trace().query, outcomes=(replace(outcome, hops=(outcome.hops[0], hop)),)))[0]
    assert (stations[-1].kind, stations[-1].title, stations[-1].steps) == (StationKind.DROP, "Dropped by INPUT", (2,))


# --- names -------------------------------------------------------------------------------------------------------------


def lookup(name: str, rdtype: str, rcode: str, *answers: str) -> Lookup:
    return Lookup(server="10.96.0.10", name=name, rdtype=rdtype, rcode=rcode, answers=answers)


SEARCHED = (
    lookup("web.shop.default.svc.cluster.local.", "A", "NXDOMAIN"),
    lookup("web.shop.default.svc.cluster.local.", "AAAA", "NXDOMAIN"),
    lookup("web.shop.svc.cluster.local.", "A", "NOERROR", "10.96.0.7"),
    lookup("web.shop.svc.cluster.local.", "AAAA", "NOERROR"),
)


def test_every_name_that_was_asked_is_a_station_before_the_packet() -> None:
    stations = stations_of(replace(lb_trace(), lookups=SEARCHED))[0]
    assert [(s.n, s.kind.value, s.title, s.lookups) for s in stations[:3]] == [
        (1, "dns", "No such name (NXDOMAIN)", (0, 1)),
        (2, "dns", "Name found: 10.96.0.7", (2, 3)),
        (3, "send", "Client sends SYN", ()),
    ]
    assert stations[0].to_dict()["lookups"] == [0, 1]


@pytest.mark.parametrize(
    ("rcode", "answers", "title"),
    [
        ("NOERROR", (), "Name has no address (NODATA)"),
        ("NOERROR", ("elsewhere.example.com.",), "Name has no address (NODATA)"),
        ("NOERROR", ("web.example.com.", "192.0.2.1", "192.0.2.2"), "Name found: 192.0.2.1 and 1 more"),
        ("NXDOMAIN", (), "No such name (NXDOMAIN)"),
        ("SERVFAIL", (), "Look-up fails (SERVFAIL)"),
        ("TIMEOUT", (), "DNS server does not answer"),
    ],
)
def test_a_look_up_says_what_it_came_to(rcode: str, answers: tuple[str, ...], title: str) -> None:
    asked = (lookup("web.", "A", rcode, *answers),)
    assert stations_of(replace(lb_trace(), lookups=asked))[0][0].title == title


def test_a_name_that_does_not_resolve_ends_there() -> None:
    ended = Outcome(probability=Fraction(1), disposition=Disposition.UNRESOLVED)
    trace = replace(lb_trace(), outcomes=(ended,), lookups=SEARCHED[:2])
    assert titles(trace) == [("dns", "No such name (NXDOMAIN)"), ("reject", "Name does not resolve")]


def test_a_packet_of_a_recorded_connection_does_not_begin_it() -> None:
    trace = lb_trace()
    assert titles(replace(trace, query=replace(trace.query, connection=("shop-worker", 3))))[0] == ("send", "Client sends")
