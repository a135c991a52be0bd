"""Which packet carries what leaves a node by a tunnel: its protocol, its ends, and the device of the other node that unpacks it.

Where a VXLAN device sends to is in its forwarding database, by the link-layer address of the next hop; for an address that is not listed,
to everybody whom its entries of zeros name. Where the database was not recorded, the node is taken whose own device of the same network has
that link-layer address, else the one that holds the next hop on such a device.
IPIP, SIT and GRE packets go to the device's other end, or to the route's next hop (Calico). The kernel that the tests run on has no such
devices: taken from its source, and not proved.
WireGuard's go to the peer that may have the packet's destination (``wg show``): not proved either.
Not walked, and left as they are: devices whose parameters were not recorded, and those that a program tells each packet's way (external).
Source: vxlan_xmit, vxlan_xmit_one, vxlan_rcv in drivers/net/vxlan/vxlan_core.c, geneve_xmit in drivers/net/geneve.c, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.packet import Address, Packet, Protocol
from tracer.routing import Link, RouteResult
from tracer.routing.model import Forwarding
from tracer.topology.cluster import Cluster
from tracer.values import dataclass

_PORTS = {"vxlan": 8472, "geneve": 6081}
"""The kinds of tunnels whose packets are UDP, and the port where the device does not say it: Linux' own, for VXLAN not IANA's 4789."""
_HEADROOM = {"vxlan": {4: 50, 6: 70}, "geneve": {4: 50, 6: 70}}
"""What a tunnel adds to a packet, by the IP version of its own: IP, UDP, its header, and the Ethernet header inside."""
_PORTLESS = {"ipip": Protocol.IPENCAP, "sit": Protocol.IPV6, "gre": Protocol.GRE}
"""The kinds of tunnels whose packets have a protocol of their own and no ports, over IPv4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What carries a packet out of *device*: *packet*, to node *peer*, which unpacks it at its *peer_device*.

    *mac* is the link-layer address that the packet inside is sent to, *peer_mac* that of the device that unpacks it. *told_by* says what
    the other end is known by. Where nobody of the cluster unpacks it, *peer* and *peer_device* are None.
    *keeps_mark*: the packet that carries has the mark of the one inside, and that one its carrier's at the other end.
    """

    device: str
    packet: Packet
    peer: str | None
    peer_device: str | None
    told_by: str
    mac: str | None
    peer_mac: str | None
    keeps_mark: bool = True

    @property
    def text(self) -> str:
        """Return the packet as a sentence says it."""
        packet = self.packet
        port = f" port {packet.destination_port}" if packet.destination_port is not None else f" (protocol {packet.protocol.number})"
        return f"{packet.protocol.value.upper()} {packet.source} to {packet.destination}{port}"

    @property
    def is_for_another(self) -> bool:
        """Return whether the device that unpacks the packet throws it away, as one for somebody else: it has another address by now."""
        return self.mac is not None and self.peer_mac is not None and self.mac != self.peer_mac


@dataclass(frozen=True, slots=True)
class _End:
    """The other end of a tunnel: an address, and the node and device that unpack what comes there. *port*: another than the device's."""

    node: str | None
    link: Link | None
    address: Address | None
    port: int | None = None

    @property
    def device(self) -> str:
        return self.link.name if self.link is not None else ""


def headroom(kind: str | None, version: int) -> int | None:
    """Return what a tunnel of *kind* adds to a packet that it carries over IP *version*, None where that is not known."""
    return _HEADROOM.get(kind or "", {}).get(version)


def carried(cluster: Cluster, node: str, way: RouteResult) -> Carried | None:
    """Return what carries a packet that leaves *node* by *way*; None where its device is no tunnel, or not enough of it was recorded."""
    routing = cluster.stack(node).routing
    link = routing.link(way.device) if way.device is not None else None
    if link is None or link.is_external:
        return None
    if link.kind in _PORTLESS:
        return _without_ports(cluster, node, link, way)
    if link.kind == "wireguard":
        return _to_peer(cluster, node, link, way)
    if link.kind not in _PORTS or link.tunnel_id is None:
        return None
    source = link.tunnel_local or (_first_of(cluster, node, link.tunnel_over) if link.tunnel_over else None)
    entry = routing.neighbour(way.next_hop, link.name)
    mac = entry.mac if entry is not None else None
    end, told_by = _other_end(cluster, node, link, way.next_hop, mac)
    destination = end.address if end is not None else None
    if source is None or end is None or destination is None or destination.version != source.version:
        return None
    packet = Packet(
        protocol=Protocol.UDP,
        source=source,
        source_port=None,
        source_port_random=True,
        destination=destination,
        destination_port=end.port or _port(link),
    )
    return Carried(
        device=link.name,
        packet=packet,
        peer=end.node,
        peer_device=end.link.name if end.link is not None else None,
        told_by=told_by,
        mac=mac,
        peer_mac=end.link.mac if end.link is not None and end.link.master is None else None,
    )


