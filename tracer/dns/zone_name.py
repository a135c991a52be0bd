"""What a name in the cluster's zone asks for: a Service, an endpoint, a port, a pod.

Source: plugin/kubernetes/parse.go; Kubernetes DNS specification 1.1.0.
"""

from __future__ import annotations

from tracer.dns.names import labels, without_zone
from tracer.values import dataclass

SVC = "svc"
POD = "pod"
_ZONAL = ("pin", "prefer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneName:
    """The parts of a name; empty ones were not given. *kind* is empty at the top of the zone, ``svc`` or ``pod`` below."""

    kind: str = ""
    namespace: str = ""
    service: str = ""
    endpoint: str = ""
    cluster: str = ""
    port: str = ""
    protocol: str = ""


def parse_zone_name(name: str, zone: str, *, multicluster: bool = False) -> ZoneName | None:
    """Return what *name* asks of *zone*, None when no name of that form exists."""
    base = without_zone(name.lower(), zone.lower())
    if base in ("", SVC, POD):
        return ZoneName()
    parts = labels(base)
    kind = parts[-1] if parts else ""
    if kind not in (SVC, POD) or len(parts) > 5:
        return None
    rest = (*reversed(parts[:-1]), "", "")
    before = parts[:-3]
    found = ZoneName(kind=kind, namespace=rest[0], service=rest[1])
    return _with_front(found, before, multicluster=multicluster) if before else found


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonalName:
    """A headless Service's name for one topology zone: *pin* asks for endpoints there only, else all will do where there is none."""

    topology_zone: str
    pin: bool
    namespace: str
    service: str


def parse_zonal_name(name: str, zone: str) -> ZonalName | None:
    """Return what a name of the form ``TOPOLOGY-ZONE.pin|prefer._zone.SERVICE.NAMESPACE.svc.ZONE`` asks, None for every other.

    Source: CoreDNS 1.14.7, option ``zonal`` of plugin kubernetes.
    """
    parts = labels(without_zone(name.lower(), zone.lower()))
    if len(parts) != 6 or parts[2] != "_zone" or parts[5] != SVC or parts[1] not in _ZONAL:
        return None
    return ZonalName(topology_zone=parts[0], pin=parts[1] == _ZONAL[0], namespace=parts[4], service=parts[3])


def _with_front(found: ZoneName, before: tuple[str, ...], *, multicluster: bool) -> ZoneName:
    """The name with what stands before the Service: an endpoint, a port and protocol, or an endpoint and its cluster."""
    if len(before) == 1:
        return ZoneName(kind=found.kind, namespace=found.namespace, service=found.service, endpoint=before[0])
    first, second = before
    if multicluster and not first.startswith("_") and not second.startswith("_"):
        return ZoneName(kind=found.kind, namespace=found.namespace, service=found.service, endpoint=first, cluster=second)
    return ZoneName(
        kind=found.kind,
        namespace=found.namespace,
        service=found.service,
        port=first.removeprefix("_"),
        protocol=second.removeprefix("_"),
    )
