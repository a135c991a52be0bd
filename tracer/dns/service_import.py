"""ServiceImport and the EndpointSlices that come with it: Services of other clusters (KEP-1645)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field

from tracer.kube.endpointslice import EndpointSlice
from tracer.kube.fields import Fields, Origin
from tracer.kube.service import ServicePort, read_protocol
from tracer.packet import Address
from tracer.values import dataclass

SERVICE_NAME_LABEL = "multicluster.kubernetes.io/service-name"
SOURCE_CLUSTER_LABEL = "multicluster.kubernetes.io/source-cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceImport:
    """A Service that the cluster set offers; headless ones have no address of their own."""

    namespace: str
    name: str
    headless: bool
    ips: tuple[Address, ...]
    ports: tuple[ServicePort, ...]

    @classmethod
    def from_dict(cls, value: object, origin: Origin | None = None) -> ServiceImport:
        """Return the import that an API object describes. :raises ParseError: a field has the wrong type."""
        top = Fields.of(value, "ServiceImport", origin)
        metadata, spec = top.nested("metadata"), top.nested("spec")
        return cls(
            namespace=metadata.text_or("namespace", "default"),
            name=metadata.text("name") or "",
            headless=spec.text_or("type", "ClusterSetIP") == "Headless",
            ips=spec.addresses("ips"),
            ports=tuple(_port(p) for p in spec.each("ports")),
        )


def _port(entry: Fields) -> ServicePort:
    number = entry.port("port")
    if number is None:
        entry.refuse("port", "is missing")
    return ServicePort(name=entry.text("name") or "", protocol=read_protocol(entry), port=number, target_port=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imports:
    """All imports by (namespace, name), and their slices; a slice's label names the cluster it comes from."""

    services: Mapping[tuple[str, str], ServiceImport] = field(default_factory=dict)
    slices: Mapping[tuple[str, str], tuple[EndpointSlice, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, services: Iterable[ServiceImport], slices: Iterable[EndpointSlice]) -> Imports:
        """Return *services* with those of *slices* that carry the multicluster label."""
        found: dict[tuple[str, str], list[EndpointSlice]] = {}
        for item in slices:
            if name := item.labels.get(SERVICE_NAME_LABEL):
                found.setdefault((item.namespace, name), []).append(item)
        return cls(services={(s.namespace, s.name): s for s in services}, slices={k: tuple(v) for k, v in found.items()})
