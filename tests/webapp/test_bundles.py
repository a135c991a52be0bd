"""The trees that other programs make of a cluster's objects open by page and by command line, and a trace finds in them what it needs.

Each tree is written from its program's documentation or source, named beside it, and holds what else such a tree holds. None of them was yet
checked on a real bundle.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from tests.made_cluster import MadeCluster
from tests.webapp.made_archives import link, tar_of, zip_of
from tracer.kube.kinds import BY_NAME
from webapp.models import Snapshot

Object = dict[str, Any]
Tree = Callable[[list[Object]], dict[str, bytes]]


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)])
    return cluster.files()


@pytest.fixture(scope="module")
def objects(files: Mapping[str, bytes]) -> list[Object]:
    items = [item for path, content in files.items() if "/" not in path for item in json.loads(content)["items"]]
    # What every cluster has, and no trace may take for its own: Secrets, and kinds of other groups with names that are known.
    items.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "default", "name": "s"}, "data": {"p": "aGk="}})
    items.append(
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"namespace": "default", "name": "fn"}, "spec": {}}
    )
    items.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "default", "name": "web"}, "spec": {}})
    return [one | {"metadata": {**one["metadata"], "uid": str(number), "resourceVersion": "7"}} for number, one in enumerate(items)]


def _plural(one: Object) -> str:
    return BY_NAME[one["kind"]].plural if one["kind"] in BY_NAME else f"{one['kind'].lower()}s"


def _group(one: Object) -> str:
    return str(one["apiVersion"].rpartition("/")[0])


def _grouped(objects: Iterable[Object], path: Callable[[Object], str]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for one in objects:
        found.setdefault(path(one), []).append(one)
    return found


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _yaml(value: object) -> bytes:
    return yaml.safe_dump(value).encode()


def _list(items: list[Object], **more: object) -> Object:
    return {
        "apiVersion": items[0]["apiVersion"],
        "items": items,
        "kind": f"{items[0]['kind']}List",
        "metadata": {"resourceVersion": "9"},
    } | more


def _sonobuoy_path(one: Object) -> str:
    namespace = one["metadata"].get("namespace")
    name = f"{_group(one) or 'core'}_v1_{_plural(one)}.json"
    return f"resources/ns/{namespace}/{name}" if namespace else f"resources/cluster/{name}"


def sonobuoy(objects: list[Object]) -> dict[str, bytes]:
    """Source: sonobuoy docs/snapshot.md, pkg/discovery/queries.go (timedListQuery writes the list's items, or in newer versions the list)."""
    lists = _grouped(objects, _sonobuoy_path)
    return {path: _json(items if "pods" in path else _list(items)) for path, items in lists.items()} | {
        "meta/config.json": _json({"UUID": "x", "Resources": ["Pods"]}),
        "meta/run.log": b'time="2026-11-30T08:00:00Z" level=info msg="Scanning plugins in ./plugins.d"\n',
        "servergroups.json": _json([{"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}]),
        "serverversion.json": _json({"major": "1", "minor": "36", "gitVersion": "v1.36.0"}),
        "hosts/n1/configz.json": _json({"kubeletconfig": {"clusterDNS": ["10.96.0.10"]}}),
        "plugins/e2e/results/global/junit_01.xml": b"<testsuite></testsuite>",
        "podlogs/default/web-1/logs/c.txt": b"listening\n",
    }


def velero(objects: list[Object]) -> dict[str, bytes]:
    """Source: velero.io/docs/main/output-file-format, pkg/backup/item_backupper.go (each object twice)."""
    found = {"metadata/version": b"1.1.0"}
    for one in objects:
        resource = ".".join(filter(None, (_plural(one), _group(one))))
        namespace = one["metadata"].get("namespace")
        place = f"namespaces/{namespace}" if namespace else "cluster"
        for folder in (f"resources/{resource}", f"resources/{resource}/v1-preferredversion"):
            found[f"{folder}/{place}/{one['metadata']['name']}.json"] = _json(one)
    return found


def support_bundle_kit(objects: list[Object]) -> dict[str, bytes]:
    """Source: rancher/support-bundle-kit README.md, pkg/manager/collectors/cluster.go; the nodes' logs are zips of their own."""

    def path(one: Object) -> str:
        namespace = one["metadata"].get("namespace")
        return f"supportbundle_x/yamls/{f'namespaced/{namespace}' if namespace else 'cluster'}/{one['apiVersion']}/{_plural(one)}.yaml"

    lists = {path: _yaml(_list(items, apiVersion="v1", kind="List")) for path, items in _grouped(objects, path).items()}
    return lists | {
        "supportbundle_x/metadata.yaml": b"projectname: Harvester\nbundlecreatedat: 2026-11-30T08:00:00Z\nkubernetesversion: v1.36.0\n",
        "supportbundle_x/logs/default/web-1/c.log": b"listening\n",
        "supportbundle_x/nodes/n1.zip": zip_of(("n1/logs/kubelet.log", b"I1130 08:00:00.000000 1 x.go:1] up\n")),
        "supportbundle_x/bundleGenerationError.log": b"Failed to get /apis/x\n",
    }


def _inspected(objects: list[Object], above: str, *, one_by_one: bool) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def path(one: Object) -> str:
        namespace, name = one["metadata"].get("namespace"), one["metadata"]["name"]
        if not namespace:
            return f"{above}cluster-scoped-resources/{_group(one) or 'core'}/{_plural(one)}/{name}.yaml"
        single = f"/{name}" if one_by_one else ""
        return f"{above}namespaces/{namespace}/{_group(one) or 'core'}/{_plural(one)}{single}.yaml"

    for place, items in _grouped(objects, path).items():
        is_one = len(items) == 1 and place.endswith(f"/{items[0]['metadata']['name']}.yaml")
        found[place] = b"---\n" + _yaml(items[0] if is_one else _list(items))
    for one in objects:
        if one["kind"] == "Pod":
            name = one["metadata"]["name"]
            found[f"{above}namespaces/default/pods/{name}/{name}.yaml"] = b"---\n" + _yaml(one)
            found[f"{above}namespaces/default/pods/{name}/c/c/logs/current.log"] = b"2026-11-30T08:00:00.0Z listening\n"
    return found | {f"{above}event-filter.html": b"<!DOCTYPE html>\n<html></html>", f"{above}timestamp": b"2026-11-30 08:00:00 start\n"}


def oc_adm_inspect(objects: list[Object]) -> dict[str, bytes]:
    """Source: openshift/enhancements enhancements/oc/inspect.md, openshift/oc pkg/cli/admin/inspect/inspect.go, util.go."""
    return _inspected(objects, "inspect.local.123/", one_by_one=True)


def must_gather(objects: list[Object]) -> dict[str, bytes]:
    """Source: openshift/enhancements enhancements/oc/must-gather.md, openshift/must-gather collection-scripts."""
    above = "must-gather.local.1/quay-io-openshift-release-dev-sha256-1/"
    return _inspected(objects, above, one_by_one=False) | {
        "must-gather.local.1/must-gather.logs": b"[must-gather] OUT pod is running\n",
        f"{above}version": b"openshift/must-gather\n4.20\n",
        f"{above}host_service_logs/masters/kubelet_service.log": b"Nov 30 08:00:00 n1 kubelet[1]: up\n",
    }


def troubleshoot(objects: list[Object]) -> dict[str, bytes]:
    """Source: replicatedhq/troubleshoot pkg/collect/cluster_resources.go, pkg/constants/constants.go; no Secrets are collected."""

    def path(one: Object) -> str:
        namespace = one["metadata"].get("namespace")
        word = BY_NAME[one["kind"]].bundle_word or _plural(one) if one["kind"] in BY_NAME else _plural(one)
        return f"support-bundle-2026/cluster-resources/{word}{f'/{namespace}' if namespace else ''}.json"

    known = [one for one in objects if one["kind"] != "Secret" and "knative" not in one["apiVersion"]]
    return {path: _json(_list(items)) for path, items in _grouped(known, path).items()} | {
        "support-bundle-2026/version.yaml": b"apiVersion: troubleshoot.sh/v1beta2\nkind: SupportBundle\nspec:\n  versionNumber: 0.100.0\n",
        "support-bundle-2026/cluster-info/cluster_version.json": _json({"info": {"gitVersion": "v1.36.0"}, "string": "v1.36.0"}),
        "support-bundle-2026/cluster-resources/pods/logs/default/web-1/c.log": b"listening\n",
        "support-bundle-2026/cluster-resources/pods-errors.json": _json([]),
        "support-bundle-2026/analysis.json": _json([]),
    }


TREES: dict[str, Tree] = {
    one.__name__: one for one in (sonobuoy, velero, support_bundle_kit, oc_adm_inspect, must_gather, troubleshoot)
}  # fmt: skip
FOUND = "Found 1 Service, 1 EndpointSlice, 3 Pods, 2 Nodes; no node's rules."


def _packed(tmp_path: Path, tree: Mapping[str, bytes]) -> Path:
    archive = tmp_path / "bundle.tar"
    # Such programs leave links in their bundles, which are never followed.
    archive.write_bytes(tar_of(*tree.items(), (link(f"{next(iter(tree)).partition('/')[0]}/latest.log", b"2"), b"")))
    return archive


def _imported(path: Path) -> tuple[Snapshot, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("import_snapshot", str(path), stdout=out, stderr=err)
    return Snapshot.objects.get(id=out.getvalue().strip()), err.getvalue()


@pytest.mark.django_db
@pytest.mark.parametrize("tree", TREES)
def test_it_opens_and_says_what_was_found(tree: str, objects: list[Object], tmp_path: Path, client: Client) -> None:
    row, said = _imported(_packed(tmp_path, TREES[tree](objects)))
    assert said.splitlines()[0] == FOUND
    assert "What would add most: there are no usable rules of n1 and n2." in said
    assert "Cannot be read" not in said
    assert "latest.log: a symbolic link" in said
    assert row.summary["form"] == "recorded"
    assert not row.summary["manifests"]
    assert "Secret" not in row.summary["objects"]
    page = client.get(reverse("snapshot", args=[row.id])).content.decode()
    assert FOUND.replace("'", "&#x27;") in page


@pytest.mark.parametrize("tree", TREES)
def test_a_trace_finds_what_it_needs(tree: str, objects: list[Object], files: Mapping[str, bytes], tmp_path: Path) -> None:
    """With the nodes' files beside it: what is said of the way comes from the objects, wherever they lie."""
    rules = {path: content for path, content in files.items() if path.startswith("nodes/")}
    out = io.StringIO()
    with contextlib.suppress(SystemExit):
        call_command(
            "trace", str(_packed(tmp_path, TREES[tree](objects) | rules)), source="pod:default/client", to="10.96.0.10:80", stdout=out
        )
    assert out.getvalue().startswith("pod:default/client -> 10.96.0.10:80 tcp: 2 paths\n")
    assert out.getvalue().count("= delivered") == 2


CHART = {
    "charts/web/Chart.yaml": b"apiVersion: v2\nname: web\nversion: 0.1.0\n",
    "charts/web/values.yaml": b"service:\n  port: 80\n",
    "charts/web/templates/_helpers.tpl": b'{{- define "web.name" -}}web{{- end }}\n',
    "charts/web/templates/service.yaml": (
        b'apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ include "web.name" . }}\nspec:\n  ports:\n    - port: {{ .Values.service.port }}\n'
    ),
}
GITOPS = {
    "apps/web/base/kustomization.yaml": b"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [service.yaml]\n",
    "apps/web/base/service.yaml": b"apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}], selector: {app: web}}\n",
    "apps/web/base/deployment.yaml": b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {}\n",
    "apps/web/overlays/prod/pod.yaml": b"apiVersion: v1\nkind: Pod\nmetadata: {name: debug}\nspec: {containers: []}\n",
    "apps/argo.yaml": b"apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: web}\n",
    "README.md": b"# Our clusters\n",
}


@pytest.mark.django_db
@pytest.mark.parametrize("beside", [{}, CHART], ids=["alone", "with a chart"])
def test_a_gitops_folder_holds_manifests(beside: Mapping[str, bytes], tmp_path: Path, client: Client) -> None:
    row, said = _imported(_packed(tmp_path, GITOPS | beside))
    assert said.startswith("These are manifests (1 Service, 1 Pod): what somebody wants, not what a cluster has.")
    assert ("a template (of Helm's, or another's)" in said) is bool(beside)
    page = client.get(reverse("snapshot", args=[row.id])).content.decode()
    assert "These are manifests (1 Service, 1 Pod)" in page
    assert "Trace a packet" not in page


@pytest.mark.django_db
def test_manifests_beside_a_recorded_cluster_are_counted_apart(objects: list[Object], tmp_path: Path) -> None:
    _, said = _imported(_packed(tmp_path, velero(objects) | GITOPS))
    assert said.splitlines()[0] == FOUND
    assert "Not counted: manifests, which hold no addresses: 1 Service, 1 Pod." in said


@pytest.mark.django_db
def test_a_chart_alone_is_refused_for_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"a template \(of Helm's, or another's\), which is no object before it is rendered"):
        _imported(_packed(tmp_path, CHART))
