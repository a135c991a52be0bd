"""Manifests become a whole cluster, the same one whatever the order they stand in."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.made_manifests import made, mistakes, named, of_kind, pod, service, shop, sketched, workload
from tracer.errors import ParseError
from tracer.kube.fields import Origin
from tracer.kube.object_file import RawObject
from tracer.kube.objects import read_object
from tracer.limits import SKETCH_MISTAKES, SKETCH_NODES, SKETCH_OBJECTS, SKETCH_PODS
from tracer.sketch import Manifest, sketch
from tracer.sketch.nodes import MARK


def test_the_shop_is_a_whole_cluster() -> None:
    found = sketch(shop())
    assert [node["metadata"]["name"] for node in of_kind(found, "Node")] == ["sketch-node-1", "sketch-node-2", "sketch-node-3"]
    names = sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in of_kind(found, "Pod"))
    assert names == [
        "kube-system/coredns-sketch-1", "kube-system/coredns-sketch-2",
        "shop/api-sketch-1", "shop/api-sketch-2", "shop/db-0", "shop/db-1",
        "shop/logs-sketch-1", "shop/logs-sketch-2", "shop/logs-sketch-3",
        "shop/shell", "shop/web-sketch-1", "shop/web-sketch-2", "shop/web-sketch-3",
    ]  # fmt: skip
    assert {one["metadata"]["name"] for one in of_kind(found, "Namespace")} == {"default", "kube-system", "shop"}
    assert [one["metadata"]["name"] for one in of_kind(found, "NetworkPolicy")] == ["db-from-api"]
    assert not of_kind(found, "Secret") and not of_kind(found, "CronJob")
    assert "never-stored" not in json.dumps(found.objects)


def test_every_object_of_the_shop_can_be_read_and_is_marked() -> None:
    found = sketch(shop())
    for one in found.objects:
        read_object(RawObject(kind=str(one["kind"]), value=one), Origin())
    for kind in ("Node", "Pod", "Service", "EndpointSlice"):
        assert all(MARK in one["metadata"]["annotations"] for one in of_kind(found, kind))
    assert named(found, "Pod", "web-sketch-1")["metadata"]["annotations"][MARK].startswith("Deployment shop/web (a.yaml, line ")


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_documents_changes_nothing(seed: int) -> None:
    manifests = shop()
    mixed = random.Random(seed).sample(manifests, len(manifests))
    assert json.dumps(sketch(mixed).objects) == json.dumps(sketch(manifests).objects)


def test_what_is_added_moves_nothing_else() -> None:
    alone, more = (
        sketched(service(), workload()),
        sketched(service(), workload(), service("api"), workload("Deployment", "api", replicas=2)),
    )
    for kind, name in (("Service", "web"), ("Pod", "web-sketch-1")):
        assert named(alone, kind, name) == named(more, kind, name)


def test_another_number_of_nodes() -> None:
    found = sketched(workload("DaemonSet"), nodes=5)
    assert len(of_kind(found, "Node")) == 5
    assert [one["spec"]["nodeName"] for one in of_kind(found, "Pod") if one["metadata"]["name"].startswith("web")] == [
        f"sketch-node-{number}" for number in range(1, 6)
    ]
    for nodes in (0, SKETCH_NODES + 1):
        with pytest.raises(ValueError, match="1 to 100"):
            sketched(service(), nodes=nodes)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            [workload("Deployment", replicas=100_000)],
            "Deployment default/web: spec.replicas: 100,000 pods are more than a sketch makes: 2,000",
        ),
        ([workload("Deployment", f"w{n}", replicas=SKETCH_PODS // 2) for n in range(3)], "with it there are more than 2,000 pods"),
        (
            [workload("Deployment", replicas=1_000), *(service(f"s{n}", selector={"app": "web"}) for n in range(51))],
            "Service default/s50: spec.selector: with what it selects there are more than 50,000 endpoints times ports",
        ),
        (
            [workload(replicas=1_000, pod={"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a" * 60_000]}]})],
            "Deployment default/web: with it all pods together are described in more than 50,000,000 characters",
        ),
        ([service(f"s{n}") for n in range(SKETCH_OBJECTS + 1)], "5,001 manifests are more than a sketch is made of: 5,000"),
        ([service(f"s{n}", type="NodePort") for n in range(2_800)], "so many Services want an address or a node port that none is left"),
    ],
)
def test_bounds(values: list[dict[str, Any]], said: str) -> None:
    (found,) = mistakes(*values)
    assert said in found


def test_the_first_of_very_many_mistakes() -> None:
    found = mistakes(*(service(f"S{n}") for n in range(SKETCH_MISTAKES + 50)))
    assert len(found) == SKETCH_MISTAKES + 1
    assert found[-1].startswith("more than 100 mistakes")


def test_three_mistakes_at_once_each_with_its_place_and_field() -> None:
    values = (
        service("web", ports=[{"port": 80_800}]),
        service("api", type="Nodeport"),
        workload("Deployment", "api", replicas="2"),
    )
    with pytest.raises(ParseError) as refused:
        sketch(made(*values, file="shop.yaml"))
    assert [str(fault) for fault in refused.value.faults] == [
        "shop.yaml:1: Service default/web: spec.ports[0].port: 80800 is no port: ports are 1 to 65535.",
        "shop.yaml:2: Service default/api: spec.type: 'Nodeport' is not ClusterIP, NodePort, LoadBalancer or ExternalName. "
        "Did you mean NodePort?",
        "shop.yaml:3: Deployment default/api: spec.replicas: is a text, not a whole number. Take its quotation marks away.",
    ]


_TWICE = "there is a Service of this name already (a.yaml, line 1)."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([service(), service()], [f"Service default/web: metadata.name: {_TWICE}"]),
        ([service() | {"metadata": {}}], ["Service default/without a name: metadata.name: is missing."]),
        ([service("Web")], ["Service default/Web: metadata.name: 'Web' is not a name: at most 63 small letters, digits and -, "
                           "with a letter or digit at each end."]),
        ([service("a.b")], ["Service default/a.b: metadata.name: 'a.b' is not a name: at most 63 small letters, digits and -, "
                            "with a letter or digit at each end."]),
        ([service(namespace="a_b")], ["Service a_b/web: metadata.namespace: 'a_b' is not a name: at most 63 small letters, digits and -, "
                                      "with a letter or digit at each end."]),
        ([workload() | {"apiVersion": "extensions/v1beta1"}],
         ["Deployment default/web: apiVersion: 'extensions/v1beta1' has no Deployment: it is of apps/v1."]),
        ([{key: value for key, value in service().items() if key != "apiVersion"}],
         ["Service default/web: apiVersion: is missing: a Service is of v1."]),
        ([service() | {"metadata": {"name": "web", "labels": {"version": 1}}}],
         ["Service default/web: metadata.labels[version]: is a whole number, not a text. Put it in quotation marks."]),
        ([{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"}, "spec": {"podSelector": 3}}],
         ["NetworkPolicy default/p: spec.podSelector: is a whole number, not an object."]),
    ],
)  # fmt: skip
def test_what_every_object_has(values: list[dict[str, Any]], said: list[str]) -> None:
    assert mistakes(*values) == said


def test_what_is_of_another_group_is_not_used_and_not_checked() -> None:
    knative = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "k"}, "spec": {"type": 7}}
    found = sketched(service(), knative)
    assert found.remarks[-1] == "Not used: 1 Service.serving.knative.dev."
    assert [one["metadata"]["name"] for one in of_kind(found, "Service")] == ["web", "kube-dns"]


def test_an_ingress_is_kept_and_said_not_to_be_used() -> None:
    ingress = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}, "spec": {}}
    found = sketched(service(), ingress)
    assert of_kind(found, "Ingress") == [ingress]
    assert found.remarks[-1] == "Not used: 1 Ingress."


def test_a_corefile_of_ones_own_stays() -> None:
    config = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"}, "data": {"Corefile": ".:53 {\n}\n"},
    }  # fmt: skip
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}
    found = sketched(service(), config, other)
    assert of_kind(found, "ConfigMap") == [config]
    assert found.remarks[-1] == "Not used: 1 ConfigMap."
    assert named(found, "Service", "kube-dns")["spec"]["clusterIP"] == "10.96.0.10"


def test_a_dns_service_of_ones_own_stays_alone() -> None:
    found = sketched(service("kube-dns", namespace="kube-system", clusterIP="10.96.7.7"))
    assert len(of_kind(found, "Service")) == 1
    assert not of_kind(found, "Pod")


def test_pods_that_cannot_be_read_are_a_mistake_of_their_workload() -> None:
    options = {"dnsConfig": {"options": [{"name": 7}]}}
    assert mistakes(workload(pod=options)) == [
        "Deployment default/web: spec.template.spec.dnsConfig.options[0].name: is a whole number, not a string."
    ]
    assert mistakes(pod(**options)) == ["Pod default/shell: spec.dnsConfig.options[0].name: is a whole number, not a string."]


def test_half_of_a_surrogate_pair_is_told_in_what_can_be_printed() -> None:
    said = mistakes(service("\ud800"))
    assert said[0] == "Service default/\\ud800: metadata.name: holds half of a surrogate pair"
    assert "\n".join(said).encode()


def test_nothing_is_a_sketch_of_its_dns_alone() -> None:
    found = sketch([])
    assert [one["metadata"]["name"] for one in of_kind(found, "Service")] == ["kube-dns"]
    assert Manifest(kind="Service").said == "Service default/without a name"
