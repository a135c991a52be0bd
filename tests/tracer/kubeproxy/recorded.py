"""The nodes of the recordings, each with its objects, its configuration as found, and what it printed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration
from tracer.snapshot import Snapshot
from tracer.snapshot.proxy_configuration import proxy_configuration

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "recordings"
OF_MODE = {
    "iptables": "shop-iptables shop-iptables-v1.30 shop-iptables-v1.20 lab-established lab-vxlan",
    "nftables": "shop-nftables shop-nftables-v1.30 lab-ipv6",
    "ipvs": "shop-ipvs shop-ipvs-sh",
}
_DUMPS = {4: "iptables-save.txt", 6: "ip6tables-save.txt"}


@cache
def recording(name: str) -> Snapshot:
    """Return a recording as a snapshot."""
    root = RECORDINGS / name
    return Snapshot.from_files({str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()})


@dataclass(frozen=True)
class RecordedNode:
    """A node of a recording."""

    recording: str
    name: str

    def __str__(self) -> str:
        return f"{self.recording}-{self.name}"

    @property
    def snapshot(self) -> Snapshot:
        return recording(self.recording)

    @property
    def objects(self) -> Objects:
        return self.snapshot.objects

    @cached_property
    def configuration(self) -> Configuration:
        return proxy_configuration(self.snapshot, self.name).configuration

    @property
    def is_old(self) -> bool:
        return self.configuration.release.is_old

    def file(self, name: str) -> str:
        return self.snapshot.node_file(self.name, name) or ""

    @property
    def listing(self) -> str:
        return self.snapshot.node_file(self.name, "nft-ruleset.txt") or ""

    @property
    def json_listing(self) -> str:
        return self.snapshot.node_file(self.name, "nft-ruleset.json") or ""

    def dump(self, version: int) -> str:
        return self.snapshot.node_file(self.name, _DUMPS[version]) or ""


def _nodes(mode: str) -> list[RecordedNode]:
    names = [name for name in OF_MODE[mode].split() if (RECORDINGS / name).is_dir()]
    return [RecordedNode(name, node.name) for name in names for node in sorted((RECORDINGS / name / "nodes").iterdir())]


NODES = {mode: _nodes(mode) for mode in OF_MODE}


def chains_in(text: str) -> dict[str, dict[str, list[str]]]:
    """Return the chains of what iptables-save printed, by table, without counters."""
    tables: dict[str, dict[str, list[str]]] = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        rule = re.sub(r"^\[[0-9]+:[0-9]+\] ", "", line)
        if rule.startswith("*"):
            chains = tables.setdefault(rule[1:], {})
        elif rule.startswith("-A"):
            chains.setdefault(rule.split()[1], []).append(rule)
    return tables


def moments() -> list[tuple[str, Snapshot]]:
    """Return the moments of the recorded timeline with their titles: the objects of each, and IPv4's rules as the nodes had them then."""
    root = RECORDINGS / "shop-timeline"
    if not root.is_dir():
        return []
    base = {str(p.relative_to(root / "base")): p.read_bytes() for p in (root / "base").rglob("*") if p.is_file()}
    found = []
    for step in json.loads((root / "steps.json").read_bytes()):
        files = {name: content for name, content in base.items() if not name.endswith("ip6tables-save.txt")}
        for kind, name in (("Service", "services"), ("EndpointSlice", "endpointslices"), ("Node", "nodes")):
            files[f"{name}.json"] = _objects_at(root, kind, name, int(step["resource_version"]))
        for path in (root / f"step-{step['step']:02}").iterdir():
            node, _, file = path.name.partition(".")
            files[f"nodes/{node}/{file}"] = path.read_bytes()
        found.append((step["title"], Snapshot.from_files(files)))
    return found


def _objects_at(root: Path, kind: str, name: str, version: int) -> bytes:
    listed = json.loads((root / f"{name}.list.json").read_bytes())["items"]
    items = {(one["metadata"].get("namespace"), one["metadata"]["name"]): one for one in listed}
    for line in (root / f"{name}.watch.jsonl").read_text().splitlines():
        event = json.loads(line)
        one = event["object"]
        if event["type"] == "BOOKMARK" or int(one["metadata"]["resourceVersion"]) > version:
            continue
        key = (one["metadata"].get("namespace"), one["metadata"]["name"])
        items.pop(key, None)
        if event["type"] != "DELETED":
            items[key] = one
    return json.dumps({"kind": "List", "apiVersion": "v1", "items": [{"kind": kind, **one} for one in items.values()]}).encode()
