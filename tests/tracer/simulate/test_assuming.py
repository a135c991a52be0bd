"""Assumptions on the walk: where each is met, what it picks, and whether the other setting would change the answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.made_cluster import MadeCluster
from tracer.errors import QueryError, TooMuchWork
from tracer.limits import Limits
from tracer.query import FlowState, Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, Trace

CLIENT = "external:203.0.113.9"
LB = "203.0.113.100:80"
Json = dict[str, object]


def made(nodes: int = 2, *, node_port: int | None = 30080, local: bool = False) -> MadeCluster:
    """A client pod on n1, a pod of web on each node, and web's load balancer at 203.0.113.100."""
    cluster = MadeCluster(nodes)
    cluster.pod("client", 1)
    pods = [cluster.pod(f"web-{i}", i) for i in range(1, nodes + 1)]
    cluster.service("web", pods, type="LoadBalancer", node_port=node_port, lb_ip="203.0.113.100", local=local)
    return cluster


def told(answer: Trace) -> dict[str, tuple[bool | None, tuple[str, ...]]]:
    """Word → whether the other settings change the answer, and which there are."""
    return {a.code: (a.changes, a.other) for a in answer.assumptions}


def ends(answer: Trace) -> set[tuple[str, str]]:
    return {(o.disposition.value, str(o.destination and o.destination.name)) for o in answer.outcomes}


def entered(outcome: Outcome) -> tuple[str, str, int | None]:
    """The first node on the way, and the destination with which the packet came to it."""
    hop = next(h for h in outcome.hops if h.node)
    return str(hop.node), str(hop.packet_in.destination), hop.packet_in.destination_port


# -- front --------------------------------------------------------------------------------------------------------------------------


def test_a_balancer_hands_over_to_node_ports_unless_assumed_otherwise() -> None:
    answer = made().trace(CLIENT, LB)
    assert {entered(o) for o in answer.outcomes} == {("n1", "192.168.0.11", 30080), ("n2", "192.168.0.12", 30080)}
    assert told(answer) == {"front:node-port": (True, ("front:kept", "front:pod"))}
    assert all(o.assumes == ("front:node-port",) for o in answer.outcomes)
    assert all(o.reply is not None and o.reply.disposition is Disposition.DELIVERED for o in answer.outcomes)


def test_kept_comes_to_the_node_with_the_balancers_address() -> None:
    """And the answer goes past the balancer: the node restores the address that the client dialled."""
    answer = made().trace(CLIENT, LB, assume=("front:kept",))
    assert {entered(o) for o in answer.outcomes} == {("n1", "203.0.113.100", 80), ("n2", "203.0.113.100", 80)}
    assert ends(answer) == {("delivered", "web-1"), ("delivered", "web-2")}
    for o in answer.outcomes:
        assert o.reply is not None and (o.reply.disposition, str(o.reply.source)) == (Disposition.DELIVERED, "203.0.113.100")
        assert not any(h.kind.value == "load-balancer" for h in o.reply.hops)
    assert [*told(answer)] == ["front:kept"]


def test_pod_goes_to_a_pod_past_the_nodes_rules_and_keeps_the_client() -> None:
    answer = made().trace(CLIENT, LB, assume=("front:pod",))
    assert {(entered(o)[0], str(o.source_seen and o.source_seen[0])) for o in answer.outcomes} == {
        ("n1", "203.0.113.9"),
        ("n2", "203.0.113.9"),
    }
    assert ends(answer) == {("delivered", "web-1"), ("delivered", "web-2")}
    assert not any(s.verdict == "dnat" for o in answer.outcomes for h in o.hops for s in h.steps)
    assert all(o.reply is not None and str(o.reply.source) == "203.0.113.100" for o in answer.outcomes)


def test_without_a_node_port_only_the_other_settings_tell_more() -> None:
    answer = made(node_port=None).trace(CLIENT, LB)
    assert {o.disposition for o in answer.outcomes} == {Disposition.UNKNOWN}
    assert told(answer) == {"front:node-port": (True, ("front:kept", "front:pod"))}
    for word in ("front:kept", "front:pod"):
        assert ends(made(node_port=None).trace(CLIENT, LB, assume=(word,))) == {("delivered", "web-1"), ("delivered", "web-2")}


