"""A recorded timeline as the changes a follower would report: what the API server's own bytes say, step by step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.changes import Change, FileChange, ObjectChange

KINDS = {"services": "Service", "endpointslices": "EndpointSlice", "nodes": "Node", "pods": "Pod"}
ALSO = {"configmaps": "ConfigMap", "namespaces": "Namespace", "networkpolicies": "NetworkPolicy", "ingresses": "Ingress"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One step: its *title*, when (*at*, Unix seconds), and what changed since the one before."""

    title: str
    at: float
    changes: tuple[Change, ...]


def moments(folder: Path) -> Iterator[Moment]:
    """Yield the steps of the timeline in *folder*; the first changes everything from nothing."""
    steps = json.loads((folder / "steps.json").read_bytes())
    listed = {plural: json.loads((folder / f"{plural}.list.json").read_bytes()) for plural in KINDS}
    told = {plural: [json.loads(line) for line in (folder / f"{plural}.watch.jsonl").read_bytes().splitlines()] for plural in KINDS}
    before = 0
    for step in steps:
        until = int(step["resource_version"])
        objects: list[Change] = []
        for plural, kind in KINDS.items():
            if not before:
                objects += (_changed(kind, item, gone=False, at=step["at"]) for item in listed[plural]["items"])
            first = before or int(listed[plural]["metadata"]["resourceVersion"])
            for event in told[plural]:
                if event["type"] != "BOOKMARK" and first < _version(event["object"]) <= until:
                    objects.append(_changed(kind, event["object"], gone=event["type"] == "DELETED", at=step["at"]))
        if not before:
            objects += _also(folder / "base", step["at"])
        yield Moment(title=step["title"], at=step["at"], changes=(*objects, *_files(folder, step, first=not before)))
        before = until


def _version(value: dict[str, Any]) -> int:
    return int(value["metadata"]["resourceVersion"])


def _changed(kind: str, value: dict[str, Any], *, gone: bool, at: float) -> ObjectChange:
    metadata = value["metadata"]
    after = None if gone else {"kind": kind, **value}
    return ObjectChange(kind=kind, namespace=metadata.get("namespace", ""), name=metadata["name"], before=None, after=after, seen_at=at)


def _also(base: Path, at: float) -> Iterator[Change]:
    for plural, kind in ALSO.items():
        for item in json.loads((base / f"{plural}.json").read_bytes())["items"]:
            yield _changed(kind, item, gone=False, at=at)


def _files(folder: Path, step: dict[str, Any], *, first: bool) -> Iterator[Change]:
    if first:
        for path in sorted((folder / "base/nodes").glob("*/*")):
            if path.name != "iptables-save.txt":
                yield FileChange(node=path.parent.name, name=path.name, before=None, after=path.read_bytes(), read_at=step["at"])
    for path in sorted((folder / f"step-{step['step']:02}").iterdir()):
        node, _, name = path.name.partition(".")
        yield FileChange(node=node, name=name, before=None, after=path.read_bytes(), read_at=step["at"])
