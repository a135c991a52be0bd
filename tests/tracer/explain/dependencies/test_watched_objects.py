"""Whoever looks up an API object is touched by what makes the look-up find something else, and by no more than there is a reason for."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tests.tracer.explain.dependencies.watching import Ask, check, cluster_of
from tracer.changes import Change, ObjectChange
from tracer.explain.dependencies import dependencies_of
from tracer.explain.dependencies.watched_objects import Asked, asked_of
from tracer.kube.objects import Objects
from tracer.packet import Protocol
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.topology.cluster import Cluster
from tracer.topology.followed import FollowedCluster
from tracer.topology.followed import changes_of as all_of

Json = dict[str, Any]
FILES = {
    "Service": "services.json",
    "EndpointSlice": "endpointslices.json",
    "Endpoints": "endpoints.json",
    "Pod": "pods.json",
    "Node": "nodes.json",
    "Namespace": "namespaces.json",
    "NetworkPolicy": "networkpolicies.json",
    "ConfigMap": "configmaps.json",
    "Ingress": "ingresses.json",
}


def made_objects() -> list[Json]:
    made = MadeCluster()
    web = made.pod("web-1", 1)
    made.pod("agent", 2, host_network=True)
    made.service("web", [web], type="NodePort", node_port=30080)
    made.service("db", [made.pod("db-1", 2)])
    found = [o.to_json() for o in (*made.nodes, *made.pods, *made.services)] + [s.slice_json() for s in made.services]
    for version, kind, namespace, name, more in (
        ("v1", "Namespace", "", "default", {}),
        ("v1", "Namespace", "", "other", {}),
        ("networking.k8s.io/v1", "NetworkPolicy", "default", "none", {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
        ("networking.k8s.io/v1", "NetworkPolicy", "other", "none", {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}),
        ("networking.k8s.io/v1", "Ingress", "default", "shop", {"spec": {}}),
        ("v1", "ConfigMap", "kube-system", "coredns", {"data": {"Corefile": ".:53 {\n}\n"}}),
        ("v1", "ConfigMap", "kube-system", "kube-proxy", {"data": {"config.conf": "mode: iptables\n"}}),
    ):
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        found.append({"apiVersion": version, "kind": kind, "metadata": metadata, **more})
    return found


def files_of(objects: list[Json]) -> dict[str, bytes]:
    files = {}
    for kind, file in FILES.items():
        items = [o for o in objects if o["kind"] == kind]
        if items:
            files[file] = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}).encode()
    return files


def others_of(value: Json) -> Iterator[Json | None]:
    """Yield what may become of an object: it goes, or says something else."""
    yield None
    other = copy.deepcopy(value)
    match value["kind"]:
        case "Service":
            other["spec"] |= {"clusterIP": "10.96.0.99", "clusterIPs": ["10.96.0.99"]}
            yield copy.deepcopy(other)
            other["spec"]["ports"][0]["nodePort"] = 30099
        case "EndpointSlice":
            other["endpoints"][0]["addresses"] = ["10.1.1.99"]
            yield copy.deepcopy(other)
            other["metadata"]["labels"]["kubernetes.io/service-name"] = "elsewhere"
        case "Pod":
            other["status"] |= {"podIP": "10.1.1.98", "podIPs": [{"ip": "10.1.1.98"}]}
            yield copy.deepcopy(other)
            other["spec"]["hostNetwork"] = not value["spec"].get("hostNetwork", False)
        case "Node":
            other["status"]["addresses"][0]["address"] = "192.168.0.99"
        case "ConfigMap":
            other["data"] = {key: text + "# \n" for key, text in value["data"].items()}
        case "NetworkPolicy":
            other["spec"]["policyTypes"] = ["Egress"]
        case _:
            other["metadata"]["labels"] = {"tier": "gold"}
    yield other


def changes_of(objects: list[Json], added: list[Json]) -> Iterator[tuple[Change, Cluster]]:
    for place, value in enumerate(objects):
        for after in others_of(value):
            rest = [*objects[:place], *([after] if after is not None else []), *objects[place + 1 :]]
            yield object_change(value, value, after), cluster_of(files_of(rest))
    for value in added:
        yield object_change(value, None, value), cluster_of(files_of([*objects, value]))


def object_change(named: Json, before: Json | None, after: Json | None) -> ObjectChange:
    metadata = named["metadata"]
    return ObjectChange(kind=named["kind"], namespace=metadata.get("namespace", ""), name=metadata["name"], before=before, after=after)


def added_objects() -> list[Json]:
    made = MadeCluster(nodes=3)
    new = made.pod("late", 3)
    hosted = made.pod("late-agent", 3, host_network=True)
    service = made.service("late", [new], type="NodePort", node_port=30081)
    service.cluster_ip = "10.96.0.50"
    return [made.nodes[2].to_json(), new.to_json(), hosted.to_json(), service.to_json(), service.slice_json()]


LOOKUPS: dict[str, tuple[Ask, ...]] = {
    "check_all": (lambda c: c.objects.check_all(),),
    "service": (lambda c: c.objects.service("default", "web"), lambda c: c.objects.service("default", "late")),
    "pod": (lambda c: c.objects.pod("default", "web-1"), lambda c: c.objects.pod("default", "late")),
    "node": (lambda c: c.objects.node("n1"), lambda c: c.objects.node("n3")),
    "namespace": (lambda c: c.objects.namespace("other"),),
    "config_map": (lambda c: c.objects.config_map("kube-system", "coredns"),),
    "slices_of": (lambda c: c.objects.slices_of("default", "web"), lambda c: c.objects.slices_of("default", "late")),
    "services_with_address": tuple(
        lambda c, a=a: c.objects.services_with_address(ip_address(a)) for a in ("10.96.0.10", "10.96.0.99", "10.96.0.50")
    ),
    "services_with_node_port": tuple(lambda c, p=p: c.objects.services_with_node_port(p, Protocol.TCP) for p in (30080, 30099, 30081)),
    "endpoints_with_address": tuple(lambda c, a=a: c.objects.endpoints_with_address(ip_address(a)) for a in ("10.1.1.2", "10.1.1.99")),
    "pods_with_ip": tuple(lambda c, a=a: c.objects.pods_with_ip(ip_address(a)) for a in ("10.1.1.2", "fd00:1:1::2", "10.1.1.98")),
    "node_with_ip": tuple(
        lambda c, a=a: c.objects.node_with_ip(ip_address(a)) for a in ("192.168.0.11", "fd00:192::b", "192.168.0.99", "192.168.0.13")
    ),
    "host_network_pods": (lambda c: c.objects.host_network_pods,),
    "services": (lambda c: c.objects.services,),
    "slices": (lambda c: c.objects.slices,),
    "pods": (lambda c: c.objects.pods,),
    "nodes": (lambda c: c.objects.nodes,),
    "number_of": tuple(lambda c, k=k: c.objects.number_of(k) for k in ("Service", "Pod")),
    "namespaces": (lambda c: c.objects.namespaces,),
    "network_policies": (lambda c: c.objects.network_policies,),
    "policies_in": (lambda c: c.objects.policies_in("default"),),
    "config_maps": (lambda c: c.objects.config_maps,),
    "others": (lambda c: [raw.value for raw, _ in c.objects.others("Ingress")],),
}
UNWATCHED = {"faults", "near_names", "of", "has_endpoints", "uses_legacy_endpoints", "raw"}
"""Near names stand beside an answer; faults and Endpoints have tests of their own below; who edits objects does so of a changed cluster, which
rests on everything."""


def test_every_look_up_has_a_row() -> None:
    assert {name for name in vars(Objects) if not name.startswith("_")} == {*LOOKUPS} | UNWATCHED


@pytest.fixture(scope="module")
def before() -> Cluster:
    return cluster_of(files_of(made_objects()))


@pytest.fixture(scope="module")
def changes() -> list[tuple[Change, Cluster]]:
    return list(changes_of(made_objects(), added_objects()))


@pytest.mark.parametrize("name", LOOKUPS)
def test_what_changes_a_look_up_touches_who_asked(name: str, before: Cluster, changes: list[tuple[Change, Cluster]]) -> None:
    for ask in LOOKUPS[name]:
        check(name, ask, before, changes, everything=name == "check_all")


def test_the_first_endpoint_slice_touches_who_asked_whether_there_are_any() -> None:
    with_endpoints = [o for o in made_objects() if o["kind"] != "EndpointSlice"]
    with_endpoints.append(
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"namespace": "default", "name": "web"},
            "subsets": [{"addresses": [{"ip": "10.1.1.2"}], "ports": [{"name": "p", "port": 8080}]}],
        }
    )
    base = cluster_of(files_of(with_endpoints))
    assert base.objects.uses_legacy_endpoints
    steps = list(changes_of(with_endpoints, [o for o in added_objects() if o["kind"] == "EndpointSlice"]))
    check("uses_legacy_endpoints", lambda c: c.objects.uses_legacy_endpoints, base, steps)
    check("slices_of", lambda c: c.objects.slices_of("default", "web"), base, steps)
    check("endpoints_with_address", lambda c: c.objects.endpoints_with_address(ip_address("10.1.1.2")), base, steps)


def test_an_object_that_cannot_be_read_touches_who_asked_for_an_address_that_nobody_has() -> None:
    """It may be whose address that is, so the answer names it: whichever object it is, and whatever else it says."""
    followed = FollowedCluster()
    followed.apply(list(all_of(cluster_of(files_of(made_objects())).snapshot)), now=1.0)
    query = Query(source=parse_source("external:203.0.113.9"), destination=parse_destination("198.51.100.77:80"))
    other = {**BROKEN, "metadata": {"namespace": "other", "name": "far"}}
    mended = {**WEB, "metadata": other["metadata"], "spec": {"clusterIP": "10.96.0.77"}}
    ends = []
    for value in (other, mended, other, None):
        answer = trace(followed.cluster, query)
        rests_on = dependencies_of(followed.cluster, answer)
        metadata = other["metadata"]
        change = ObjectChange(kind="Service", namespace=metadata["namespace"], name=metadata["name"], before=None, after=value)
        (done,) = followed.apply([change], now=2.0)
        ends.append([outcome.disposition.value for outcome in answer.outcomes])
        assert trace(followed.cluster, query).outcomes != answer.outcomes
        assert rests_on.touched_by(done), value
    assert ends == [["leaves"], ["unknown"], ["leaves"], ["unknown"]]


WEB = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "web"}, "spec": {"clusterIP": "10.96.0.10"}}
SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": "settings"}, "data": {"a": "1"}}
BROKEN = {**WEB, "spec": "none"}


@pytest.mark.parametrize(
    ("before", "after", "touched", "spared"),
    [
        pytest.param(WEB, {**WEB, "status": {"conditions": []}}, [], [Asked("Service", "all")], id="what nobody reads"),
        pytest.param(SETTINGS, {**SETTINGS, "data": {"a": "2"}}, [], [Asked("ConfigMap", "all")], id="a ConfigMap of somebody else"),
        pytest.param(WEB, BROKEN, [Asked("Service", "name", "default/web")], [Asked("Service", "names")], id="it can no longer be read"),
        pytest.param(BROKEN, WEB, [Asked("Service", "address", "10.96.0.10")], [Asked("Pod", "all")], id="it can be read again"),
        pytest.param(None, WEB, [Asked("Service", "names"), Asked("Service", "all")], [Asked("Service", "name", "web")], id="it came"),
        pytest.param(WEB, None, [Asked("Service", "names"), Asked("Service", "namespace", "default")], [], id="it went"),
    ],
)
def test_which_look_ups_a_change_touches(before: Json | None, after: Json | None, touched: list[Asked], spared: list[Asked]) -> None:
    found = asked_of(object_change((before or after) or {}, before, after))
    assert found.issuperset(touched)
    assert found.isdisjoint(spared)
