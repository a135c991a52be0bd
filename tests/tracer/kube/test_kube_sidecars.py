"""Which mesh's proxy takes a pod's connections, by what it leaves on the Pod object."""

from __future__ import annotations

import pytest

from tracer.kube.pod import Pod
from tracer.kube.sidecars import MESHES, Mesh


def pod(*, containers: list[str], inits: list[str], annotations: dict[str, str], host: bool = False) -> Pod:
    spec = {"containers": [{"name": n} for n in containers], "initContainers": [{"name": n} for n in inits], "hostNetwork": host}
    return Pod.from_dict({"kind": "Pod", "metadata": {"name": "p", "annotations": annotations}, "spec": spec})


@pytest.mark.parametrize("mesh", MESHES, ids=lambda mesh: mesh.name)
def test_each_mark_alone_tells_the_mesh(mesh: Mesh) -> None:
    for name in sorted(mesh.containers):
        assert pod(containers=["app", name], inits=[], annotations={}).mesh is mesh
        assert pod(containers=["app"], inits=[name], annotations={}).mesh is mesh
        assert pod(containers=["app", name], inits=[], annotations={}, host=True).mesh is None
    for mark in mesh.annotations:
        name, _, value = mark.partition("=")
        assert pod(containers=["app"], inits=[], annotations={name: value or "x"}).mesh is mesh
        assert not value or pod(containers=["app"], inits=[], annotations={name: "no"}).mesh is None


def test_other_pods_are_in_none() -> None:
    assert pod(containers=["app", "envoy"], inits=["init"], annotations={"sidecar.istio.io/inject": "false"}).mesh is None
