"""Full-sized segments of a TCP connection that opens: whether they fit the devices on the way, as far as the MTUs were recorded.

Each end announces the largest segment that its own device takes, rules for TCPMSS lower that on the way, and a segment is as large as both
ends allow. A node whose next device takes less throws it away and tells the sender (ICMP fragmentation needed, ICMPv6 packet too big),
whose kernel sends smaller ones: nothing is said of that. Where the error does not come home, the connection opens, and then hangs once
there is more to say than fits: a black hole. A tunnel whose own packets are too large for the device below sends them in fragments (over
IPv4, unless it sets DF), or loses them: the node remembers the smaller size for what it sends itself and for IPv6, and for IPv4 that it
forwards only with ip_forward_use_pmtu.
The first packet's verdict is none of this: a SYN is small. A pod whose own devices were not recorded is taken to have the MTU of its
node's device towards it, and the remark says so; of an end whose MTU nobody recorded nothing is said.
Source: ip_forward, ip_dst_mtu_maybe_forward, ip6_forward, skb_tunnel_check_pmtu, vxlan_xmit_one, tcpmss_mangle_packet, Linux 6.18; measured
in tests/tracer/simulate/test_segments_kernel.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tracer.frozen import changed
from tracer.packet import Protocol
from tracer.patterns import pattern
from tracer.routing import Link
from tracer.simulate.afterwards import as_before, is_first, is_open
from tracer.simulate.answering import answered, sent_back
from tracer.simulate.departure import Departure
from tracer.simulate.fabric import Fabric
from tracer.simulate.sent_again import leaving
from tracer.simulate.walk import Ending
from tracer.topology.stack import NodeStack
from tracer.topology.tunnels import headroom
from tracer.trace import Disposition, Hop, StackKind, Step, Unknown
from tracer.values import dataclass

_HEADERS = {4: 40, 6: 60}
"""What IP and TCP add to a segment."""
_SET = pattern(r"-j TCPMSS --set-mss (?P<iptables>[0-9]{1,5})\b|tcp option maxseg size set (?P<nft>[0-9]{1,5})\b", re.ASCII)
_CLAMPED = pattern(r"-j TCPMSS --clamp-mss-to-pmtu\b|tcp option maxseg size set rt mtu\b", re.ASCII)


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a connection: who it is, what its device takes, and whose MTU that is where its own was not recorded."""

    who: str
    mtu: int
    taken: str = ""


@dataclass(frozen=True, slots=True)
class _Way:
    """One direction: who sends, the stacks on the way, and how segments of a size go it."""

    sender: _End
    hops: Sequence[Hop]
    walked: Callable[[int], list[Ending]]


def with_segments(fabric: Fabric, start: Departure, ending: Ending) -> Ending:
    """Return *ending* with a remark on the connection's full-sized segments, where they do not pass, or in fragments only."""
    outcome = ending.outcome
    if (
        start.walk.packet.protocol is not Protocol.TCP
        or outcome.reply is None
        or not is_first(fabric, start, ending)
        or not is_open(ending)
    ):
        return ending
    if not _differ(fabric, (*outcome.hops, *outcome.reply.hops)):
        return ending
    client, server = _end(fabric, outcome.hops, "the client"), _end(fabric, outcome.reply.hops, "the server")
    if client is None or server is None:
        return ending
    headers = _HEADERS[ending.walk.packet.destination.version]
    ways = (
        (_Way(client, outcome.hops, partial(_asking, fabric, start, ending)), server, outcome.reply.hops),
        (_Way(server, outcome.reply.hops, partial(_answering, fabric, ending)), client, outcome.hops),
    )
    for way, receiver, announced_by in ways:
        announced = _announced(fabric, receiver.mtu - headers, announced_by, headers)
        if announced is None:
            continue
        remark = _met(fabric, way, min(way.sender.mtu, announced + headers))
        if remark is not None and not any(other.text == remark.text for other in outcome.remarks):
            outcome = changed(outcome, remarks=(*outcome.remarks, remark))
    return Ending(outcome, ending.walk)


