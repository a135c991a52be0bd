"""Policies of other kinds: found by kind and API group, never taken for Kubernetes' own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tracer.kube.kept_parts import KEPT_KINDS
from tracer.kube.object_file import ObjectFile
from tracer.kube.objects import Objects
from tracer.kube.other_policies import POLICY_KINDS, other_policies


def objects(*items: dict[str, Any]) -> Objects:
    text = json.dumps({"kind": "List", "items": items}).encode()
    return Objects([ObjectFile("cluster.json", lambda: text)])


def policy(kind: str, version: str, **metadata: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "p"} | metadata, "spec": {"selector": "all()"}}


@pytest.mark.parametrize("kind", POLICY_KINDS, ids=lambda kind: f"{kind.name} {kind.groups[0]}")
def test_each_kind_is_found_in_its_groups_only(kind) -> None:
    for group in kind.groups:
        found = objects(policy(kind.name, f"{group}/v1", namespace="shop"))
        assert [(p.kind, p.namespace, p.name) for p in other_policies(found)] == [(kind, "shop", "p")]
        assert found.network_policies == ()
    assert [p.kind for p in other_policies(objects(policy(kind.name, "example.com/v1")))] == []


@pytest.mark.parametrize("version", ["networking.k8s.io/v1", "extensions/v1beta1"])
def test_kubernetes_own_is_no_other(version: str) -> None:
    found = objects(policy("NetworkPolicy", version, namespace="shop"))
    assert list(other_policies(found)) == []
    assert [p.name for p in found.network_policies] == ["p"]


def test_one_without_a_readable_name_is_one_all_the_same() -> None:
    odd = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": "?"}
    assert [str(p) for p in other_policies(objects(odd))] == ["CiliumNetworkPolicy ?"]


def test_every_kind_is_kept_of_an_upload() -> None:
    assert {kind.name for kind in POLICY_KINDS} <= KEPT_KINDS
