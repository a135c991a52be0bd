"""Which nodes answer an ARP request for an address that several hold on a dummy device, as kube-ipvs0 holds a Service's.

A node answers on a device for every local address, whichever device holds it, unless arp_ignore forbids (kube-proxy's strictARP sets 1).
IPv6 has no such thing: a neighbour solicitation is answered for the device's own addresses only.
Source: arp_process and arp_ignore in net/ipv4/arp.c, Linux 6.18.
"""

from __future__ import annotations

from tracer.packet import Address
from tracer.routing import Routing
from tracer.topology.cluster import Cluster, Port

_VIRTUAL_KINDS = {"dummy"}


def arp_answerers(cluster: Cluster, address: Address) -> tuple[Port, ...]:
    """Return every node that answers for *address* on the link whose subnet it is of, with the device; empty for IPv6."""
    if address.version != 4 or address.is_loopback:
        return ()
    found = ((node, _answering_device(cluster.stack(node).routing, address)) for node in cluster.node_names)
    return tuple(Port(node=node, device=device) for node, device in found if device is not None)


def _answering_device(routing: Routing, address: Address) -> str | None:
    """The device by which a node's stack would answer, None when it would not."""
    if not routing.is_local(address):
        return None
    for held in routing.addresses:
        link = routing.link(held.device)
        virtual = link is not None and (link.loopback or link.kind in _VIRTUAL_KINDS)
        if virtual or held.address.version != 4 or address not in held.network or held.prefix == 32:
            continue
        # NB: without a recorded value the kernel's default holds, which answers.
        if (routing.sysctls.larger(4, held.device, "arp_ignore") or 0) == 0:
            return held.device
    return None