def _differ(fabric: Fabric, hops: Sequence[Hop]) -> bool:
    """Whether the devices that were passed take different sizes, or tunnels are among them: else everything fits, and nobody is asked."""
    devices = ((stack, device) for hop in hops if (stack := fabric.stack_of(hop)) is not None for device in (hop.came_in, hop.went_out))
    mtus = {link.mtu for stack, device in devices if (link := _link(stack, device)) is not None and not link.loopback}
    return len(mtus) > 1 or any(hop.tunnel is not None for hop in hops)


def _end(fabric: Fabric, hops: Sequence[Hop], who: str) -> _End | None:
    """The end that sends along *hops*, None where its MTU was not recorded."""
    first = hops[0]
    stack = fabric.stack_of(first)
    if len(hops) < 2 or first.kind not in (StackKind.NODE, StackKind.POD):
        return None
    if stack is not None:
        mtu = _mtu(stack, first)
        return None if mtu is None else _End(who, mtu)
    node = fabric.stack_of(hops[1])
    link = node.routing.link(hops[1].came_in) if node is not None and hops[1].came_in is not None else None
    if node is None or link is None or link.mtu is None:
        return None
    taken = f"; the MTU of {first.name}'s own device was not recorded: taken to be that of {link.name} of {node.called}, {link.mtu}"
    return _End(who, link.mtu, taken)


def _link(stack: NodeStack, device: str | None) -> Link | None:
    return stack.routing.link(device) if device is not None else None


def _mtu(stack: NodeStack, hop: Hop) -> int | None:
    """What fits the device by which *hop* was left, or its route."""
    link = _link(stack, hop.went_out)
    if link is None or link.mtu is None:
        return None
    packet = hop.packet_out
    ways = stack.routing.lookup(packet.destination, source=packet.source, mark=packet.mark)
    routes = (way.route.mtu for way in ways if way.device == link.name and way.route is not None)
    return min(link.mtu, *(mtu for mtu in routes if mtu is not None), link.mtu)


def _announced(fabric: Fabric, size: int, hops: Sequence[Hop], headers: int) -> int | None:
    """The largest segment that an end's *size* is by the time its SYN has passed *hops*; None where a rule may have lowered it."""
    for hop in hops:
        stack = fabric.stack_of(hop) if hop.tunnel is None else None
        if stack is None and hop.kind is not StackKind.POD and hop.tunnel is None:
            return None  # a load balancer: what it does to the option is in no file
        for step in hop.steps if stack is not None else ():
            lowered = _lowered(stack, hop, step, headers) if stack is not None and step.rule else size
            if lowered is None:
                return None
            size = min(size, lowered)
    return size


def _lowered(stack: NodeStack, hop: Hop, step: Step, headers: int) -> int | None:
    """What a rule lets of the option: its own number, or what fits both ways; any size where it is another rule; None: not known."""
    number, clamped = _SET.search(step.rule or ""), _CLAMPED.search(step.rule or "")
    if number is None and clamped is None:
        return 1 << 16
    if step.condition is not None or step.chance is not None:
        return None
    if number is not None:
        return int(number["iptables"] or number["nft"])
    devices = [device for device in (hop.came_in, hop.went_out) if device is not None]
    mtus = [link.mtu for device in devices if (link := _link(stack, device)) is not None and link.mtu is not None]
    return min(mtus) - headers if mtus and len(mtus) == len(devices) else None


