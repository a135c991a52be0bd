"""The load balancers that kube-proxy gives Windows' Host Networking Service in kernelspace mode: who may get a packet, not who does.

One for each address and port of a Service that has an endpoint, and one for its node port. With externalTrafficPolicy Local what comes
from outside goes to the node's own endpoints, with internalTrafficPolicy Local what is sent to the cluster IP. Hints are not looked at.
Made from the documentation and the source; no recording of a Windows node was at hand to hold it against.
Source: pkg/proxy/winkernel/proxier.go of Kubernetes 1.36; "Networking on Windows", kubernetes.io.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from tracer.frontends.model import Backend, Frontend
from tracer.kube.endpoints import PortEndpoint, categorise, ready_of
from tracer.kube.endpointslice import EndpointSlice
from tracer.kube.objects import Objects
from tracer.kube.service import Service
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.programmed_port import ProgrammedPort, programmed_ports
from tracer.packet import Address, Packet


class WindowsBalancers:
    """The load balancers of one node, made when a packet asks for them. *objects* are all of the cluster's, *slices_of* lists endpoints.

    *notes* say what is assumed of kube-proxy and of the endpoints. *incomplete*: an object that cannot be read may ask for more.
    """

    def __init__(
        self,
        objects: Objects,
        configuration: Configuration,
        slices_of: Callable[[Sequence[Service]], Sequence[EndpointSlice]],
        *,
        is_dsr: bool,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._objects = objects
        self._configuration = configuration
        self._slices_of = slices_of
        self.notes = notes
        self._flags = ("DSR",) if is_dsr else ()
        self.file = f"modelled/{configuration.node}/hns"
        self.made_as = f"kube-proxy {configuration.release} kernelspace (likely)"

    @property
    def incomplete(self) -> str | None:
        """Return which object cannot be read, None where there is none."""
        fault = next(iter(self._objects.faults), None)
        return None if fault is None else f"{fault}: it may be of a Service or its endpoints"

    @property
    def shown(self) -> str:
        """Return in words what it holds."""
        return f"load balancers as {self.made_as} would make them; no lists were recorded"

    def find(self, packet: Packet, *, inside: bool = True) -> Frontend | None:
        """Return the load balancer that takes *packet*, None where kube-proxy would make none. Clients *inside* have no others."""
        taking = [found for found in self._of(packet) if found.takes(packet)]
        return next((f for f in taking if f.address is not None), taking[0] if taking else None)

    def _of(self, packet: Packet) -> Iterator[Frontend]:
        services = [service for service, _ in self._objects.services_with_address(packet.destination)]
        if packet.destination_port is not None and packet.destination in self._own:
            services += [s for s, _ in self._objects.services_with_node_port(packet.destination_port, packet.protocol)]
        some = Objects.of(services, self._slices_of(services))
        for port in programmed_ports(some, self._configuration, version=packet.destination.version):
            yield from self._balancers(port)

    @cached_property
    def _own(self) -> frozenset[Address]:
        listed = self._objects.node(self._configuration.node)
        return frozenset(listed.ips if listed is not None else ())

    def _balancers(self, port: ProgrammedPort) -> Iterator[Frontend]:
        known = port.listed if self._configuration.release.uses_terminating else ready_of(port.listed)
        listed = tuple(replace(e, zone_hints=(), node_hints=()) for e in known)
        used = categorise(listed, uses_cluster=True, uses_local=True, node=self._configuration.node, zone=self._configuration.zone)
        every, local = used.cluster or (), used.local or ()
        outside = local if port.is_external_local else every
        yield from self._balancer(port, port.cluster_ip, port.port.port, local if port.is_internal_local else every)
        for address in (*port.external_ips, *port.load_balancer_ips):
            yield from self._balancer(port, address, port.port.port, outside)
        if port.port.node_port is not None:
            yield from self._balancer(port, None, port.port.node_port, outside)

    def _balancer(
        self, port: ProgrammedPort, address: Address | None, number: int, endpoints: Sequence[PortEndpoint]
    ) -> Iterator[Frontend]:
        if endpoints:
            shown = f"{address or 'any address of the node'} port {number}/{port.port.protocol.value}"
            yield Frontend(
                address=address,
                port=number,
                protocol=port.port.protocol,
                backends=tuple(Backend(address=e.address, port=e.port) for e in endpoints),
                flags=self._flags,
                text=f"load balancer of {port.name}: {shown} to {', '.join(map(str, endpoints))}",
                file=self.file,
                made_as=self.made_as,
            )
