"""Snapshots that are really stored, small enough to be made for one test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.webapp.made_rows import MINE
from webapp.models import Snapshot
from webapp.storing import stored_snapshots


def service(name: str = "web", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    """Return a Service as the API writes it."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    base = {"type": "ClusterIP", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": base | spec}


def pod(name: str, ip: str, namespace: str = "shop", node: str = "node-a") -> dict[str, Any]:
    """Return a ready Pod as the API writes it."""
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": "True"}]}
    spec = {"nodeName": node, "containers": [{"name": "c"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status}


def store(folder: Path, files: dict[str, Any], *, owner: str = MINE, name: str = "stored") -> Snapshot:
    """Return the stored snapshot of *files*: path → text, or a list of API objects."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps({"apiVersion": "v1", "kind": "List", "items": content})
        target.write_text(text)
    return stored_snapshots.store_snapshot(folder, name=name, owner=owner)
