"""The connections a packet's flow leaves behind in each stack, and how they translate what follows.

One Connection holds the original tuple (as the first packet came in) and the reply tuple (what the answer must look like to be found).
A port of None is the client's own, unknown port; it is one and the same port wherever it appears.
"""

from __future__ import annotations

from typing import Self

from tracer.frozen import changed
from tracer.packet import Address, Packet, Protocol
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTuple:
    """One direction of a connection. A port is a number, None (the client's own) or a word for one that the kernel drew."""

    protocol: Protocol
    source: Address
    source_port: int | str | None
    destination: Address
    destination_port: int | str | None

    @classmethod
    def of(cls, packet: Packet) -> Self:
        """Return the tuple of *packet*."""
        return cls(
            protocol=packet.protocol,
            source=packet.source,
            source_port="random" if packet.source_port_random else packet.source_port,
            destination=packet.destination,
            destination_port=packet.destination_port,
        )

    def fits(self, other: FlowTuple) -> bool:
        """Return whether both are one tuple. Ports that nobody said (any, drawn by the kernel) are the flow's own, and equal."""
        return (
            self.source == other.source
            and self.destination == other.destination
            and self.protocol == other.protocol
            and _same_port(self.source_port, other.source_port)
            and _same_port(self.destination_port, other.destination_port)
        )

    @property
    def inverse(self) -> FlowTuple:
        """Return the tuple of the answer."""
        return FlowTuple(
            protocol=self.protocol,
            source=self.destination,
            source_port=self.destination_port,
            destination=self.source,
            destination_port=self.source_port,
        )


def _same_port(one: int | str | None, other: int | str | None) -> bool:
    return one == other if isinstance(one, int) and isinstance(other, int) else not isinstance(one, int) and not isinstance(other, int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One conntrack entry. *source_done*, *destination_done*: whether NAT was decided for that side (also for 'unchanged').

    *established*: an answer has been seen already, so that the next packet is not NEW. *virtual*: IPVS translates the destination; NAT
    knows of it, so that answers are found, and does nothing. *opening*: TCP, of which only the client's SYN has been seen.
    *supposed*: nobody recorded the entry, so what it translates to is not known. *unseen*: it was there before, and has not seen the
    packet whose answer is walked.
    """

    original: FlowTuple
    reply: FlowTuple
    source_done: bool = False
    destination_done: bool = False
    mark: int = 0
    established: bool = False
    virtual: bool = False
    opening: bool = False
    supposed: bool = False
    unseen: bool = False

    @classmethod
    def begin(cls, packet: Packet) -> Self:
        """Return the entry of a new flow."""
        found = FlowTuple.of(packet)
        return cls(original=found, reply=found.inverse)

    @property
    def has_dnat(self) -> bool:
        """Return whether the destination was translated."""
        differs = (self.original.destination, self.original.destination_port) != (self.reply.source, self.reply.source_port)
        return differs and not self.virtual

    @property
    def has_snat(self) -> bool:
        """Return whether the source was translated."""
        return (self.original.source, self.original.source_port) != (self.reply.destination, self.reply.destination_port)

    def translated(self, packet: Packet) -> Connection:
        """Return the entry after NAT gave the original direction the header of *packet*."""
        return changed(self, reply=FlowTuple.of(packet).inverse)
