"""Manifests are called so by what no API server leaves out; whatever was recorded, by hand cut short or not, is recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tracer.snapshot import Snapshot
from tracer.snapshot.form import Form, form_of
from tracer.snapshot.summary import summarise

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
    snapshot = _snapshot(*items)
    assert form_of(snapshot) is form
    assert summarise(snapshot).to_dict()["form"] == form.value


def test_a_node_with_files_was_recorded() -> None:
    assert form_of(_snapshot(_WANTED, **{"nodes/n1/sysctl.txt": b""})) is Form.RECORDED
