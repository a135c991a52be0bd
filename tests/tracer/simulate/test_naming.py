"""Whose resolver a name is asked by: a pod's, a node's, or one that no snapshot knows."""

from __future__ import annotations

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