MARKS: dict[str, tuple[Json, Json, int | None]] = {
    "MetalLB": ({"metallb.io/ip-allocated-from-pool": "p"}, {}, 80),
    "old MetalLB": ({"metallb.universe.tf/ip-allocated-from-pool": "p"}, {}, 80),
    "kube-vip": ({"kube-vip.io/vipHost": "n1"}, {}, 80),
    "GKE": ({}, {"loadBalancerClass": "networking.gke.io/l4-regional-external"}, 80),
    "NLB, pods": ({"service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip"}, {"loadBalancerClass": "service.k8s.aws/nlb"}, 8080),
    "NLB, nodes": ({"service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "instance"}, {"loadBalancerClass": "service.k8s.aws/nlb"}, 30080),
}  # fmt: skip


@pytest.mark.parametrize(("annotations", "spec", "port"), MARKS.values(), ids=MARKS)
def test_a_mark_of_the_provider_tells_and_is_no_assumption(annotations: Json, spec: Json, port: int | None) -> None:
    cluster = marked(annotations, spec)
    for assume in ((), ("front:node-port",), ("front:kept",)):
        answer = trace(cluster, asked(CLIENT, LB, assume=assume))
        assert {entered(o)[2] for o in answer.outcomes} == {port}
        assert (answer.assumptions, {o.assumes for o in answer.outcomes}) == ((), {()})


NO_MARKS: list[tuple[Json, Json]] = [
    ({"service.beta.kubernetes.io/azure-load-balancer-internal": "true"}, {}),
    ({"service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip"}, {}),
    ({"metallb.io/ip-allocated-from-pool": "p"}, {"loadBalancerClass": "example.com/mine"}),
]


@pytest.mark.parametrize(("annotations", "spec"), NO_MARKS)
def test_what_a_user_wrote_or_another_class_is_no_mark(annotations: Json, spec: Json) -> None:
    assert [*told(trace(marked(annotations, spec), asked(CLIENT, LB)))] == ["front:node-port"]


@pytest.mark.parametrize("mode", ["VIP", "Proxy"])
def test_ip_mode_tells_nothing_of_how_packets_arrive(mode: str) -> None:
    cluster = made()
    cluster.extra["services.json"] = cluster.files()["services.json"].replace(
        b'"ip": "203.0.113.100"', f'"ip": "203.0.113.100", "ipMode": "{mode}"'.encode()
    )
    answer = cluster.trace(CLIENT, LB)
    assert [*told(answer)] == ["front:node-port"]
    assert {entered(o)[2] for o in answer.outcomes} == {30080}


def test_what_does_not_get_to_the_question_meets_no_assumption() -> None:
    assert told(made().trace(CLIENT, "203.0.113.100:81")) == {}  # no listener
    assert told(made().trace(CLIENT, "192.168.0.11:30080", assume=("front:kept",))) == {}
    assert told(made().trace("pod:default/client", LB)) == {}  # the client's own node takes it


# -- enters -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("front", ["front:node-port", "front:kept"])
def test_a_balancer_is_left_to_the_node_that_is_assumed(front: str) -> None:
    answer = made(3).trace(CLIENT, LB, assume=(front, "enters:n2"))
    assert {entered(o)[0] for o in answer.outcomes} == {"n2"}
    assert told(answer)["enters:n2"] == (True, ("enters:n1", "enters:n3"))


@pytest.mark.parametrize("to", ["10.96.0.10:80", "10.1.2.2:8080"])
def test_where_a_packet_from_outside_comes_in(to: str) -> None:
    answer = made().trace(CLIENT, to, assume=("enters:n1",))
    assert {entered(o)[0] for o in answer.outcomes} == {"n1"}
    assert {o.disposition for o in answer.outcomes} == {Disposition.DELIVERED}
    assert "enters:n1" in told(answer)


def test_what_is_no_address_of_the_cluster_comes_in_nowhere() -> None:
    answer = made().trace(CLIENT, "198.51.100.1:80", assume=("enters:n1",))
    assert (ends(answer), told(answer)) == ({("leaves", "None")}, {})


def test_a_node_that_does_not_exist_is_refused() -> None:
    with pytest.raises(QueryError, match="no node n9 in this cluster, to assume enters:n9") as caught:
        made().trace(CLIENT, LB, assume=("enters:n9",))
    assert (caught.value.code, caught.value.field) == ("NODE_NOT_FOUND", "assume")


# -- network ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
def test_a_pods_address_from_outside(version: int) -> None:
    client, to = (CLIENT, "10.1.2.2:8080") if version == 4 else ("external:2001:db8::9", "[fd00:1:2::2]:8080")
    routed = made().trace(client, to)
    assert ends(routed) == {("delivered", "web-2")}
    assert told(routed) == {"network:routes-pods": (True, ("network:drops-pods",)), "enters:n2": (False, ("enters:n1",))}
    (dropped,) = made().trace(client, to, assume=("network:drops-pods",)).outcomes
    assert (dropped.disposition, dropped.reason and dropped.reason.code) == (Disposition.LOST, "NETWORK_DROPS_PODS")
    assert dropped.assumes == ("network:drops-pods",)
    assert dropped.reason and "taken not to know" not in dropped.reason.text  # the assumption says so, and once is enough


def test_where_a_tunnel_carries_pod_traffic_the_network_is_taken_not_to_know_pods() -> None:
    cluster = made()
    cluster.extra["nodes.json"] = cluster.files()["nodes.json"].replace(
        b'"labels"', b'"annotations": {"flannel.alpha.coreos.com/backend-type": "vxlan"}, "labels"'
    )
    answer = cluster.trace(CLIENT, "10.1.2.2:8080")
    assert ends(answer) == {("lost", "None")}
    assert told(answer) == {"network:drops-pods": (True, ("network:routes-pods",))}
    assert "tunnel" in answer.assumptions[0].text
    assert ends(cluster.trace(CLIENT, "10.1.2.2:8080", assume=("network:routes-pods",))) == {("delivered", "web-2")}


def without_pod_routes() -> MadeCluster:
    """Nodes whose routes name no pods of others, as where a cloud's network routes them."""
    cluster = made()
    for node in cluster.nodes:
        routes = [r for r in node.ip_route(cluster.nodes, 4) if "gateway" not in r or r["dst"] == "default"]
        node.texts["ip-route.json"] = json.dumps(routes)
    return cluster


def test_between_nodes_the_network_is_taken_to_know_pods_that_no_route_names() -> None:
    answer = without_pod_routes().trace("pod:default/client", "10.1.2.2:8080")
    assert ends(answer) == {("delivered", "web-2")}
    assert told(answer) == {"network:routes-pods": (True, ("network:drops-pods",))}
    (dropped,) = without_pod_routes().trace("pod:default/client", "10.1.2.2:8080", assume=("network:drops-pods",)).outcomes
    assert (dropped.disposition, dropped.reason and dropped.reason.code) == (Disposition.LOST, "NETWORK_DROPS_PODS")


def test_where_a_route_leads_no_network_is_assumed() -> None:
    for word in ("network:routes-pods", "network:drops-pods"):
        answer = made().trace("pod:default/client", "10.1.2.2:8080", assume=(word,))
        assert (ends(answer), told(answer)) == ({("delivered", "web-2")}, {})


# -- what an answer says of them, and what that may cost --------------------------------------------------------------------------


def test_an_assumption_that_changes_nothing_says_so() -> None:
    """One node, its pod: to the pod's address there is one way in."""
    answer = made(1).trace(CLIENT, "10.1.1.3:8080")
    assert told(answer) == {"network:routes-pods": (True, ("network:drops-pods",))}
    many = made(3).trace(CLIENT, "10.1.1.3:8080")
    assert told(many)["enters:n1"] == (False, ("enters:n2", "enters:n3"))


def test_what_could_not_be_looked_at_is_not_said_to_change_nothing() -> None:
    cluster = made()
    few = Cluster.from_snapshot(Snapshot.from_files(cluster.files(), Limits(settings=1)))
    answer = trace(few, asked(CLIENT, LB))
    assert [a.changes for a in answer.assumptions] == [None]
    assert answer.outcomes == cluster.trace(CLIENT, LB).outcomes


def test_no_more_settings_are_offered_than_the_limit() -> None:
    answer = made(12).trace(CLIENT, "10.1.2.2:8080")
    ((_, others),) = [held for word, held in told(answer).items() if word.startswith("enters:")]
    assert len(others) == 8


def test_who_is_quick_does_not_look_at_other_settings_beyond_their_patience() -> None:
    cluster = made().cluster()
    with pytest.raises(TooMuchWork):
        trace(cluster, asked(CLIENT, LB), patience=4000)
    assert trace(cluster, asked(CLIENT, LB), patience=100_000) == trace(cluster, asked(CLIENT, LB))


def test_a_name_that_resolves_carries_what_was_met_behind_it() -> None:
    answer = made().trace(CLIENT, f"web.example.com={LB}")
    assert told(answer) == {"front:node-port": (True, ("front:kept", "front:pod"))}


def test_returning_clients_meet_them_too() -> None:
    answer = trace(made().cluster(), replace(asked(CLIENT, LB), state=FlowState.RETURNING))
    assert [*told(answer)] == ["front:node-port"]


def asked(source: str, to: str, **options: object) -> Query:
    return Query(source=parse_source(source), destination=parse_destination(to), **options)  # type: ignore[arg-type]


def marked(annotations: Json, spec: Json) -> Cluster:
    cluster = made()
    services = json.loads(cluster.files()["services.json"])
    services["items"][0]["metadata"]["annotations"] = annotations
    services["items"][0]["spec"] |= spec
    cluster.extra["services.json"] = json.dumps(services).encode()
    return cluster.cluster()
