"""A packet in a pod's own stack: sent to its node, or delivered.

A pod is taken to have no rules of its own, unless some were recorded: then its stack is walked like a node's (tracer.simulate.node).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from tracer.kube.pod import Pod
from tracer.packet import Address, Family, Packet, at_text
from tracer.refusals import REFUSALS, no_listener
from tracer.simulate import echo
from tracer.simulate.departure import Accepted, Departure, LeftForNode, ProcessAt, SentByPod, Way
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.stack_protocols import StackId
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Listener, Place, Reason, StackKind, Unknown
from tracer.values import dataclass

NO_ADDRESS: dict[int, Address] = {4: ipaddress.IPv4Address(0), 6: ipaddress.IPv6Address(0)}
"""What stands for the source of a packet whose sender has no address of the family, or has not chosen one."""


def name_of(pod: Pod) -> str:
    """Return the name of a pod's stack."""
    return f"{pod.namespace}/{pod.name}"


@dataclass(frozen=True, slots=True)
class PodHost:
    """A pod's stack, as its processes' own connections see it."""

    pod: Pod

    def visit(self, packet: Packet) -> Visit:
        """Return the visit of the pod that begins with *packet*."""
        return Visit(kind=StackKind.POD, name=name_of(self.pod), node=None, came_in=None, packet_in=packet)

    def source_towards(self, destination: Address) -> Address | None:
        """Return the pod's address of the family, None when it has none; what goes over the loopback device is sent from there."""
        if destination.is_loopback:
            return destination
        return next((a for a in self.pod.owned_ips if a.version == destination.version), None)

    def sent(self, walk: Walk, after: Callable[[Ending], Iterator[Way]]) -> Departure:
        """Return the departure of *walk*."""
        return SentByPod(walk=walk, pod=self.pod, after=after)


def sent(walk: Walk, pod: Pod, process_at: ProcessAt) -> Way:
    """Return the way of a packet that a process of *pod* sends."""
    destination, name = walk.packet.destination, name_of(pod)
    if walk.packet.source == NO_ADDRESS[destination.version]:
        text = f"Pod {walk.visit.name} has no IPv{destination.version} address, so it has no route to {destination}"
        return walk.end(Disposition.UNREACHABLE, Reason(code="FAMILY_MISMATCH", text=text))
    if destination.is_loopback or destination in pod.owned_ips:
        return delivered(walk, pod, process_at)
    if pod.node_name is None:
        return walk.unknown(Unknown(code="DATA_MISSING", text=f"pod {name} runs on no node", at={"pod": name}))
    return LeftForNode(walk=walk, node=pod.node_name, pod=pod)


def received(walk: Walk, pod: Pod, process_at: ProcessAt) -> Way:
    """Return the way of a packet that came to *pod* by its device."""
    packet = walk.packet
    if packet.source == packet.destination and packet.family is Family.IP and len(walk.hops) > 1:
        gets = f"Pod {name_of(pod)} gets a packet from its own address {packet.source}"
        text = f"{gets} and drops it: nothing masqueraded the hairpin connection"
        return walk.end(Disposition.DROPPED, Reason(code="HAIRPIN_WITHOUT_MASQ", text=text))
    return delivered(walk, pod, process_at)


def delivered(walk: Walk, pod: Pod, process_at: ProcessAt) -> Way:
    """Return the way of a packet that is for *pod* itself: to a process that makes a connection of its own, or to its end."""
    return handed(walk, pod, None, None, process_at)


def handed(walk: Walk, pod: Pod, stack: NodeStack | None, device: str | None, process_at: ProcessAt) -> Way:
    """Return the way of a packet that *pod*'s stack hands to a process, by the sockets of *stack* where they were recorded."""
    packet, name = walk.packet, name_of(pod)
    process = process_at(StackId(StackKind.POD, name), walk)
    if process is not None and process.silence(walk) is None:
        return Accepted(walk=walk, process=process, host=PodHost(pod))
    if stack is not None and (ended := echo.ignored(walk, stack)):
        return ended
    port = packet.destination_port
    listening = None if stack is None or walk.answering else stack.listens(packet, device)
    place = Place(kind="pod", namespace=pod.namespace, name=pod.name, node=pod.node_name, ip=packet.destination, port=port)
    at = f"pod {name} at {at_text(packet.destination, port)}"
    if listening is False:
        said = REFUSALS[no_listener(packet.protocol, packet.destination.version)].said
        reason = Reason(code="NOBODY_LISTENS", text=f"Handed to {at}, where nothing listens (ss.txt): the kernel answers with {said}")
        return walk.end(Disposition.DELIVERED, reason, destination=place, listener=Listener.ABSENT)
    declared = listening or (port is not None and pod.declares(port, packet.protocol))
    is_redirected = stack is not None and walk.visit.packet_in.destination_port != port  # by the pod's own rules: to its sidecar
    undeclared = Listener.UNKNOWN if is_redirected else Listener.UNDECLARED
    listener = None if echo.is_request(walk) else Listener.DECLARED if declared else undeclared
    return walk.end(Disposition.DELIVERED, Reason(code="DELIVERED", text=f"Handed to {at}"), destination=place, listener=listener)
