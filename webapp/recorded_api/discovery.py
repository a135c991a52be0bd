"""Discovery: what a client asks first to learn which resources there are. Source: API concepts, "Discovery API" (unaggregated)."""

from __future__ import annotations

from collections.abc import Sequence

from tracer.kube.kinds import Kind
from webapp.recorded_api.resources import api_resource

_REVIEWS = {
    "name": "selfsubjectaccessreviews",
    "singularName": "selfsubjectaccessreview",
    "namespaced": False,
    "kind": "SelfSubjectAccessReview",
    "verbs": ["create"],
}
_EXEC = {"name": "pods/exec", "singularName": "", "namespaced": True, "kind": "PodExecOptions", "verbs": ["create", "get"]}
AUTHORIZATION = "authorization.k8s.io"


def document(path: str, served: Sequence[Kind]) -> dict[str, object] | None:
    """Return what discovery says at *path* of the resources *served*, None if it is not one of its paths."""
    groups = (*dict.fromkeys(r.group for r in served if r.group), AUTHORIZATION)
    match path.strip("/").split("/"):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in groups]}
        case ["api", "v1"]:
            return _resources("", served)
        case ["apis", name] if name in groups:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)}
        case ["apis", name, "v1"] if name in groups:
            return _resources(name, served)
    return None


def _group(name: str) -> dict[str, object]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resources(group: str, served: Sequence[Kind]) -> dict[str, object]:
    found: list[dict[str, object]] = [api_resource(r) for r in served if r.group == group]
    if group == "":
        found.append(_EXEC)
    if group == AUTHORIZATION:
        found.append(_REVIEWS)
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/v1" if group else "v1", "resources": found}
