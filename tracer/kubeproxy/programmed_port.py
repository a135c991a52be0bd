"""One port of one Service as kube-proxy sees it from one node, in one family: its addresses, and who takes its packets.

Owns which Services are kube-proxy's business, the order of endpoints, and what older releases do not look at. Which endpoints a node uses
is asked of ``tracer.kube.endpoints``.
Source: pkg/proxy/serviceport.go, pkg/proxy/servicechangetracker.go, pkg/proxy/endpointslicecache.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from tracer.kube.endpoints import (
    EndpointsInUse,
    PortEndpoint,
    categorise,
    port_endpoints,
    ready_of,
)
from tracer.kube.endpointslice import EndpointSlice
from tracer.kube.fields import Network
from tracer.kube.objects import Objects
from tracer.kube.service import Service, ServicePort, ServiceType, TrafficPolicy
from tracer.kubeproxy.configuration import Configuration
from tracer.packet import Address

PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
_HINT_ANNOTATIONS = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")


def is_proxied(service: Service) -> bool:
    """Return whether *service* is kube-proxy's business: it has addresses, and no label gives it to another proxy."""
    others = PROXY_NAME_LABEL in service.labels or HEADLESS_LABEL in service.labels
    return not (others or service.headless or service.type is ServiceType.EXTERNAL_NAME or not service.cluster_ips)


def programmed_ports(objects: Objects, configuration: Configuration, *, version: int) -> Iterator[ProgrammedPort]:
    """Yield every port that kube-proxy programs in one family, Service by Service in the order of the objects."""
    slices: dict[tuple[str, str | None], list[EndpointSlice]] = {}
    for found in objects.slices:
        slices.setdefault((found.namespace, found.service), []).append(found)
    for service in objects.services:
        if is_proxied(service):
            yield from _ports(service, slices.get(service.key, ()), configuration, version)


def _ports(service: Service, slices: Sequence[EndpointSlice], configuration: Configuration, version: int) -> Iterator[ProgrammedPort]:
    """Yield the ports of one Service in one family; none where it has no cluster IP of that family."""
    cluster_ip = next((a for a in service.cluster_ips if a.version == version), None)
    for port in service.ports if cluster_ip is not None else ():
        if cluster_ip is not None:
            yield ProgrammedPort(service, port, cluster_ip, slices, configuration)


class ProgrammedPort:
    """One *port* of *service* with the *cluster_ip* of one family, and the *slices* that list its endpoints."""

    def __init__(
        self, service: Service, port: ServicePort, cluster_ip: Address, slices: Sequence[EndpointSlice], configuration: Configuration
    ) -> None:
        self.service = service
        self.port = port
        self.cluster_ip = cluster_ip
        self.name = f"{service.namespace}/{service.name}:{port.name}" if port.name else f"{service.namespace}/{service.name}"
        self._slices = slices
        self._configuration = configuration
        self._texts: dict[int, str] = {}

    @property
    def version(self) -> int:
        """Return the family, 4 or 6."""
        return self.cluster_ip.version

    @property
    def external_ips(self) -> tuple[Address, ...]:
        """Return the external IPs of the family."""
        return self._of_family(self.service.external_ips) if self.service.external_ips else ()

    @property
    def load_balancer_ips(self) -> tuple[Address, ...]:
        """Return the load balancer's addresses of the family that nodes handle."""
        if not self.service.load_balancer_ingress:
            return ()
        every = not self._configuration.release.honours_ip_mode
        found = (i.ip for i in self.service.load_balancer_ingress if i.ip is not None and (every or i.ip_mode == "VIP"))
        return self._of_family(found)

    @property
    def source_ranges(self) -> tuple[Network, ...]:
        """Return from where the load balancer's addresses of the family may be reached; none means from everywhere."""
        return tuple(n for n in self.service.load_balancer_source_ranges if n.version == self.version)

    @property
    def health_check_node_port(self) -> int | None:
        """Return the port at which nodes answer health checks for it."""
        service = self.service
        asked = service.type is ServiceType.LOAD_BALANCER and service.external_traffic_policy is TrafficPolicy.LOCAL
        return service.health_check_node_port if asked else None

    @cached_property
    def is_accessible(self) -> bool:
        """Return whether it is reached from outside: by a node port, an external IP or a load balancer's address of the family."""
        return self.port.node_port is not None or bool(self.external_ips) or bool(self.load_balancer_ips)

    @cached_property
    def is_internal_local(self) -> bool:
        """Return whether the cluster IP uses the node's own endpoints only."""
        return self._configuration.release.honours_internal_policy and self.service.internal_traffic_policy is TrafficPolicy.LOCAL

    @cached_property
    def is_external_local(self) -> bool:
        """Return whether traffic from outside uses the node's own endpoints only."""
        service = self.service
        outside = service.type is not ServiceType.CLUSTER_IP or bool(service.external_ips)
        return outside and service.external_traffic_policy is TrafficPolicy.LOCAL

    @cached_property
    def listed(self) -> tuple[PortEndpoint, ...]:
        """Return all its endpoints, whatever their state, in kube-proxy's order: that of their texts."""
        found = port_endpoints(self._slices, self.port, node=self._configuration.node, version=self.version)
        self._texts = {id(endpoint): str(endpoint) for endpoint in found}
        return tuple(sorted(found, key=lambda endpoint: self._texts[id(endpoint)]))

    def text_of(self, endpoint: PortEndpoint) -> str:
        """Return ``address:port`` of one of its endpoints."""
        return self._texts.get(id(endpoint)) or str(endpoint)

    @cached_property
    def in_use(self) -> EndpointsInUse:
        """Return which endpoints the node uses, as its release decides."""
        release = self._configuration.release
        listed = self.listed if release.uses_terminating else ready_of(self.listed)
        if not (release.honours_hints or (release.honours_annotated_hints and self._asks_for_hints)):
            listed = tuple(replace(e, zone_hints=()) if e.zone_hints else e for e in listed)
        return categorise(
            listed,
            uses_cluster=not self.is_internal_local or self.is_accessible,
            uses_local=self.is_internal_local or (self.is_external_local and self.is_accessible),
            node=self._configuration.node,
            zone=self._configuration.zone,
            honour_node_hints=release.honours_node_hints,
        )

    @property
    def cluster(self) -> tuple[PortEndpoint, ...]:
        """Return the endpoints for traffic that may go anywhere."""
        return self.in_use.cluster or ()

    @property
    def local(self) -> tuple[PortEndpoint, ...]:
        """Return the endpoints for traffic that may not leave the node."""
        return self.in_use.local or ()

    @property
    def has_internal(self) -> bool:
        """Return whether the cluster IP leads to an endpoint."""
        return bool(self.local) if self.is_internal_local else self.in_use.has_any

    @property
    def has_external(self) -> bool:
        """Return whether traffic from outside leads to an endpoint."""
        return bool(self.local) if self.is_external_local else self.in_use.has_any

    @property
    def _asks_for_hints(self) -> bool:
        return any(self.service.annotations.get(name, "").lower() == "auto" for name in _HINT_ANNOTATIONS)

    def _of_family(self, addresses: Iterable[Address]) -> tuple[Address, ...]:
        return tuple(a for a in addresses if a.version == self.version)
