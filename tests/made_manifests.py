"""Manifests for tests: the shop that docs/sketch.md tells of, and small ones made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tracer.errors import ParseError
from tracer.sketch import Manifest, Sketch, sketch

SHOP = Path(__file__).parent / "tracer" / "sketch" / "shop.yaml"

Json = dict[str, Any]


def shop() -> list[Manifest]:
    """Return the shop's manifests, each with its place among them as its line."""
    return made(*yaml.safe_load_all(SHOP.read_text()))


def made(*values: Json, file: str = "a.yaml") -> list[Manifest]:
    """Return *values* as manifests, each with its place among them as its line."""
    return [Manifest(kind=value["kind"], value=value, file=file, line=line) for line, value in enumerate(values, 1)]


def service(name: str = "web", /, *, namespace: str = "default", **spec: Any) -> Json:
    """Return a Service with one port, and *spec* over that."""
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]} | spec
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def workload(kind: str = "Deployment", name: str = "web", /, *, namespace: str = "default", pod: Json | None = None, **spec: Any) -> Json:
    """Return a workload with one container, *pod* over its pods' spec and *spec* over its own."""
    labels = {"app": name}
    container = {"name": "main", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]} | (pod or {})}
    spec = {"selector": {"matchLabels": labels}, "template": template} | spec
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def pod(name: str = "shell", /, *, labels: dict[str, str] | None = None, **spec: Any) -> Json:
    """Return a bare Pod."""
    spec = {"containers": [{"name": "main", "image": "web:1"}]} | spec
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def sketched(*values: Json, nodes: int = 3) -> Sketch:
    """Return the sketch of *values*."""
    return sketch(made(*values), nodes)


def of_kind(found: Sketch, kind: str) -> list[Json]:
    """Return the objects of one kind."""
    return [one for one in found.objects if one["kind"] == kind]


def named(found: Sketch, kind: str, name: str) -> Json:
    """Return the object of that kind and name."""
    return next(one for one in of_kind(found, kind) if one["metadata"]["name"] == name)


def mistakes(*values: Json) -> list[str]:
    """Return what is wrong with *values*, file and line left out; [] where nothing is."""
    try:
        sketched(*values)
    except ParseError as error:
        return [fault.message for fault in error.faults]
    return []
