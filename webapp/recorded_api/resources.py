"""The resources that the recorded API serves: what a snapshot holds, named and placed as Kubernetes does."""

from __future__ import annotations

from tracer.kube.kinds import KINDS, Kind

RESOURCES = KINDS
BY_PLURAL = {resource.plural: resource for resource in RESOURCES}


def is_optional(resource: Kind) -> bool:
    """Return whether a cluster may lack the resource: it is served where the recording has some."""
    return not resource.is_followed and resource.name != "Endpoints"


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
