"""What the API would refuse is refused in the user's words, with the field; several mistakes are said at once."""

import json

import pytest

from tests.what_if.test_rules import shop
from tracer.errors import QueryError

_NP = "svc/production/public-api"
REFUSED = {
    f"{_NP}.spec.ports[0].port=99999": "spec.ports[0].port is 99999, and not from 1 to 65535",
    f"{_NP}.spec.ports[0].port=http": "spec.ports[0].port is “http”, and not a whole number",
    f"{_NP}.spec.ports[0].nodePort=70000": "spec.ports[0].nodePort is 70000, and not from 0 to 65535",
    f"{_NP}.spec.ports[0].nodePort=80": "node port 80 is not from 30000 to 32767",
    f"{_NP}.spec.ports[9].port=80": "there is no [9] in a list of",
    f"{_NP}.spec.ports[name=nobody].port=80": "there is no [name=nobody] in a list of",
    f"{_NP}.spec.ports=[]": "spec.ports is empty",
    f"{_NP}.spec.type=Ingress": "spec.type is “Ingress”, and not ClusterIP, NodePort, LoadBalancer or ExternalName",
    f"{_NP}.spec.externalTrafficPolicy=local": "spec.externalTrafficPolicy is “local”, and not Cluster or Local",
    f"{_NP}.spec.externaltrafficpolicy=Local": "spec.externaltrafficpolicy is no field of a Service: is it externalTrafficPolicy?",
    f"{_NP}.spec.sessionAffinity=Cookie": "spec.sessionAffinity is “Cookie”, and not None or ClientIP",
    f"{_NP}.spec.clusterIP=10.96.200.200": "spec.clusterIP cannot be changed",
    f'{_NP}.spec.ipFamilies=["IPv6"]': "spec.ipFamilies cannot begin with another family",
    f'{_NP}.spec.externalIPs=["1.2.3.400"]': "which is no IP address",
    f'{_NP}.spec.selector=["app"]': "spec.selector is ['app'], and not a map of names to values",
    f"{_NP}.spec.trafficDistribution=PreferMe": "spec.trafficDistribution is “PreferMe”, and not PreferClose, PreferSameZone or PreferSameNode",
    f"{_NP}.spec.publishNotReadyAddresses=yes": "spec.publishNotReadyAddresses is “yes”, and not true or false",
    f"{_NP}.metadata.name=other": "metadata.name cannot be changed",
    f'{_NP}.metadata.labels={{"a b": "c"}}': "which is no label's",
    "svc/production/public-apy=deleted": "there is no Service production/public-apy",
    "pod/production/nobody=deleted": "there is no Pod production/nobody",
    "pod/production/new=added:like=nobody,node=shop-worker": "there is no pod production/nobody to make it after",
    "node/nowhere=removed": "there is no Node nowhere",
    "node/nowhere.mode=ipvs": "there is no node nowhere",
    "node/shop-worker.spec.podCIDR=10.0.0.0/24": "of a node its labels, annotations and spec.unschedulable can be set",
    "endpoint/production/public-api/192.0.2.9.ready=false": "has no endpoint 192.0.2.9",
}


@pytest.mark.parametrize("word", REFUSED)
def test_it_is_refused_with_the_field(word: str) -> None:
    with pytest.raises(QueryError) as caught:
        shop("shop-iptables").overridden((word,))
    assert REFUSED[word] in str(caught.value)
    assert (caught.value.code, caught.value.field) == ("BAD_OVERRIDE", "overrides")


def test_near_names_are_offered() -> None:
    with pytest.raises(QueryError) as caught:
        shop("shop-iptables").overridden(("svc/production/public-apy=deleted",))
    assert caught.value.near[0] == "production/public-api"


def test_source_ranges_need_a_load_balancer() -> None:
    cluster = shop("shop-iptables")
    plain = next(s for s in cluster.objects.services if s.type == "ClusterIP" and not s.headless)
    with pytest.raises(QueryError, match="may only be set for type LoadBalancer, and the Service's is ClusterIP"):
        cluster.overridden((f'svc/{plain.namespace}/{plain.name}.spec.loadBalancerSourceRanges=["10.0.0.0/8"]',))


