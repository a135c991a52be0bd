"""Whose resolver a name is asked by: a pod's, a node's, or one that no snapshot knows."""

from __future__ import annotations

import json

import pytest

from tests.made_cluster import MadeCluster
from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate.naming import client_of
from tracer.trace import Disposition


def made() -> MadeCluster:
    cluster = MadeCluster(1)
    cluster.pod("client", 1)
    cluster.pod("agent", 1, host_network=True)
    return cluster


@pytest.mark.parametrize(
    ("source", "addresses", "lacks"),
    [
        ("pod:default/client", ["10.1.1.2", "fd00:1:1::2"], None),
        ("pod:default/agent", ["192.168.0.11", "fd00:192::b"], None),
        ("node:n1", ["192.168.0.11", "fd00:192::b"], "nodes/n1/resolv.conf is not in the snapshot"),
        ("external:203.0.113.9", [], "how a client outside the cluster resolves names is not in the snapshot"),
    ],
)
def test_who_asks(source: str, addresses: list[str], lacks: str | None) -> None:
    query = Query(source=parse_source(source), destination=parse_destination("web.example:80"), protocol=parse_protocol("tcp"))
    client = client_of(made().cluster(), query)
    assert [str(a) for a in client.sources] == addresses
    if lacks is not None:
        assert (client.conf, client.lacks) == (None, lacks)


def test_a_name_asked_from_outside_ends_unknown_and_says_why() -> None:
    (outcome,) = made().trace("external:203.0.113.9", "web.example:80").outcomes
    assert outcome.disposition is Disposition.UNKNOWN
    assert outcome.reason is not None
    assert "how a client outside the cluster resolves names" in outcome.reason.text


OVERLAY = b'"annotations": {"flannel.alpha.coreos.com/backend-type": "vxlan"}, "labels"'


@pytest.mark.parametrize("overlay", [False, True])
def test_a_server_outside_may_be_asked_whatever_nobody_recorded_of_the_way_back(overlay: bool) -> None:
    """What leaves the cluster is not lost; and what it answers is in no snapshot."""
    cluster = with_nameserver("198.51.100.53")
    if overlay:
        cluster.extra["nodes.json"] = cluster.files()["nodes.json"].replace(b'"labels"', OVERLAY)
    (outcome,) = cluster.trace("pod:default/client", "www.example.com:443").outcomes
    assert outcome.reason is not None and outcome.reason.code == "NAME_OUTSIDE_CLUSTER"


def test_a_server_outside_that_a_rule_keeps_from_is_not_asked() -> None:
    cluster = with_nameserver("198.51.100.53")
    cluster.node(1).rules.append(("filter", "-A FORWARD -d 198.51.100.53/32 -j DROP"))
    (outcome,) = cluster.trace("pod:default/client", "www.example.com:443").outcomes
    assert outcome.reason is not None and outcome.reason.code == "DNS_BLOCKED"


def with_nameserver(address: str) -> MadeCluster:
    cluster = MadeCluster(1)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1)])
    pods = json.loads(cluster.files()["pods.json"])
    pods["items"][0]["spec"] |= {"dnsPolicy": "None", "dnsConfig": {"nameservers": [address]}}
    cluster.extra["pods.json"] = json.dumps(pods).encode()
    return cluster
