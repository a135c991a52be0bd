"""A packet in the stack of somebody outside the cluster: a client, a proxy of the provider's, an endpoint without a Pod object."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tracer.packet import Address, Packet
from tracer.simulate.departure import Departure, SentFromOutside, Way
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.trace import Disposition, Listener, Place, Reason, StackKind
from tracer.values import dataclass


@dataclass(frozen=True, slots=True)
class OutsideHost:
    """Somebody outside with *address*, as the connections of a process there see it."""

    address: Address

    def visit(self, packet: Packet) -> Visit:
        """Return the visit of the stack outside that begins with *packet*."""
        return Visit(kind=StackKind.EXTERNAL, name=str(self.address), node=None, came_in=None, packet_in=packet)

    def source_towards(self, destination: Address) -> Address | None:
        """Return the address, None for a destination of the other family."""
        return self.address if self.address.version == destination.version else None

    def sent(self, walk: Walk, after: Callable[[Ending], Iterator[Way]]) -> Departure:
        """Return the departure of *walk*."""
        return SentFromOutside(walk=walk, after=after)


def to_client(walk: Walk, went_out: str | None) -> Ending:
    """Return the end of an answer that comes to who asked, outside."""
    packet = walk.packet
    place = Place(kind="external", ip=packet.destination, port=packet.destination_port)
    walk = walk.enter(StackKind.EXTERNAL, str(packet.destination), node=None, came_in=None, went_out=went_out)
    reason = Reason(code="DELIVERED", text=f"Handed to the client at {packet.destination}")
    return walk.end(Disposition.DELIVERED, reason, destination=place, listener=Listener.UNKNOWN)


def beyond(walk: Walk, went_out: str | None, reason: Reason, *, left_from: str | None) -> Ending:
    """Return the end of a packet for somebody outside of whom the snapshot knows nothing; *left_from* is the node it left from."""
    packet = walk.packet
    place = Place(kind="outside", ip=packet.destination, port=packet.destination_port)
    walk = walk.enter(StackKind.EXTERNAL, str(packet.destination), node=None, came_in=None, went_out=went_out)
    return walk.end(Disposition.LEAVES, reason, destination=place, left_from=left_from)


def to_endpoint(walk: Walk, namespace: str, service: str | None, node: str | None, went_out: str | None) -> Ending:
    """Return the end of a packet at an endpoint of a Service that no Pod object owns."""
    packet = walk.packet
    shown = f"{namespace}/{service}" if service else None
    place = Place(kind="endpoint", ip=packet.destination, port=packet.destination_port, node=node, service=shown)
    walk = walk.enter(StackKind.EXTERNAL, str(packet.destination), node=None, came_in=None, went_out=went_out)
    text = f"Handed to {packet.destination}, which an EndpointSlice of {shown} lists and no Pod object owns"
    return walk.end(Disposition.DELIVERED, Reason(code="DELIVERED", text=text), destination=place, listener=Listener.UNKNOWN)
