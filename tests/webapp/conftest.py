"""Fixtures of the application's tests: a small recorded cluster, a storage of the test's own, an empty cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from webapp.http.failed_keys import failed_keys
from webapp.storing.open_snapshots import opened

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"namespace": "default", "name": "api"},
    "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [{"port": 80, "protocol": "TCP"}], "type": "ClusterIP"},
}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "default", "name": "db"}, "data": {"password": "aHVudGVyMg=="}}
RULES = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.2:8080\nCOMMIT\n"


def write_cluster(folder: Path, *items: dict, nodes: tuple[str, ...] = ("node-a", "node-b")) -> Path:
    """Write a snapshot of one Service, *items* and *nodes* with one rule each into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "services.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [SERVICE, *items]}))
    for node in nodes:
        (folder / "nodes" / node).mkdir(parents=True, exist_ok=True)
        (folder / "nodes" / node / "iptables-save.txt").write_text(RULES)
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return the folder of a small recorded cluster."""
    return write_cluster(tmp_path / "small")


@pytest.fixture(autouse=True)
def own_storage(settings, tmp_path: Path) -> Path:
    """Give the test a storage folder and a cache of its own."""
    settings.DATA_DIR = tmp_path / "hopline"
    location = settings.DATA_DIR / "snapshots"
    settings.STORAGES = settings.STORAGES | {"snapshots": settings.STORAGES["snapshots"] | {"OPTIONS": {"location": location}}}
    failed_keys.forget()
    for digest in opened.sizes():
        opened.forget(digest)
    return location
