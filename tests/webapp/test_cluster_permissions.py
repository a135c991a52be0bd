"""What Hopline may do: the manifest grants what is used, all of it and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import yaml

from tests.webapp.recorded_api import shop
from webapp.cluster.connection import Connection
from webapp.cluster.errors import Denied
from webapp.cluster.kinds import FOLLOWED_KINDS
from webapp.cluster.permissions import PERMISSIONS, Permission, permissions, rbac_manifest

READINGS = ("exec", "daemonset", "none")
PROXY = ("kube-system", "kube-proxy-shop-worker", None, ("iptables-save",))


def documents(readings: str, namespace: str = "watching") -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(rbac_manifest(readings, namespace)))


def granted(manifest: Iterable[dict[str, Any]]) -> set[Permission]:
    """Return every permission that the manifest's bound roles grant, worked out as Kubernetes does."""
    found: set[Permission] = set()
    manifest = list(manifest)
    bound = {(d["roleRef"]["kind"], d["metadata"].get("namespace")) for d in manifest if d["kind"].endswith("Binding")}
    for role in manifest:
        namespace = role["metadata"].get("namespace")
        if role["kind"] not in ("Role", "ClusterRole") or (role["kind"], namespace) not in bound:
            continue
        for rule in role["rules"]:
            assert set(rule) <= {"apiGroups", "resources", "verbs", "resourceNames"}
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        for name in rule.get("resourceNames", [""]):
                            plural, _, sub = resource.partition("/")
                            found.add(
                                Permission(verb=verb, group=group, resource=plural, subresource=sub, namespace=namespace or "", name=name)
                            )
    return found


def authorizer(allowed: set[Permission]) -> Callable[[Permission], bool]:
    """Return an authorizer that allows what RBAC would: a rule without names covers all of them, one without namespace too."""

    def may(asked: Permission) -> bool:
        return any(
            (p.verb, p.group, p.resource, p.subresource) == (asked.verb, asked.group, asked.resource, asked.subresource)
            and p.namespace in ("", asked.namespace)
            and p.name in ("", asked.name)
            for p in allowed
        )

    return may


def use_everything(connection: Connection, readings: str) -> None:
    for kind in FOLLOWED_KINDS:
        page = connection.list_page(kind, limit=500)
        with connection.watch(kind, page.resource_version, timeout_seconds=5) as watch:
            assert next(iter(watch)).type == "BOOKMARK"
    if readings == "exec":
        connection.exec(*PROXY)


@pytest.mark.parametrize("readings", READINGS)
def test_the_manifest_grants_exactly_the_permissions(readings: str) -> None:
    assert granted(documents(readings)) == set(permissions(readings, "watching"))


@pytest.mark.parametrize("readings", ["exec", "none"])
def test_everything_works_with_exactly_that(readings: str) -> None:
    with shop.served(may=authorizer(granted(documents(readings))), bookmark_seconds=0.02) as (_, connection):
        use_everything(connection, readings)
        for permission in permissions(readings, "watching"):
            assert connection.is_allowed(permission).allowed is True, permission.to_text()
        if readings == "none":
            with pytest.raises(Denied):
                connection.exec(*PROXY)


@pytest.mark.parametrize("left_out", permissions("exec"), ids=Permission.to_text)
def test_nothing_granted_is_unused(left_out: Permission) -> None:
    with shop.served(may=authorizer(set(permissions("exec")) - {left_out}), bookmark_seconds=0.02) as (_, connection):
        assert connection.is_allowed(left_out).allowed is False
        with pytest.raises(Denied) as caught:
            use_everything(connection, "exec")
        assert caught.value.status == 403
        assert f"cannot {left_out.verb} resource" in str(caught.value)


def test_nothing_writes_and_no_secret_is_read() -> None:
    for readings in READINGS:
        for permission in permissions(readings, "watching"):
            assert permission.resource != "secrets"
            assert "*" not in (permission.verb, permission.resource, permission.group)
            assert permission.verb in ("list", "watch") or permission.subresource == "exec"
            assert permission.resource != "configmaps" or permission.name


def test_the_account_is_bound_where_it_lives() -> None:
    for document in documents("daemonset"):
        for subject in document.get("subjects", ()):
            assert subject == {"kind": "ServiceAccount", "name": "hopline", "namespace": "watching"}
    account = documents("daemonset")[0]
    assert (account["kind"], account["metadata"]) == ("ServiceAccount", {"name": "hopline", "namespace": "watching"})
    kinds = [(d["kind"], d["metadata"].get("namespace")) for d in documents("daemonset")]
    assert kinds.count(("Role", "watching")) == kinds.count(("RoleBinding", "watching")) == 1


def test_an_unknown_way_to_read_is_refused() -> None:
    with pytest.raises(ValueError, match="ssh"):
        rbac_manifest("ssh")


def test_permissions_are_said_as_people_do() -> None:
    said = [p.to_text() for p in permissions("exec")]
    assert "list endpointslices.discovery.k8s.io" in said
    assert "watch configmaps “coredns” in kube-system" in said
    assert said[-2:] == ["get pods/exec in kube-system", "create pods/exec in kube-system"]
    assert len(PERMISSIONS) == 2 * len(FOLLOWED_KINDS)
