"""EndpointSlices as their controllers write them: by selector, family, port numbers and hints; mirrored from Endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from tests.made_manifests import Json, of_kind, pod, service, sketched, workload


def _slices(*values: Json, of: str = "web") -> list[Json]:
    found = of_kind(sketched(*values), "EndpointSlice")
    return [one for one in found if one["metadata"]["labels"]["kubernetes.io/service-name"] == of]


def test_the_pods_that_a_service_selects() -> None:
    (found,) = _slices(service(ports=[{"name": "h", "port": 80, "targetPort": "http"}]), workload(replicas=2))
    assert found["ports"] == [{"name": "h", "protocol": "TCP", "port": 8080}]
    assert [one["targetRef"]["name"] for one in found["endpoints"]] == ["web-sketch-1", "web-sketch-2"]
    for one in found["endpoints"]:
        assert one["conditions"] == {"ready": True, "serving": True, "terminating": False}
        assert (one["nodeName"], one["zone"]) in {(f"sketch-node-{n}", f"sketch-zone-{zone}") for n, zone in ((1, "a"), (2, "b"), (3, "a"))}
        assert "hints" not in one


def test_pods_of_other_namespaces_and_pods_that_wait_are_none() -> None:
    (found,) = _slices(
        service(),
        workload(namespace="other"),
        workload("ReplicaSet", pod={"nodeSelector": {"disk": "ssd"}}),
    )
    assert found["endpoints"] == []


def test_each_set_of_port_numbers_has_a_slice() -> None:
    other = {"containers": [{"name": "main", "image": "web:1", "ports": [{"name": "http", "containerPort": 9090}]}]}
    found = _slices(
        service(ports=[{"port": 80, "targetPort": "http"}]),
        workload(),
        pod("odd", labels={"app": "web"}, **other),
        pod("none", labels={"app": "web"}),
    )
    assert [([port["port"] for port in one["ports"]], len(one["endpoints"])) for one in found] == [([], 1), ([8080], 1), ([9090], 1)]


def test_a_slice_has_at_most_a_hundred_endpoints() -> None:
    assert [len(one["endpoints"]) for one in _slices(service(), workload(replicas=250))] == [100, 100, 50]


def test_each_family_has_its_slices() -> None:
    found = _slices(service(ipFamilyPolicy="PreferDualStack"), workload())
    assert [one["addressType"] for one in found] == ["IPv4", "IPv6"]
    assert [":" in one["endpoints"][0]["addresses"][0] for one in found] == [False, True]


@pytest.mark.parametrize(
    ("distribution", "keys"),
    [("PreferClose", {"forZones"}), ("PreferSameZone", {"forZones"}), ("PreferSameNode", {"forZones", "forNodes"})],
)
def test_hints(distribution: str, keys: set[str]) -> None:
    (found,) = _slices(service(trafficDistribution=distribution), workload(replicas=3))
    for one in found["endpoints"]:
        assert set(one["hints"]) == keys
        assert one["hints"]["forZones"] == [{"name": one["zone"]}]
        assert one["hints"].get("forNodes", [{"name": one["nodeName"]}]) == [{"name": one["nodeName"]}]


def test_a_headless_services_endpoints_have_the_hostnames_of_its_pods() -> None:
    (found,) = _slices(service(clusterIP="None", ports=[]), workload("StatefulSet", serviceName="web", replicas=2))
    assert [one["hostname"] for one in found["endpoints"]] == ["web-0", "web-1"]
    (other,) = _slices(service(clusterIP="None"), workload("StatefulSet", serviceName="another"))
    assert "hostname" not in other["endpoints"][0]


def test_no_selector_no_slice() -> None:
    assert _slices(service(selector=None), workload()) == []
    assert _slices(service(type="ExternalName", externalName="a.example"), workload()) == []


_SUBSETS: list[dict[str, Any]] = [
    {
        "addresses": [{"ip": "203.0.113.7", "hostname": "a"}, {"ip": "2001:db8::7"}],
        "notReadyAddresses": [{"ip": "203.0.113.8"}],
        "ports": [{"port": 5432}],
    }
]
_ENDPOINTS: Json = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": _SUBSETS}


def test_endpoints_of_a_service_without_selector_are_mirrored() -> None:
    found = _slices(service(selector=None), _ENDPOINTS)
    assert [(one["addressType"], one["ports"][0]["port"]) for one in found] == [("IPv4", 5432), ("IPv6", 5432)]
    assert [(one["addresses"], one["conditions"]["ready"], one.get("hostname")) for one in found[0]["endpoints"]] == [
        (["203.0.113.7"], True, "a"), (["203.0.113.8"], False, None),
    ]  # fmt: skip


def test_other_endpoints_are_not() -> None:
    assert [one["endpoints"] for one in _slices(service(), _ENDPOINTS)] == [[]]
    assert _slices(_ENDPOINTS) == []


def test_slices_that_somebody_wrote_stay() -> None:
    labels = {"kubernetes.io/service-name": "web"}
    own = {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "own", "labels": labels},
        "addressType": "IPv4", "endpoints": [{"addresses": ["203.0.113.9"]}], "ports": [{"port": 80}],
    }  # fmt: skip
    assert _slices(service(selector=None), own) == [own]