def test_how_long_clients_are_remembered() -> None:
    words = (f"{_NP}.spec.sessionAffinity=ClientIP", f"{_NP}.spec.sessionAffinityConfig.clientIP.timeoutSeconds=90000")
    with pytest.raises(QueryError, match="timeoutSeconds is 90000, and not from 1 to 86400"):
        shop("shop-iptables").overridden(words)


def test_a_node_port_that_another_service_has() -> None:
    cluster = shop("shop-iptables")
    held = [(s, p.node_port) for s in cluster.objects.services for p in s.ports if p.node_port]
    (one, _), (other, number) = held[0], next(pair for pair in held if pair[0] != held[0][0])
    with pytest.raises(QueryError, match=f"node port {number} is taken by Service {other.namespace}/{other.name}"):
        cluster.overridden((f"svc/{one.namespace}/{one.name}.spec.ports[0].nodePort={number}",))


def test_every_mistake_of_a_manifest_is_said_at_once() -> None:
    port = {"port": 80, "targetPort": "Not A Port"}
    manifest = [
        {"kind": "Service", "metadata": {"namespace": "a", "name": "one"}, "spec": {"ports": [{"port": 0}]}},
        {"kind": "Service", "metadata": {"namespace": "a", "name": "two"}, "spec": {"type": "Nodeport", "ports": [{"port": 80}]}},
        {"kind": "Service", "metadata": {"namespace": "a", "name": "three"}, "spec": {"ports": [port], "sessionAfinity": "None"}},
    ]
    with pytest.raises(QueryError) as caught:
        shop("shop-iptables").overridden((), json.dumps(manifest))
    said = str(caught.value)
    assert len(said.splitlines()) == 4
    for part in (
        "Service a/one: spec.ports[0].port is 0, and not from 1 to 65535",
        "Service a/two: spec.type is “Nodeport”",
        "Service a/three: spec.sessionAfinity is no field of a Service: is it sessionAffinity?",
        "Service a/three: spec.ports[0].targetPort is “Not A Port”",
    ):
        assert part in said


def test_every_word_that_is_refused_is_said_at_once() -> None:
    with pytest.raises(QueryError, match=r"Node nowhere\n.*Service production/public-apy"):
        shop("shop-iptables").overridden(("node/nowhere=removed", "svc/production/public-apy=deleted"))


_FIELDS = [
    "type", "externalTrafficPolicy", "internalTrafficPolicy", "sessionAffinity", "sessionAffinityConfig",
    "sessionAffinityConfig.clientIP", "loadBalancerSourceRanges", "ports", "ports[0].port", "ports[0].nodePort", "ports[0].targetPort",
    "ports[0].protocol", "ports[0].name", "ports[0].appProtocol", "selector", "selector.app", "clusterIP", "clusterIPs", "ipFamilies",
    "ipFamilyPolicy", "externalIPs", "externalName", "healthCheckNodePort", "allocateLoadBalancerNodePorts", "publishNotReadyAddresses",
    "trafficDistribution", "loadBalancerIP", "loadBalancerClass",
]  # fmt: skip
_VALUES = (
    "null", "true", "0", "-1", "31999", "99999999999", "1e400", "NaN", '""', "Local", "10.96.0.10", '"\\u0000"', "[]", "{}", "[null]", "[[]]",
    "[{}]", '{"a": 1}', '[{"port": 80}]', '[{"port": "x"}]', '[{"port": 80, "nodePort": {}}]', '["10.0.0.0/8", "x"]', '["None"]', "[4, 6]",
    '{"clientIP": {"timeoutSeconds": []}}', "x" * 300, "[" * 300,
)  # fmt: skip


@pytest.mark.parametrize("named", ["production/public-api", "production/backend-api", "data/redis"])
@pytest.mark.parametrize("name", _FIELDS)
def test_any_value_of_any_field_is_taken_or_refused(name: str, named: str) -> None:
    """Whatever stands behind the equals sign: the cluster is changed, or the API's refusal is said."""
    base, refused = shop("shop-iptables"), 0
    if base.objects.service(*named.split("/")) is None:
        pytest.fail(f"the shop has no Service {named}")
    for value in _VALUES:
        try:
            assert base.overridden((f"svc/{named}.spec.{name}={value}",)).objects.services
        except QueryError as error:
            refused += 1
            assert error.field == "overrides"
    assert refused
