"""Which endpoints a node uses, against the reference implementation's own table."""

from __future__ import annotations

import gzip
import json
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.live_server import PROJECT
from tracer.kube.endpoints import (
    PortEndpoint,
    Topology,
    categorise,
    endpoints_in_use,
    is_externally_accessible,
    port_endpoints,
    state_text,
    stays,
    usable,
    uses_cluster_endpoints,
    uses_local_endpoints,
)
from tracer.kube.object_file import Document, ObjectFile
from tracer.kube.objects import Objects
from tracer.kube.service import Service

CASES = Path(__file__).resolve().parents[4] / "shared" / "conformance" / "topology_cases.json.gz"
_WITHOUT = (
    [] if CASES.exists() else [pytest.param(None, marks=pytest.mark.skip(reason="needs ../shared/conformance/topology_cases.json.gz"))]
)


def cases() -> list[Any]:
    if _WITHOUT:
        return _WITHOUT
    return [pytest.param(c, id=c["id"]) for c in json.loads(gzip.decompress(CASES.read_bytes()))["cases"]]


def endpoint(entry: dict[str, Any]) -> PortEndpoint:
    address, port = entry["endpoint"].rsplit(":", 1)
    return PortEndpoint(
        address=ip_address(address),
        port=int(port),
        ready=entry["ready"],
        serving=entry["serving"],
        terminating=entry["terminating"],
        is_local=entry["is_local"],
        zone_hints=tuple(entry["zone_hints"] or ()),
        node_hints=tuple(entry["node_hints"] or ()),
    )


def texts(endpoints: tuple[PortEndpoint, ...] | None) -> list[str]:
    return sorted(map(str, endpoints or ()))


@pytest.mark.parametrize("case", cases())
def test_the_reference_chooses_the_same(case: dict[str, Any]) -> None:
    used = categorise(
        [endpoint(e) for e in case["endpoints"]],
        uses_cluster=case["service"]["uses_cluster_endpoints"],
        uses_local=case["service"]["uses_local_endpoints"],
        node=case["node_name"],
        zone=(case["topology_labels"] or {}).get("topology.kubernetes.io/zone", ""),
        honour_node_hints=case["prefer_same_traffic_distribution_gate"],
    )
    expected = case["expected"]
    assert texts(used.cluster) == sorted(expected["cluster_endpoints"] or ()), used
    assert texts(used.local) == sorted(expected["local_endpoints"] or ()), used
    assert texts(used.reachable) == sorted(expected["all_endpoints"] or ()), used
    assert used.has_any is expected["has_any_endpoints"], used
    assert set(used.why_not) == {e["endpoint"] for e in case["endpoints"]} - set(texts(used.reachable))


@pytest.mark.parametrize("case", cases())
def test_the_reference_uses_the_same_sets(case: dict[str, Any]) -> None:
    said = case["service"]
    service = Service.from_dict(
        {
            "metadata": {"name": "s"},
            "spec": {
                "ports": [{"port": said["port"] or 80, "nodePort": said["node_port"]}],
                "internalTrafficPolicy": "Local" if said["internal_policy_local"] else "Cluster",
                "externalTrafficPolicy": "Local" if said["external_policy_local"] else "Cluster",
                "externalIPs": ["192.0.2.1"] * said["external_ips"],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}] * said["load_balancer_vips"]}},
        }
    )
    assert uses_cluster_endpoints(service, service.ports[0]) is said["uses_cluster_endpoints"]
    assert uses_local_endpoints(service, service.ports[0]) is said["uses_local_endpoints"]


@pytest.mark.parametrize(
    ("spec", "ingress", "accessible"),
    [
        ({}, [], False),
        ({"nodePort": 30000}, [], True),
        ({}, [{"ip": "192.0.2.1"}], True),
        ({}, [{"ip": "192.0.2.1", "ipMode": "Proxy"}], False),
        ({}, [{"hostname": "lb.example"}], False),
    ],
)
def test_what_makes_a_port_reachable_from_outside(spec: dict[str, Any], ingress: list[Any], accessible: bool) -> None:
    value = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, **spec}]}, "status": {"loadBalancer": {"ingress": ingress}}}
    service = Service.from_dict(value)
    assert is_externally_accessible(service, service.ports[0]) is accessible


def plain(address: str, **more: Any) -> PortEndpoint:
    fields = {"ready": True, "serving": True, "terminating": False, "is_local": False} | more
    return PortEndpoint(address=ip_address(address), port=80, **fields)


@pytest.mark.parametrize(
    ("endpoints", "zone", "reason"),
    [
        ([plain("10.0.0.1")], "a", "no ready endpoint has hints"),
        ([plain("10.0.0.1", zone_hints=("a",)), plain("10.0.0.2")], "a", "hints are not used: 10.0.0.2:80 has none"),
        ([plain("10.0.0.1", zone_hints=("b",))], "", "hints are not used: node n has no zone label"),
        ([plain("10.0.0.1", zone_hints=("b",))], "a", "hints are not used: no ready endpoint is hinted for zone a"),
        ([plain("10.0.0.1", ready=False)], "a", "no endpoint is ready, hints are not looked at"),
    ],
)
def test_why_hints_are_not_used_is_said(endpoints: list[PortEndpoint], zone: str, reason: str) -> None:
    used = categorise(endpoints, uses_cluster=True, uses_local=False, node="n", zone=zone)
    assert (used.topology, used.topology_reason) == (Topology.NONE, reason)


