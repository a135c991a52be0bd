"""From which pod a node is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webapp.reading.changes import StoredChange
from webapp.reading.node_reader import ReadFrom
from webapp.reading.places import Places


def pod(name: str, node: str | None, *, phase: str = "Running", labels: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels or {"k8s-app": "kube-proxy"}, **metadata},
        "spec": {"nodeName": node, "containers": [{"name": "sidecar"}, {"name": "kube-proxy"}]},
        "status": {"phase": phase},
    }


def change(name: str, value: dict[str, Any] | None, namespace: str = "kube-system") -> StoredChange:
    body = None if value is None else json.dumps(value).encode()
    return StoredChange(path=f"objects/pods/{namespace}/{name}.json", refs=(), before=None, after=body, seen_at=0.0)


def placed(*changes: StoredChange, how: str = "exec") -> list[tuple[str, ReadFrom | None]]:
    told: list[tuple[str, ReadFrom | None]] = []
    places = Places(how, "hopline", lambda node, place: told.append((node, place)))
    for one in changes:
        places.note([one])
    return told


PROXY = ReadFrom(namespace="kube-system", pod="kube-proxy-a", container="kube-proxy")


def test_kube_proxys_running_pod_is_it() -> None:
    assert placed(change("kube-proxy-a", pod("kube-proxy-a", "n1"))) == [("n1", PROXY)]


def test_others_are_not() -> None:
    assert placed(change("x", pod("x", "n1", labels={"k8s-app": "other"}))) == []
    assert placed(change("x", pod("x", "n1"), namespace="default")) == []
    assert placed(change("x", pod("x", "n1", phase="Pending"))) == []
    assert placed(change("x", pod("x", None))) == []
    assert placed(change("x", pod("x", "n1", deletionTimestamp="2026-11-20T00:00:00Z"))) == []


@pytest.mark.parametrize("name", ["a/b", "..", ".", "", "A", "a..b", "-a", "a-", "a_b", "n1\n", "ä", "a" * 254])
def test_what_is_no_name_of_a_node_is_not_read(name: str) -> None:
    assert placed(change("x", pod("x", name))) == []


@pytest.mark.parametrize("name", ["n", "ip-10-0-0-1.eu.compute.internal", "0", "a" * 253])
def test_what_is_a_name_of_a_node_is_read(name: str) -> None:
    assert [node for node, _ in placed(change("x", pod("x", name)))] == [name]


def test_when_it_goes_its_successor_takes_over() -> None:
    later = ReadFrom(namespace="kube-system", pod="kube-proxy-b", container="kube-proxy")
    told = placed(
        change("kube-proxy-a", pod("kube-proxy-a", "n1")),
        change("kube-proxy-b", pod("kube-proxy-b", "n1")),
        change("kube-proxy-a", None),
        change("kube-proxy-b", None),
    )
    assert told == [("n1", PROXY), ("n1", PROXY), ("n1", later), ("n1", None)]


def test_our_own_reader_is_looked_for_in_its_namespace() -> None:
    value = pod("reader-1", "n1", labels={"app.kubernetes.io/name": "hopline-node-reader"})
    value["spec"]["containers"] = [{"name": "reader"}]
    told = placed(change("reader-1", value, namespace="hopline"), change("kube-proxy-a", pod("kube-proxy-a", "n1")), how="daemonset")
    assert told == [("n1", ReadFrom(namespace="hopline", pod="reader-1", container="reader", is_reader=True))]
