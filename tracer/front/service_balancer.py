"""The load balancer of a Service: a model of its status, DNAT to the node port of a healthy node, the client's address kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from tracer.frozen import changed
from tracer.kube.endpoints import ready_endpoints, stays
from tracer.kube.node import Node
from tracer.kube.objects import Objects
from tracer.kube.service import AddressOf, Service, ServicePort, TrafficPolicy
from tracer.packet import Address, Packet
from tracer.stack_protocols import Balancer, Choice, End, Passing, TableId, TableKind
from tracer.trace import Disposition, Reason, Unknown


@dataclass(frozen=True, slots=True)
class ServiceBalancer:
    """What balances for *service*, as far as *objects* tell."""

    objects: Objects
    service: Service

    @property
    def name(self) -> str:
        """Return the Service's namespace and name."""
        return f"{self.service.namespace}/{self.service.name}"

    @property
    def note(self) -> str:
        """Return what is modelled of it."""
        return "modelled from the Service's status: passes the client's address on, picks any healthy node with equal odds"

    def choices(self, walk: Passing) -> Iterator[Choice | End | Unknown]:
        """Yield a choice for each healthy node, or why there is none."""
        packet, name = walk.packet, self.name
        port = self.service.port(packet.destination_port or 0, packet.protocol)
        if port is None:
            text = f"The load balancer of {name} has no listener for {packet.protocol.value} port {packet.destination_port}"
            yield End(disposition=Disposition.LOST, reason=Reason(code="LB_NO_LISTENER", text=text))
        elif port.node_port is None:
            text = f"{name} has no node port for port {port.port}: how its load balancer reaches the pods is up to its controller"
            yield Unknown(code="LB_NOT_MODELLED", text=text, at={"service": name})
        elif unknown := self._health_not_known():
            yield unknown
        else:
            yield from self._to_healthy(packet, port)

    def _health_not_known(self) -> Unknown | None:
        if self.objects.nodes and (self.service.external_traffic_policy is not TrafficPolicy.LOCAL or self.objects.slices):
            return None
        file = "endpointslices.json" if self.objects.nodes else "nodes.json"
        text = f"which nodes the load balancer of {self.name} finds healthy: {file} is not in the snapshot"
        return Unknown(code="DATA_MISSING", text=text, at={"file": file})

    def _to_healthy(self, packet: Packet, port: ServicePort) -> Iterator[Choice | End]:
        healthy = [(n, a) for n in self.healthy_nodes() if (a := _internal_ip(n, packet.destination.version)) is not None]
        if not healthy:
            text = f"The load balancer of {self.name} has no healthy node to send to"
            yield End(disposition=Disposition.LOST, reason=Reason(code="NO_HEALTHY_NODES", text=text))
        for node, address in healthy:
            rewritten = changed(packet, destination=address, destination_port=port.node_port)
            yield Choice(node=node.name, packet=rewritten, share=Fraction(1, len(healthy)))

    def healthy_nodes(self) -> list[Node]:
        """Return the nodes that a health check finds good: with policy Local those with a ready endpoint, else all.

        Nodes labelled ``node.kubernetes.io/exclude-from-external-load-balancers`` are never among them.
        """
        nodes = [n for n in self.objects.nodes if not n.exclude_from_external_load_balancers]
        if self.service.external_traffic_policy is not TrafficPolicy.LOCAL:
            return nodes
        slices = self.objects.slices_of(self.service.namespace, self.service.name)
        local = {e.node_name for e in ready_endpoints(slices) if stays(e)}
        return [n for n in nodes if n.name in local]

    def back(self, walk: Passing) -> Packet | None:
        """Return the answer from the address that the client dialled, None when it is of no connection that passed here."""
        found = walk.entry(TableId(TableKind.BALANCER, self.name), walk.packet)
        if found is None:
            return None
        asked = found[0].original
        port = asked.destination_port if isinstance(asked.destination_port, int) else None
        return changed(walk.packet, source=asked.destination, source_port=port, mark=0)


def balancer_at(objects: Objects, address: Address) -> Balancer | None:
    """Return the load balancer that has *address* in the status of its Service."""
    found = (s for s, kind in objects.services_with_address(address) if kind is AddressOf.LOAD_BALANCER)
    service = next(found, None)
    return None if service is None else ServiceBalancer(objects, service)


def _internal_ip(node: Node, version: int) -> Address | None:
    return next((a for a in node.internal_ips if a.version == version), None)
