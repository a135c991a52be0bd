"""The resources that the recorded API serves: what a snapshot holds, named and placed as Kubernetes does."""

from __future__ import annotations

from tracer.kube.kinds import KINDS, Kind

RESOURCES = tuple(kind for kind in KINDS if kind.is_followed or kind.name == "Endpoints")
BY_PLURAL = {resource.plural: resource for resource in RESOURCES}


def api_resource(resource: Kind) -> dict[str, object]:
    """Return the APIResource that discovery lists. Source: Kubernetes API, APIResource v1 meta."""
    return {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.name,
        "verbs": ["get", "list", "watch"],
        "shortNames": list(resource.short_names),
    }
