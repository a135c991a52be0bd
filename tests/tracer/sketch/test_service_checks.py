"""What the API server refuses of a Service is refused, with the field, and what it takes is taken."""

from __future__ import annotations

from typing import Any

import pytest

from tests.made_manifests import mistakes, service

_TWO = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]


def _port(**fields: Any) -> dict[str, Any]:
    return {"ports": [{"port": 80} | fields]}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"type": "clusterip"}, "type: 'clusterip' is not ClusterIP, NodePort, LoadBalancer or ExternalName. Did you mean ClusterIP?"),
        ({"port": 80}, "port: there is no field of this name. Did you mean ports?"),
        (_port(targetport=8080), "ports[0].targetport: there is no field of this name. Did you mean targetPort?"),
        ({"ports": []}, "ports: is missing: a Service has at least one port."),
        ({"ports": {"port": 80}}, "ports: is an object, not a list."),
        ({"ports": [80]}, "ports[0]: is a whole number, not an object."),
        ({"ports": [{"name": "http"}]}, "ports[0].port: is missing."),
        (_port(port=0), "ports[0].port: 0 is no port: ports are 1 to 65535."),
        (_port(port="80"), "ports[0].port: is a text, not a whole number. Take its quotation marks away."),
        (_port(port=True), "ports[0].port: is true or false, not a whole number."),
        (_port(protocol="tcp"), "ports[0].protocol: 'tcp' is not TCP, UDP or SCTP. Did you mean TCP?"),
        (_port(targetPort=70_000), "ports[0].targetPort: 70000 is no port: ports are 1 to 65535."),
        (_port(targetPort="a-name-that-is-too-long"), "ports[0].targetPort: 'a-name-that-is-too-long' is not a port's name: at most 15 small "
                                                      "letters, digits and -, with a letter among them."),
        ({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}, "ports[0].name: is missing: of several ports each has a name."),
        ({"ports": [_TWO[0], _TWO[1] | {"name": "a"}]}, "ports[1].name: 'a' is another port's already."),
        ({"ports": [_TWO[0], _TWO[1] | {"port": 80}]}, "ports[1].port: 80 (TCP) stands twice in this Service."),
        (_port(nodePort=30_080), "ports[0].nodePort: a Service of type ClusterIP has no node port: type NodePort or LoadBalancer is meant."),
        ({"type": "NodePort"} | _port(nodePort=8080), "ports[0].nodePort: 8080 is not from 30000 to 32767, as node ports are."),
        ({"type": "NodePort", "ports": [one | {"nodePort": 30_080} for one in _TWO]},
         "ports[1].nodePort: 30080 (TCP) stands twice in this Service."),
        ({"clusterIP": "10.96.0.300"}, "clusterIP: '10.96.0.300' is not an IP address."),
        ({"clusterIP": "None", "type": "NodePort"}, "clusterIP: None makes a Service headless, and one of type NodePort cannot be."),
        ({"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.2"]}, "clusterIPs[0]: is not what clusterIP says (10.96.1.1)."),
        ({"clusterIP": "10.244.1.7"}, "clusterIP: 10.244.1.7 is in a network of the sketch's own: it has the addresses of pods."),
        ({"type": "ExternalName"}, "externalName: is missing: a Service of type ExternalName stands for that name."),
        ({"type": "ExternalName", "externalName": "https://a.example"}, "externalName: 'https://a.example' is not a name: at most 253 small "
                                                                       "letters, digits, dots and -, with a letter or digit at each end."),
        ({"type": "ExternalName", "externalName": "a.example", "clusterIP": "10.96.1.1"},
         "clusterIP: a Service of type ExternalName has no address."),
        ({"externalIPs": ["127.0.0.1"]}, "externalIPs[0]: 127.0.0.1 is no address that a packet from outside can be sent to."),
        ({"ipFamilyPolicy": "DualStack"}, "ipFamilyPolicy: 'DualStack' is not SingleStack, PreferDualStack or RequireDualStack. "
                                          "Did you mean PreferDualStack?"),
        ({"ipFamilies": ["IPv4", "IPv6"]}, "ipFamilyPolicy: two families are asked for: PreferDualStack or RequireDualStack is meant."),
        ({"ipFamilies": ["ipv6"]}, "ipFamilies[0]: 'ipv6' is not IPv4 or IPv6."),
        ({"ipFamilies": ["IPv6"], "clusterIP": "10.96.1.1"}, "ipFamilies: 10.96.1.1 is not of the family IPv6 that stands in its place."),
        ({"externalTrafficPolicy": "Local"}, "externalTrafficPolicy: a Service of type ClusterIP is not reached from outside: NodePort or "
                                             "LoadBalancer is meant."),
        ({"type": "NodePort", "externalTrafficPolicy": "local"}, "externalTrafficPolicy: 'local' is not Cluster or Local. "
                                                                 "Did you mean Local?"),
        ({"healthCheckNodePort": 30_000}, "healthCheckNodePort: goes with type LoadBalancer and externalTrafficPolicy: Local alone."),
        ({"sessionAffinity": "clientIP"}, "sessionAffinity: 'clientIP' is not None or ClientIP. Did you mean ClientIP?"),
        ({"sessionAffinityConfig": "long"}, "sessionAffinityConfig: is a text, not an object."),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90_000}}},
         "sessionAffinityConfig.clientIP.timeoutSeconds: 90000 is not from 1 to 86,400."),
        ({"trafficDistribution": "Close"}, "trafficDistribution: 'Close' is not PreferClose, PreferSameZone or PreferSameNode. "
                                           "Did you mean PreferClose?"),
        ({"loadBalancerSourceRanges": ["203.0.113.0/24"]}, "loadBalancerSourceRanges: goes with type LoadBalancer alone, not with ClusterIP."),
        ({"type": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.0/33"]},
         "loadBalancerSourceRanges[0]: '203.0.113.0/33' is not a network like 203.0.113.0/24."),
        ({"type": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.7"]},
         "loadBalancerSourceRanges[0]: '203.0.113.7' is an address, and a network like 203.0.113.7/32 is wanted."),
        ({"publishNotReadyAddresses": "true"}, "publishNotReadyAddresses: is a text, not true or false. Take its quotation marks away."),
        ({"selector": {"app": "a b"}}, "selector[app]: 'a b' is not a label's value: at most 63 letters, digits, -, _ and ."),
        ({"selector": {"a b": "c"}}, "selector[a b]: is not a label's name: letters, digits, -, _ and . after an optional domain and a slash."),
        ({"selector": ["app"]}, "selector: is a list, not an object."),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_field(spec: dict[str, Any], said: str) -> None:
    assert mistakes(service(**spec)) == [f"Service default/web: spec.{said}"]


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None", "ports": []},
        {"type": "ExternalName", "externalName": "a.example.", "ports": []},
        {"type": "NodePort", "ports": [{"name": "u", "port": 53, "protocol": "UDP", "nodePort": 30_053}, {"name": "t", "port": 53, "nodePort": 30_053}]},
        {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31_000},
        {"type": "LoadBalancer", "loadBalancerSourceRanges": ["203.0.113.0/24"], "allocateLoadBalancerNodePorts": False},
        {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"], "clusterIP": "fd00:10:96::77"},
        {"externalIPs": ["203.0.113.77"], "externalTrafficPolicy": "Local"},
        {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}},
        {"ports": [{"port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"}]},
        {"selector": None},
    ],
)  # fmt: skip
def test_what_the_api_takes_is_taken(spec: dict[str, Any]) -> None:
    assert mistakes(service(**spec)) == []


def test_a_service_without_spec() -> None:
    assert mistakes(service() | {"spec": None}) == ["Service default/web: spec: is missing."]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            {"clusterIP": "10.96.1.1"},
            {"clusterIP": "10.96.1.1"},
            "spec.clusterIP: 10.96.1.1 is Service default/web's already (a.yaml, line 1).",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 53, "protocol": "UDP", "nodePort": 30_053}]},
            {"type": "NodePort", "ports": [{"port": 53, "nodePort": 30_053}]},
            "spec.ports[0].nodePort: 30053 is Service default/web's already (a.yaml, line 1).",
        ),
        (
            {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30_053},
            {"type": "NodePort", "ports": [{"port": 53, "nodePort": 30_053}]},
            "spec.ports[0].nodePort: 30053 is Service default/web's already (a.yaml, line 1).",
        ),
    ],
)
def test_what_two_services_ask_for_is_a_mistake_of_the_second(one: dict[str, Any], other: dict[str, Any], said: str) -> None:
    assert mistakes(service(**one), service("api", **other)) == [f"Service default/api: {said}"]
