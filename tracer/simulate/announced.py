"""An address that nodes announce and none of them has: what a node sends there that no rule took.

The node whose answer to ARP or whose route brought the packet sends it on by its own routes. On the address's own link it asks who has it,
and gets no answer: its announcer hears none of its own questions, and another node asks the same in its turn. By a router it comes back.
Source: arp_process, ip_forward, Linux 6.18; measured in tests/tracer/simulate/test_announced_kernel.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.frozen import changed
from tracer.refusals import EXPIRED, NOBODY_ANSWERS
from tracer.routing import RouteResult, shown_device
from tracer.simulate.departure import Balanced, Way
from tracer.simulate.walk import Ending, Walk
from tracer.stack_protocols import Balancer
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Reason, StackKind


def left_alone(walk: Walk, balancer: Balancer, stack: NodeStack, way: RouteResult) -> Ending | None:
    """Return the end of a packet for *balancer*'s address that *stack* was handed and sends on by *way*, None for any other packet."""
    passed = any(hop.kind is StackKind.LOAD_BALANCER and hop.name == balancer.name for hop in walk.hops)
    return _alone(walk, stack, way) if balancer.is_announced and passed and not walk.answering else None


def unheard_by_itself(walk: Walk, ways: Iterator[Way], balancer: Balancer, stack: NodeStack, way: RouteResult) -> Iterator[Way]:
    """Yield the *ways* of what *stack* sends to *balancer* by *way*; the announcer itself hears none of its own questions."""
    for chosen in ways:
        is_own = balancer.is_announced and way.gateway is None and isinstance(chosen, Balanced) and chosen.node == stack.name
        yield _alone(_on_conditions_of(walk, chosen.walk), stack, way) if is_own else chosen


def _on_conditions_of(walk: Walk, chosen: Walk) -> Walk:
    odds = changed(walk, probability=chosen.probability, conditions=chosen.conditions, unknowns=chosen.unknowns)
    return changed(odds, forks=chosen.forks, assumed=chosen.assumed)


def _alone(walk: Walk, stack: NodeStack, way: RouteResult) -> Ending:
    destination, version = walk.packet.destination, walk.packet.destination.version
    sends = f"{stack.begins} is handed what is sent to {destination}, which it announces and does not have: it sends it out of"
    if way.gateway is not None:
        text = f"{sends} {shown_device(way.device)} to {way.next_hop}, which brings it back, in circles until its TTL is used up"
        return changed(walk, says=EXPIRED[version]).end(Disposition.LOOP, Reason(code="TTL_LOOP", text=text), went_out=way.device)
    text = f"{sends} {shown_device(way.device)}, where nobody has it; nobody answers who is asked, and the node says host unreachable"
    reason = Reason(code="ADDRESS_ONLY_ANNOUNCED", text=text)
    return changed(walk, says=NOBODY_ANSWERS[version]).end(Disposition.UNREACHABLE, reason, went_out=way.device)
