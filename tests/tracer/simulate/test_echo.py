"""Echo requests (ping): they have no ports, rules of Services do not take them, and the stack that gets one answers by itself."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tracer.errors import QueryError
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_protocol, parse_source, query_from_dict
from tracer.trace import Disposition, Outcome, Sees

POD, NODE, OUTSIDE = "pod:default/client", "node:n1", "external:203.0.113.9"
CLUSTER_IP, WEB, NODE2 = "10.96.0.10", "10.1.2.2", "192.168.0.12"
NODE2_6 = f"[{MadeCluster(2).node(2).ip(6)}]"
IGNORES = {4: "net.ipv4.icmp_echo_ignore_all = 1\n", 6: "net.ipv6.icmp.echo_ignore_all = 1\n"}


def cluster() -> MadeCluster:
    made = MadeCluster(2)
    made.pod("client", 1)
    made.service("web", [made.pod("web", 2)], type="NodePort", node_port=30080, lb_ip="203.0.113.100")
    return made


def ping(made: MadeCluster, source: str, to: str, **options: object) -> Outcome:
    (outcome,) = made.trace(source, to, protocol="icmp", **options).outcomes
    return outcome


@pytest.mark.parametrize("source", [POD, NODE, OUTSIDE])
@pytest.mark.parametrize("to", [WEB, NODE2, "192.168.0.11"])
def test_pods_and_nodes_answer(source: str, to: str) -> None:
    outcome = ping(cluster(), source, to)
    assert (outcome.disposition, outcome.listener, outcome.client_sees) == (Disposition.DELIVERED, None, Sees.CONNECTED)
    assert outcome.reply is not None
    assert (str(outcome.reply.source), outcome.reply.source_port) == (to, None)
    assert {hop.packet_in.protocol.value for hop in (*outcome.hops, *outcome.reply.hops)} == {"icmp"}
    assert "None" not in f"{outcome.reason} {outcome.reply.reason}".replace("code=None", "")


def test_in_ipv6_it_is_another_protocol() -> None:
    outcome = ping(cluster(), POD, NODE2_6)
    assert (outcome.hops[0].packet_in.protocol.value, outcome.client_sees) == ("icmpv6", Sees.CONNECTED)


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ("-A INPUT -p icmp -m icmp --icmp-type 8 -j DROP", Sees.TIMEOUT),
        ("-A OUTPUT -p icmp -m icmp --icmp-type 0 -j DROP", Sees.TIMEOUT),
        ("-A OUTPUT -p icmp -m icmp --icmp-type 8 -j DROP", Sees.CONNECTED),
        ("-A INPUT -p tcp -j DROP", Sees.CONNECTED),
        ("-A INPUT -p icmp -m conntrack --ctstate NEW -j REJECT --reject-with icmp-host-prohibited", Sees.NO_ROUTE),
        ("-A INPUT -p icmp -j REJECT --reject-with icmp-host-unreachable", Sees.NO_ROUTE),  # ping asks for every error
        ("-A OUTPUT -m conntrack --ctstate ESTABLISHED -j DROP", Sees.TIMEOUT),
    ],
)
def test_rules_see_its_type(rule: str, seen: Sees) -> None:
    made = cluster()
    made.node(2).rules.append(("filter", rule))
    assert ping(made, POD, NODE2).client_sees is seen


@pytest.mark.parametrize(("version", "to", "other"), [(4, NODE2, NODE2_6), (6, NODE2_6, NODE2)])
def test_a_node_may_be_told_to_ignore_it(version: int, to: str, other: str) -> None:
    made = cluster()
    made.node(2).texts["sysctl.txt"] = made.node(2).sysctls() + IGNORES[version]
    outcome = ping(made, POD, to)
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.DROPPED, "ECHO_IGNORED")
    assert outcome.client_sees is Sees.TIMEOUT
    assert ping(made, POD, other).client_sees is Sees.CONNECTED


def test_an_answer_is_not_ignored() -> None:
    made = cluster()
    made.node(1).texts["sysctl.txt"] = made.node(1).sysctls() + IGNORES[4]
    assert ping(made, NODE, NODE2).client_sees is Sees.CONNECTED


def test_a_service_takes_none_and_that_is_said() -> None:
    made = cluster()
    for to in (CLUSTER_IP, "svc:default/web"):
        query = Query(source=parse_source(POD), destination=parse_destination(to), protocol=parse_protocol("icmp"))
        (outcome,) = diagnose(made.cluster(), made.trace(POD, to, protocol="icmp")).outcomes
        assert str(query.destination) == to
        assert outcome.disposition is Disposition.LOST  # it goes where the routes lead
        assert not [step for hop in outcome.hops for step in hop.steps if step.rewrote]
        assert [f.code for f in outcome.findings] == ["SERVICE_TAKES_NO_ECHO"]
        assert "10.96.0.10:80 (tcp)" in getattr(outcome.findings[0], "fix", "")


def test_whether_a_load_balancer_answers_is_not_known() -> None:
    outcome = ping(cluster(), OUTSIDE, "203.0.113.100")
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.UNKNOWN, "LB_NOT_MODELLED")


def announced(annotation: str, lb_ip: str = "203.0.113.100", **spec: object) -> MadeCluster:
    """The cluster, its load balancer's address announced by whom the *annotation* tells."""
    made = cluster()
    made.services[0].lb_ip = lb_ip
    (service,) = json.loads(made.files()["services.json"])["items"]
    service["metadata"]["annotations"] = {annotation: "x"}
    service["spec"] |= spec
    made.extra["services.json"] = json.dumps({"apiVersion": "v1", "kind": "List", "items": [service]}).encode()
    return made


