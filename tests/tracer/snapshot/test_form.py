"""Manifests are called so by what no API server leaves out; whatever was recorded, by hand cut short or not, is recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tracer.snapshot import Snapshot
from tracer.snapshot.form import Form
from tracer.snapshot.summary import summarise
from tracer.snapshot.told import said_of

_WANTED: dict[str, Any] = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
_HEADLESS = {**_WANTED, "spec": {"clusterIP": "None"}}
_EXTERNAL = {**_WANTED, "spec": {"type": "ExternalName", "externalName": "a.example"}}
_RECORDED = {**_WANTED, "spec": {"clusterIP": "10.96.0.7"}}
_POD: dict[str, Any] = {"kind": "Pod", "metadata": {"name": "web-1"}, "spec": {}}


def _snapshot(*items: dict[str, Any], **files: bytes) -> Snapshot:
    return Snapshot.from_files({"cluster.json": json.dumps({"kind": "List", "items": items}).encode(), **files})


@pytest.mark.parametrize(
    ("items", "form"),
    [
        ([_WANTED], Form.MANIFESTS),
        ([_WANTED, _HEADLESS, _EXTERNAL, _POD], Form.MANIFESTS),
        ([{**_WANTED, "status": {"loadBalancer": {}}, "metadata": {"name": "web", "creationTimestamp": None}}], Form.MANIFESTS),
        ([_RECORDED], Form.RECORDED),
        ([_WANTED, _RECORDED], Form.RECORDED),
        ([_HEADLESS], Form.RECORDED),
        ([_EXTERNAL], Form.RECORDED),
        ([_WANTED, {"kind": "Node", "metadata": {"name": "n1"}}], Form.RECORDED),
        ([_WANTED, {**_POD, "status": {"podIP": "10.244.0.2"}}], Form.RECORDED),
        ([{**_WANTED, "metadata": {"name": "web", "uid": "a-1"}}], Form.RECORDED),
        ([{**_WANTED, "metadata": {"name": "web", "resourceVersion": "7"}}], Form.RECORDED),
        ([{**_WANTED, "spec": {"clusterIP": "***HIDDEN***"}}], Form.RECORDED),
        ([{"kind": "Service", "metadata": {"name": "web"}, "spec": 3}], Form.MANIFESTS),
    ],
)
def test_the_form(items: list[dict[str, Any]], form: Form) -> None:
    assert summarise(_snapshot(*items)).to_dict()["form"] == form.value


def test_a_node_with_files_was_recorded() -> None:
    assert summarise(_snapshot(_WANTED, **{"nodes/n1/sysctl.txt": b""})).form is Form.RECORDED


_RUNS = {**_POD, "spec": {"nodeName": "n1"}}
_KNATIVE = {**_WANTED, "apiVersion": "serving.knative.dev/v1", "metadata": {"name": "k"}}


@pytest.mark.parametrize(
    ("items", "manifests", "found", "besides"),
    [
        ([_RECORDED], {}, "Found 1 Service;", []),
        # Of one name the first counts.
        ([_RECORDED, _WANTED], {}, "Found 1 Service;", []),
        ([_WANTED, _RECORDED], {"Service": 1}, "Found no objects;", ["1 Service"]),
        ([_RECORDED, {**_WANTED, "metadata": {"name": "b"}}], {"Service": 1}, "Found 1 Service;", ["1 Service"]),
        ([_RECORDED, _POD, {**_RUNS, "metadata": {"name": "b"}}], {"Pod": 1}, "Found 1 Service, 1 Pod;", ["1 Pod"]),
        ([_RECORDED, _POD], {"Pod": 1}, "Found 1 Service;", ["1 Pod"]),
        ([_WANTED, _POD, _KNATIVE], {"Service": 1, "Pod": 1}, "These are manifests (1 Service, 1 Pod)", []),
        ([_RECORDED, _KNATIVE], {}, "Found 1 Service;", []),
    ],
)
def test_manifests_beside_what_was_recorded_are_counted_apart(
    items: list[dict[str, Any]], manifests: dict[str, int], found: str, besides: list[str]
) -> None:
    summary = summarise(_snapshot(*items)).to_dict()
    said = said_of(summary)
    assert summary["manifests"] == manifests
    assert said.found.startswith(found)
    assert list(said.unused) == [f"Not counted: manifests, which hold no addresses: {one}." for one in besides]
    assert said.advice is not None
    assert ("Pods" in said.advice.why) is (said.found.count("Pod") == 0)


def test_a_manifest_stands_behind_what_was_recorded_of_its_name() -> None:
    files = {"a.yaml": _yaml(_WANTED), "b.yaml": _yaml({**_RECORDED, "metadata": {"name": "web", "uid": "u"}})}
    snapshot = Snapshot.from_files(files)
    (service,) = snapshot.objects.services
    assert service.origin.file == "b.yaml"
    assert summarise(Snapshot.from_files(files)).manifests == {}


def _yaml(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
