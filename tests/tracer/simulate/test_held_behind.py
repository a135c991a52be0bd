"""Addresses that a node holds towards its own containers or pods: a router that gets a packet for one is not known to bring it."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition

CONTAINERS = ("docker0", "172.17.0.1", 16)


@pytest.mark.parametrize("nodes", [(1,), (1, 2)])
@pytest.mark.parametrize("source", ["pod:default/client", "node:n3", "external:192.168.0.254"])
def test_the_bridge_of_containers_of_another_node_is_not_reached_for_certain(nodes: tuple[int, ...], source: str) -> None:
    """The sender asks who has its router, not who has 172.17.0.1: one holder or several, none of them answers that."""
    cluster = MadeCluster(3)
    cluster.pod("client", 3)
    for number in nodes:
        cluster.node(number).held.append(CONTAINERS)
    answer = cluster.trace(source, "172.17.0.1:22")
    assert [(o.disposition, o.reason.code if o.reason else "") for o in answer.outcomes] == [(Disposition.UNKNOWN, "DATA_MISSING")]
    assert [u.text for u in answer.unknowns] == [
        "whether the network outside brings 172.17.0.1 to the cluster, an address that node n1 holds and its Node object does not list"
    ]


def test_the_node_itself_takes_it() -> None:
    cluster = MadeCluster(2)
    cluster.node(1).held.append(CONTAINERS)
    assert [o.disposition for o in cluster.trace("node:n1", "172.17.0.1:22").outcomes] == [Disposition.DELIVERED]


@pytest.mark.parametrize("setting", ["", "network:drops-pods"])
def test_the_gateway_of_a_nodes_pods_comes_the_way_of_their_addresses(setting: str) -> None:
    """Of the node's own range, without a route on the sender: as a pod's address, by the node's device to the network."""
    cluster = MadeCluster(2)
    cluster.node(1).pod_cidrs = ("10.7.1.0/24",)
    cluster.node(1).held.append(("br7", "10.7.1.1", 24))
    (outcome,) = cluster.trace("node:n2", "10.7.1.1:22", assume=(setting,) if setting else ()).outcomes
    if setting:
        assert outcome.reason is not None
        assert (outcome.disposition, outcome.reason.code) == (Disposition.LOST, "NETWORK_DROPS_PODS")
        return
    assert (outcome.disposition, outcome.assumes) == (Disposition.DELIVERED, ("network:routes-pods",))
    assert [hop.came_in for hop in outcome.hops if hop.name == "n1"] == ["eth0"]


def test_a_services_address_that_nodes_hold_is_taken_by_no_router() -> None:
    """NodeLocal DNS holds the cluster IP of the cluster's DNS on every node; where kube-proxy has no rule for a port, it gets out."""
    cluster = MadeCluster(2)
    cluster.service("dns", [cluster.pod("dns-1", 1)])
    cluster.node(1).held.append(("nodelocaldns", "10.96.0.10", 32))
    (outcome,) = cluster.trace("node:n2", "10.96.0.10:9999").outcomes
    assert outcome.reason is not None
    assert (outcome.disposition, outcome.reason.code) == (Disposition.LOST, "NOT_OWNED")
