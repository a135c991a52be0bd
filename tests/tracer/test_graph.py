"""The picture as data: what is folded, what never is, and that it stays within its budget."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import pytest

from tests.made_traces import dropped_trace, lb_trace, unknown_trace
from tests.sizes import every
from tracer.graph import BUDGET, BoxKind, EdgeKind, Graph, build, most_likely, paths_of
from tracer.stations import stations_of
from tracer.trace import Disposition, Lookup, Outcome, Reason, Trace

ZONES = {"shop-worker": "zone-a", "shop-worker1": "zone-b", "shop-worker2": "zone-c"}


def answer(trace: Trace) -> Mapping[str, Any]:
    written = trace.to_dict()
    for outcome, stations in zip(written["outcomes"], stations_of(trace), strict=True):
        outcome["stations"] = [station.to_dict() for station in stations]
    return written


def on_path(graph: Graph) -> list[str]:
    return [box.title for box in sorted((box for box in graph.boxes if box.on), key=lambda box: box.steps)]


def test_nodes_with_the_same_rules_fold() -> None:
    graph = build(answer(lb_trace()))
    region = next(region for region in graph.regions if region.kind == "node")
    assert region.total == 3
    assert len({box.region for box in graph.boxes if box.region.startswith("node:")}) == 1


def test_a_node_that_behaves_differently_is_drawn() -> None:
    trace = lb_trace()
    odd = replace(trace.outcomes[0], findings=())
    graph = build(answer(replace(trace, outcomes=(odd, *trace.outcomes[1:]))), follow=trace.outcomes[8].id)
    assert sorted(region.total for region in graph.regions if region.kind == "node") == [1, 2]
    balancer = next(box.id for box in graph.boxes if box.kind is BoxKind.LOAD_BALANCER)
    fan = [edge for edge in graph.edges if edge.tail == balancer and edge.kind is not EdgeKind.REPLY]
    assert sorted(edge.odds for edge in fan) == ["1/3", "2/3"]  # of the two that one is drawn for, the sum
    assert sum(edge.share or 0 for edge in fan) == 1


def test_the_followed_path_is_complete_and_numbered() -> None:
    graph = build(answer(lb_trace()))
    assert on_path(graph)[:6] == ["Client", "Load balancer", "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXT", "KUBE-SVC"]
    told = sorted([n for box in graph.boxes for n in box.steps] + [way.step for edge in graph.edges for way in edge.ways])
    stations = next(iter(answer(lb_trace())["outcomes"]))["stations"]
    assert told == list(range(1, max(told) + 1))
    assert len(told) in (len(stations), len(stations) + 1)


@pytest.mark.parametrize(("endpoints", "folded"), [(1, ""), (6, ""), (7, "node"), (40, "node"), (41, "zone"), (500, "zone")])
def test_endpoints_fold_by_number(endpoints: int, folded: str) -> None:
    assert build(answer(lb_trace(endpoints=endpoints)), zones=ZONES).folded_by == folded


def test_without_zones_many_endpoints_fold_by_node() -> None:
    assert build(answer(lb_trace(endpoints=60))).folded_by == "node"


@pytest.mark.parametrize(
    ("detail", "group", "expand"),
    every(product(["objects", "chains", "rules"], ["", "node", "zone", "none"], [(), ("nodes",), ("all", "nodes")]), 5),
)
def test_never_more_boxes_than_the_budget(detail: str, group: str, expand: tuple[str, ...]) -> None:
    graph = build(answer(lb_trace(endpoints=60)), detail=detail, group=group, expand=expand, zones=ZONES)
    assert 5 <= len(graph.boxes) <= BUDGET
    ids = {box.id for box in graph.boxes}
    assert all(edge.tail in ids and edge.head in ids for edge in graph.edges)
    assert any(box.on and box.kind is BoxKind.POD for box in graph.boxes), "the followed path is never folded"


def test_opening_a_fold_draws_its_members() -> None:
    made = answer(lb_trace(endpoints=12))
    folded = build(made)
    stack = next(box for box in folded.boxes if box.kind is BoxKind.POD and box.count > 1)
    opened = build(made, expand=(stack.expand,))
    assert sum(box.kind is BoxKind.POD and box.count == 1 for box in opened.boxes) == 1 + stack.count


def test_a_row_that_misbehaves_is_never_in_a_healthy_stack() -> None:
    trace = lb_trace(nodes=1, endpoints=50)
    reason = Reason(code="RULE_DROP", text="dropped")
    bad = replace(trace.outcomes[7], disposition=Disposition.DROPPED, reason=reason, destination=None)
    graph = build(answer(replace(trace, outcomes=(*trace.outcomes[:7], bad, *trace.outcomes[8:]))))
    assert [box.count for box in graph.boxes if box.kind is BoxKind.DROP] == [1]


def test_uneven_odds_are_not_hidden_in_a_stack() -> None:
    trace = lb_trace(nodes=1, endpoints=20)
    shares = [Fraction(1, 40)] * 19 + [Fraction(21, 40)]
    outcomes = tuple(replace(outcome, probability=share) for outcome, share in zip(trace.outcomes, shares, strict=True))
    graph = build(answer(replace(trace, outcomes=outcomes)), follow=outcomes[0].id)
    alone = [box for box in graph.boxes if box.kind is BoxKind.POD and box.count == 1]
    assert {box.title for box in alone} >= {outcomes[0].destination.name, outcomes[19].destination.name}


def test_odds_within_the_kernels_rounding_fold_together() -> None:
    trace = lb_trace(nodes=1, endpoints=20)
    tiny = Fraction(1, 1 << 31)
    outcomes = tuple(replace(o, probability=o.probability + (tiny if n % 2 else -tiny)) for n, o in enumerate(trace.outcomes))
    graph = build(answer(replace(trace, outcomes=outcomes)))
    assert sum(box.kind is BoxKind.POD for box in graph.boxes) == 2


def test_edges_leaving_a_choice_add_up() -> None:
    graph = build(answer(lb_trace(endpoints=500)), zones=ZONES)
    pick = next(box for box in graph.boxes if box.kind is BoxKind.PICK)
    assert sum(edge.share for edge in graph.edges if edge.tail == pick.id) == 1


def test_no_odds_under_a_condition() -> None:
    trace = lb_trace(nodes=1, endpoints=2)
    outcomes = tuple(replace(outcome, conditions=("the set holds the source",)) for outcome in trace.outcomes)
    graph = build(answer(replace(trace, outcomes=outcomes)))
    assert all(edge.share is None and not edge.labelled for edge in graph.edges)


def test_ids_say_what_a_thing_is() -> None:
    """The same boxes keep their ids when endpoints come and go, whatever order the outcomes stand in."""
    trace = lb_trace(nodes=1, endpoints=4)
    before = build(answer(trace), follow=trace.outcomes[0].id)
    fewer = build(answer(replace(trace, outcomes=tuple(reversed(trace.outcomes[:3])))), follow=trace.outcomes[0].id)
    assert {box.id for box in fewer.boxes} <= {box.id for box in before.boxes}


def test_the_same_answer_gives_the_same_graph() -> None:
    assert build(answer(lb_trace(endpoints=50)), zones=ZONES) == build(answer(lb_trace(endpoints=50)), zones=ZONES)


def test_find_unfolds_what_it_matches() -> None:
    graph = build(answer(lb_trace(endpoints=500)), zones=ZONES, find="public-api-6f7d9c5b8-00123")
    assert any(box.title == "public-api-6f7d9c5b8-00123" for box in graph.boxes)


@pytest.mark.parametrize("trace", [dropped_trace(), unknown_trace()])
def test_a_path_that_ends_early_is_drawn(trace: Trace) -> None:
    graph = build(answer(trace))
    assert [box.kind for box in graph.boxes if box.on and box.kind is not BoxKind.CLIENT] in ([BoxKind.DROP], [BoxKind.UNKNOWN])


def test_rewrites_mark_the_edges_behind_them() -> None:
    kinds = [edge.kind for edge in build(answer(lb_trace(nodes=1, endpoints=1))).edges]
    assert sorted(itertools.chain(kinds)).count(EdgeKind.DNAT) == 1
    assert kinds.count(EdgeKind.SNAT) == 1


def test_the_most_likely_path_is_followed_of_several_the_longest_and_of_these_the_first() -> None:
    """What goes on to another node shows more than what stays."""
    paths = paths_of(answer(lb_trace()))
    most = max(path.probability for path in paths)
    likely = [path for path in paths if path.probability == most]
    longest = max(len(path.stops) + len(path.replies) for path in likely)
    first = next(path for path in likely if len(path.stops) + len(path.replies) == longest)
    assert most_likely(paths) == most_likely(paths[::-1]) == first != likely[0]


def test_all_look_ups_are_one_box_beside_the_client() -> None:
    asked = tuple(Lookup(server="10.96.0.10", name=name, rdtype="A", rcode="NXDOMAIN") for name in ("web.a.", "web.b.", "web."))
    graph = build(answer(replace(lb_trace(), lookups=asked)))
    box = next(box for box in graph.boxes if box.kind is BoxKind.DNS)
    assert (box.title, box.subtitle, box.steps, box.badge) == ("DNS", "10.96.0.10", (1, 2, 3), "1–3")
    (edge,) = [edge for edge in graph.edges if edge.kind is EdgeKind.DNS]
    assert edge.tail == box.id
    assert next(b for b in graph.boxes if b.id == edge.head).kind is BoxKind.CLIENT


def test_a_name_that_does_not_resolve_still_has_a_client() -> None:
    asked = (Lookup(server="10.96.0.10", name="web.", rdtype="A", rcode="NXDOMAIN"),)
    ended = Outcome(probability=Fraction(1), disposition=Disposition.UNRESOLVED)
    graph = build(answer(replace(lb_trace(), outcomes=(ended,), lookups=asked)))
    assert sorted((box.kind.value, box.steps) for box in graph.boxes) == [("client", ()), ("dns", (1,)), ("reject", (2,))]
