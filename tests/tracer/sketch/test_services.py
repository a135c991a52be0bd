"""Services get what they leave open, keep what they ask for, and no two get the same."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from tests.made_manifests import Json, named, of_kind, service, sketched
from tracer.sketch.plan import BALANCERS, NODE_PORTS, SERVICES


def _of(name: str, *values: Json) -> Json:
    found: Json = named(sketched(*values), "Service", name)
    return found


def test_the_api_servers_own_defaults() -> None:
    spec = _of("web", service())["spec"]
    address = spec["clusterIP"]
    assert ip_address(address) in SERVICES[4]
    assert spec == {
        "type": "ClusterIP", "selector": {"app": "web"}, "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}],
        "sessionAffinity": "None", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }  # fmt: skip


def test_no_two_services_have_one_address_or_port() -> None:
    found = of_kind(sketched(*(service(f"s{n}", type="LoadBalancer") for n in range(250))), "Service")
    for values in (
        [one["spec"]["clusterIP"] for one in found],
        [port["nodePort"] for one in found for port in one["spec"]["ports"] if "nodePort" in port],
        [one["status"]["loadBalancer"]["ingress"][0]["ip"] for one in found if one["status"]["loadBalancer"]],
    ):
        assert len(set(values)) == len(values) >= 250
    assert all(
        ip_address(one["status"]["loadBalancer"]["ingress"][0]["ip"]) in BALANCERS[4]
        for one in found[:-1]
        if one["metadata"]["name"] != "kube-dns"
    )


def test_what_is_asked_for_is_kept_and_given_to_nobody_else() -> None:
    alone = _of("web", service(type="NodePort"))["spec"]
    taken = service("api", type="NodePort", clusterIP=alone["clusterIP"], ports=[{"port": 80, "nodePort": alone["ports"][0]["nodePort"]}])
    both = (service(type="NodePort"), taken)
    asked, moved = _of("api", *both)["spec"], _of("web", *both)["spec"]
    assert (asked["clusterIP"], asked["ports"][0]["nodePort"]) == (alone["clusterIP"], alone["ports"][0]["nodePort"])
    assert moved["clusterIP"] != asked["clusterIP"] and moved["ports"][0]["nodePort"] != asked["ports"][0]["nodePort"]
    assert moved["ports"][0]["nodePort"] in NODE_PORTS


def test_the_dns_service_has_kubeadms_address_unless_it_is_taken() -> None:
    assert _of("kube-dns", service())["spec"]["clusterIP"] == "10.96.0.10"
    moved = _of("kube-dns", service(clusterIP="10.96.0.10"))["spec"]["clusterIP"]
    assert moved != "10.96.0.10" and ip_address(moved) in SERVICES[4]


@pytest.mark.parametrize(
    ("spec", "families"),
    [
        ({}, ["IPv4"]),
        ({"ipFamilies": ["IPv6"]}, ["IPv6"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"]),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, ["IPv6", "IPv4"]),
        ({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "fd00:10:96::7"}, ["IPv6", "IPv4"]),
        ({"clusterIP": "fd00:10:96::7"}, ["IPv6"]),
    ],
)
def test_families(spec: dict[str, Any], families: list[str]) -> None:
    found = _of("web", service(type="LoadBalancer", **spec))
    assert found["spec"]["ipFamilies"] == families
    assert [f"IPv{ip_address(one).version}" for one in found["spec"]["clusterIPs"]] == families
    assert [f"IPv{ip_address(one['ip']).version}" for one in found["status"]["loadBalancer"]["ingress"]] == families


def test_a_headless_service_has_no_address() -> None:
    spec = _of("web", service(clusterIP="None"))["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


def test_an_external_name_has_neither_address_nor_policy() -> None:
    spec = _of("web", service(type="ExternalName", externalName="a.example", selector=None, ports=None))["spec"]
    assert spec == {"type": "ExternalName", "externalName": "a.example", "sessionAffinity": "None"}


def test_a_load_balancer_has_what_a_cloud_gives() -> None:
    found = _of("web", service(type="LoadBalancer", externalTrafficPolicy="Local"))
    ports = {found["spec"]["healthCheckNodePort"], found["spec"]["ports"][0]["nodePort"]}
    assert len(ports) == 2 and all(port in NODE_PORTS for port in ports)
    given = _of("web", service(type="LoadBalancer", loadBalancerIP="203.0.113.40", allocateLoadBalancerNodePorts=False))
    assert given["status"]["loadBalancer"]["ingress"] == [{"ip": "203.0.113.40", "ipMode": "VIP"}]
    assert "nodePort" not in given["spec"]["ports"][0]


def test_one_port_over_two_protocols_has_one_node_port() -> None:
    ports = [{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53}]
    found = _of("web", service(type="NodePort", ports=ports))["spec"]["ports"]
    assert found[0]["nodePort"] == found[1]["nodePort"]


def test_an_affinity_has_its_usual_time() -> None:
    unused = service(sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}})
    assert "sessionAffinityConfig" not in _of("web", unused)["spec"]  # the API drops it without a word
    found = _of("web", service(sessionAffinity="ClientIP"))["spec"]
    assert found["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10_800}}


def test_a_status_that_somebody_wrote_is_not_kept() -> None:
    found = _of("web", service() | {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}})
    assert found["status"] == {"loadBalancer": {}}
