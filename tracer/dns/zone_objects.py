"""What CoreDNS's kubernetes plugin sees of the API objects: filtered by its options, found by name or address.

Not-ready addresses are in the zone only where the EndpointSlice calls them ready, which the control plane does for Services with
publishNotReadyAddresses. Source: plugin/kubernetes/controller.go and object/.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from tracer.dns.kubernetes_options import KubernetesOptions
from tracer.dns.service_import import SOURCE_CLUSTER_LABEL, Imports
from tracer.kube.endpoints import ready_endpoints
from tracer.kube.endpointslice import EndpointSlice
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.kube.service import AddressOf, Service
from tracer.packet import Address
from tracer.values import dataclass

_MAX_POD_NAME = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePort:
    """A port of a zone's endpoint or Service; *number* None: there is none, so no SRV record either."""

    name: str
    protocol: str
    number: int | None


NO_PORTS = (ZonePort(name="", protocol="", number=None),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneEndpoint:
    """One address behind a Service. *label* is the leftmost label of its own name; *cluster* is set for an imported one."""

    service: tuple[str, str]
    address: Address
    label: str
    ports: tuple[ZonePort, ...]
    cluster: str | None = None
    topology_zone: str | None = None


class ZoneObjects:
    """The objects of one ``kubernetes`` stanza."""

    def __init__(self, objects: Objects, options: KubernetesOptions, imports: Imports) -> None:
        self._objects = objects
        self._options = options
        self._imports = imports

    # -- namespaces ---------------------------------------------------------------------------------------------------------------

    def is_exposed(self, namespace: str) -> bool:
        """Return whether *namespace* exists and the options let its names be asked."""
        if self._options.namespaces and namespace not in self._options.namespaces:
            return False
        found = self._objects.namespace(namespace)
        if found is None:
            return self._options.namespace_labels is None and namespace in self._implied_namespaces
        return self._options.namespace_labels is None or self._options.namespace_labels.matches(found.labels)

    @cached_property
    def _implied_namespaces(self) -> frozenset[str]:
        """Namespaces that something lives in; a snapshot without any Namespace object has no other witness."""
        if self._objects.namespaces:
            return frozenset()
        return frozenset({s.namespace for s in self._objects.services} | {p.namespace for p in self._objects.pods})

    # -- Services -----------------------------------------------------------------------------------------------------------------

    def service(self, namespace: str, name: str) -> Service | None:
        """Return the Service of that name, None when there is none or the label selector leaves it out."""
        found = self._objects.service(namespace, name)
        return found if found is not None and self._is_selected(found) else None

    def service_with_cluster_ip(self, address: Address) -> Service | None:
        """Return the first Service with that cluster IP in a namespace that may be asked."""
        return next((s for s, _ in self._with_address(address, {AddressOf.CLUSTER})), None)

    def services_with_external_ip(self, address: Address) -> tuple[Service, ...]:
        """Return the Services with that external or load-balancer address."""
        kinds = {AddressOf.EXTERNAL, AddressOf.LOAD_BALANCER}
        return tuple({s.key: s for s, _ in self._with_address(address, kinds)}.values())

    def _with_address(self, address: Address, kinds: set[AddressOf]) -> Iterator[tuple[Service, AddressOf]]:
        for service, kind in self._objects.services_with_address(address):
            if kind in kinds and self._is_selected(service) and self._may_be_named(service.namespace):
                yield service, kind

    def _is_selected(self, service: Service) -> bool:
        return self._options.labels is None or self._options.labels.matches(service.labels)

    def _may_be_named(self, namespace: str) -> bool:
        # NB: reverse answers look at the namespace only where the option restricts it.
        return not self._options.namespaces or self.is_exposed(namespace)

    @staticmethod
    def ports_of(service: Service) -> tuple[ZonePort, ...]:
        """Return the ports of *service*; one without a number when it has none."""
        return tuple(ZonePort(name=p.name, protocol=p.protocol.value, number=p.port) for p in service.ports) or NO_PORTS

    # -- endpoints ----------------------------------------------------------------------------------------------------------------

    def endpoints(self, namespace: str, name: str) -> tuple[ZoneEndpoint, ...]:
        """Return the addresses behind a Service that its slices call ready."""
        if self._options.no_endpoints:
            return ()
        return tuple(self._listed(self._objects.slices_of(namespace, name)))

    def endpoints_with_address(self, address: Address) -> tuple[ZoneEndpoint, ...]:
        """Return the endpoints that have *address*, of all Services in namespaces that may be asked."""
        if self._options.no_endpoints:
            return ()
        slices = {s.key: s for s, _ in self._objects.endpoints_with_address(address)}
        found = (e for e in self._listed(slices.values()) if e.address == address)
        return tuple(e for e in found if self._may_be_named(e.service[0]))

    def imported(self, namespace: str, name: str) -> tuple[ZoneEndpoint, ...]:
        """Return the addresses behind a ServiceImport."""
        return tuple(self._listed(self._imports.slices.get((namespace, name), ()), named=name))

    @property
    def imports(self) -> Imports:
        """Return the ServiceImports."""
        return self._imports

    def _listed(self, slices: Iterable[EndpointSlice], *, named: str | None = None) -> Iterator[ZoneEndpoint]:
        for item in slices:
            if self._options.labels is not None and named is None and not self._options.labels.matches(item.labels):
                continue
            ports = tuple(ZonePort(name=p.name, protocol=p.protocol.value, number=p.port) for p in item.ports) or NO_PORTS
            for endpoint in ready_endpoints((item,)):
                for address in endpoint.addresses:
                    pod = endpoint.target_ref.name if endpoint.target_ref is not None else None
                    yield ZoneEndpoint(
                        service=(item.namespace, named if named is not None else item.service or ""),
                        address=address,
                        label=self._label(address, endpoint.hostname, pod),
                        ports=ports,
                        cluster=item.labels.get(SOURCE_CLUSTER_LABEL) if named is not None else None,
                        topology_zone=endpoint.zone,
                    )

    def _label(self, address: Address, hostname: str | None, pod: str | None) -> str:
        if hostname:
            return hostname
        if self._options.endpoint_pod_names and pod and len(pod) <= _MAX_POD_NAME:
            return pod
        return str(address).replace(".", "-").replace(":", "-")

    # -- pods ---------------------------------------------------------------------------------------------------------------------

    def pods_with_ip(self, address: Address, namespace: str) -> tuple[Pod, ...]:
        """Return the pods of *namespace* whose first address is *address*, terminating ones left out."""
        found = self._objects.pods_with_ip(address)
        return tuple(p for p in found if p.namespace == namespace and not p.terminating and p.ips[:1] == (address,))
