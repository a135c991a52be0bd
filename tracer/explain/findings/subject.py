"""What a trace is about: the Service that has the dialled address, which of its ports, and by which of its ways in.

Found by address and port among the objects, never by a chain's name or a comment.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from tracer.kube.service import AddressOf, Service, ServicePort, TrafficPolicy
from tracer.packet import Address, Packet, endpoint_text
from tracer.topology.cluster import Cluster
from tracer.values import dataclass


class WayIn(StrEnum):
    """How a client reaches a Service; the value is how a sentence says it."""

    CLUSTER = "cluster IP"
    EXTERNAL = "external IP"
    LOAD_BALANCER = "load balancer address"
    NODE_PORT = "node port"


_WAYS = {AddressOf.CLUSTER: WayIn.CLUSTER, AddressOf.EXTERNAL: WayIn.EXTERNAL, AddressOf.LOAD_BALANCER: WayIn.LOAD_BALANCER}
_NOT_FOR_KUBE_PROXY = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A Service as it was dialled. *port* None: the Service has the address and no such port."""

    service: Service
    port: ServicePort | None
    way: WayIn
    address: Address
    number: int | None

    @property
    def name(self) -> str:
        """Return ``namespace/name``."""
        return f"{self.service.namespace}/{self.service.name}"

    @property
    def other_proxy(self) -> str | None:
        """Return which of its labels tells kube-proxy to leave the Service alone, as ``key: value``; None when none does.

        Source: kube-proxy cmd/kube-proxy/app/server.go (the label selector of its informers).
        """
        labels = self.service.labels
        return next((f"{label}: {labels[label]}" for label in _NOT_FOR_KUBE_PROXY if label in labels), None)

    @property
    def policy_field(self) -> str:
        """Return the name of the traffic policy that governs this way in."""
        return "internalTrafficPolicy" if self.way is WayIn.CLUSTER else "externalTrafficPolicy"

    @property
    def is_local(self) -> bool:
        """Return whether that policy is Local."""
        service = self.service
        policy = service.internal_traffic_policy if self.way is WayIn.CLUSTER else service.external_traffic_policy
        return policy is TrafficPolicy.LOCAL

    @property
    def target(self) -> str:
        """Return the dialled address and port as text."""
        return endpoint_text(self.address, self.number)


def subject_of(cluster: Cluster, packet: Packet, *, from_node: bool) -> Subject | None:
    """Return what *packet*, as the client sent it, is for; None when no Service has the address or the node port.

    *from_node*: a process in a node's own stack sent it, so that a loopback address is the node's.
    """
    found = list(_subjects(cluster, packet, from_node=from_node))
    return next((s for s in found if s.port is not None), found[0] if found else None)


def _subjects(cluster: Cluster, packet: Packet, *, from_node: bool) -> Iterator[Subject]:
    address, number, protocol = packet.destination, packet.destination_port, packet.protocol
    for service, kind in cluster.objects.services_with_address(address):
        port = service.port(number, protocol) if number is not None else None
        yield Subject(service=service, port=port, way=_WAYS[kind], address=address, number=number)
    on_node = from_node if address.is_loopback else cluster.port_of(address) or cluster.objects.node_with_ip(address)
    if number is not None and on_node:
        for service, port in cluster.objects.services_with_node_port(number, protocol):
            yield Subject(service=service, port=port, way=WayIn.NODE_PORT, address=address, number=number)
