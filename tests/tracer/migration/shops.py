"""The demonstration clusters, as they are and with another mode's modelled rules."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import PROJECT
from tracer.migration.report import Migration
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.programmed import RULE_FILES

SERVICES = [
    ("default", "api"),
    ("default", "ext"),
    ("default", "voice"),
    ("production", "admin"),
    ("production", "gateway-local"),
    ("production", "metrics"),
    ("staging", "demo-app-local"),
]
NODES = ["shop-control-plane", "shop-worker"]


def files_of(name: str) -> dict[str, bytes]:
    """Return the files of a demonstration cluster."""
    root: Path = PROJECT / "demo" / name
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def shop(name: str) -> Cluster:
    """Return a demonstration cluster as it was recorded."""
    return Cluster.from_snapshot(Snapshot.from_files(files_of(name)))


def modelled(name: str, mode: str) -> Cluster:
    """Return the same objects without a recorded rule: kube-proxy's are modelled in *mode*."""
    files = {path: text for path, text in files_of(name).items() if path.rpartition("/")[2] not in RULE_FILES}
    modes = {path: mode.encode() for path in files if path.endswith("kube-proxy-mode.txt")}
    return Cluster.from_snapshot(Snapshot.from_files(files | modes))


def migration(name: str, mode: str, *, whole: bool) -> Migration:
    """Return the migration of a demonstration cluster: of everything, or of Services and nodes that show every row."""
    before = shop(name)
    after = before.overridden((f"mode={mode}",))
    if whole:
        return Migration(before, after, mode)
    return Migration(before, after, mode, nodes=NODES, services=SERVICES)
