"""A packet that leaves a node by a tunnel: the packet that carries it is walked first, then the one inside comes out at the other end.

The kernel sends the carrier like any process of the node (OUTPUT, POSTROUTING), with the mark of the packet inside and no connection of
that one. Whatever ends it on its way, the tunnel tells nobody: the packet inside is gone. At the other end it comes in by the tunnel's
device, with the mark that the carrier got there.
Source: iptunnel_xmit, __iptunnel_pull_header, skb_scrub_packet in net/ipv4/ip_tunnel_core.c and net/core/skbuff.c, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tracer.frozen import changed
from tracer.packet import Packet
from tracer.simulate.departure import Departure, SentByNode, Way
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.topology.tunnels import Carried
from tracer.trace import Disposition, Listener, Reason, StackKind

Unpacked = Callable[[Walk, Carried], Iterator[Way]]
"""What becomes of a packet that has come out of a tunnel, with the walk in the stack that unpacked it."""


def carrier_sent(walk: Walk, carried: Carried, node: str, unpacked: Unpacked) -> Departure:
    """Return the departure of the packet that carries *walk*'s, which leaves *node* by a tunnel."""
    packet = changed(carried.packet, mark=walk.packet.mark) if carried.keeps_mark else carried.packet
    outer = changed(
        walk,
        packet=packet,
        visit=Visit(kind=StackKind.NODE, name=node, node=node, came_in=None, packet_in=packet),
        hops=walk.left(carried.device),
        entries=(),
        seen=frozenset(),
        source_port_certain=True,
        answering=False,
        midstream=False,
        accepted=(),
        header={},
        refusal=None,
        sender=None,
        no_way=None,
        says=None,
        attached=False,
        tunnel=carried.device,
        size=None,
    )
    after = partial(_after, inside=walk, carried=carried, node=node, unpacked=unpacked)
    return SentByNode(walk=outer, node=node, source=packet.source, after=after)


def _after(ending: Ending, *, inside: Walk, carried: Carried, node: str, unpacked: Unpacked) -> Iterator[Way]:
    """What becomes of the packet inside, by the way its carrier ended."""
    outcome, at = ending.outcome, ending.walk.visit
    if outcome.disposition is Disposition.UNKNOWN:
        return iter([_ended(ending, inside, outcome.disposition, _told(carried, outcome.reason))])
    if carried.peer is None and outcome.disposition is Disposition.DELIVERED:
        text = f"The tunnel {carried.device} carries the packet in {carried.text}, by {carried.told_by}: no node unpacks it there"
        return iter([_ended(ending, inside, Disposition.DROPPED, Reason(code="TUNNEL_PACKET_LOST", text=text))])
    has_arrived = outcome.disposition is Disposition.DELIVERED and at.node == carried.peer
    if not has_arrived or outcome.listener is Listener.ABSENT:
        return iter([_ended(ending, inside, Disposition.DROPPED, _told(carried, outcome.reason, "TUNNEL_PACKET_LOST"))])
    port = ending.walk.packet.destination_port
    if port != carried.packet.destination_port:
        why = f"node {carried.peer} translates it to port {port}, where no tunnel takes it"
        reason = _told(carried, Reason(code="TUNNEL_PACKET_LOST", text=why))
        return iter([_ended(ending, inside, Disposition.DROPPED, reason)])
    if carried.is_for_another:
        text = (
            f"Node {node} sends the packet through the tunnel {carried.device} to {carried.mac}, and {carried.peer_device} of node "
            f"{carried.peer} has {carried.peer_mac}: it takes the packet for another's and drops it"
        )
        return iter([_ended(ending, inside, Disposition.DROPPED, Reason(code="TUNNEL_PACKET_LOST", text=text))])
    packet = changed(inside.packet, mark=ending.walk.packet.mark if carried.keeps_mark else 0)
    out = _resumed(ending, inside, packet)
    visit = Visit(kind=StackKind.NODE, name=str(carried.peer), node=carried.peer, came_in=carried.peer_device, packet_in=out.wire)
    return unpacked(changed(out, visit=visit), carried)


def _told(carried: Carried, reason: Reason | None, code: str = "") -> Reason:
    why = reason.text if reason is not None else "its carrier does not arrive"
    text = f"The tunnel {carried.device} carries the packet in {carried.text}, and that ends: {why}"
    return Reason(code=code or (reason.code if reason is not None else ""), text=text)


def _ended(ending: Ending, inside: Walk, disposition: Disposition, reason: Reason) -> Ending:
    """The end of the packet inside where its carrier ended, which nobody is told."""
    outcome = changed(
        ending.outcome,
        disposition=disposition,
        reason=reason,
        destination=None,
        source_seen=None,
        listener=None,
        reject_with=None,
        left_from=None,
    )
    return Ending(outcome, _resumed(ending, inside, inside.packet))


def _resumed(ending: Ending, inside: Walk, packet: Packet) -> Walk:
    """The walk of the packet *inside* again, with all that was met on its carrier's way."""
    met = ending.walk
    return changed(
        inside,
        packet=packet,
        visit=met.visit,
        hops=ending.outcome.hops,
        probability=met.probability,
        conditions=met.conditions,
        unknowns=met.unknowns,
        settled=met.settled,
        recent=met.recent,
        assumed=met.assumed,
        sets=met.sets,
        forks=met.forks,
    )
