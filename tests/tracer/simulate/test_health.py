"""Health checks travel: a node that its load balancer's check does not reach gets nothing of it."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Outcome, Sees, Trace

CLIENT, BALANCER, PORT = "external:203.0.113.9", "203.0.113.100:80", 31000
MY_SOURCE = "-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 31000 -j ACCEPT"
CLOSED = "-A INPUT -p tcp -m tcp --dport 31000 -j DROP"
SOCKETS = "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port\ntcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n"


def cluster(provider: str = "", annotations: dict[str, str] | None = None, policy: str = "Local", **spec: object) -> MadeCluster:
    """Two nodes with a pod each, behind a load balancer that asks them at port 31000."""
    made = MadeCluster(2)
    made.service("web", [made.pod("web-1", 1), made.pod("web-2", 2)], type="LoadBalancer", node_port=30080, local=policy == "Local")
    made.services[0].lb_ip = BALANCER.partition(":")[0]
    (service,) = json.loads(made.files()["services.json"])["items"]
    service["spec"] |= {"healthCheckNodePort": PORT} | spec
    service["metadata"]["annotations"] = annotations or {}
    nodes = json.loads(made.files()["nodes.json"])
    for node in nodes["items"]:
        node["spec"] = {"providerID": provider}
    made.extra["services.json"] = json.dumps({"apiVersion": "v1", "kind": "List", "items": [service]}).encode()
    made.extra["nodes.json"] = json.dumps(nodes).encode()
    return made


def ruled(made: MadeCluster, *rules: str, nodes: tuple[int, ...] = (1, 2)) -> MadeCluster:
    for number in nodes:
        made.node(number).rules += [("filter", rule) for rule in rules]
    return made


def ask(made: MadeCluster) -> Trace:
    return made.trace(CLIENT, BALANCER)


def only(made: MadeCluster) -> Outcome:
    (outcome,) = ask(made).outcomes
    return outcome


def test_where_it_gets_through_nothing_is_said() -> None:
    trace = ask(cluster())
    assert [(o.disposition, o.probability, o.conditions) for o in trace.outcomes] == [(Disposition.DELIVERED, Fraction(1, 2), ())] * 2
    assert trace.unknowns == ()


@pytest.mark.parametrize(
    "rule",
    [
        CLOSED,
        "-A INPUT -p tcp -m tcp --dport 31000 -j REJECT --reject-with tcp-reset",
        "-A OUTPUT -p tcp -m tcp --sport 31000 -j DROP",
    ],
)
def test_a_firewall_that_stops_it_leaves_no_healthy_node(rule: str) -> None:
    outcome = only(ruled(cluster(), rule))
    assert outcome.reason is not None
    assert (outcome.disposition, outcome.reason.code, outcome.client_sees) == (Disposition.DROPPED, "LB_NO_HEALTHY_NODE", Sees.TIMEOUT)
    assert "192.168.0.11:31000 of node n1" in outcome.reason.text
    assert "port 31000" in outcome.reason.text


def test_a_node_that_it_does_not_reach_is_left_out() -> None:
    made = ruled(cluster(), CLOSED, nodes=(1,))
    outcome = only(made)
    assert (outcome.probability, outcome.destination and outcome.destination.name) == (Fraction(1), "web-2")
    assert any("left out by its health check" in note and "n1" in note for hop in outcome.hops for note in hop.notes)


def test_that_nobody_listens_there_is_said() -> None:
    made = cluster()
    made.node(1).texts["ss.txt"] = SOCKETS
    notes = [note for outcome in ask(made).outcomes for hop in outcome.hops for note in hop.notes if "nothing listens" in note]
    assert [note.partition(" (")[0] for note in notes] == ["nothing listens at the health-check port 31000 of node n1"]


def test_from_where_is_a_condition_where_a_rule_asks() -> None:
    trace = ask(ruled(cluster(), MY_SOURCE, CLOSED))
    assert {(o.disposition, o.reason and o.reason.code) for o in trace.outcomes} == {
        (Disposition.DELIVERED, "DELIVERED"),
        (Disposition.DROPPED, "LB_NO_HEALTHY_NODE"),
    }
    assert {o.conditions for o in trace.outcomes} == {
        ("the health check of the load balancer of default/web gets through to n1, n2",),
        ("the health check of the load balancer of default/web does not get through to n1, n2",),
    }
    assert [u.code for u in trace.unknowns] == ["LB_CHECK_NOT_KNOWN"]
    assert sum((o.probability for o in trace.outcomes), Fraction(0)) == 1


@pytest.mark.parametrize(
    ("provider", "spec", "allowed", "code"),
    [
        ("azure:///subscriptions/x", {}, "168.63.129.16/32", "DELIVERED"),
        ("azure:///subscriptions/x", {}, "192.0.2.0/24", "LB_NO_HEALTHY_NODE"),
        ("gce://p/z/i", {}, "10.0.0.0/8", "LB_NO_HEALTHY_NODE"),
        ("", {"loadBalancerClass": "networking.gke.io/l4-regional-internal"}, "10.0.0.0/8", "LB_NO_HEALTHY_NODE"),
    ],
)
def test_where_it_comes_from_is_known_of_some(provider: str, spec: dict[str, object], allowed: str, code: str) -> None:
    made = ruled(cluster(provider, **spec), MY_SOURCE.replace("192.0.2.0/24", allowed), CLOSED)  # type: ignore[arg-type]
    assert {o.reason.code for o in ask(made).outcomes if o.reason} == {code}


def test_all_of_googles_ranges_have_to_get_through_for_certain() -> None:
    some = [MY_SOURCE.replace("192.0.2.0/24", allowed) for allowed in ("35.191.0.0/16", "130.211.0.0/22")]
    rest = [MY_SOURCE.replace("192.0.2.0/24", allowed) for allowed in ("209.85.152.0/22", "209.85.204.0/22")]
    assert {bool(o.conditions) for o in ask(ruled(cluster("gce://p/z/i"), *some, CLOSED)).outcomes} == {True}
    assert {bool(o.conditions) for o in ask(ruled(cluster("gce://p/z/i"), *some, *rest, CLOSED)).outcomes} == {False}


def test_who_announces_sends_no_check() -> None:
    made = ruled(cluster(annotations={"metallb.io/ip-allocated-from-pool": "p"}), CLOSED)
    assert {o.reason.code for o in ask(made).outcomes if o.reason} == {"DELIVERED"}


HEALTHZ_CLOSED = CLOSED.replace("31000", "10256")


def test_the_cluster_policy_asks_at_another_port() -> None:
    made = ruled(cluster(policy="Cluster"), CLOSED)
    assert {o.disposition for o in ask(made).outcomes} == {Disposition.DELIVERED}


@pytest.mark.parametrize(
    ("provider", "spec"),
    [("gce://p/z/i", {}), ("ocid1.instance.oc1.x", {}), ("", {"loadBalancerClass": "networking.gke.io/l4-regional-external"})],
)
def test_with_the_cluster_policy_some_ask_kube_proxy(provider: str, spec: dict[str, object]) -> None:
    made = ruled(cluster(provider, policy="Cluster", **spec), HEALTHZ_CLOSED)  # type: ignore[arg-type]
    outcome = only(made)
    assert outcome.reason is not None
    assert (outcome.disposition, outcome.reason.code) == (Disposition.DROPPED, "LB_NO_HEALTHY_NODE")
    assert "192.168.0.11:10256 of node n1" in outcome.reason.text


@pytest.mark.parametrize(
    ("provider", "spec", "policy", "is_asked"),
    [
        ("azure:///subscriptions/x", {}, "Cluster", True),
        ("aws:///eu-west-1a/i-0", {}, "Cluster", True),
        ("", {"loadBalancerClass": "service.k8s.aws/nlb"}, "Cluster", True),
        ("hcloud://1", {}, "Cluster", True),
        ("hcloud://1", {}, "Local", True),
        ("azure:///subscriptions/x", {}, "Local", False),
        ("gce://p/z/i", {}, "Cluster", False),
        ("k3s://n1", {}, "Cluster", False),
    ],
)
def test_others_ask_the_node_port(provider: str, spec: dict[str, object], policy: str, is_asked: bool) -> None:
    """The answer of the Service itself, which a rule keeps from whoever asks but the client."""
    rules = ("-A PREROUTING -s 203.0.113.9/32 -j ACCEPT", "-A PREROUTING -p tcp -m tcp --dport 30080 -j DROP")
    made = cluster(provider, policy=policy, **spec)  # type: ignore[arg-type]
    for node in made.nodes:
        node.rules += [("raw", rule) for rule in rules]
    codes = {o.reason.code for o in ask(made).outcomes if o.reason}
    assert ("LB_NO_HEALTHY_NODE" in codes) == is_asked


def test_with_the_cluster_policy_a_node_alone_is_left_out() -> None:
    made = ruled(cluster("gce://p/z/i", policy="Cluster"), HEALTHZ_CLOSED, nodes=(1,))
    trace = ask(made)
    assert {next(hop.node for hop in outcome.hops if hop.node) for outcome in trace.outcomes} == {"n2"}
    assert {o.conditions for o in trace.outcomes} == {()}


def test_a_service_without_a_listener_fails_its_check() -> None:
    made = cluster("azure:///subscriptions/x", policy="Cluster")
    for node in made.nodes:
        node.rules.append(("nat", "-A PREROUTING -p tcp -m tcp --dport 30080 -j ACCEPT"))
        node.texts["ss.txt"] = SOCKETS
    outcome = only(made)
    assert outcome.reason is not None
    assert (outcome.reason.code, "nothing listens there" in outcome.reason.text) == ("LB_NO_HEALTHY_NODE", True)


@pytest.mark.parametrize(
    ("provider", "annotations"),
    [
        ("", {}),
        ("digitalocean://1", {}),
        ("ocid1.instance.oc1.x", {"oci.oraclecloud.com/health-check-port": "8080"}),
        ("openstack:///x", {}),
    ],
)
def test_where_it_asks_is_a_condition_where_it_decides(provider: str, annotations: dict[str, str]) -> None:
    made = ruled(cluster(provider, annotations, policy="Cluster"), HEALTHZ_CLOSED)
    trace = ask(made)
    assert {o.disposition for o in trace.outcomes} == {Disposition.DELIVERED, Disposition.DROPPED}
    assert all(o.conditions for o in trace.outcomes)
    (unknown,) = trace.unknowns
    assert unknown.code == "LB_CHECK_NOT_KNOWN"
    assert "whether it checks nodes at port 10256 is not known" in unknown.text
    open_ = ask(cluster(provider, annotations, policy="Cluster"))
    assert {(o.disposition, o.conditions) for o in open_.outcomes} == {(Disposition.DELIVERED, ())}


def test_that_kube_proxy_does_not_listen_is_said() -> None:
    made = cluster("gce://p/z/i", policy="Cluster")
    made.node(1).texts["ss.txt"] = SOCKETS
    notes = {note for outcome in ask(made).outcomes for hop in outcome.hops for note in hop.notes if "nothing listens" in note}
    assert [note.partition(" (")[0] for note in notes] == ["nothing listens at the health-check port 10256 of node n1"]


def test_a_source_of_the_other_family_is_not_taken_for_known() -> None:
    """Azure's address is an IPv4 one: where an IPv6 check comes from is not known, so a rule that asks decides nothing."""
    made = cluster("azure:///subscriptions/x", policy="Cluster")
    service = json.loads(made.extra["services.json"])  # type: ignore[arg-type]
    service["items"][0]["spec"] |= {"externalTrafficPolicy": "Local", "healthCheckNodePort": PORT}
    service["items"][0]["status"]["loadBalancer"]["ingress"] = [{"ip": "2001:db8:1::100"}]
    made.extra["services.json"] = json.dumps(service).encode()
    for node in made.nodes:
        node.texts["ip6tables-save.txt"] = f"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{CLOSED}\nCOMMIT\n"
    codes = {o.reason.code for o in made.trace("external:2001:db8:c::10", "[2001:db8:1::100]:80").outcomes if o.reason}
    assert codes == {"LB_NO_HEALTHY_NODE"}


def test_what_no_rule_looks_at_is_no_condition() -> None:
    made = cluster()
    for node in made.nodes:
        node.texts["sysctl.txt"] = node.sysctls() + "net.ipv4.conf.all.rp_filter = 1\n"
    assert {bool(o.conditions) for o in ask(made).outcomes} == {False}


def test_where_routes_differ_from_where_is_no_certainty() -> None:
    """A second card has the default route: what comes in by the first passes its reverse path filter from some addresses, and from others not."""
    made = cluster()
    node = made.node(1)
    node.texts["sysctl.txt"] = node.sysctls() + "net.ipv4.conf.all.rp_filter = 1\n"
    routes = node.ip_route(made.nodes, 4)
    for route in routes:
        if route["dst"] == "default":
            route |= {"dev": "eth1", "gateway": "192.0.2.1"}
    node.texts["ip-route.json"] = json.dumps(routes)
    assert not any("left out" in note for outcome in ask(made).outcomes for hop in outcome.hops for note in hop.notes)
