"""An endpoint of a node that the cluster no longer has takes its share of the connections, and nobody takes them."""

from __future__ import annotations

import json

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Trace

GHOST = "10.9.9.9"


def made(node: str | None, *, without: str | None = None) -> MadeCluster:
    """A Service with one pod and one address that no Pod object has, on *node*."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    service = cluster.service("web", [cluster.pod("web-1", 2)])
    service.endpoints.append((GHOST, None))
    slices = json.loads(cluster.files()["endpointslices.json"])
    for item in slices["items"]:
        for endpoint in item["endpoints"]:
            if endpoint["addresses"] == [GHOST] and node:
                endpoint["nodeName"] = node
    cluster.extra["endpointslices.json"] = json.dumps(slices).encode()
    if without:
        cluster.extra[without] = b'{"apiVersion": "v1", "kind": "List", "items": []}'
    return cluster


def ghosts(answer: Trace) -> set[tuple[Disposition, str]]:
    return {(o.disposition, o.reason.code) for o in answer.outcomes if o.reason and GHOST in o.reason.text}


@pytest.mark.parametrize("source", ["pod:default/client", "node:n1"])
def test_nobody_takes_the_share_of_a_node_that_is_gone(source: str) -> None:
    answer = made("n-old").trace(source, "10.96.0.10:80")
    assert ghosts(answer) == {(Disposition.LOST, "ENDPOINT_NODE_GONE")}
    assert any("on node n-old" in o.reason.text for o in answer.outcomes if o.reason)


@pytest.mark.parametrize(("node", "without"), [(None, None), ("n2", None), ("n-old", "nodes.json"), ("n-old", "pods.json")])
def test_what_may_be_somewhere_is_not_gone(node: str | None, without: str | None) -> None:
    """An address outside the cluster has no node; of objects that were not read nothing is missing."""
    answer = made(node, without=without).trace("node:n1", "10.96.0.10:80")
    assert not any(o.reason and o.reason.code == "ENDPOINT_NODE_GONE" for o in answer.outcomes)
