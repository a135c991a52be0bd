"""What is left out of every object that Hopline writes into a snapshot."""

from __future__ import annotations

import copy

from webapp.reading.stored_parts import kept

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

POD = {
    "metadata": {
        "name": "p",
        "labels": {"env": "prod", "args": "x"},
        "annotations": {LAST_APPLIED: '{"env": "hunter2"}', "note": "stays"},
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {
        "containers": [
            {
                "name": "c",
                "env": [{"name": "PASSWORD", "value": "hunter2"}],
                "envFrom": [{"secretRef": {"name": "db"}}],
                "command": ["run", "--password=hunter2"],
                "args": ["hunter2"],
                "livenessProbe": {"exec": {"command": ["check", "hunter2"]}, "periodSeconds": 3},
                "ports": [{"containerPort": 80}],
            }
        ]
    },
    "status": {"podIP": "10.0.0.1"},
}


def test_a_pod_loses_what_often_holds_passwords() -> None:
    before = copy.deepcopy(POD)
    after = kept(POD, "Pod")
    assert "hunter2" not in str(after)
    assert after["spec"]["containers"] == [
        {"name": "c", "livenessProbe": {"exec": {}, "periodSeconds": 3}, "ports": [{"containerPort": 80}]}
    ]
    assert after["metadata"] == {"name": "p", "labels": {"env": "prod", "args": "x"}, "annotations": {"note": "stays"}}
    assert after["status"] == {"podIP": "10.0.0.1"}
    assert before == POD


def test_other_objects_lose_what_kubectl_and_the_server_wrote_for_themselves() -> None:
    value = {"metadata": {"name": "s", "managedFields": [], "annotations": {LAST_APPLIED: "{}"}}, "spec": {"args": ["stays"]}}
    assert kept(value, "Service") == {"metadata": {"name": "s", "annotations": {}}, "spec": {"args": ["stays"]}}


def test_an_object_without_metadata_stays_one() -> None:
    assert kept({"metadata": None}, "Node") == {"metadata": {}}
