"""Where pods run: round the nodes, by labels, host ports and room, and nowhere where none fits."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address, ip_network
from typing import Any

from tests.made_manifests import Json, named, of_kind, pod, service, sketched, workload
from tracer.sketch.plan import NODES, PODS


def _mine(*values: Json, nodes: int = 3) -> list[Json]:
    return [one for one in of_kind(sketched(*values, nodes=nodes), "Pod") if one["metadata"]["namespace"] == "default"]


def _nodes(*values: Json, nodes: int = 3) -> Counter[Any]:
    return Counter(one["spec"].get("nodeName") for one in _mine(*values, nodes=nodes))


def _port(**fields: int) -> Json:
    return {"containers": [{"name": "main", "image": "web:1", "ports": [fields]}]}


def test_pods_go_round_the_nodes() -> None:
    assert sorted(_nodes(workload(replicas=7)).values()) == [2, 2, 3]


def test_a_node_selector_chooses() -> None:
    zone = {"topology.kubernetes.io/zone": "sketch-zone-a"}
    assert _nodes(workload(replicas=4, pod={"nodeSelector": zone})) == {"sketch-node-1": 2, "sketch-node-3": 2}
    assert _nodes(workload("DaemonSet", pod={"nodeSelector": zone})) == {"sketch-node-1": 1, "sketch-node-3": 1}


def test_where_none_fits_a_pod_waits() -> None:
    (found,) = _mine(workload(pod={"nodeSelector": {"disk": "ssd"}}))
    assert found["status"]["phase"] == "Pending"
    assert found["status"]["conditions"][0]["message"] == "no node has the labels of its nodeSelector"
    assert "nodeName" not in found["spec"] and "podIP" not in found["status"]
    assert _mine(workload("DaemonSet", pod={"nodeSelector": {"disk": "ssd"}})) == []


def test_a_node_name_is_taken_as_it_is() -> None:
    assert _nodes(pod(nodeName="sketch-node-2")) == {"sketch-node-2": 1}
    (found,) = _mine(pod(nodeName="worker-7"))
    assert found["status"]["conditions"][0]["message"] == "its nodeName is worker-7, and no node of the sketch is called so"


def test_a_port_of_the_node_is_had_once() -> None:
    assert _nodes(workload(replicas=4, pod=_port(containerPort=80, hostPort=8080))) == {
        "sketch-node-1": 1, "sketch-node-2": 1, "sketch-node-3": 1, None: 1,
    }  # fmt: skip
    waiting = next(one for one in _mine(workload(replicas=4, pod=_port(containerPort=80, hostPort=8080))) if "nodeName" not in one["spec"])
    assert waiting["status"]["conditions"][0]["message"] == "port 8080 of each node that it may run on is taken by another pod"
    both = (
        workload("DaemonSet", "a", pod=_port(containerPort=80, hostPort=80)),
        workload("DaemonSet", "b", pod=_port(containerPort=80, hostPort=80)),
    )
    assert _nodes(*both)[None] == 3


def test_a_node_has_room_for_so_many() -> None:
    found = _nodes(workload(replicas=250), nodes=1)
    assert found == {"sketch-node-1": 108, None: 142}  # the cluster's DNS has the other two places


def test_pods_have_addresses_of_their_node_and_none_has_anothers() -> None:
    found = [one for one in _mine(workload(replicas=300)) if "nodeName" in one["spec"]]
    addresses = [one["status"]["podIP"] for one in found]
    assert len(set(addresses)) == len(addresses)
    networks = {number: ip_network(f"10.244.{number}.0/24") for number in (1, 2, 3)}
    for one in found:
        assert ip_address(one["status"]["podIP"]) in networks[int(one["spec"]["nodeName"][-1])]
        assert ip_address(one["status"]["podIP"]) in PODS[4] and ip_address(one["status"]["hostIP"]) in NODES[4]


def test_a_pod_on_the_nodes_network_has_its_address_and_ports() -> None:
    (found, *_) = _mine(workload("DaemonSet", pod={"hostNetwork": True} | _port(containerPort=2020)))
    assert found["status"]["podIP"] == found["status"]["hostIP"] == "192.0.2.11"
    assert found["spec"]["containers"][0]["ports"] == [{"protocol": "TCP", "hostPort": 2020, "containerPort": 2020}]


def test_both_families_where_a_service_asks() -> None:
    values = (service(ipFamilyPolicy="PreferDualStack"), workload())
    (found,) = _mine(*values)
    assert [ip_address(one["ip"]).version for one in found["status"]["podIPs"]] == [4, 6]
    assert [ip_address(one["ip"]).version for one in found["status"]["hostIPs"]] == [4, 6]
    node = named(sketched(*values), "Node", "sketch-node-2")
    assert node["spec"]["podCIDRs"] == ["10.244.2.0/24", "fd00:10:244:2::/64"]
    for one in found["status"]["podIPs"]:
        assert any(ip_address(one["ip"]) in network for network in PODS.values())