def _met(fabric: Fabric, way: _Way, size: int) -> Unknown | None:
    """What segments of *size* meet on their way, a sender that is told sending smaller ones; None where they pass, or that is not known."""
    for place, hop in enumerate(way.hops[1:], 1):
        stack = fabric.stack_of(hop)
        if stack is None or place == len(way.hops) - 1:
            continue
        if hop.tunnel is not None:
            if way.hops[place - 1].tunnel is None and (remark := _carried(stack, way, place, size)) is not None:
                return remark
            continue
        mtu = _mtu(stack, hop)
        if mtu is None or size <= mtu:
            continue
        lost = _untold(fabric, way, size)
        if lost is None:
            return None
        if lost:
            text = (
                f"The handshake passes, and full-sized segments of {way.sender.who} do not: {size} bytes are more than the MTU of "
                f"{hop.went_out} of {stack.called}, {mtu}, and what the node says (fragmentation needed) does not reach the sender: "
                f"{lost}{way.sender.taken}"
            )
            return Unknown(code="MTU_BLACK_HOLE", text=text, at={"node": stack.name})
        size = mtu
    return None


def _untold(fabric: Fabric, way: _Way, size: int) -> str | None:
    """Why the sender of a segment that does not fit is not told; empty where it is, None where that is not known."""
    found: set[str | None] = set()
    for end in way.walked(size):
        if end.outcome.reason is None or end.outcome.reason.code != "MTU_BLACK_HOLE":
            found.add(None)
            continue
        for told in answered(fabric, end):
            reply = told.outcome.reply
            if reply is None or reply.disposition in (Disposition.UNKNOWN, Disposition.LEAVES) or told.outcome.conditions:
                found.add(None)
            else:
                is_home = reply.disposition is Disposition.DELIVERED
                found.add("" if is_home else reply.reason.text if reply.reason is not None else reply.disposition.value)
    return found.pop() if len(found) == 1 else None


def _carried(stack: NodeStack, way: _Way, place: int, size: int) -> Unknown | None:
    """What becomes of a segment of *size* in a tunnel whose own packet leaves by the hop at *place*."""
    hop, inside = way.hops[place], way.hops[place - 1]
    tunnel, below = _link(stack, hop.tunnel), _link(stack, hop.went_out)
    outer = hop.packet_out
    room = headroom(tunnel.kind, outer.destination.version) if tunnel is not None and outer.protocol is Protocol.UDP else None
    if tunnel is None or below is None or below.mtu is None or room is None or size + room <= below.mtu:
        return None
    text = (
        f"Full-sized segments of {way.sender.who} leave {stack.called} by the tunnel {tunnel.name} ({size} bytes, with its own headers "
        f"{size + room}), and the MTU of {below.name} is {below.mtu}: "
    )
    if outer.destination.version == 4 and tunnel.tunnel_df is None:
        text += f"each goes in two fragments, which cost throughput, and which many networks and firewalls drop{way.sender.taken}"
        return Unknown(code="MTU_FRAGMENTS", text=text, at={"node": stack.name})
    is_forwarded = place > 1
    if inside.packet_out.destination.version == 6 or not is_forwarded or stack.routing.get("net.ipv4.ip_forward_use_pmtu") == "1":
        return None  # the node remembers what fits, and says so to the next one
    text = f"The handshake passes, and then nothing larger: {text[0].lower()}{text[1:]}"
    text += f"the tunnel's packet may not be cut, it is thrown away, and nobody is told{way.sender.taken}"
    return Unknown(code="MTU_BLACK_HOLE", text=text, at={"node": stack.name})


def _asking(fabric: Fabric, start: Departure, ending: Ending, size: int) -> list[Ending]:
    """The ways of a segment of the client's."""
    walk = changed(start.walk, entries=ending.walk.entries, recent=ending.walk.recent, sets=ending.walk.sets, midstream=True, size=size)
    return as_before(ending, list(fabric.endings(leaving(start, ending, walk))))


def _answering(fabric: Fabric, ending: Ending, size: int) -> list[Ending]:
    """The ways of a segment of the server's."""
    place = ending.outcome.destination
    asked = changed(ending.walk, size=size)
    return [] if place is None else list(sent_back(fabric, asked, place))


def full_sized(fabric: Fabric, start: Departure, endings: Iterator[Ending]) -> Iterator[Ending]:
    """Yield *endings*, each with what becomes of its connection's full-sized segments."""
    return (with_segments(fabric, start, ending) for ending in endings)
