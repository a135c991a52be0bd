"""What a walk says when the file that would tell is not in the snapshot, or is broken: unknown with its name, never a guess."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.errors import QueryError
from tracer.trace import Disposition, Trace

CLIENT = "external:203.0.113.9"


def made(nodes: int = 2) -> MadeCluster:
    cluster = MadeCluster(nodes)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web", 2)], type="LoadBalancer", node_port=30080, lb_ip="203.0.113.100")
    return cluster


def unknown_text(answer: Trace) -> str:
    assert {o.disposition for o in answer.outcomes} == {Disposition.UNKNOWN}
    return "\n".join(u.text for u in answer.unknowns)


def test_missing_routes_are_named_with_their_node() -> None:
    cluster = made()
    cluster.node(1).without |= {"ip-route.json"}
    answer = cluster.trace("pod:default/client", "10.96.0.10:80")
    assert unknown_text(answer) == "where node n1 routes 10.1.2.2: nodes/n1/ip-route.json is missing"
    assert [(u.code, u.at["file"]) for u in answer.unknowns] == [("NO_ROUTES", "nodes/n1/ip-route.json")]


def test_the_way_back_that_reverse_path_filtering_asks_for_is_named_too() -> None:
    cluster = made()
    cluster.node(1).without |= {"ip-route.json"}
    cluster.node(2).without |= {"ip-route.json"}
    text = unknown_text(cluster.trace(CLIENT, "203.0.113.100:80"))
    assert [f"nodes/n{n}/ip-route.json is missing" in text for n in (1, 2)] == [True, True]


@pytest.mark.parametrize("broken", ["[{", '{"dst": 1}', '[{"dst": "10.1.2.0/240"}]'])
def test_broken_routes_are_named_with_what_is_wrong(broken: str) -> None:
    cluster = made()
    cluster.node(1).texts["ip-route.json"] = broken
    assert "nodes/n1/ip-route.json cannot be read (" in unknown_text(cluster.trace("pod:default/client", "10.96.0.10:80"))


@pytest.mark.parametrize("without", [True, False])
def test_routing_rules_that_are_assumed_are_said(without: bool) -> None:
    cluster = made()
    cluster.node(1).without |= {"ip-rule.json"} if without else set()
    (outcome,) = cluster.trace("pod:default/client", "10.96.0.10:80").outcomes
    assumed = [note for hop in outcome.hops for note in hop.notes if "nodes/n1/ip-rule.json is missing" in note]
    assert bool(assumed) is without


@pytest.mark.parametrize(
    ("services", "disposition"), [(None, Disposition.UNKNOWN), (b'{"kind": "ServiceList", "items": []}', Disposition.LOST)]
)
def test_without_services_nobody_can_tell_a_load_balancers_address(services: bytes | None, disposition: Disposition) -> None:
    cluster = made()
    cluster.extra["services.json"] = services
    answer = cluster.trace(CLIENT, "203.0.113.100:80")
    assert [o.disposition for o in answer.outcomes] == [disposition]
    assert any("services.json" in u.text for u in answer.unknowns) is (services is None)


@pytest.mark.parametrize(("file", "to"), [("pods.json", "10.96.0.10:80"), ("services.json", "svc:default/web:80")])
def test_a_name_that_no_file_could_hold_is_not_called_absent(file: str, to: str) -> None:
    cluster = made()
    cluster.extra[file] = None
    with pytest.raises(QueryError, match=file):
        cluster.trace("pod:default/client", to)
