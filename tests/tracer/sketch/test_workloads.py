"""What the API server refuses of a workload is refused, with the field; what it asks for is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.made_manifests import Json, mistakes, of_kind, pod, sketched, workload


def _container(**fields: Any) -> Json:
    return {"pod": {"containers": [{"name": "main", "image": "web:1"} | fields]}}


_NAMED = {"name": "http", "containerPort": 80}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"replicas": -1}, "replicas: -1 is not from 0 to 2,147,483,647."),
        ({"replica": 2}, "replica: there is no field of this name. Did you mean replicas?"),
        ({"selector": None}, "selector: is missing: a Deployment says by which labels it knows its pods."),
        ({"selector": {}}, "selector: is empty: it says by which labels it knows its pods."),
        ({"selector": {"matchLabels": {"app": "other"}}}, "selector: selects app=other, and the labels of spec.template are others."),
        ({"selector": {"matchExpressions": [{"key": "app", "operator": "Is"}]}},
         "selector: selector.matchExpressions[0].operator: 'Is' is not In, NotIn, Exists or DoesNotExist"),
        ({"template": None}, "template: is missing."),
        ({"pod": {"containers": []}}, "template.spec.containers: is missing: a pod has at least one."),
        ({"pod": {"restartPolicy": "Never"}}, "template.spec.restartPolicy: Never is for bare Pods and Jobs: here it is Always."),
        ({"pod": {"nodeselector": {"a": "b"}}}, "template.spec.nodeselector: there is no field of this name. Did you mean nodeSelector?"),
        ({"pod": {"nodeSelector": {"gpu": True}}},
         "template.spec.nodeSelector[gpu]: is true or false, not a text. Put it in quotation marks."),
        ({"pod": {"hostNetwork": "yes"}}, "template.spec.hostNetwork: is a text, not true or false."),
        ({"pod": {"hostname": "A"}}, "template.spec.hostname: 'A' is not a name: at most 63 small letters, digits and -, "
                                     "with a letter or digit at each end."),
        (_container(image=None), "template.spec.containers[0].image: is missing."),
        (_container(name=None), "template.spec.containers[0].name: is missing."),
        (_container(Ports=[]), "template.spec.containers[0].Ports: there is no field of this name. Did you mean ports?"),
        (_container(ports=[{"containerPort": 80, "port": 80}]), "template.spec.containers[0].ports[0].port: there is no field of this name. Did you mean hostPort?"),
        (_container(ports=[{"containerPort": 0}]), "template.spec.containers[0].ports[0].containerPort: 0 is no port: ports are 1 to 65535."),
        (_container(ports=[{"name": "http"}]), "template.spec.containers[0].ports[0].containerPort: is missing."),
        (_container(ports=[{"name": "9090", "containerPort": 80}]), "template.spec.containers[0].ports[0].name: '9090' is not a port's name: "
                                                                    "at most 15 small letters, digits and -, with a letter among them."),
        (_container(ports=[_NAMED, _NAMED | {"containerPort": 81}]),
         "template.spec.containers[0].ports[1].name: 'http' is another port's of this container already."),
        ({"pod": {"hostNetwork": True, "containers": [{"name": "a", "image": "b", "ports": [{"containerPort": 80, "hostPort": 81}]}]}},
         "template.spec.containers[0].ports[0].hostPort: is 81, and containerPort 80: on the node's network (hostNetwork) they are the same."),
        ({"pod": {"containers": [{"name": "a", "image": "b"}], "initContainers": [{"name": "a", "image": "b"}]}},
         "template.spec.initContainers[0].name: 'a' is another container's already."),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_field(spec: dict[str, Any], said: str) -> None:
    assert mistakes(workload(**spec)) == [f"Deployment default/web: spec.{said}"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (workload() | {"spec": None}, ["Deployment default/web: spec: is missing.", "Deployment default/web: spec.template: is missing."]),
        (pod() | {"spec": None}, ["Pod default/shell: spec: is missing."]),
        (pod(containers=[{"name": "a"}]), ["Pod default/shell: spec.containers[0].image: is missing."]),
        (workload("DaemonSet", replicas=2), ["DaemonSet default/web: spec.replicas: there is no field of this name."]),
    ],
)
def test_other_mistakes(value: Json, said: list[str]) -> None:
    assert mistakes(value) == said


def _pods(*values: Json) -> list[str]:
    return [one["metadata"]["name"] for one in of_kind(sketched(*values), "Pod") if one["metadata"]["namespace"] == "default"]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (workload(), ["web-sketch-1"]),
        (workload(replicas=0), []),
        (workload(replicas=2, paused=True), []),
        (workload("ReplicaSet", replicas=2), ["web-sketch-1", "web-sketch-2"]),
        (workload("ReplicationController", replicas=1, selector=None) | {"apiVersion": "v1"}, ["web-sketch-1"]),
        (workload("ReplicationController", replicas=1, selector={"app": "web"}) | {"apiVersion": "v1"}, ["web-sketch-1"]),
        (workload("StatefulSet", replicas=2, serviceName="web"), ["web-0", "web-1"]),
        (workload("StatefulSet", replicas=2, ordinals={"start": 5}), ["web-5", "web-6"]),
        (workload("DaemonSet"), ["web-sketch-1", "web-sketch-2", "web-sketch-3"]),
        (pod(restartPolicy="Never"), ["shell"]),
    ],
)
def test_the_pods_that_are_asked_for(value: Json, names: list[str]) -> None:
    assert _pods(value) == names


def test_a_name_that_somebody_has_is_given_to_nobody_else() -> None:
    assert sorted(_pods(workload(), pod("web-sketch-1"))) == ["web-sketch-1", "web-sketch-1-again"]


def test_a_pod_of_a_stateful_set_has_a_name_a_number_and_a_subdomain() -> None:
    (found,) = (one for one in of_kind(sketched(workload("StatefulSet", serviceName="db")), "Pod") if one["metadata"]["name"] == "web-0")
    assert found["metadata"]["labels"] == {
        "app": "web",
        "apps.kubernetes.io/pod-index": "0",
        "statefulset.kubernetes.io/pod-name": "web-0",
    }
    assert (found["spec"]["hostname"], found["spec"]["subdomain"]) == ("web-0", "db")
    assert found["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet"


def test_no_environment_is_carried_into_a_pod() -> None:
    container = {"name": "main", "image": "web:1", "env": [{"name": "A", "value": "secret"}], "command": ["a"]}
    found = of_kind(sketched(pod(containers=[container])), "Pod")
    assert found[-1]["spec"]["containers"] == [{"command": ["a"], "image": "web:1", "name": "main"}]
