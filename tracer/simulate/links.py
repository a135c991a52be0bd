"""The last steps of a packet that leaves a stack: whether the device sends, and whether the neighbour answers who has the address.

A device without carrier has routes all the same: its kernel asks for the neighbour into nothing, and after three questions tells the
sender "host unreachable". Where it need not ask (a permanent entry, a device without ARP) the packet vanishes in the device's queue.
An entry FAILED or INCOMPLETE says only that nobody answered when the kernel asked last; it asks again for the next packet. So it proves
nothing of this packet, and the walk ends in unknown there; entries that have merely aged (STALE, DELAY, PROBE) say nothing at all.
Source: dev_deactivate() in sch_generic.c, neigh_timer_handler(), __neigh_event_send(), neigh_carrier_down() in core/neighbour.c,
arp_error_report(), ndisc_error_report(), Linux 6.18; measured in tests/tracer/simulate/test_links_kernel.py.
"""

from __future__ import annotations

from collections.abc import Callable

from tracer.frozen import changed
from tracer.packet import Address
from tracer.refusals import NOBODY_ANSWERS
from tracer.routing import ResultKind, RouteResult, Routing
from tracer.simulate.walk import Ending, Walk
from tracer.snapshot.node_files import IP_ADDR, IP_LINK, IP_NEIGH, IP_ROUTE
from tracer.topology.arp import Asked, asked_for, why_silent
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Reason, Unknown


def stopped(walk: Walk, stack: NodeStack, way: RouteResult, is_inside: Callable[[Address], bool]) -> Ending | None:
    """Return the end of a packet that *stack* cannot hand to the neighbour of *way*, None where nothing recorded keeps it from that.

    *is_inside*: whether somebody in the cluster has an address. Of one that nobody has, an entry that failed tells nothing new.
    """
    if way.kind is not ResultKind.UNICAST or way.device is None:
        return None
    carrier = stack.routing.has_carrier(way.device)
    if way.linkdown and carrier:
        return walk.unknown(_contradicting(stack, way))
    if carrier is False or (way.linkdown and carrier is None):
        return _without_carrier(walk, stack, way, way.device)
    if (under := underlay(stack.routing, way.device)) is not None and (why := is_deaf(stack.routing, under)):
        head = f"{stack.begins} sends the packet into the tunnel {way.device}, whose own packets leave by {under}, which {why}"
        head += f" ({told_by(stack)})"
        return _unanswerable(walk, stack, way, head)
    if (entry := stack.routing.neighbour(way.next_hop, way.device)) is not None and entry.is_unanswered:
        if way.gateway is None and not is_inside(way.next_hop):
            return None
        return walk.unknown(_unanswered(stack, way, "/".join(entry.states)))
    return None


def _without_carrier(walk: Walk, stack: NodeStack, way: RouteResult, device: str) -> Ending:
    marked = f"{stack.path_of(IP_ROUTE)} marks its route linkdown" if stack.routing.has_carrier(device) is None else told_by(stack)
    return _unanswerable(walk, stack, way, f"{stack.begins} sends the packet out of {device}, which has no carrier ({marked})")


def _unanswerable(walk: Walk, stack: NodeStack, way: RouteResult, head: str) -> Ending:
    """The end of a packet whose neighbour cannot answer: told to the sender, unless the node does not ask."""
    if why := _asks_nobody(stack.routing, way):
        text = f"{head}: {why}, so the packet vanishes and nobody is told"
        return walk.end(Disposition.DROPPED, Reason(code="NO_CARRIER", text=text), went_out=way.device)
    text = f"{head}: nobody answers the question who has {way.next_hop}, and the node says host unreachable"
    walk = changed(walk, says=NOBODY_ANSWERS[walk.packet.destination.version])
    return walk.end(Disposition.UNREACHABLE, Reason(code="NO_CARRIER", text=text), went_out=way.device)


def _asks_nobody(routing: Routing, way: RouteResult) -> str:
    """Why the stack sends by *way* without asking who has the next hop's address; empty where it asks."""
    if way.device is None:
        return ""
    link, entry = routing.link(way.device), routing.neighbour(way.next_hop, way.device)
    if entry is not None and entry.is_fixed:
        return f"the node's entry for {way.next_hop} is {'/'.join(entry.states)}"
    return f"{way.device} asks for no neighbour" if link is not None and not link.resolves else ""


