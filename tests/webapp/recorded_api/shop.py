"""The demonstration timeline as files, opened, and served; and the state it must be in, worked out from its files alone."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.conftest import DEMO
from webapp.cluster.connection import Connection
from webapp.cluster.kinds import FOLLOWED_KINDS, FollowedKind
from webapp.recorded_api import Faults, RecordedApi, RunningServer, Timeline, serve

RECORDED = ("services", "endpointslices", "nodes", "pods")
KINDS: Mapping[str, FollowedKind] = {kind.key: kind for kind in FOLLOWED_KINDS}
SLICES, PODS, SERVICES = KINDS["endpointslices"], KINDS["pods"], KINDS["services"]
NODES = ("shop-control-plane", "shop-worker", "shop-worker2", "shop-worker3")


@functools.cache
def files() -> Mapping[str, bytes]:
    """Return the timeline's files by path."""
    folder = DEMO / "shop-timeline"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@functools.cache
def timeline() -> Timeline:
    """Return the opened timeline."""
    return Timeline.open(files())


def lines(plural: str) -> list[bytes]:
    """Return the API server's own watch lines of one kind."""
    return files()[f"{plural}.watch.jsonl"].splitlines()


def after(plural: str, version: int) -> dict[tuple[str, str], str]:
    """Return (namespace, name) → resourceVersion of one kind after *version*, from the recorded list and watch bytes alone."""
    found = {_key(o): o["metadata"]["resourceVersion"] for o in json.loads(files()[f"{plural}.list.json"])["items"]}
    for line in lines(plural):
        event = json.loads(line)
        if int(event["object"]["metadata"]["resourceVersion"]) <= version:
            if event["type"] == "DELETED":
                del found[_key(event["object"])]
            else:
                found[_key(event["object"])] = event["object"]["metadata"]["resourceVersion"]
    return found


def versions(objects: Any) -> dict[tuple[str, str], str]:
    """Return (namespace, name) → resourceVersion of *objects*, without the kube-proxy pods that the recording does not contain."""
    return {_key(o): o["metadata"]["resourceVersion"] for o in objects if not o["metadata"]["name"].startswith("kube-proxy-shop-")}


@contextlib.contextmanager
def served(*, api: RecordedApi | None = None, faults: Faults | None = None, **options: Any) -> Iterator[tuple[RunningServer, Connection]]:
    """Serve the timeline (or *api*) and connect to it."""
    with serve(api or RecordedApi(timeline()), faults, **options) as server, Connection.to_url(server.url) as connection:
        yield server, connection


def _key(value: Mapping[str, Any]) -> tuple[str, str]:
    return value["metadata"].get("namespace", ""), value["metadata"]["name"]
