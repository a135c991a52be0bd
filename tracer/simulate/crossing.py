"""A packet while it crosses one stack: what stays the same from hook to hook, and what changed between two of its headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import TypeVar

from tracer.conntrack import Connection
from tracer.packet import Packet
from tracer.routing import RouteResult
from tracer.simulate.walk import Ending, Walk
from tracer.stack_protocols import TableId, TableKind
from tracer.topology.stack import NodeStack
from tracer.values import dataclass


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """What stays the same while a packet crosses the hooks of one stack: the stack, its devices, the state of its flow.

    *route* is the way out, once it is settled. *state* is None until conntrack has seen the packet.
    *local_process*: the packet was made by a process of this stack.
    *served*: IPVS has translated the packet and does not look at it again.
    """

    stack: NodeStack
    in_device: str | None = None
    out_device: str | None = None
    phys_in: str | None = None
    phys_out: str | None = None
    bridged: bool = False
    local_process: bool = False
    state: str | None = None
    connection: Connection | None = None
    reply: bool = False
    route: RouteResult | None = None
    header: Mapping[str, int] = field(default_factory=dict)
    served: bool = False

    @property
    def table(self) -> TableId:
        """Return which table conntrack keeps the stack's connections in."""
        return TableId(TableKind.CONNTRACK, self.stack.name)


Passed = tuple[Walk, Crossing]
"""A packet that a hook lets through."""
P = TypeVar("P", bound=tuple[object, ...])
W = TypeVar("W")


def relayed(ways: Iterator[P | Ending], onward: Callable[..., Iterator[W]]) -> Iterator[W | Ending]:
    """Yield the ends among *ways* as they are, and for every packet that goes on what *onward* makes of it."""
    for way in ways:
        if isinstance(way, Ending):
            yield way
        else:
            yield from onward(*way)


def rewritten(before: Packet, after: Packet) -> dict[str, tuple[object, object]]:
    """Return what changed between two headers: field → (before, after), as text or numbers."""
    found: dict[str, tuple[object, object]] = {}
    for name in ("source", "source_port", "destination", "destination_port"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new or (name == "source_port" and before.source_port_random != after.source_port_random):
            found[name] = (_field(before, name), _field(after, name))
    return found


def _field(packet: Packet, name: str) -> object:
    if name == "source_port" and packet.source_port_random:
        return "random"
    value = getattr(packet, name)
    return value if value is None or isinstance(value, int) else str(value)