@pytest.mark.parametrize(
    "annotation", ["metallb.io/ip-allocated-from-pool", "metallb.universe.tf/ip-allocated-from-pool", "kube-vip.io/vipHost"]
)
@pytest.mark.parametrize("source", [POD, NODE, OUTSIDE])
def test_an_address_that_nodes_announce_and_do_not_have_is_not_answered(annotation: str, source: str) -> None:
    found = {
        outcome.reason.code for outcome in announced(annotation).trace(source, "203.0.113.100", protocol="icmp").outcomes if outcome.reason
    }
    assert found == {"TTL_LOOP"} | ({"MARTIAN_SOURCE"} if source == NODE else set())  # the router brings it back, to n1 or n2


@pytest.mark.parametrize("source", [POD, NODE, OUTSIDE])
def test_on_its_own_network_nobody_answers_for_it(source: str) -> None:
    """Whichever node announces it: n1, which does not hear its own question, or n2, which asks the same in its turn."""
    made = announced("metallb.io/ip-allocated-from-pool", lb_ip="192.168.0.100")
    outcomes = made.trace(source, "192.168.0.100", protocol="icmp").outcomes
    assert {(o.reason and o.reason.code, o.client_sees) for o in outcomes} == {("ADDRESS_ONLY_ANNOUNCED", Sees.NO_ROUTE)}
    assert sum((o.probability for o in outcomes), Fraction(0)) == 1


@pytest.mark.parametrize("source", [POD, NODE, OUTSIDE])
def test_a_node_that_has_it_answers(source: str) -> None:
    made = announced("metallb.io/ip-allocated-from-pool")
    for node in made.nodes:
        node.held.append(("kube-ipvs0", "203.0.113.100", 32))
    outcomes = made.trace(source, "203.0.113.100", protocol="icmp").outcomes
    assert {outcome.client_sees for outcome in outcomes} == {Sees.CONNECTED}


def test_of_two_that_announce_it_one_may_have_it() -> None:
    made = announced("metallb.io/ip-allocated-from-pool")
    made.node(2).held.append(("lo", "203.0.113.100", 32))
    outcomes = made.trace(OUTSIDE, "203.0.113.100", protocol="icmp").outcomes
    assert {(o.probability, o.client_sees) for o in outcomes} == {(Fraction(1, 2), Sees.CONNECTED), (Fraction(1, 2), Sees.NO_ROUTE)}


def test_who_else_answers_is_not_known() -> None:
    """Cilium's program may answer in the node's place; nobody announces the address of a Service without endpoints, or does."""
    alone = announced("metallb.io/ip-allocated-from-pool")
    alone.extra["endpointslices.json"] = json.dumps({"apiVersion": "v1", "kind": "List", "items": []}).encode()
    for made in (announced("x", loadBalancerClass="io.cilium/l2-announcer"), announced("x"), alone):
        outcome = ping(made, OUTSIDE, "203.0.113.100")
        assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.UNKNOWN, "LB_NOT_MODELLED")


def test_masquerading_changes_no_port() -> None:
    made = cluster()
    made.node(1).rules.append(("nat", "-A POSTROUTING -p icmp -j MASQUERADE --random-fully"))
    outcome = ping(made, POD, NODE2)
    assert (outcome.source_seen, outcome.client_sees) == ((outcome.hops[1].packet_out.source, None), Sees.CONNECTED)
    assert str(outcome.hops[1].packet_out.source) == "192.168.0.11"
    assert not outcome.hops[1].packet_out.source_port_random


def test_a_set_may_hold_its_type() -> None:
    made = cluster()
    made.node(2).rules.append(("filter", "-A INPUT -m set --match-set pings dst,dst -j DROP"))
    for member, seen in (("icmp:echo-request", Sees.TIMEOUT), ("icmp:8/0", Sees.TIMEOUT), ("icmp:0/0", Sees.CONNECTED)):
        made.node(2).texts["ipset-save.txt"] = f"create pings hash:ip,port family inet\nadd pings 192.168.0.12,{member}\n"
        assert ping(made, POD, NODE2).client_sees is seen


def test_an_error_about_it_comes_home() -> None:
    made = cluster()
    made.node(1).routes.append({"type": "prohibit", "dst": "198.51.100.7", "flags": []})
    outcome = ping(made, POD, "198.51.100.7")
    assert outcome.reply is not None
    assert (outcome.disposition, outcome.reply.disposition, outcome.client_sees) == (
        Disposition.UNREACHABLE,
        Disposition.DELIVERED,
        Sees.NO_ROUTE,
    )


@pytest.mark.parametrize(("field", "query"), [("to", {"to": "192.168.0.12:80"}), ("source_port", {"to": NODE2, "source_port": 7})])
def test_it_has_no_ports(field: str, query: dict[str, object]) -> None:
    asked = query_from_dict({"from": POD, "protocol": "icmp"} | query)
    with pytest.raises(QueryError) as refused:
        cluster().trace(str(asked.source), str(asked.destination), protocol="icmp", source_port=asked.source_port)
    assert (refused.value.code, refused.value.field) == ("BAD_PORT", field)


@pytest.mark.parametrize(("state", "sees"), [("ESTABLISHED", Sees.TIMEOUT), ("NEW", Sees.TIMEOUT), ("RELATED", Sees.CONNECTED)])
def test_who_pings_himself_gets_an_answer_that_is_one(state: str, sees: Sees) -> None:
    """Both directions have the same addresses; the kernel tells them apart by the type. Source: icmp_pkt_to_tuple."""
    made = cluster()
    made.node(1).rules.append(("filter", f"-A INPUT -p icmp -m conntrack --ctstate {state} -j DROP"))
    assert ping(made, NODE, "192.168.0.11").client_sees is sees
