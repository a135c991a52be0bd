"""What leaves the cluster, and what is lost: by whether the cluster itself should have the address."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Outcome

OUTSIDE = {4: "203.0.113.53", 6: "2001:db8:f::53"}
POD = "pod:default/client"


def made(nodes: int = 2, *, cni: str = "route", masquerade: bool = True) -> MadeCluster:
    """A client pod on n1 and a Service with a pod on n2; what pods send to outside their networks is masqueraded."""
    cluster = MadeCluster(nodes, cni=cni)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 2)], node_port=30080)
    if masquerade:
        cluster.node(1).rules += [("nat", "-A POSTROUTING -o eth0 -j MASQUERADE")]
    return cluster


def only(cluster: MadeCluster, source: str, to: str) -> Outcome:
    (outcome,) = cluster.trace(source, to).outcomes
    return outcome


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("source", "by"), [(POD, "masqueraded"), ("node:n1", "its own")])
def test_an_address_outside_is_left_for_and_its_answer_comes_back(version: int, source: str, by: str) -> None:
    host = OUTSIDE[version]
    cluster = made()
    found = only(cluster, source, f"[{host}]:53" if version == 6 else f"{host}:53")
    assert (found.disposition, found.left_from) == (Disposition.LEAVES, "n1")
    assert found.destination is not None and found.source_seen is not None and found.reply is not None
    assert (found.destination.kind, str(found.destination.ip)) == ("outside", host)
    assert str(found.source_seen[0]) == cluster.node(1).ip(version), by
    assert (found.reply.disposition, str(found.reply.source)) == (Disposition.DELIVERED, host)
    assert [hop.name for hop in found.hops][-2:] == ["n1", host]


@pytest.mark.parametrize(("word", "back"), [("routes-pods", Disposition.DELIVERED), ("drops-pods", Disposition.LOST)])
def test_without_masquerade_the_answer_depends_on_the_network_outside(word: str, back: Disposition) -> None:
    (found,) = made(masquerade=False).trace(POD, f"{OUTSIDE[4]}:53", assume=(f"network:{word}",)).outcomes
    assert found.disposition is Disposition.LEAVES and found.source_seen is not None and found.reply is not None
    assert (str(found.source_seen[0]), found.reply.disposition) == ("10.1.1.2", back)
    assert f"network:{word}" in found.assumes


def test_an_answer_that_a_node_drops_is_told() -> None:
    cluster = made()
    cluster.node(1).rules += [("filter", "-A FORWARD -s 203.0.113.0/24 -j DROP")]
    found = only(cluster, POD, f"{OUTSIDE[4]}:53")
    assert found.disposition is Disposition.LEAVES and found.reply is not None
    assert found.reply.disposition is Disposition.DROPPED


@pytest.mark.parametrize("to", ["192.168.0.77:5432", "192.168.0.1:53", "169.254.169.254:80", "10.2.0.5:80"])
def test_what_stands_beside_the_cluster_is_no_part_of_it(to: str) -> None:
    assert only(made(), POD, to).disposition is Disposition.LEAVES


LOST = {
    "a cluster IP that no rule knows": ("10.96.0.77:80", "the Services' addresses, in 10.96.0.0/16"),
    "far in the Services' range": ("10.96.254.254:80", "the Services' addresses, in 10.96.0.0/16"),
    "a Service's port that no rule knows": ("10.96.0.10:9999", "the cluster address of Service default/web"),
    "of another node's pods": ("10.1.2.99:80", "near pods' addresses, in 10.1.2.0/24"),
}


@pytest.mark.parametrize(("to", "why"), LOST.values(), ids=LOST)
def test_what_the_cluster_should_have_is_lost(to: str, why: str) -> None:
    found = only(made(), POD, to)
    assert (found.disposition, found.left_from) == (Disposition.LOST, None)
    assert found.reason is not None and found.reason.code == "NOT_OWNED" and why in found.reason.text


def test_a_pods_range_of_a_node_object_is_the_clusters() -> None:
    cluster = made()
    cluster.node(2).pod_cidrs = ("10.7.2.0/24",)
    found = only(cluster, POD, "10.7.2.99:80")
    assert found.disposition is Disposition.LOST and found.reason is not None
    assert "10.7.2.0/24, the pods' range of node n2" in found.reason.text


def test_a_neighbour_on_the_pods_bridge_is_lost() -> None:
    found = only(made(cni="bridge"), "node:n1", "10.1.1.99:80")
    assert found.disposition is Disposition.LOST and found.reason is not None
    assert "near pods' addresses, in 10.1.1.0/24" in found.reason.text


@pytest.mark.parametrize(("source", "to"), [(POD, "10.96.0.10:80"), ("external:203.0.113.9", "192.168.0.11:30080")])
def test_what_rules_made_of_a_services_address_is_lost(source: str, to: str) -> None:
    """A rule that outlived its pod sends to an address that nobody has, which no range of the snapshot explains."""
    cluster = made()
    for port in (80, 30080):
        cluster.node(1).rules += [("nat", f"-A PREROUTING -p tcp --dport {port} -j DNAT --to-destination 10.55.0.9:8080")]
    found = only(cluster, source, to)
    assert found.disposition is Disposition.LOST and found.reason is not None
    assert "rules made it of what was sent to Service default/web" in found.reason.text


def test_a_container_beside_kubernetes_is_left_for() -> None:
    cluster = made()
    cluster.node(1).rules += [("nat", "-A PREROUTING -p tcp --dport 8888 -j DNAT --to-destination 172.17.0.2:80")]
    cluster.node(1).routes.append({"dst": "172.17.0.0/16", "dev": "docker0", "scope": "link", "flags": []})
    found = only(cluster, "external:203.0.113.9", "192.168.0.11:8888")
    assert (found.disposition, found.left_from) == (Disposition.LEAVES, "n1")


def test_a_services_range_that_holds_nodes_is_not_taken_for_one() -> None:
    cluster = made()
    cluster.services[0].cluster_ip = "192.168.77.10"
    assert only(cluster, POD, "192.168.200.1:80").disposition is Disposition.LEAVES


def test_between_hosts_outside_the_cluster_has_no_part() -> None:
    found = only(made(), "external:203.0.113.9", "198.51.100.1:80")
    assert (found.disposition, found.left_from, found.reply) == (Disposition.LEAVES, None, None)


def test_from_outside_a_nodes_unlisted_address_is_not_known() -> None:
    """Whether the network outside knows an address that only the node's own devices tell is in no file."""
    cluster = made()
    cluster.node(1).held.append(("eth1", "10.9.9.9", 32))
    found = only(cluster, "external:203.0.113.9", "10.9.9.9:80")
    assert found.disposition is Disposition.UNKNOWN and found.reason is not None
    assert "10.9.9.9" in found.reason.text and "node n1" in found.reason.text
