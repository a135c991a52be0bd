"""What the client sees, from the whole handshake: its packet, the answer or the refusal on its way back, and who listens."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Outcome, Sees

POD, NODE, OUTSIDE = "pod:default/client", "node:n1", "external:203.0.113.9"
WEB, WEB6 = "10.96.0.10:80", "[fd00:96::b]:80"
SOCKETS = "Netid State  Recv-Q Send-Q Local Address:Port  Peer Address:Port Process\ntcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n"


def cluster() -> MadeCluster:
    made = MadeCluster(2)
    made.pod("client", 1)
    web = made.pod("web", 2)
    made.service("web", [web], type="NodePort", node_port=30080)
    made.service("six", [web], version=6)
    return made


def asked(made: MadeCluster, source: str = POD, to: str = WEB, protocol: str = "tcp") -> Outcome:
    (outcome,) = made.trace(source, to, protocol=protocol).outcomes
    return outcome


def with_rule(rule: str, node: int = 2, table: str = "filter") -> MadeCluster:
    made = cluster()
    made.node(node).rules.append((table, rule))
    return made


@pytest.mark.parametrize(
    ("kind", "protocol", "seen"),
    [
        ("icmp-port-unreachable", "tcp", Sees.REFUSED),
        ("icmp-port-unreachable", "udp", Sees.REFUSED),
        ("icmp-host-prohibited", "tcp", Sees.NO_ROUTE),
        ("icmp-host-prohibited", "udp", Sees.NO_ROUTE),
        ("icmp-admin-prohibited", "tcp", Sees.NO_ROUTE),
        ("icmp-net-prohibited", "tcp", Sees.NET_UNREACHABLE),
        ("icmp-net-unreachable", "tcp", Sees.NET_UNREACHABLE),
        ("icmp-host-unreachable", "tcp", Sees.NO_ROUTE),
        ("icmp-host-unreachable", "udp", Sees.TIMEOUT),  # no fatal error: the kernel keeps it to itself
        ("icmp-proto-unreachable", "tcp", Sees.NO_PROTOCOL),
        ("tcp-reset", "tcp", Sees.REFUSED),
    ],
)
@pytest.mark.parametrize("source", [POD, "node:n2", OUTSIDE])
def test_a_refusal_is_what_its_kind_makes_the_client_see(source: str, kind: str, protocol: str, seen: Sees) -> None:
    made = with_rule(f"-A INPUT -p {protocol} --dport 9999 -j REJECT --reject-with {kind}")
    outcome = asked(made, source, "192.168.0.12:9999", protocol)
    assert (outcome.disposition, outcome.client_sees) == (Disposition.REJECTED, seen)
    assert outcome.reply is not None
    assert outcome.reply.disposition is Disposition.DELIVERED
    assert outcome.reply.source == outcome.hops[0].packet_in.destination
    assert outcome.reply.hops[-1].name == outcome.hops[0].name


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("icmp6-adm-prohibited", Sees.EACCES),
        ("icmp6-policy-fail", Sees.EACCES),
        ("icmp6-reject-route", Sees.EACCES),
        ("icmp6-no-route", Sees.NET_UNREACHABLE),
        ("icmp6-addr-unreachable", Sees.NO_ROUTE),
        ("icmp6-port-unreachable", Sees.REFUSED),
    ],
)
def test_icmpv6_has_its_own_table(kind: str, seen: Sees) -> None:
    made = cluster()
    made.node(2).texts["ip6tables-save.txt"] = "*filter\n:FORWARD ACCEPT [0:0]\n" + (
        f"-A FORWARD -p tcp -m tcp --dport 8080 -j REJECT --reject-with {kind}\nCOMMIT\n"
    )
    outcome = asked(made, POD, f"[{made.pods[1].ips[1]}]:8080")
    assert (outcome.disposition, outcome.reject_with, outcome.client_sees) == (Disposition.REJECTED, kind, seen)


def test_the_refusal_of_a_translated_packet_is_about_what_was_dialled() -> None:
    """Rejected behind the DNAT, on another node: each stack's conntrack turns the error's own addresses back."""
    outcome = asked(with_rule("-A FORWARD -p tcp --dport 8080 -j REJECT --reject-with icmp-host-prohibited"))
    assert outcome.reply is not None
    assert (str(outcome.reply.source), outcome.reply.source_port) == ("10.96.0.10", 80)
    last = outcome.reply.hops[-1].packet_in
    assert (last.protocol.value, str(last.source), last.destination_port) == ("icmp", "10.96.0.10", None)
    assert [hop.name for hop in outcome.reply.hops] == ["n2", "n1", "default/client"]


def test_rules_see_the_error_as_related_icmp() -> None:
    made = with_rule("-A FORWARD -p tcp --dport 8080 -j REJECT --reject-with icmp-host-prohibited")
    made.node(1).rules.append(("filter", "-A FORWARD -p icmp -m conntrack --ctstate RELATED -j DROP"))
    outcome = asked(made)
    assert outcome.reply is not None
    assert (outcome.reply.disposition, outcome.client_sees) == (Disposition.DROPPED, Sees.TIMEOUT)
    made.node(1).rules[-1] = ("filter", "-A FORWARD -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j DROP")
    assert asked(made).client_sees is Sees.NO_ROUTE


def test_a_reset_comes_as_tcp() -> None:
    made = with_rule("-A FORWARD -p tcp --dport 8080 -j REJECT --reject-with tcp-reset")
    made.node(1).rules.append(("filter", "-A FORWARD -p tcp -m tcp --tcp-flags RST RST -j DROP"))
    outcome = asked(made)
    assert outcome.reply is not None
    assert (outcome.reply.disposition, outcome.client_sees) == (Disposition.DROPPED, Sees.TIMEOUT)


@pytest.mark.parametrize(
    ("rule", "protocol", "seen"),
    [
        ("-j DROP", "tcp", Sees.TIMEOUT),
        ("-j DROP", "udp", Sees.EPERM),
        ("-j REJECT --reject-with icmp-port-unreachable", "tcp", Sees.REFUSED),
        ("-j REJECT --reject-with icmp-port-unreachable", "udp", Sees.EPERM),
        ("-j REJECT --reject-with icmp-host-prohibited", "tcp", Sees.NO_ROUTE),
    ],
)
def test_a_nodes_own_process_is_told_by_its_kernel(rule: str, protocol: str, seen: Sees) -> None:
    made = with_rule(f"-A OUTPUT -p {protocol} --dport 9999 {rule}", node=1)
    assert asked(made, NODE, "192.168.0.12:9999", protocol).client_sees is seen


def test_what_was_dropped_elsewhere_is_a_timeout() -> None:
    for protocol in ("tcp", "udp"):
        made = with_rule(f"-A INPUT -p {protocol} --dport 9999 -j DROP")
        assert asked(made, NODE, "192.168.0.12:9999", protocol).client_sees is Sees.TIMEOUT


def test_an_answer_that_is_lost_is_a_timeout() -> None:
    outcome = asked(with_rule("-A FORWARD -p tcp --sport 8080 -j DROP"))
    assert (outcome.disposition, outcome.client_sees) == (Disposition.DELIVERED, Sees.TIMEOUT)


def test_a_datagram_may_be_refused_where_a_rule_stops_its_answer_and_nobody_knows_who_listens() -> None:
    """The ICMP error of a closed port is no UDP: the rule does not stop it. A reset is TCP as the answer would be."""
    made = with_rule("-A FORWARD -p udp --sport 9 -j DROP")
    made.node(2).rules.append(("filter", "-A FORWARD -p tcp --sport 9 -j DROP"))
    to = f"{made.pods[1].ips[0]}:9"
    assert asked(made, POD, to, "udp").client_sees is Sees.UNKNOWN
    assert asked(made, POD, to, "tcp").client_sees is Sees.TIMEOUT


def test_a_datagram_may_be_refused_where_its_answer_is_taken_for_a_new_connection() -> None:
    """The node translates the answer of what it did not track; an ICMP error it does not. Seen by the oracle of stacks, seed 710031."""
    made = cluster()
    to = f"{made.pods[1].ips[0]}"
    made.node(2).rules += [("raw", f"-A PREROUTING -d {to} -p udp -j CT --notrack"), ("nat", "-A POSTROUTING -p udp -j MASQUERADE")]
    found = asked(made, POD, f"{to}:9", "udp")
    assert found.reply is not None
    assert found.reply.disposition is Disposition.LOST
    assert found.client_sees is Sees.TIMEOUT, "KUBE-FORWARD drops what is INVALID"
    made.node(2).rules.append(("filter", "-I FORWARD -p icmp -j ACCEPT"))
    assert asked(made, POD, f"{to}:9", "udp").client_sees is Sees.UNKNOWN


def test_a_handshake_that_works_connects() -> None:
    assert asked(cluster()).client_sees is Sees.CONNECTED
    assert asked(cluster(), OUTSIDE, "192.168.0.12:30080").client_sees is Sees.CONNECTED


@pytest.mark.parametrize(("protocol", "port", "seen"), [("tcp", 23, Sees.REFUSED), ("udp", 23, Sees.REFUSED), ("tcp", 22, Sees.CONNECTED)])
def test_who_listens_decides(protocol: str, port: int, seen: Sees) -> None:
    made = cluster()
    made.node(2).texts["ss.txt"] = SOCKETS
    assert asked(made, POD, f"192.168.0.12:{port}", protocol).client_sees is seen


def test_where_nobody_knows_who_listens_it_is_not_known() -> None:
    assert asked(cluster(), POD, "192.168.0.12:23").client_sees is Sees.UNKNOWN


def test_the_refusal_of_a_port_may_be_lost_as_well() -> None:
    made = with_rule("-A FORWARD -p icmp -j DROP", node=1)
    made.node(2).texts["ss.txt"] = SOCKETS
    assert asked(made, POD, "192.168.0.12:23", "udp").client_sees is Sees.TIMEOUT
    assert asked(made, POD, "192.168.0.12:23", "tcp").client_sees is Sees.REFUSED


def test_a_node_port_that_is_only_held_connects_and_hangs() -> None:
    made = cluster()
    made.node(1).texts["ss.txt"] = SOCKETS + 'tcp LISTEN 0 128 0.0.0.0:30080 0.0.0.0:* users:(("kube-proxy",pid=1,fd=3))\n'
    made.node(1).texts["iptables-save.txt"] = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"
    assert asked(made, OUTSIDE, "192.168.0.11:30080").client_sees is Sees.HANGS


@pytest.mark.parametrize(
    ("kind", "own", "forwarded"),
    [
        ("unreachable", Sees.NO_ROUTE, Sees.NO_ROUTE),
        ("prohibit", Sees.EACCES, Sees.NO_ROUTE),
        ("blackhole", Sees.EINVAL, Sees.TIMEOUT),
    ],
)
def test_a_route_that_leads_nowhere(kind: str, own: Sees, forwarded: Sees) -> None:
    made = cluster()
    made.node(1).routes.append({"type": kind, "dst": "198.51.100.7", "flags": []})
    assert asked(made, NODE, "198.51.100.7:80").client_sees is own
    assert asked(made, POD, "198.51.100.7:80").client_sees is forwarded


def test_what_a_route_says_travels_and_may_be_lost() -> None:
    made = cluster()
    made.node(2).routes.append({"type": "prohibit", "dst": "198.51.100.7", "flags": []})
    made.node(1).routes.append({"dst": "198.51.100.7", "gateway": "192.168.0.12", "dev": "eth0", "flags": []})
    outcome = asked(made, POD, "198.51.100.7:80")
    assert outcome.reply is not None
    assert (outcome.disposition, outcome.reject_with, outcome.client_sees) == (Disposition.UNREACHABLE, None, Sees.NO_ROUTE)
    assert [hop.name for hop in outcome.reply.hops] == ["n2", "n1", "default/client"]
    assert outcome.reply.hops[0].packet_out.protocol.value == "icmp"
    made.node(1).rules.append(("filter", "-A FORWARD -p icmp -m icmp --icmp-type 3/13 -j DROP"))
    outcome = asked(made, POD, "198.51.100.7:80")
    assert outcome.reply is not None
    assert (outcome.disposition, outcome.reply.disposition, outcome.client_sees) == (
        Disposition.UNREACHABLE,
        Disposition.DROPPED,
        Sees.TIMEOUT,
    )


def test_a_reset_of_a_rule_is_related_where_it_is_made() -> None:
    made = with_rule("-A FORWARD -p tcp --dport 8080 -j REJECT --reject-with tcp-reset")
    made.node(2).rules.append(("filter", "-A OUTPUT -m conntrack --ctstate RELATED -j DROP"))
    assert asked(made).client_sees is Sees.TIMEOUT
    made.node(2).rules[-1] = ("filter", "-A OUTPUT -m conntrack --ctstate ESTABLISHED -j DROP")
    assert asked(made).client_sees is Sees.REFUSED


def test_a_packet_without_life_left_is_told_back() -> None:
    (outcome,) = cluster().trace(POD, "192.168.0.12:23", ttl=1).outcomes
    assert outcome.reply is not None
    assert (outcome.reason and outcome.reason.code, outcome.client_sees) == ("TTL_EXCEEDED", Sees.NO_ROUTE)


def test_a_balancer_without_a_healthy_node_drops() -> None:
    made = cluster()
    made.services[0].lb_ip = "203.0.113.100"
    for node in made.nodes:
        node.labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    outcome = asked(made, OUTSIDE, "203.0.113.100:80")
    assert outcome.reason is not None
    assert (outcome.disposition, outcome.reason.code) == (Disposition.DROPPED, "LB_NO_HEALTHY_NODE")
    assert (outcome.hops[-1].kind.value, outcome.client_sees) == ("load-balancer", Sees.TIMEOUT)


def test_every_outcome_says_it() -> None:
    answer = cluster().trace(POD, WEB).to_dict()
    assert [o["client_sees"] for o in answer["outcomes"]] == ["connected"]


@pytest.mark.parametrize(("rule", "disposition"), [("REDIRECT --to-ports 9", Disposition.LOST), ("ACCEPT", Disposition.DELIVERED)])
def test_an_answer_that_is_led_to_another_port_is_lost(rule: str, disposition: Disposition) -> None:
    """A stack that did not track the request takes the answer for a new connection, and asks its nat rules. Source: nf_nat_inet_fn."""
    made = cluster()
    made.node(1).rules.append(("raw", "-A OUTPUT -p udp -m udp --dport 8080 -j CT --notrack"))
    made.node(1).rules.append(("nat", f"-A PREROUTING -p udp -m udp --sport 8080 -j {rule}"))
    reply = asked(made, NODE, "10.1.2.2:8080", "udp").reply
    assert reply is not None
    assert reply.reason is not None
    assert reply.disposition is disposition
    assert ("192.168.0.11 port 9, which is not the client's port" in reply.reason.text) is (disposition is Disposition.LOST)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("protocol", "kind"), [("udp", ""), ("tcp", ""), ("tcp", " --reject-with tcp-reset")])
def test_what_a_rule_rejects_with_is_tracked_whatever_raw_says(protocol: str, kind: str, version: int) -> None:
    """The kernel gives it the rejected packet's entry before OUTPUT: NOTRACK leaves it alone, and NAT finds its way back. Seen in 6.18."""
    made = MadeCluster(2)
    made.node(2).rules += [
        ("nat", f"-A PREROUTING -p {protocol} -m {protocol} --dport 81 -j REDIRECT --to-ports 80"),
        ("filter", f"-A INPUT -p {protocol} -m {protocol} --dport 80 -j REJECT{kind}"),
        ("raw", "-A OUTPUT -j CT --notrack"),
    ]
    source, to = ("external:203.0.113.9", "192.168.0.12:81") if version == 4 else ("external:2001:db8::9", "[fd00:192::c]:81")
    (outcome,) = made.trace(source, to, protocol=protocol).outcomes
    assert outcome.reply is not None and outcome.reply.disposition is Disposition.DELIVERED
    assert outcome.client_sees is Sees.REFUSED


