"""What leaves a stack: a packet on its way to the next one. The kinds are few, and only the fabric knows what each leads to.

A stack's code takes a walk that has entered and yields its ways: ends, and departures. It never asks where a departure leads; where it has
to know what became of one (a process that tries its next endpoint), the departure says who looks at its ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from tracer.kube.pod import Pod
from tracer.packet import Address, Packet
from tracer.routing import RouteResult
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.stack_protocols import Passing, Process, StackId
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """A packet that left a stack, with the walk behind it. *after* takes each of its ends, and yields the ways that take its place."""

    walk: Walk
    after: Callable[[Ending], Iterator[Way]] | None = None


Way = Ending | Departure


@dataclass(frozen=True, slots=True, kw_only=True)
class SentByNode(Departure):
    """A process of *node* sends, from *source* or from the address that the kernel picks."""

    node: str
    source: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentByPod(Departure):
    """A process of *pod* sends."""

    pod: Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFromOutside(Departure):
    """Somebody outside the cluster sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftForNode(Departure):
    """Left the stack of *pod* (None: of an endpoint without a Pod object) for the node that it runs on, by *route* where that is known."""

    node: str
    pod: Pod | None = None
    route: RouteResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded(Departure):
    """Comes to *node* by *device*, as the node recorded; how it got there is not replayed."""

    node: str
    device: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed(Departure):
    """Left *node* by *route*."""

    node: str
    route: RouteResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced(Departure):
    """Left a load balancer for *node*, of which it has the packet's destination."""

    node: str


ProcessAt = Callable[[StackId, Passing], Process | None]
"""Which process accepts what reached a stack, None for one that makes no connection of its own."""


class Host(Protocol):
    """The stack that a process runs in: where the process's own connections begin."""

    def visit(self, packet: Packet) -> Visit:
        """Return the visit of the stack that begins with *packet*, which the process made."""

    def source_towards(self, destination: Address) -> Address | None:
        """Return the address that the stack sends from, None when that is not known yet."""

    def sent(self, walk: Walk, after: Callable[[Ending], Iterator[Way]]) -> Departure:
        """Return the departure of *walk*, which a process of this stack sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Departure):
    """Accepted by *process* of the stack *host*: the connection ends here, and the process makes one of its own."""

    process: Process
    host: Host
