"""The resources that the recorded API serves: what a snapshot holds, named and placed as Kubernetes does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource type. *singular* and *short_names* are what a person may call it in kubectl."""

    kind: str
    plural: str
    singular: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """Return what objects say as ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def to_dict(self) -> dict[str, object]:
        """Return the APIResource that discovery lists."""
        return {
            "name": self.plural,
            "singularName": self.singular,
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": ["get", "list", "watch"],
            "shortNames": list(self.short_names),
        }


RESOURCES = (
    Resource(kind="Namespace", plural="namespaces", singular="namespace", namespaced=False, short_names=("ns",)),
    Resource(kind="Node", plural="nodes", singular="node", namespaced=False, short_names=("no",)),
    Resource(kind="Service", plural="services", singular="service", short_names=("svc",)),
    Resource(kind="Endpoints", plural="endpoints", singular="endpoints", short_names=("ep",)),
    Resource(kind="Pod", plural="pods", singular="pod", short_names=("po",)),
    Resource(kind="ConfigMap", plural="configmaps", singular="configmap", short_names=("cm",)),
    Resource(kind="EndpointSlice", plural="endpointslices", singular="endpointslice", group="discovery.k8s.io"),
    Resource(kind="NetworkPolicy", plural="networkpolicies", singular="networkpolicy", group="networking.k8s.io", short_names=("netpol",)),
    Resource(kind="Ingress", plural="ingresses", singular="ingress", group="networking.k8s.io", short_names=("ing",)),
)
BY_PLURAL = {resource.plural: resource for resource in RESOURCES}
