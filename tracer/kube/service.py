"""Service: the addresses a client may dial, and which endpoints stand behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from tracer.kube.fields import Fields, Network, Origin
from tracer.packet import Address, Protocol
from tracer.values import dataclass

_SESSION_AFFINITY_SECONDS = 10800  # DefaultClientIPServiceAffinitySeconds


class ServiceType(StrEnum):
    """How a Service is reached."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class TrafficPolicy(StrEnum):
    """Whether endpoints of all nodes are used or only the node's own."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


class AddressOf(StrEnum):
    """Which of a Service's addresses an address is."""

    CLUSTER = "cluster"
    EXTERNAL = "external"
    LOAD_BALANCER = "load-balancer"


def read_protocol(fields: Fields, key: str = "protocol") -> Protocol:
    """Return a port's protocol, TCP when absent. :raises ParseError: it is none of TCP, UDP and SCTP."""
    text = fields.text_or(key, "TCP")
    if text not in ("TCP", "UDP", "SCTP"):
        fields.refuse(key, f"{text!r} is not TCP, UDP or SCTP")
    return Protocol(text.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service. *target_port* is a number, or the name of a container's port; *name* is empty for an only port."""

    name: str
    protocol: Protocol
    port: int
    target_port: int | str
    node_port: int | None = None
    app_protocol: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortStatus:
    """What a load balancer says of one port: *error* is None when it works."""

    port: int
    protocol: Protocol
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancerIngress:
    """One address of a load balancer: *ip* or *hostname*. *ip_mode* VIP means nodes keep the address, Proxy that they must not."""

    ip: Address | None
    hostname: str | None
    ip_mode: str
    ports: tuple[PortStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Service, with the API's own defaults filled in where a field is absent.

    *selector* None means there is none: whoever made the Service makes its EndpointSlices too.
    *session_affinity_timeout* is in seconds and None without affinity.
    """

    namespace: str
    name: str
    type: ServiceType
    cluster_ips: tuple[Address, ...]
    headless: bool
    ports: tuple[ServicePort, ...]
    external_ips: tuple[Address, ...] = ()
    load_balancer_ingress: tuple[LoadBalancerIngress, ...] = ()
    selector: Mapping[str, str] | None = None
    session_affinity: str = "None"
    session_affinity_timeout: int | None = None
    internal_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    external_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    health_check_node_port: int | None = None
    load_balancer_source_ranges: tuple[Network, ...] = ()
    load_balancer_class: str | None = None
    allocate_load_balancer_node_ports: bool = True
    publish_not_ready_addresses: bool = False
    external_name: str | None = None
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    traffic_distribution: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return (self.namespace, self.name)

    @property
    def addresses(self) -> tuple[tuple[Address, AddressOf], ...]:
        """Return every address of the Service, with which of its addresses each is."""
        balancer = (i.ip for i in self.load_balancer_ingress if i.ip is not None)
        return (
            *((a, AddressOf.CLUSTER) for a in self.cluster_ips),
            *((a, AddressOf.EXTERNAL) for a in self.external_ips),
            *((a, AddressOf.LOAD_BALANCER) for a in balancer),
        )

    def port(self, number: int, protocol: Protocol) -> ServicePort | None:
        """Return the port with this number and protocol, or None."""
        return next((p for p in self.ports if p.port == number and p.protocol is protocol), None)

    @classmethod
    def from_dict(cls, value: object, origin: Origin | None = None) -> Service:
        """Return the Service an API object describes. :raises ParseError: a field has the wrong type."""
        top = Fields.of(value, "Service", origin)
        metadata, spec = top.nested("metadata"), top.nested("spec")
        kind = _service_type(spec)
        addresses = tuple(spec.texts("clusterIPs")) or tuple(t for t in (spec.text("clusterIP"),) if t)
        affinity = spec.text_or("sessionAffinity", "None")
        return cls(
            namespace=metadata.text_or("namespace", "default"),
            name=metadata.name(),
            type=kind,
            cluster_ips=() if addresses[:1] == ("None",) else _cluster_ips(spec),
            headless=addresses[:1] == ("None",),
            ports=tuple(_service_port(p) for p in spec.each("ports")),
            external_ips=spec.addresses("externalIPs"),
            load_balancer_ingress=tuple(_ingress(i) for i in top.nested("status").nested("loadBalancer").each("ingress")),
            selector=spec.text_map("selector") if spec.has("selector") else None,
            session_affinity=affinity,
            session_affinity_timeout=_affinity_timeout(spec) if affinity == "ClientIP" else None,
            internal_traffic_policy=_traffic_policy(spec, "internalTrafficPolicy"),
            external_traffic_policy=_traffic_policy(spec, "externalTrafficPolicy"),
            health_check_node_port=spec.port("healthCheckNodePort"),
            load_balancer_source_ranges=_source_ranges(spec),
            load_balancer_class=spec.text("loadBalancerClass"),
            allocate_load_balancer_node_ports=spec.flag("allocateLoadBalancerNodePorts") is not False,
            publish_not_ready_addresses=bool(spec.flag("publishNotReadyAddresses")),
            external_name=spec.text("externalName"),
            ip_families=spec.texts("ipFamilies"),
            ip_family_policy=spec.text("ipFamilyPolicy"),
            traffic_distribution=spec.text("trafficDistribution"),
            annotations=metadata.text_map("annotations"),
            labels=metadata.text_map("labels"),
            created=metadata.time("creationTimestamp"),
            origin=origin or Origin(),
        )


def _service_type(spec: Fields) -> ServiceType:
    text = spec.text_or("type", "ClusterIP")
    try:
        return ServiceType(text)
    except ValueError:
        spec.refuse("type", f"{text!r} is not ClusterIP, NodePort, LoadBalancer or ExternalName")


def _cluster_ips(spec: Fields) -> tuple[Address, ...]:
    first = spec.address("clusterIP") if spec.text("clusterIP") != "None" else None
    several = spec.addresses("clusterIPs")
    return several or ((first,) if first else ())


def _service_port(port: Fields) -> ServicePort:
    number = port.port("port")
    if number is None:
        port.refuse("port", "is missing")
    target = port.raw("targetPort")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | str)):
        port.refuse("targetPort", "is neither a number nor a name")
    chosen = port.text("targetPort") if isinstance(target, str) else port.port("targetPort")
    return ServicePort(
        name=port.text("name") or "",
        protocol=read_protocol(port),
        port=number,
        target_port=chosen or number,
        node_port=port.port("nodePort"),
        app_protocol=port.text("appProtocol"),
    )


def _ingress(entry: Fields) -> LoadBalancerIngress:
    ports = []
    for port in entry.each("ports"):
        number = port.port("port")
        if number is None:
            port.refuse("port", "is missing")
        ports.append(PortStatus(port=number, protocol=read_protocol(port), error=port.text("error")))
    return LoadBalancerIngress(
        ip=entry.address("ip"), hostname=entry.text("hostname") or None, ip_mode=entry.text_or("ipMode", "VIP"), ports=tuple(ports)
    )


def _traffic_policy(spec: Fields, key: str) -> TrafficPolicy:
    text = spec.text_or(key, "Cluster")
    try:
        return TrafficPolicy(text)
    except ValueError:
        spec.refuse(key, f"{text!r} is not Cluster or Local")


def _affinity_timeout(spec: Fields) -> int:
    seconds = spec.nested("sessionAffinityConfig").nested("clientIP").number("timeoutSeconds")
    return _SESSION_AFFINITY_SECONDS if seconds is None else seconds


def _source_ranges(spec: Fields) -> tuple[Network, ...]:
    return spec.networks("loadBalancerSourceRanges")
