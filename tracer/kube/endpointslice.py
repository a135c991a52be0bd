"""EndpointSlice: the addresses behind a Service, as the control plane sees them; also read from the legacy Endpoints object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from tracer.kube.fields import Fields, Origin
from tracer.kube.service import read_protocol
from tracer.packet import Address, Protocol
from tracer.values import dataclass

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_CHANGED_ANNOTATION = "endpoints.kubernetes.io/last-change-trigger-time"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRef:
    """The object an endpoint stands for, nearly always a Pod."""

    kind: str
    namespace: str | None
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointPort:
    """A port of every endpoint of a slice. *port* None is a port that resolves to none (a name no container declares)."""

    name: str
    protocol: Protocol
    port: int | None
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint; conditions as consumers must read them: absent means ready, serving as ready, and not terminating.

    *fqdns* are the addresses of a slice whose address type is FQDN.
    """

    addresses: tuple[Address, ...]
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    zone_hints: tuple[str, ...] = ()
    node_hints: tuple[str, ...] = ()
    target_ref: TargetRef | None = None
    fqdns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice:
    """Some of the endpoints of one Service, all of one address family and with the same ports. *service* None: of no Service.

    *changed*: when the Pod or Service changed that the slice follows, as the control plane noted it (whole seconds); None when it did not.
    """

    namespace: str
    name: str
    service: str | None
    address_type: str
    endpoints: tuple[Endpoint, ...]
    ports: tuple[EndpointPort, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    changed: datetime | None = None
    legacy: bool = False
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return (self.namespace, self.name)

    @classmethod
    def from_dict(cls, value: object, origin: Origin | None = None) -> EndpointSlice:
        """Return the slice an API object describes. :raises ParseError: a field has the wrong type."""
        top = Fields.of(value, "EndpointSlice", origin)
        metadata = top.nested("metadata")
        labels = metadata.text_map("labels")
        kind = top.text("addressType") or _address_type(top)
        return cls(
            namespace=metadata.text_or("namespace", "default"),
            name=metadata.text("name") or metadata.text_or("generateName", ""),
            service=labels.get(SERVICE_NAME_LABEL) or None,
            address_type=kind,
            endpoints=tuple(_endpoint(e, kind) for e in top.each("endpoints")),
            ports=tuple(_port(p) for p in top.each("ports")),
            labels=labels,
            created=metadata.time("creationTimestamp"),
            changed=metadata.nested("annotations").time(_CHANGED_ANNOTATION),
            origin=origin or Origin(),
        )


def _address_type(top: Fields) -> str:
    """Return the family of the first address, for slices that leave the type out (the API server would refuse them)."""
    first = next((a for e in top.each("endpoints") for a in e.addresses("addresses")), None)
    return "IPv6" if first is not None and first.version == 6 else "IPv4"


def _endpoint(entry: Fields, address_type: str) -> Endpoint:
    conditions = entry.nested("conditions")
    ready = conditions.flag("ready") is not False
    serving = conditions.flag("serving")
    hints = entry.nested("hints") if entry.has("hints") else None
    named = address_type == "FQDN"
    return Endpoint(
        addresses=() if named else entry.addresses("addresses"),
        fqdns=entry.texts("addresses") if named else (),
        ready=ready,
        serving=ready if serving is None else serving,
        terminating=bool(conditions.flag("terminating")),
        hostname=entry.text("hostname") or None,
        node_name=entry.text("nodeName") or None,
        zone=entry.text("zone") or None,
        zone_hints=tuple(z.name() for z in hints.each("forZones")) if hints else (),
        node_hints=tuple(n.name() for n in hints.each("forNodes")) if hints else (),
        target_ref=_target_ref(entry.nested("targetRef")) if entry.has("targetRef") else None,
    )


def _target_ref(reference: Fields) -> TargetRef | None:
    name = reference.text("name")
    return TargetRef(kind=reference.text_or("kind", "Pod"), namespace=reference.text("namespace"), name=name) if name else None


def _port(entry: Fields) -> EndpointPort:
    return EndpointPort(
        name=entry.text("name") or "", protocol=read_protocol(entry), port=entry.port("port"), app_protocol=entry.text("appProtocol")
    )


def slices_from_endpoints(value: object, origin: Origin | None = None) -> tuple[EndpointSlice, ...]:
    """Return what an Endpoints object says, one slice for each subset and family, as the mirroring controller would write it.

    :raises ParseError: a field has the wrong type.
    """
    top = Fields.of(value, "Endpoints", origin)
    metadata = top.nested("metadata")
    namespace, name = metadata.text_or("namespace", "default"), metadata.name()
    slices = []
    for place, subset in enumerate(top.each("subsets")):
        endpoints = [_legacy(a, ready=True) for a in subset.each("addresses")]
        endpoints += [_legacy(a, ready=False) for a in subset.each("notReadyAddresses")]
        for version in (4, 6):
            mine = tuple(e for e in endpoints if e.addresses[0].version == version)
            if mine:
                slices.append(
                    EndpointSlice(
                        namespace=namespace,
                        name=f"{name}-{place}" if version == 4 else f"{name}-{place}-ipv6",
                        service=name,
                        address_type=f"IPv{version}",
                        endpoints=mine,
                        ports=tuple(_port(p) for p in subset.each("ports")),
                        created=metadata.time("creationTimestamp"),
                        legacy=True,
                        origin=origin or Origin(),
                    )
                )
    return tuple(slices)


def _legacy(entry: Fields, *, ready: bool) -> Endpoint:
    address = entry.address("ip")
    if address is None:
        entry.refuse("ip", "is missing")
    return Endpoint(
        addresses=(address,),
        ready=ready,
        serving=ready,
        hostname=entry.text("hostname") or None,
        node_name=entry.text("nodeName") or None,
        target_ref=_target_ref(entry.nested("targetRef")) if entry.has("targetRef") else None,
    )
