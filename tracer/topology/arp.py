"""Who answers on a link that it has an address: ARP for IPv4, neighbour discovery for IPv6.

IPv4 answers on a device for every address of the stack, whichever device holds it, unless settings of the device forbid it: ``arp_ignore``
(kube-proxy's strictARP sets 1), ``arp_filter``, and the look at who asks that every packet gets (rp_filter, martians). By which address a
stack asks is the packet's own, where that is local, or one of the link's: ``arp_announce``. IPv6 answers for the device's own addresses
only. A device without ARP (NOARP) neither asks nor answers, in both families. Settings that were not recorded count as the kernel's
default.
Source: arp_rcv, arp_process, arp_ignore, arp_filter, arp_solicit in net/ipv4/arp.c, inet_confirm_addr in devinet.c, ndisc_recv_ns in
ndisc.c, Linux 6.18; measured in tests/tracer/simulate/test_neighbours_kernel.py.
"""

from __future__ import annotations

from ipaddress import ip_network

from tracer.packet import Address, unsaid
from tracer.routing import IPVS_DUMMY, ResultKind, RouteResult, Routing, SourceCheck
from tracer.routing.model import LINK_SCOPE
from tracer.topology.cluster import Cluster, Port
from tracer.values import dataclass

_VIRTUAL_KINDS = {"dummy"}
_REFUSED = (SourceCheck.MARTIAN_SOURCE, SourceCheck.MARTIAN_DESTINATION, SourceCheck.RP_FILTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The question who has *target*; *asking* is the address that asks (IPv4), None where nobody says it."""

    target: Address
    asking: Address | None = None


def asked_for(routing: Routing, way: RouteResult, source: Address) -> Asked:
    """Return what a stack asks before it sends a packet from *source* by *way*. Source: arp_solicit."""
    target, device = way.next_hop, way.device
    if target.version != 4 or device is None:
        return Asked(target=target)
    announce = _setting(routing, device, "arp_announce")
    if announce < 2 and source.version == 4 and unsaid(source) is None and routing.is_local(source):
        near = (held.network for held in routing.addresses_of(device) if held.address.version == 4)
        if announce == 0 or any(target in network and source in network for network in near):
            return Asked(target=target, asking=source)
    return Asked(target=target, asking=routing.asking_address(device, target))


def why_silent(routing: Routing, device: str, asked: Asked) -> str | None:
    """Return why a stack does not answer *asked* on *device*, as what follows its name; None where it does, or that is not known."""
    link = routing.link(device)
    if routing.inferred_from or not routing.is_local(asked.target):
        return None
    if link is not None and "NOARP" in link.flags:
        return "neither asks nor answers who has an address (NOARP)"
    if asked.target.version == 4:
        return _silent_by_setting(routing, device, asked) or _silent_to(routing, device, asked)
    held = any(own.address == asked.target for own in routing.addresses_of(device))
    if held or "ip_addr" in routing.missing or routing.sysctls.either(6, device, "proxy_ndp"):
        return None
    return f"does not hold {asked.target}: over IPv6 a device answers for its own addresses only"


def _silent_by_setting(routing: Routing, device: str, asked: Asked) -> str | None:
    ignore, target, asking = _setting(routing, device, "arp_ignore"), asked.target, asked.asking
    holders = [held for held in routing.addresses if held.address == target]
    here = [held for held in holders if held.device == device]
    if not holders:  # the local routes alone do not say which device has it
        return None
    if ignore in (1, 2) and not here:
        return f"does not hold {target}, and arp_ignore {ignore} lets it answer for its own addresses only"
    if ignore == 2 and asking is not None and not any(asking in held.network for held in here):
        return f"has {target} in another subnet than {asking}, which asks, and arp_ignore 2 lets it answer within the subnet only"
    if ignore == 3 and all(held.scope > LINK_SCOPE for held in holders):
        return f"does not answer for {target}, whose scope is host (arp_ignore 3)"
    return "answers for no address (arp_ignore 8)" if ignore == 8 else None


def _silent_to(routing: Routing, device: str, asked: Asked) -> str | None:
    """Why it does not answer who asks: the way back to that one is another, or its address is none to come from there."""
    asking, target = asked.asking, asked.target
    if asking is None or unsaid(asking) is not None:
        return None
    verdict = routing.validate_source(asking, device, target)
    if verdict.check in _REFUSED and verdict.otherwise is None:
        return f"does not answer {asking}, which asks: {verdict.reason}"
    if routing.sysctls.either(4, device, "arp_filter"):
        back = routing.lookup(asking, source=target)
        known = bool(back) and all(way.kind is not ResultKind.UNKNOWN for way in back)
        if known and not any(way.kind is ResultKind.UNICAST and way.device == device for way in back):
            return f"does not answer {asking}, which asks: the way back to it is another device's (arp_filter)"
    return None


def _setting(routing: Routing, device: str, key: str) -> int:
    """The larger of all's and the device's value, as far as they were recorded: the kernel's default is 0."""
    values = (routing.sysctls.conf(4, "all", key), routing.sysctls.inherited(4, device, key))
    return max(value or 0 for value in values)


def hearing(cluster: Cluster, sender: Routing, way: RouteResult, port: Port) -> tuple[str, ...]:
    """Return the devices of *port*'s node that hear *sender* ask who has the next hop of *way*: those on the link that it asks on.

    A link is told by its subnet, or by the routes of the node back to the sender; else the device that holds the address is taken.
    """
    receiver, version = cluster.stack(port.node).routing, way.next_hop.version
    own = [a for a in sender.addresses_of(way.device or "") if a.address.version == version and not a.address.is_link_local]
    networks = [a.network for a in own if a.prefix < a.address.max_prefixlen]
    near = dict.fromkeys(a.device for a in receiver.addresses if any(a.address in n for n in networks) and _is_real(receiver, a.device))
    if port.device is not None and (port.device in near or not near):
        return (port.device,)
    if near:
        return tuple(near)
    back = (found for a in own for found in receiver.lookup(a.address))
    return tuple(dict.fromkeys(w.device for w in back if w.kind is ResultKind.UNICAST and w.gateway is None and w.device is not None))


def arp_answerers(cluster: Cluster, address: Address) -> tuple[Port, ...]:
    """Return every node that answers for *address* on the link whose subnet it is of, with the device; empty for IPv6."""
    if address.version != 4 or address.is_loopback:
        return ()
    found = ((node, _answering_device(cluster.stack(node).routing, address)) for node in cluster.node_names)
    return tuple(Port(node=node, device=device) for node, device in found if device is not None)


def unlisted_holder(cluster: Cluster, address: Address) -> str | None:
    """Return a node that may answer for *address*: it holds it on IPVS' device, and what subnets its other devices are of was not recorded.

    Only an address near a node's own (the same /16) can be of one.
    """
    if address.version != 4:
        return None
    near = ip_network((int(address) >> 16 << 16, 16))
    for node in cluster.node_names:
        routing = cluster.stack(node).routing
        held = routing.addresses if routing.inferred_from else ()
        is_held = any(own.device == IPVS_DUMMY and own.address == address for own in held)
        if is_held and any(own.device != IPVS_DUMMY and own.address in near for own in held):
            return node
    return None


def _answering_device(routing: Routing, address: Address) -> str | None:
    """The device by which a node's stack would answer, None when it would not."""
    if not routing.is_local(address):
        return None
    for held in routing.addresses:
        if not _is_real(routing, held.device) or held.address.version != 4 or address not in held.network or held.prefix == 32:
            continue
        if why_silent(routing, held.device, Asked(target=address)) is None:
            return held.device
    return None


def _is_real(routing: Routing, device: str) -> bool:
    """Whether a device leads to a link, and does not just hold addresses."""
    link = routing.link(device)
    return link is None or not (link.loopback or link.kind in _VIRTUAL_KINDS)
