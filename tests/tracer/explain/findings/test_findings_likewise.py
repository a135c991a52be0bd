"""What is found of one outcome of a class is said of the others only where it holds for them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.made_cluster import MadeCluster
from tracer.explain.findings import diagnose
from tracer.explain.findings.likewise import Likewise
from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate import trace
from tracer.trace import Outcome, Trace
from tracer.unopened import items_of


def made() -> MadeCluster:
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod(f"web-{i}", i % 2 + 1) for i in range(40)], type="NodePort", node_port=30080)
    return cluster


def not_ready(cluster: MadeCluster) -> None:
    """One endpoint is listed as not ready, which the rules do not know."""
    service = cluster.services[0]
    listed = service.slice_json()
    listed["endpoints"][7]["conditions"] = {"ready": False, "serving": False, "terminating": True}  # type: ignore[index]
    cluster.extra["endpointslices.json"] = json.dumps({"kind": "List", "apiVersion": "v1", "items": [listed]}).encode()


def unlisted(cluster: MadeCluster) -> None:
    """One endpoint is no longer listed."""
    listed = cluster.services[0].slice_json()
    del listed["endpoints"][7]  # type: ignore[attr-defined]
    cluster.extra["endpointslices.json"] = json.dumps({"kind": "List", "apiVersion": "v1", "items": [listed]}).encode()


def remembered(cluster: MadeCluster) -> None:
    """A node remembers a connection to one endpoint."""
    line = (
        "tcp      6 86399 SYN_SENT src=10.1.1.2 dst={} sport=40000 dport=8080 [UNREPLIED] "
        "src={} dst=10.1.1.2 sport=8080 dport=40000 mark=0 use=1\n"
    )
    address = cluster.pods[8].ips[0]
    for node in cluster.nodes:
        node.texts["conntrack.txt"] = line.format(address, address)


def policed(cluster: MadeCluster) -> None:
    """A policy lets in clients of some addresses only."""
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "default", "name": "some"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "10.1.1.0/28"}}]}]},
    }
    cluster.extra["networkpolicies.json"] = json.dumps({"kind": "List", "apiVersion": "v1", "items": [policy]}).encode()


def nothing(cluster: MadeCluster) -> None:
    """All are alike."""


CASES = [nothing, not_ready, unlisted, remembered, policed]


def answers(change: Callable[[MadeCluster], None], source: str = "pod:default/client", to: str = "10.96.0.10:80") -> tuple[Trace, Trace]:
    """The answer by classes, and the plain one."""
    cluster = made()
    change(cluster)
    known = cluster.cluster()
    query = Query(source=parse_source(source), destination=parse_destination(to), protocol=parse_protocol("tcp"))
    found, plain = (diagnose(known, trace(known, query, is_plain=is_plain)) for is_plain in (False, True))
    return found, plain


@pytest.mark.parametrize(("source", "to"), [("pod:default/client", "10.96.0.10:80"), ("external:203.0.113.9", "192.168.0.11:30080")])
@pytest.mark.parametrize("change", CASES)
def test_each_outcome_has_its_own_findings(change: Callable[[MadeCluster], None], source: str, to: str) -> None:
    found, plain = answers(change, source, to)
    assert found == plain


def test_where_all_are_alike_none_is_opened() -> None:
    found, _ = answers(nothing)
    assert sum(isinstance(item, Outcome) for item in items_of(found.outcomes)) == len(found.classes) == 2


def test_who_takes_all_for_alike_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison can fail."""
    monkeypatch.setattr(Likewise, "_is_like", lambda *_: True)
    monkeypatch.setattr(Likewise, "_asks_more", lambda *_: False)
    assert [change.__name__ for change in CASES if (both := answers(change))[0] != both[1]]