def _without_ports(cluster: Cluster, node: str, link: Link, way: RouteResult) -> Carried | None:
    """What carries a packet out of a device that has another end of its own, or takes the route's next hop.

    Source: ip_tunnel_xmit in net/ipv4/ip_tunnel.c, ipip_tunnel_xmit, ipgre_xmit, sit_tunnel_xmit.
    """
    destination = link.tunnel_remote or way.next_hop
    port = cluster.port_of(destination)
    if destination.version != 4 or port is None:
        return None
    routing, peer = cluster.stack(node).routing, cluster.stack(port.node).routing
    outward = next(iter(routing.lookup(destination)), None)
    source = link.tunnel_local or (routing.source_address(outward, destination) if outward is not None else None)
    if source is None or not peer.links:
        return None
    unpacking = next((other.name for other in peer.links if other.kind == link.kind and not other.is_down), None)
    return Carried(
        device=link.name,
        packet=Packet(
            protocol=_PORTLESS[link.kind or ""],
            source=source,
            source_port=None,
            destination=destination,
            destination_port=None,
        ),
        peer=port.node if unpacking is not None else None,
        peer_device=unpacking,
        told_by="the device's own settings" if link.tunnel_remote is not None else "the next hop of the route",
        mac=None,
        peer_mac=None,
    )


def _to_peer(cluster: Cluster, node: str, link: Link, way: RouteResult) -> Carried | None:
    """What carries a packet out of a WireGuard device, where its peers were recorded.

    NB: the mark that a device may give its packets is in no file; where policy rules ask for marks, its way is not known.
    """
    stack = cluster.stack(node)
    end = stack.wireguard.towards(link.name, way.destination) if stack.wireguard is not None else None
    port = cluster.port_of(end.address) if end is not None and end.address is not None else None
    if end is None or end.address is None or port is None or any(r.fwmark or r.fwmask for r in stack.routing.rules(end.address.version)):
        return None
    peer = cluster.stack(port.node).routing
    outward = next(iter(stack.routing.lookup(end.address)), None)
    source = stack.routing.source_address(outward, end.address) if outward is not None else None
    if source is None or not peer.links:
        return None
    unpacking = next((other.name for other in peer.links if other.kind == link.kind and not other.is_down), None)
    packet = Packet(
        protocol=Protocol.UDP,
        source=source,
        source_port=None,
        source_port_random=True,
        destination=end.address,
        destination_port=end.port,
    )
    return Carried(
        device=link.name,
        packet=packet,
        peer=port.node if unpacking is not None else None,
        peer_device=unpacking,
        told_by="the peers of WireGuard (wg-endpoints.txt)",
        mac=None,
        peer_mac=None,
        keeps_mark=False,
    )


def _other_end(cluster: Cluster, node: str, link: Link, next_hop: Address, mac: str | None) -> tuple[_End | None, str]:
    ends = list(_ends(cluster, node, link))
    listed = [entry for entry in cluster.stack(node).forwarding if entry.device == link.name and entry.destination is not None]
    if listed and mac is not None and (found := _listed_end(listed, ends, mac)) is not None:
        return found, "the node's forwarding database"
    if link.tunnel_remote is not None:
        found_ends = [end for end in ends if end.address == link.tunnel_remote]
        return (found_ends[0] if len(found_ends) == 1 else None), "the device's own settings"
    found_ends = [end for end in ends if end.link is not None and mac is not None and end.link.mac == mac]
    if len(found_ends) == 1:
        return found_ends[0], f"the node whose {found_ends[0].device} has the link-layer address {mac}"
    holders = {port.node for port in cluster.ports_of(next_hop)}
    if not holders and (pod := cluster.pod_with_ip(next_hop, node)) is not None and pod.node_name:
        holders = {pod.node_name}
    found_ends = [end for end in ends if end.node in holders]
    return (found_ends[0] if len(found_ends) == 1 else None), f"the node that has {next_hop}"


_ZEROS = "00:00:00:00:00:00"


def _listed_end(listed: list[Forwarding], ends: list[_End], mac: str) -> _End | None:
    """Where the forwarding database sends frames for *mac*: of several ends that all get one, the one that has the address."""
    entries = [entry for entry in listed if entry.mac == mac] or [entry for entry in listed if entry.mac == _ZEROS]
    found = [_end_of(entry, ends) for entry in entries]
    return next((end for end in found if end.link is not None and end.link.mac == mac), found[0] if found else None)


def _end_of(entry: Forwarding, ends: list[_End]) -> _End:
    """The end of a tunnel that an entry names; one that nobody of the cluster has is nobody's."""
    fitting = (end for end in ends if end.address == entry.destination and entry.network in (None, end.link and end.link.tunnel_id))
    there = next(fitting, None)
    return _End(there.node if there else None, there.link if there else None, entry.destination, entry.port)


def _ends(cluster: Cluster, node: str, link: Link) -> Iterator[_End]:
    """The devices of other nodes in the same network."""
    for name in cluster.node_names:
        for other in cluster.stack(name).routing.links if name != node else ():
            if (other.kind, other.tunnel_id, _port(other)) == (link.kind, link.tunnel_id, _port(link)) and not other.is_external:
                yield _End(name, other, other.tunnel_local)


def _port(link: Link) -> int:
    return link.tunnel_port or _PORTS.get(str(link.kind), 0)


def _first_of(cluster: Cluster, node: str, device: str) -> Address | None:
    return next((held.address for held in cluster.stack(node).routing.addresses_of(device)), None)