def test_what_routing_says_no_with_is_tracked_too() -> None:
    made = MadeCluster(2)
    made.node(2).routes.append({"type": "prohibit", "dst": "203.0.113.77", "flags": []})
    made.node(2).rules += [
        ("nat", "-A PREROUTING -p udp -m udp --dport 81 -j DNAT --to-destination 203.0.113.77:80"),
        ("raw", "-A OUTPUT -j CT --notrack"),
    ]
    (outcome,) = made.trace("external:203.0.113.9", "192.168.0.12:81", protocol="udp").outcomes
    assert outcome.disposition is Disposition.UNREACHABLE
    assert outcome.reply is not None and outcome.reply.disposition is Disposition.DELIVERED


def test_what_a_closed_port_says_is_not() -> None:
    made = MadeCluster(2)
    made.node(2).rules += [
        ("nat", "-A PREROUTING -p udp -m udp --dport 81 -j REDIRECT --to-ports 80"),
        ("raw", "-A OUTPUT -j CT --notrack"),
    ]
    made.node(2).texts["ss.txt"] = (
        "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\nudp UNCONN 0 0 127.0.0.1:9 0.0.0.0:*\n"
    )
    (outcome,) = made.trace("external:203.0.113.9", "192.168.0.12:81", protocol="udp").outcomes
    assert outcome.client_sees is Sees.TIMEOUT