def _contradicting(stack: NodeStack, way: RouteResult) -> Unknown:
    route = way.route.to_text() if way.route is not None else str(way.destination)
    text = (
        f"whether {way.device} of {stack.called} has carrier: route {route} is marked linkdown in {stack.path_of(IP_ROUTE)}, and "
        f"{told_by(stack)} shows the link up; they were read at different moments"
    )
    return Unknown(code="LINK_STATE_UNKNOWN", text=text, at={"node": stack.name, "file": stack.path_of(IP_LINK)})


def _unanswered(stack: NodeStack, way: RouteResult, state: str) -> Unknown:
    file = stack.path_of(IP_NEIGH)
    text = (
        f"whether {way.next_hop} answers {stack.called} on {way.device}: {file} says {state}, so nobody did when the node asked last "
        "(then the sender is told host unreachable); the node asks again for every new packet, and such an entry may be older than who "
        "has the address now"
    )
    return Unknown(code="NEIGHBOUR_FAILED", text=text, at={"node": stack.name, "file": file})


def cut_off(walk: Walk, stack: NodeStack, device: str | None) -> Ending | None:
    """Return the end of what a pod of *stack* sends where the node's device towards it does not work, None where it does.

    A node's end of a veth that is up without carrier says that the pod's own end is shut: the pod then has no route at all. Where the
    node's end is shut, the pod asks for its gateway and nobody answers.
    """
    shut = () if device else shut_veths(stack.routing)
    device = device or dead_device_towards(stack.routing, walk.packet.source)
    if device is None and shut:
        text = (
            f"whether {walk.visit.name} reaches its node: {stack.called} has no route to it, and {', '.join(shut[:3])} of the node "
            f"{'is' if len(shut) == 1 else 'are'} shut ({told_by(stack)}): link down, if it is the pod's"
        )
        return walk.unknown(Unknown(code="LINK_STATE_UNKNOWN", text=text, at={"node": stack.name, "file": stack.path_of(IP_LINK)}))
    why = is_deaf(stack.routing, device) if device else None
    if device is None or why is None:
        return None
    link, head = stack.routing.link(device), f"{device} of {stack.called}, towards {walk.visit.name}, {why} ({told_by(stack)})"
    own_end_shut = link is not None and link.up and (not link.is_bridge or bool(stack.routing.bridge_ports(device)))
    if own_end_shut:
        text = f"{head}: the pod's own device is shut, and the pod has no route to {walk.packet.destination}"
        return walk.end(Disposition.UNREACHABLE, Reason(code="NO_ROUTE", text=text))
    text = f"{head}: nobody answers the pod when it asks for its gateway, and it gets host unreachable"
    return walk.end(Disposition.UNREACHABLE, Reason(code="NO_CARRIER", text=text))


def unheard(walk: Walk, stack: NodeStack, device: str, sender: NodeStack | None, way: RouteResult | None) -> Ending | None:
    """Return the end of what is sent to *stack*, where it would come in by *device* and that does not work; None where it does.

    *sender* is the node that sent it there by *way*; None for anybody else.
    """
    why = is_deaf(stack.routing, device)
    if why is None:
        return None
    head = f"{device} of {stack.called}, by which the packet would come in, {why} ({told_by(stack)})"
    if sender is not None and way is not None:
        return _unanswerable(walk, sender, way, head)
    text = f"{head}: nobody answers for its address on that network, and who asks there says host unreachable"
    return walk.end(Disposition.UNREACHABLE, Reason(code="NO_CARRIER", text=text))


def unanswered(walk: Walk, sender: NodeStack, way: RouteResult, receiver: NodeStack, devices: tuple[str, ...]) -> Ending | None:
    """Return the end of what *sender* sends by *way* to *receiver*, which does not answer who has the next hop; None where it does.

    *devices* are those of *receiver* that may hear the question. An entry that was answered once is used without asking again.
    """
    device, entry = way.device, sender.routing.neighbour(way.next_hop, way.device or "")
    link = sender.routing.link(device) if device is not None else None
    if link is None or link.is_tunnel or (entry is not None and entry.mac is not None and not entry.is_unanswered):
        return None
    if not link.resolves:
        return _unasked(walk, sender, way) if link.is_bare_ethernet else None
    asked = asked_for(sender.routing, way, walk.packet.source)
    silent = [(name, why_silent(receiver.routing, name, asked)) for name in devices]
    if not silent or any(why is None for _, why in silent) or (entry is None and _may_know(sender.routing, way, receiver.routing, devices)):
        return None
    name, why = silent[0]
    text = (
        f"{sender.begins} asks on {device} who has {way.next_hop}, and {name} of {receiver.called} {why}: nobody answers, and the "
        "sender is told host unreachable"
    )
    walk = changed(walk, says=NOBODY_ANSWERS[walk.packet.destination.version])
    return walk.end(Disposition.UNREACHABLE, Reason(code="NEIGHBOUR_SILENT", text=text), went_out=device)


