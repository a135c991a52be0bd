"""Objects of one namespace only: what is not in a snapshot is not denied of the cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import PROJECT
from tracer.errors import QueryError
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FollowedSnapshot
from tracer.trace import Trace

_CASES = PROJECT / "tests" / "field_cases" / "cases"
Files = dict[str, bytes]


def _files(case: str) -> Files:
    root = _CASES / case / "snapshot"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


ONE = _files("services-of-one-namespace")
WITH_DNS = _files("final-dot-for-no-name")


def _asked(files: Files, to: str, source: str = "pod:shop/client") -> Trace:
    query = Query(source=parse_source(source), destination=parse_destination(to))
    return trace(Cluster(Snapshot.from_files(files)), query)


def _and(files: Files, name: str, *items: dict[str, Any]) -> Files:
    listed = json.loads(files[name])
    return files | {name: json.dumps({**listed, "items": [*listed["items"], *items]}).encode()}


def _only(files: Files, name: str, namespace: str) -> Files:
    listed = json.loads(files[name])
    items = [item for item in listed["items"] if item["metadata"]["namespace"] == namespace]
    return files | {name: json.dumps({**listed, "items": items}).encode()}


def _service(namespace: str, name: str, ip: str) -> dict[str, Any]:
    spec = {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "protocol": "TCP"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": spec}


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


@pytest.mark.parametrize("to", ["web:80", "web.shop.svc.cluster.local:80", "nothere:80", "example.com:443"])
def test_without_a_dns_service_nobody_knows_where_pods_ask(to: str) -> None:
    found = _asked(ONE, to)
    assert [(str(o.disposition), o.reason.code) for o in found.outcomes] == [("unknown", "DNS_SERVICE_NOT_RECORDED")]
    assert "kubectl get services -A" in found.outcomes[0].reason.text


def test_a_server_of_the_service_range_that_nobody_is_known_to_have_is_no_block() -> None:
    """A pod whose own dnsConfig names the DNS Service, which was not recorded."""
    listed = json.loads(ONE["pods.json"])
    for pod in listed["items"]:
        pod["spec"] |= {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.96.0.10"]}}
    found = _asked(ONE | {"pods.json": json.dumps(listed).encode()}, "web.shop.svc.cluster.local:80")
    assert [str(o.disposition) for o in found.outcomes] == ["unknown"]


def test_a_name_with_its_address_given_is_traced_on() -> None:
    found = _asked(ONE, "web=10.96.7.7:80")
    assert {str(o.disposition) for o in found.outcomes} == {"delivered"}


def test_a_name_of_a_namespace_without_recorded_services_is_not_denied() -> None:
    found = _asked(_and(WITH_DNS, "namespaces.json", _namespace("other")), "api.other.svc.cluster.local:80")
    assert [str(o.disposition) for o in found.outcomes] == ["unknown"]
    assert "namespace other" in found.outcomes[0].reason.text


@pytest.mark.parametrize(
    "change",
    [
        lambda files: files,
        lambda files: _and(
            _and(files, "namespaces.json", _namespace("other")), "services.json", _service("default", "kubernetes", "10.96.0.1")
        ),
        lambda files: _and(_and(files, "namespaces.json", _namespace("other")), "services.json", _service("other", "db", "10.96.9.9")),
    ],
    ids=["no such namespace", "all Services", "some of its Services"],
)
def test_one_of_which_they_were_is(change: Callable[[Files], Files]) -> None:
    found = _asked(change(WITH_DNS), "api.other.svc.cluster.local:80")
    assert [(str(o.disposition), o.reason.code) for o in found.outcomes] == [("unresolved", "DNS_NXDOMAIN")]


@pytest.mark.parametrize(
    ("source", "to", "words"),
    [
        (
            "pod:other/client",
            "10.96.7.7:80",
            ("no pod other/client in this snapshot", "pods of namespace shop only", "kubectl get pods -A"),
        ),
        ("pod:shop/clien", "10.96.7.7:80", ("no pod shop/clien in this snapshot",)),
        ("pod:shop/client", "svc:other/api:80", ("no Service other/api in this snapshot", "services of namespace shop only")),
        ("pod:shop/client", "svc:shop/api:80", ("no Service shop/api in this snapshot",)),
        ("node:n9", "10.96.7.7:80", ("no node n9 in this snapshot",)),
    ],
)
def test_what_is_not_there_is_not_in_this_snapshot(source: str, to: str, words: tuple[str, ...]) -> None:
    with pytest.raises(QueryError) as refused:
        _asked(_only(ONE, "pods.json", "shop"), to, source)
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert ("only" in str(refused.value)) is (len(words) > 1)


def test_a_followed_cluster_is_asked_whole() -> None:
    assert (Snapshot.called, FollowedSnapshot.called) == ("snapshot", "cluster")