def test_why_an_endpoint_is_not_used_is_said() -> None:
    endpoints = [
        plain("10.0.0.1", zone_hints=("a",)),
        plain("10.0.0.2", zone_hints=("b",)),
        plain("10.0.0.3", ready=False, serving=False),
        plain("10.0.0.4", ready=False, terminating=True),
        plain("10.0.0.5", ready=False, serving=False, terminating=True),
    ]
    assert categorise(endpoints, uses_cluster=True, uses_local=False, node="n", zone="a").why_not == {
        "10.0.0.2:80": "it is hinted for zone b, the node is in a",
        "10.0.0.3:80": "it is not ready",
        "10.0.0.4:80": "it is terminating, and ready endpoints are left",
        "10.0.0.5:80": "it is terminating and no longer serving",
    }
    local = categorise([plain("10.0.0.1"), plain("10.0.0.2", is_local=True)], uses_cluster=False, uses_local=True, node="n", zone="")
    assert local.why_not == {"10.0.0.1:80": "it is on another node, and the traffic policy is Local"}


def make(*values: dict[str, Any]) -> Objects:
    documents = [Document(value=v, line=1) for v in values]
    return Objects([ObjectFile("objects.json", lambda: documents)])


def a_slice(name: str, *endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {"namespace": "ns", "name": name, "labels": {"kubernetes.io/service-name": "svc"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": list(endpoints),
    } | more


def test_endpoints_of_a_service_on_a_node() -> None:
    node = {"kind": "Node", "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "a"}}}
    service = {"kind": "Service", "metadata": {"namespace": "ns", "name": "svc"}, "spec": {"ports": [{"name": "http", "port": 80}]}}
    hinted = [{"addresses": [f"10.0.0.{i}"], "nodeName": f"n{i}", "hints": {"forZones": [{"name": z}]}} for i, z in ((1, "a"), (2, "b"))]
    objects = make(node, service, a_slice("one", *hinted))
    found = objects.service("ns", "svc")
    assert found is not None
    used = endpoints_in_use(objects, found, found.ports[0], node="n1", version=4)
    assert (texts(used.reachable), used.topology) == (["10.0.0.1:8080"], Topology.SAME_ZONE)
    elsewhere = endpoints_in_use(objects, found, found.ports[0], node="not-listed", version=4)
    assert texts(elsewhere.reachable) == ["10.0.0.1:8080", "10.0.0.2:8080"]
    assert endpoints_in_use(objects, found, found.ports[0], node="n1", version=6).reachable == ()


def test_an_endpoint_in_two_slices_counts_once_and_the_ready_entry_wins() -> None:
    objects = make(
        a_slice("old", {"addresses": ["10.0.0.1"], "conditions": {"ready": False}}),
        a_slice("new", {"addresses": ["10.0.0.1"]}),
        a_slice("other-port", {"addresses": ["10.0.0.2"]}, ports=[{"name": "metrics", "port": 9}]),
        a_slice("unset", {"addresses": ["10.0.0.3"]}, ports=[{"name": "http"}]),
    )
    port = Service.from_dict({"metadata": {"name": "svc"}, "spec": {"ports": [{"name": "http", "port": 80}]}}).ports[0]
    found = port_endpoints(objects.slices_of("ns", "svc"), port, node="n1", version=4)
    assert [(str(e), e.ready, e.slice) for e in found] == [("10.0.0.1:8080", True, "new")]


# --- one place ------------------------------------------------------------------------------------------------------------------------

ELSEWHERE = {
    "tracer/explain/findings/affinity.py": "of one endpoint that a rule remembers",
    "tracer/explain/findings/rules_and_objects.py": "of one endpoint that a rule chose",
    "tracer/sketch/slices.py": "of Endpoints that somebody wrote, to write the same as a slice",
    "tracer/topology/endpoint_times.py": "when each state was seen first; it asks none",
}


def test_nobody_else_asks_an_endpoint_for_its_conditions() -> None:
    """Findings, examples, names, balancers, proxies and walks ask here; a pod's own readiness is another question."""
    asked = re.compile(r"\b(?:e|x|endpoint|listed|found)\.(?:endpoint\.)?(?:ready|serving|terminating)\b")
    found = {
        m.relative_to(PROJECT).as_posix(): asked.findall(m.read_text())
        for root in ("tracer", "webapp")
        for m in PROJECT.glob(f"{root}/**/*.py")
    }
    assert {name for name, places in found.items() if places} - {"tracer/kube/endpoints.py"} == set(ELSEWHERE)


@pytest.mark.parametrize(
    ("states", "expected"),
    [("r", "r"), ("rs", "r"), ("st", "s"), ("sn", "s"), ("nt", ""), ("", "")],
)
def test_what_is_usable(states: str, expected: str) -> None:
    """Of ready (r), serving while it terminates (s), terminating and not serving (t), and not ready (n) endpoints."""
    made: dict[str, dict[str, bool]] = {
        "r": {},
        "s": {"ready": False, "terminating": True},
        "t": {"ready": False, "serving": False, "terminating": True},
        "n": {"ready": False, "serving": False},
    }
    endpoints = {state: plain(f"10.0.0.{place}", **made[state]) for place, state in enumerate(states, 1)}
    assert usable(list(endpoints.values())) == tuple(endpoints[state] for state in expected)
    assert {state for state, e in endpoints.items() if stays(e)} == {"r"} & {*states}
    assert [state_text(endpoints[state]) for state in states if state != "r"] == [
        "not ready" if state == "n" else "terminating" for state in states if state != "r"
    ]