def _may_know(sender: Routing, way: RouteResult, receiver: Routing, devices: tuple[str, ...]) -> bool:
    """Whether *sender* may know the next hop by what it sends otherwise: its own address is answered.

    NB: nodes speak with each other all the time. It is what they ask on behalf of another address of theirs that is not answered.
    """
    own = Asked(target=way.next_hop, asking=sender.asking_address(way.device or "", way.next_hop))
    return any(why_silent(receiver, name, own) is None for name in devices)


def _unasked(walk: Walk, sender: NodeStack, way: RouteResult) -> Ending:
    text = (
        f"{sender.begins} sends the packet out of {way.device}, which asks for no neighbour (NOARP): the frame goes to the device's own "
        f"link-layer address, {way.next_hop} takes it for another's and drops it"
    )
    return walk.end(Disposition.DROPPED, Reason(code="NEIGHBOUR_SILENT", text=text), went_out=way.device)


def shut_veths(routing: Routing) -> tuple[str, ...]:
    """Return the devices towards pods that are shut; the kernel keeps no route over them, so whose they are is not recorded."""
    return tuple(link.name for link in routing.links if link.kind in ("veth", "bridge") and link.is_down)


def underlay(routing: Routing, device: str) -> str | None:
    """Return the device by which a tunnel's own packets leave, as far as it is bound to one; None for a device that is no tunnel."""
    link = routing.link(device)
    if link is None or not link.is_tunnel:
        return None
    if link.tunnel_over is not None:
        return link.tunnel_over
    return routing.device_of(link.tunnel_local) if link.tunnel_local is not None else None


def told_by(stack: NodeStack) -> str:
    """Return the file that says which links of *stack* are up."""
    return stack.path_of(IP_ADDR if "ip_link" in stack.routing.missing else IP_LINK)


def is_deaf(routing: Routing, device: str) -> str | None:
    """Return why nothing comes in by *device*, as the end of a sentence; None where it does, or that was not recorded."""
    link = routing.link(device)
    if link is not None and link.is_down:
        return "is shut"
    return "has no carrier" if routing.has_carrier(device) is False else None


def dead_device_towards(routing: Routing, address: Address) -> str | None:
    """Return the device whose own subnet or route holds *address*, a pod's, where that device does not work; None for any other."""
    for held in routing.addresses:
        is_near = held.address.version == address.version and held.prefix < address.max_prefixlen and address in held.network
        if is_near and is_deaf(routing, held.device):
            return held.device
    for route, _ in routing.passed_over(address, None):
        if route.gateway is None and route.device is not None and route.destination.prefixlen:
            return route.device
    return None


def dead_ways(routing: Routing, address: Address) -> str:
    """Return what of a stack's routes to *address*, a pod's of its own, does not work, as part of a sentence; empty where nothing does."""
    passed = (f"route {route.to_text()}: {why}" for route, why in routing.passed_over(address, None) if route.destination.prefixlen)
    device = dead_device_towards(routing, address)
    return next(passed, "") or (f"{device} {is_deaf(routing, device)}" if device else "")


def shut_with_address(routing: Routing) -> str:
    """Return which devices are shut that hold an address, as part of a sentence; empty where none is. IPVS's dummy always is."""
    found = [link.name for link in routing.links if link.is_down and link.kind != "dummy" and routing.addresses_of(link.name)]
    return f"{', '.join(found[:3])} {'is' if len(found) == 1 else 'are'} shut" if found else ""


def passed_over_text(stack: NodeStack, way: RouteResult) -> str:
    """Return which routes the look-up behind *way* passed over, and why, as a sentence; empty where there is none."""
    found = stack.routing.passed_over(way.destination, way.route)
    return "; ".join(f"passed over: route {route.to_text()}, since {why}" for route, why in found[:3])
