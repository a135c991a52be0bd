"""API objects as values: what is read, what is defaulted, what is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ParseError, TracerError
from tracer.kube.configmap import ConfigMap, is_wanted
from tracer.kube.endpointslice import EndpointSlice, slices_from_endpoints
from tracer.kube.namespace import Namespace
from tracer.kube.networkpolicy import NetworkPolicy
from tracer.kube.node import Node
from tracer.kube.pod import Pod
from tracer.kube.service import Service, ServiceType, TrafficPolicy
from tracer.packet import Protocol


def service(status: Any = None, metadata: Any = None, **spec: Any) -> Service:
    return Service.from_dict({"metadata": {"name": "s"} | (metadata or {}), "spec": spec, "status": status or {}})


def test_a_service_with_next_to_nothing() -> None:
    found = Service.from_dict({"metadata": {"name": "s"}})
    assert (found.namespace, found.type, found.cluster_ips, found.headless) == ("default", ServiceType.CLUSTER_IP, (), False)
    assert (found.internal_traffic_policy, found.external_traffic_policy) == (TrafficPolicy.CLUSTER, TrafficPolicy.CLUSTER)
    assert (found.session_affinity, found.session_affinity_timeout, found.selector) == ("None", None, None)
    assert found.allocate_load_balancer_node_ports


def test_a_service_with_everything() -> None:
    found = service(
        status={
            "loadBalancer": {
                "ingress": [{"ip": "203.0.113.1", "ipMode": "Proxy", "ports": [{"port": 80, "error": "x"}]}, {"hostname": "lb.example"}]
            }
        },
        metadata={"namespace": "ns", "annotations": {"a": "b"}, "creationTimestamp": "2026-11-20T12:56:48Z"},
        type="LoadBalancer",
        clusterIP="10.96.0.1",
        clusterIPs=["10.96.0.1", "FD00::1"],
        externalIPs=["192.0.2.1"],
        ports=[{"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080, "appProtocol": "h2c"}],
        selector={"app": "s"},
        sessionAffinity="ClientIP",
        internalTrafficPolicy="Local",
        externalTrafficPolicy="Local",
        healthCheckNodePort=32000,
        loadBalancerSourceRanges=[" 10.0.0.0/8", "192.0.2.7/24"],
        allocateLoadBalancerNodePorts=False,
        publishNotReadyAddresses=True,
        ipFamilies=["IPv4", "IPv6"],
        trafficDistribution="PreferSameZone",
    )
    assert found.key == ("ns", "s")
    assert found.cluster_ips == (ip_address("10.96.0.1"), ip_address("fd00::1"))
    port = found.port(80, Protocol.TCP)
    assert port is not None
    assert (port.target_port, port.node_port, port.app_protocol) == ("web", 30080, "h2c")
    assert found.port(80, Protocol.UDP) is None
    assert found.session_affinity_timeout == 10800
    assert found.load_balancer_source_ranges == (ip_network("10.0.0.0/8"), ip_network("192.0.2.0/24"))
    balancer, other = found.load_balancer_ingress
    assert (str(balancer.ip), balancer.ip_mode, balancer.ports[0].error) == ("203.0.113.1", "Proxy", "x")
    assert (other.ip, other.hostname, other.ip_mode) == (None, "lb.example", "VIP")
    assert found.created == datetime(2026, 11, 20, 12, 56, 48, tzinfo=UTC)
    assert (found.allocate_load_balancer_node_ports, found.publish_not_ready_addresses) == (False, True)


@pytest.mark.parametrize(
    ("spec", "addresses", "headless"),
    [
        ({"clusterIP": "10.96.0.1"}, ["10.96.0.1"], False),
        ({"clusterIP": "None"}, [], True),
        ({"clusterIPs": ["None"]}, [], True),
        ({"clusterIP": ""}, [], False),
        ({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"]}, ["10.96.0.1", "fd00::1"], False),
    ],
)
def test_cluster_addresses(spec: dict[str, Any], addresses: list[str], headless: bool) -> None:
    found = service(**spec)
    assert ([str(a) for a in found.cluster_ips], found.headless) == (addresses, headless)


@pytest.mark.parametrize(
    ("port", "target"), [({"port": 80}, 80), ({"port": 80, "targetPort": 8080}, 8080), ({"port": 80, "targetPort": 0}, 80)]
)
def test_a_target_port_is_the_port_unless_said(port: dict[str, Any], target: int) -> None:
    assert service(ports=[port]).ports[0].target_port == target


@pytest.mark.parametrize(
    ("conditions", "ready", "serving", "terminating"),
    [
        ({}, True, True, False),
        ({"ready": None}, True, True, False),
        ({"ready": False}, False, False, False),
        ({"ready": False, "serving": True, "terminating": True}, False, True, True),
        ({"ready": True, "serving": False}, True, False, False),
    ],
)
def test_conditions_are_defaulted_as_the_api_says(conditions: dict[str, Any], ready: bool, serving: bool, terminating: bool) -> None:
    (endpoint,) = EndpointSlice.from_dict({"endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}]}).endpoints
    assert (endpoint.ready, endpoint.serving, endpoint.terminating) == (ready, serving, terminating)


def test_a_slice() -> None:
    found = EndpointSlice.from_dict(
        {
            "metadata": {"name": "s-1", "namespace": "ns", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv6",
            "endpoints": [
                {
                    "addresses": ["FD00::1"],
                    "nodeName": "n1",
                    "zone": "a",
                    "hostname": "s-0",
                    "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": "n1"}]},
                    "targetRef": {"kind": "Pod", "name": "p", "namespace": "ns"},
                }
            ],
            "ports": [{"name": "http", "port": 80}, {"protocol": "UDP"}],
        }
    )
    (endpoint,) = found.endpoints
    assert (found.service, found.address_type, str(endpoint.addresses[0])) == ("s", "IPv6", "fd00::1")
    assert (endpoint.zone_hints, endpoint.node_hints, endpoint.target_ref and endpoint.target_ref.name) == (("a",), ("n1",), "p")
    assert [(p.name, p.protocol, p.port) for p in found.ports] == [("http", Protocol.TCP, 80), ("", Protocol.UDP, None)]


def test_a_slice_of_names() -> None:
    (endpoint,) = EndpointSlice.from_dict({"addressType": "FQDN", "endpoints": [{"addresses": ["db.example"]}]}).endpoints
    assert (endpoint.addresses, endpoint.fqdns) == ((), ("db.example",))


def test_endpoints_become_slices_by_family() -> None:
    subset = {
        "addresses": [{"ip": "10.0.0.1", "nodeName": "n1"}, {"ip": "fd00::1"}],
        "notReadyAddresses": [{"ip": "10.0.0.2"}],
        "ports": [{"name": "http", "port": 80}],
    }
    found = slices_from_endpoints({"metadata": {"name": "s", "namespace": "ns"}, "subsets": [subset]})
    assert [(s.name, s.service, s.address_type, [(str(e.addresses[0]), e.ready) for e in s.endpoints]) for s in found] == [
        ("s-0", "s", "IPv4", [("10.0.0.1", True), ("10.0.0.2", False)]),
        ("s-0-ipv6", "s", "IPv6", [("fd00::1", True)]),
    ]


def test_a_node() -> None:
    addresses = [("InternalIP", "172.18.0.2"), ("InternalIP", "not-an-address"), ("ExternalIP", "198.51.100.2"), ("Hostname", "n1")]
    found = Node.from_dict(
        {
            "metadata": {
                "name": "n1",
                "labels": {"topology.kubernetes.io/zone": "a", "node.kubernetes.io/exclude-from-external-load-balancers": ""},
            },
            "spec": {
                "podCIDRs": ["10.244.0.0/24", "fd00:10:244:0::/64"],
                "unschedulable": True,
                "taints": [{"key": "k", "effect": "NoSchedule"}],
            },
            "status": {
                "addresses": [{"type": t, "address": a} for t, a in addresses],
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"kubeletVersion": "v1.36.2", "kernelVersion": "6.18", "operatingSystem": "linux"},
            },
        }
    )
    assert ([str(a) for a in found.ips], found.zone, found.ready) == (["172.18.0.2", "198.51.100.2"], "a", True)
    assert (found.exclude_from_external_load_balancers, found.unschedulable, found.taints[0].key) == (True, True, "k")
    assert found.pod_cidrs == (ip_network("10.244.0.0/24"), ip_network("fd00:10:244::/64"))
    assert (found.kubelet_version, found.kernel_version) == ("v1.36.2", "6.18")


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), ("Unknown", None), (None, None)])
def test_a_nodes_readiness(status: str | None, ready: bool | None) -> None:
    conditions = [] if status is None else [{"type": "Ready", "status": status}]
    assert Node.from_dict({"metadata": {"name": "n"}, "status": {"conditions": conditions}}).ready is ready


def pod(status: Any = None, metadata: Any = None, **spec: Any) -> Pod:
    return Pod.from_dict({"metadata": {"name": "p"} | (metadata or {}), "spec": spec, "status": status or {}})


def test_a_pod() -> None:
    ports = [{"name": "http", "containerPort": 8080, "hostPort": 80, "hostIP": "127.0.0.1"}, {"containerPort": 53, "protocol": "UDP"}]
    found = pod(
        status={
            "podIP": "10.244.0.2",
            "podIPs": [{"ip": "10.244.0.2"}, {"ip": "fd00::2"}],
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "False"}],
        },
        metadata={
            "labels": {"app": "p"},
            "ownerReferences": [{"kind": "X", "name": "x"}, {"kind": "StatefulSet", "name": "s", "controller": True}],
        },
        nodeName="n1",
        containers=[{"name": "c", "ports": ports}],
        initContainers=[
            {"name": "sidecar", "restartPolicy": "Always", "ports": [{"containerPort": 15001}]},
            {"name": "once", "ports": [{"containerPort": 1}]},
        ],
        dnsPolicy="None",
        dnsConfig={"nameservers": ["10.96.0.10"], "searches": ["x"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]},
        hostname="h",
        subdomain="d",
    )
    assert ([str(i) for i in found.owned_ips], found.ready, found.node_name) == (["10.244.0.2", "fd00::2"], False, "n1")
    assert [(p.container, p.container_port, p.protocol) for p in found.ports] == [
        ("c", 8080, Protocol.TCP),
        ("c", 53, Protocol.UDP),
        ("sidecar", 15001, Protocol.TCP),
    ]
    assert found.declares(8080, Protocol.TCP)
    assert not found.declares(8080, Protocol.UDP)
    named = found.port_named("http", Protocol.TCP)
    assert named is not None
    assert (named.host_port, str(named.host_ip)) == (80, "127.0.0.1")
    assert found.dns_config is not None
    assert found.dns_config.options == (("ndots", "2"), ("edns0", None))
    assert found.owner is not None
    assert found.owner.kind == "StatefulSet"


@pytest.mark.parametrize(
    ("spec", "phase", "owned"),
    [({}, "Running", 1), ({}, "Pending", 1), ({}, "Succeeded", 0), ({}, "Failed", 0), ({"hostNetwork": True}, "Running", 0)],
)
def test_who_owns_an_address(spec: dict[str, Any], phase: str, owned: int) -> None:
    assert len(pod(status={"podIP": "10.244.0.2", "phase": phase}, **spec).owned_ips) == owned


def test_a_pod_that_is_being_deleted() -> None:
    assert pod(metadata={"deletionTimestamp": "2026-11-20T12:56:48Z"}).terminating


def test_a_namespace_has_its_name_as_label() -> None:
    found = Namespace.from_dict({"metadata": {"name": "ns", "labels": {"a": "b", "kubernetes.io/metadata.name": "forged"}}})
    assert found.labels == {"a": "b", "kubernetes.io/metadata.name": "ns"}


@pytest.mark.parametrize(
    ("namespace", "name", "wanted"),
    [
        ("kube-system", "coredns", True),
        ("kube-system", "kube-proxy", True),
        ("default", "coredns", False),
        ("kube-system", "app", False),
        (None, None, False),
    ],
)
def test_which_config_maps_are_wanted(namespace: str | None, name: str | None, wanted: bool) -> None:
    assert is_wanted(namespace, name) is wanted


@pytest.mark.parametrize(
    ("spec", "address", "network"),
    [
        ({"clusterIP": "010.096.000.007", "loadBalancerSourceRanges": ["203.0.113.000/025"]}, "10.96.0.7", "203.0.113.0/25"),
        ({"clusterIP": "10.0.0.100", "loadBalancerSourceRanges": ["100.0.0.0/8"]}, "10.0.0.100", "100.0.0.0/8"),
        ({"clusterIP": "fd00::0010", "loadBalancerSourceRanges": ["fd00:0::/64"]}, "fd00::10", "fd00::/64"),
    ],
)
def test_zeros_in_front_are_read_as_kubernetes_reads_them(spec: dict[str, Any], address: str, network: str) -> None:
    service = Service.from_dict({"metadata": {"name": "s"}, "spec": spec})
    assert (str(service.cluster_ips[0]), str(service.load_balancer_source_ranges[0])) == (address, network)


REFUSED = [
    (Service, [], "Service: is an array, not an object"),
    (Service, {"metadata": {}}, "Service None: metadata.name: is missing"),
    (Service, {"metadata": {"name": "s"}, "spec": {"type": "Odd"}}, "Service s: spec.type: 'Odd' is not"),
    (Service, {"metadata": {"name": "s"}, "spec": {"ports": [{}]}}, "spec.ports[0].port: is missing"),
    (Service, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": True}]}}, "spec.ports[0].port: is true or false, not a whole number"),
    (Service, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "protocol": "ICMP"}]}}, "'ICMP' is not TCP, UDP or SCTP"),
    (
        Service,
        {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "targetPort": []}]}},
        "targetPort: is neither a number nor a name",
    ),
    (Service, {"metadata": {"name": "s"}, "spec": {"ports": {}}}, "spec.ports: is an object, not an array"),
    (Service, {"metadata": {"name": "s"}, "spec": {"clusterIPs": [7]}}, "spec.clusterIPs[0]: is a whole number, not a string"),
    (Service, {"metadata": {"name": "s"}, "spec": {"clusterIPs": ["10.0.0.256"]}}, "'10.0.0.256' is not an IP address"),
    (Service, {"metadata": {"name": "s"}, "spec": {"internalTrafficPolicy": "Near"}}, "'Near' is not Cluster or Local"),
    (Service, {"metadata": {"name": "\ud800"}}, "Service \\ud800: metadata.name: holds half of a surrogate pair"),
    (Service, {"metadata": {"name": "s", "labels": {"\ud800": ""}}}, "metadata.labels: a name in it holds half of a surrogate pair"),
    (Service, {"metadata": {"name": "s", "labels": {"a": 1}}}, "metadata.labels.a: is a whole number, not a string"),
    (Service, {"metadata": {"name": "s", "creationTimestamp": "soon"}}, "'soon' is not an RFC 3339 time"),
    (Service, {"metadata": {"name": "s", "creationTimestamp": "2026-11-20T12:56:48"}}, "has no time zone"),
    (EndpointSlice, {"endpoints": [{"conditions": {"ready": "yes"}}]}, "conditions.ready: is a string, not true or false"),
    (Pod, {"metadata": {"name": "p"}, "spec": {"containers": [{"ports": [{}]}]}}, "containerPort: is missing"),
    (Pod, {"metadata": {"name": "p"}, "status": {"podIP": "fe80::1%eth0"}}, "'fe80::1%eth0' is not an IP address"),
    (Node, {"metadata": {"name": "n"}, "spec": {"podCIDR": "ten"}}, "spec.podCIDR: 'ten' is not a network in CIDR notation"),
    (ConfigMap, {"metadata": {"name": "c"}, "data": {"k": []}}, "data.k: is an array, not a string"),
]


@pytest.mark.parametrize(("model", "value", "message"), REFUSED)
def test_a_wrong_type_is_refused_by_name(model: Any, value: Any, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        model.from_dict(value)
    assert message in str(caught.value)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["10.0.0.1", "TCP", "s", "None"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "spec",
                    "status",
                    "name",
                    "labels",
                    "ports",
                    "port",
                    "endpoints",
                    "addresses",
                    "subsets",
                    "containers",
                    "podSelector",
                    "ingress",
                    "from",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(
    trees,
    st.sampled_from(
        [
            Service.from_dict,
            EndpointSlice.from_dict,
            slices_from_endpoints,
            Pod.from_dict,
            Node.from_dict,
            Namespace.from_dict,
            NetworkPolicy.from_dict,
            ConfigMap.from_dict,
        ]
    ),
)
def test_any_value_raises_only_what_is_meant(value: Any, read: Any) -> None:
    try:
        read(value)
    except TracerError as error:
        assert str(error)
