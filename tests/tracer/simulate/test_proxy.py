"""Which endpoints the userspace proxy knows, and with which it begins: in turn, or with the one that the client had."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest

from tests.made_cluster import Json, MadeCluster
from tracer.kube.objects import Objects
from tracer.query import FlowState
from tracer.simulate.proxy import dialled
from tracer.topology.cluster import Cluster
from tracer.topology.proxy_ports import ProxyPort
from tracer.trace import Disposition

RULE = (
    '-A KUBE-PORTALS-CONTAINER -d 10.96.0.10/32 -p tcp -m comment --comment "default/web:p" -m tcp --dport 80 -j REDIRECT --to-ports 40001'
)
SOCKETS = 'tcp LISTEN 0 128 *:40001 *:* users:(("kube-proxy",pid=7,fd=9))\n'


def made(**service: object) -> MadeCluster:
    """One node in userspace mode with the pods client, web-1 and web-2; *service* adds to the spec of the Service web."""
    cluster = MadeCluster(1)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 1)])
    node = cluster.node(1)
    node.rules += [("nat", ":KUBE-PORTALS-CONTAINER"), ("nat", "-A PREROUTING -j KUBE-PORTALS-CONTAINER"), ("nat", RULE)]
    node.texts |= {"kube-proxy-mode.txt": "userspace\n", "ss.txt": SOCKETS}
    objects: Json = cluster.services[0].to_json()
    objects["spec"] = {**objects["spec"], **service}  # type: ignore[dict-item]
    cluster.extra["services.json"] = _listed(objects)
    return cluster


def _listed(*items: Json) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}).encode()


def test_a_connection_is_accepted_and_made_anew_to_each_endpoint_in_turn() -> None:
    answer = made().trace("pod:default/client", "10.96.0.10:80")
    assert [(o.disposition, o.destination and o.destination.name, o.probability) for o in answer.outcomes] == [
        (Disposition.DELIVERED, "web-1", Fraction(1, 2)),
        (Disposition.DELIVERED, "web-2", Fraction(1, 2)),
    ]


@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
def test_a_client_that_comes_again_has_its_endpoint_for_certain_where_the_service_remembers(affinity: str) -> None:
    answer = made(sessionAffinity=affinity).trace("pod:default/client", "10.96.0.10:80", state=FlowState.RETURNING)
    shares: dict[object, Fraction] = {}
    for outcome in answer.outcomes:
        name = outcome.destination and outcome.destination.name
        shares[name] = shares.get(name, Fraction(0)) + outcome.probability
    assert shares == {"web-1": Fraction(1, 2), "web-2": Fraction(1, 2)}
    assert all(0 < o.probability <= 1 for o in answer.outcomes)


def objects_of(endpoints: list[dict[str, Any]], ports: list[dict[str, Any]], *, kind: str = "IPv4", **spec: object) -> Cluster:
    cluster = MadeCluster(1)
    cluster.service("web")
    service = cluster.services[0].to_json()
    service["spec"] = {**service["spec"], **spec}  # type: ignore[dict-item]
    metadata = {"namespace": "default", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}}
    slice_: Json = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": kind}
    cluster.extra |= {"services.json": _listed(service), "endpointslices.json": _listed({**slice_, "endpoints": endpoints, "ports": ports})}
    return cluster.cluster()


def known(objects: Objects) -> list[str]:
    service = objects.service("default", "web")
    assert service is not None
    return [str(found) for found in dialled(objects, ProxyPort(service=service, port=service.ports[0]))]


def ready(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": True, **conditions}}


PORT = {"name": "p", "port": 8080, "protocol": "TCP"}
V6 = {"clusterIP": "fd00:96::1", "clusterIPs": ["fd00:96::1"]}
NONE: dict[str, object] = {"clusterIP": "", "clusterIPs": []}


@pytest.mark.parametrize(
    ("spec", "kind", "endpoint", "port", "expected"),
    [
        ({}, "IPv4", ready("10.1.1.2"), PORT, ["10.1.1.2:8080"]),
        ({}, "IPv6", ready("fd00::2"), PORT, []),  # the Service's first family is IPv4
        (V6, "IPv6", ready("fd00::2"), PORT, ["[fd00::2]:8080"]),
        (V6, "IPv4", ready("10.1.1.2"), PORT, []),
        (NONE, "IPv4", ready("10.1.1.2"), PORT, ["10.1.1.2:8080"]),  # no address yet: IPv4, as kube-proxy of that time had it
        (NONE, "IPv6", ready("fd00::2"), PORT, []),
        ({}, "IPv4", ready("10.1.1.2", ready=False), PORT, []),
        ({}, "IPv4", ready("10.1.1.2", terminating=True), PORT, []),
        ({}, "IPv4", ready("10.1.1.2"), {**PORT, "name": "other"}, []),
        ({}, "IPv4", ready("10.1.1.2"), {**PORT, "protocol": "UDP"}, []),
        ({}, "IPv4", ready("10.1.1.2"), {**PORT, "port": None}, []),  # a slice may leave the number out: nothing to connect to
    ],
)
def test_the_ready_endpoints_of_the_services_first_family(
    spec: dict[str, object], kind: str, endpoint: dict[str, Any], port: dict[str, Any], expected: list[str]
) -> None:
    assert known(objects_of([endpoint], [port], kind=kind, **spec).objects) == expected


def test_an_endpoint_that_two_slices_list_is_one() -> None:
    assert known(objects_of([ready("10.1.1.2"), ready("10.1.1.2"), ready("10.1.1.3")], [PORT]).objects) == [
        "10.1.1.2:8080",
        "10.1.1.3:8080",
    ]
