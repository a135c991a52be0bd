"""What is said of a sketch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.made_manifests import Json, pod, service, shop, sketched, workload
from tracer.sketch import sketch

_SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="}}
_TAKEN = (
    "Taken: every pod that has a node runs and is ready. Nodes have no taints, so tolerations change nothing. What chooses a node is "
    "nodeSelector, nodeName, host ports and room for 110 pods; resources, affinity and spreading are not weighed."
)
_DNS = "Added: CoreDNS as kubeadm deploys it, with two pods and the Service kube-system/kube-dns. Names resolve by it."
_PLANE = "There is no control plane: no API server, and no Service default/kubernetes."


def test_of_the_shop() -> None:
    assert sketch(shop()).remarks == (
        "Made up: 3 nodes in 2 zones, 13 pods, and all addresses and ports of 7 Services that the manifests do not give. "
        "The same manifests always give the same ones.",
        _TAKEN,
        "Deployment shop/api has affinity, which is not weighed.",
        _DNS,
        _PLANE,
        "Not used: 1 CronJob (no pod of it runs for long), 1 Secret (never read).",
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([workload(pod={"nodeSelector": {"disk": "ssd"}}, replicas=2)],
         "2 pods of Deployment default/web have no node: no node has the labels of its nodeSelector."),
        ([pod(nodeName="n")], "1 pod of Pod default/shell has no node: its nodeName is n, and no node of the sketch is called so."),
        ([workload(paused=True)], "Deployment default/web is paused, so it has no pods."),
        ([service(selector={"app": "wbe"}), workload()], "Service default/web selects no pod (app=wbe)."),
        ([service(ipFamilyPolicy="PreferDualStack"), workload()], "Both address families are there, as a Service asks for two, or for IPv6."),
        ([workload(pod={"affinity": {"a": 1}, "topologySpreadConstraints": [{"maxSkew": 1}]})],
         "Deployment default/web has affinity and topologySpreadConstraints, which are not weighed."),
        ([_SECRET, _SECRET], "Not used: 2 Secrets (never read)."),
        ([{"kind": f"Kind{n:02}", "apiVersion": "a.example/v1"} for n in range(14)],
         f"Not used: {', '.join(f'1 Kind{n:02}' for n in range(12))}, and 2 more kinds."),
    ],
)  # fmt: skip
def test_what_is_said_besides(values: list[dict[str, Any]], said: str) -> None:
    assert said in sketched(*values).remarks


def test_topology_aware_routing_is_said_not_to_be_there() -> None:
    asks: Json = service()
    asks["metadata"]["annotations"] = {"service.kubernetes.io/topology-mode": "Auto"}
    assert any(one.startswith("Service default/web asks for topology-aware routing") for one in sketched(asks, workload()).remarks)


def test_of_many_alike_the_first_are_said() -> None:
    found = sketched(*(service(f"s{n}") for n in range(8))).remarks
    assert sum("selects no pod" in one for one in found) == 5
    assert "3 more Services select no pod." in found
