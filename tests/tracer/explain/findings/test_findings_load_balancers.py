"""Source ranges, the way past a load balancer, node ports among ephemeral ports, cluster IPs dialled from outside."""

from __future__ import annotations

import pytest

from tests.made_findings import CLIENT, all_of, codes, published, shop, the

LB = "198.51.100.10:80"


def ranged(*ranges, local=False):
    """Let kube-proxy drop what comes to the load balancer's address from outside *ranges*."""
    made = published(local=local)
    made.edit("services.json", "web", lambda item: item["spec"].update(loadBalancerSourceRanges=list(ranges)))
    for node in made.nodes:
        node.rules.append(("filter", ":KUBE-PROXY-FIREWALL"))
        for hook in ("INPUT", "FORWARD", "OUTPUT"):
            node.rules.append(("filter", f"-A {hook} -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL"))
        text = (
            f'-A KUBE-PROXY-FIREWALL ! -s {ranges[0]} -d 198.51.100.10/32 -p tcp -m comment --comment "default/web:p traffic not accepted"'
        )
        node.rules.append(("filter", f"{text} -m tcp --dport 80 -j DROP"))
        keeps = f"-A KUBE-SERVICES -s {ranges[0]} -d 198.51.100.10/32"
        made.change(f"nodes/{node.name}/iptables-save.txt", "-A KUBE-SERVICES -d 198.51.100.10/32", keeps)
    return made


def test_a_source_outside_the_ranges_is_dropped():
    found = the(ranged("203.0.113.128/25").diagnosed("pod:default/client-1", LB), "LB_SOURCE_RANGE_DENIED")
    for said in (
        "Node n1 drops",
        "nodes/n1/iptables-save.txt:",
        "10.1.1.3 (pod default/client-1)",
        "Service default/web (203.0.113.128/25)",
    ):
        assert said in found.text
    assert "Add 10.1.1.3" in found.fix


def test_a_source_in_the_ranges_is_let_in():
    traced = ranged("10.1.0.0/16").diagnosed("pod:default/client-1", LB)
    assert not {c for c in codes(traced) if c.startswith("LB_SOURCE")}


@pytest.mark.parametrize("assume", [(), ("front:kept",), ("front:node-port",), ("front:pod",)])
def test_what_rests_on_how_the_balancer_hands_over_is_no_statement(assume):
    """Kept out or let in, as the assumption has it: the only thing said of the ranges is that they depend on it."""
    traced = ranged("203.0.113.128/25").diagnosed(CLIENT, LB, assume=assume)
    assert {c for c in codes(traced) if c.startswith("LB_SOURCE")} == {"LB_SOURCE_RANGE_ASSUMED"}
    word = (assume or ("front:node-port",))[0]
    assert all(f"is assumed ({word})" in f.text and f.severity == "info" for f in all_of(traced, "LB_SOURCE_RANGE_ASSUMED"))
    listed = ranged("203.0.113.0/24").diagnosed(CLIENT, LB, assume=assume)
    assert not {c for c in codes(listed) if c.startswith("LB_SOURCE")}


def test_a_mark_of_the_provider_is_no_assumption():
    made = ranged("203.0.113.128/25")
    made.edit("services.json", "web", lambda item: item["metadata"].update(annotations={"metallb.io/ip-allocated-from-pool": "p"}))
    traced = made.diagnosed(CLIENT, LB)
    assert {c for c in codes(traced) if c.startswith("LB_SOURCE")} == {"LB_SOURCE_RANGE_DENIED"}
    assert traced.assumptions == ()


def test_a_client_outside_the_ranges_gets_in_by_the_node_port():
    found = all_of(ranged("203.0.113.128/25").diagnosed(CLIENT, "192.168.0.11:30080"), "LB_SOURCE_RANGE_BYPASSED")
    assert found
    for one in found:
        assert "203.0.113.10 is let in, although loadBalancerSourceRanges of Service default/web" in one.text
        assert "node port 30080 of node n" in one.text
        assert one.severity == "warning"


def test_a_client_in_the_ranges_is_meant_to_get_in():
    assert "LB_SOURCE_RANGE_BYPASSED" not in codes(ranged("203.0.113.0/24").diagnosed(CLIENT, "192.168.0.11:30080"))


@pytest.mark.parametrize("source", ["pod:default/client-1", "node:n1"])
def test_the_load_balancer_is_bypassed_from_inside(source):
    found = all_of(published().diagnosed(source, LB), "LB_BYPASSED")
    assert found
    assert all("load balancer 198.51.100.10 of Service default/web: node n1" in f.text for f in found)
    assert all(f.severity == "notice" for f in found)


def test_nothing_is_bypassed_from_outside_or_by_the_cluster_ip():
    made = published()
    assert "LB_BYPASSED" not in codes(made.diagnosed(CLIENT, LB))
    assert "LB_BYPASSED" not in codes(made.diagnosed("pod:default/client-1", "10.96.0.10:80"))


def test_a_node_port_among_the_ephemeral_ports():
    found = the(published(node_port=40080, local=True).diagnosed(CLIENT, "192.168.0.11:40080"), "NODE_PORT_IN_LOCAL_RANGE")
    for said in ("Node port 40080 of Service default/web", "node n1", "32768-60999", "nodes/n1/sysctl.txt"):
        assert said in found.text


@pytest.mark.parametrize(("reserved", "reported"), [("40000-41000", False), ("1,40080", False), ("40081", True), ("", True)])
def test_reserved_ports_are_never_drawn(reserved, reported):
    made = published(node_port=40080, local=True)
    made.node(1).sysctl["net.ipv4.ip_local_reserved_ports"] = reserved
    assert ("NODE_PORT_IN_LOCAL_RANGE" in codes(made.diagnosed(CLIENT, "192.168.0.11:40080"))) is reported


def test_a_node_port_outside_the_range_is_fine():
    assert "NODE_PORT_IN_LOCAL_RANGE" not in codes(published().diagnosed(CLIENT, "192.168.0.11:30080"))


def test_a_nodes_own_source_port_that_is_a_node_port():
    made = published(node_port=40080)
    made.node(1).routes.append({"dst": "192.0.2.9", "gateway": "192.168.0.1", "dev": "eth0", "flags": []})
    found = the(made.diagnosed("node:n1", "192.0.2.9:443", source_port=40080), "NODE_PORT_IN_LOCAL_RANGE")
    assert "This very connection" in found.text


def test_an_unknown_range_is_said():
    made = published(local=True)
    del made.node(1).sysctl["net.ipv4.ip_local_port_range"]
    found = the(made.diagnosed(CLIENT, "192.168.0.11:30080"), "DATA_MISSING")
    assert "ip_local_port_range in nodes/n1/sysctl.txt" in found.text
    assert found.severity == "info"


@pytest.mark.parametrize(
    ("made", "doors"),
    [
        (shop(), "it has no way in from outside"),
        (published(), "its load balancer is at 198.51.100.10"),
    ],
)
def test_a_cluster_ip_from_outside_says_the_doors(made, doors):
    found = the(made.diagnosed(CLIENT, "10.96.0.10:80"), "NOT_OWNED")
    assert "10.96.0.10 is the cluster IP of Service default/web" in found.text
    assert doors in found.text


def test_a_load_balancer_that_is_still_pending_is_said():
    made = published()
    made.services[0].lb_ip = None
    found = the(made.diagnosed(CLIENT, "10.96.0.10:80"), "NOT_OWNED")
    assert "its load balancer has no address yet; from outside it answers at node port 30080/tcp" in found.text
