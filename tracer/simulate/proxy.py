"""The userspace proxy: a connection ends in kube-proxy's process, which makes another one to an endpoint, from the node's own address.

It accepts before it knows an endpoint: with none, or with none that it can connect to, it closes. Endpoints are taken in turn; where one
does not answer, the next is tried, four times in all. Traffic policies, hints and source ranges are not looked at.
Source: pkg/proxy/userspace/{proxysocket,roundrobin}.go, Kubernetes 1.20.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from tracer.frozen import changed
from tracer.kube.objects import Objects
from tracer.packet import Address, Packet, Protocol
from tracer.simulate.crossing import Crossing
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.topology.proxy_ports import ProxyPort
from tracer.trace import Disposition, Listener, Place, Reason, StackKind

if TYPE_CHECKING:
    from tracer.simulate.fabric import Fabric

_MOST_TRIES = 4
_FAILED = (Disposition.REJECTED, Disposition.DROPPED, Disposition.UNREACHABLE, Disposition.LOST, Disposition.LOOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialled:
    """An endpoint that the proxy may connect to."""

    address: Address
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


def dialled(objects: Objects, port: ProxyPort) -> tuple[Dialled, ...]:
    """Return the endpoints that the proxy knows for a Service port: the ready ones, of the Service's first address family.

    NB: it reads Endpoints objects, which hold that family only; here the slices say the same.
    """
    service = port.service
    version = service.cluster_ips[0].version if service.cluster_ips else 4
    found = (
        Dialled(address=endpoint.addresses[0], port=listed.port)
        for slice_ in objects.slices_of(service.namespace, service.name)
        for listed in slice_.ports
        if listed.name == port.port.name and listed.protocol is port.port.protocol and listed.port is not None
        for endpoint in slice_.endpoints
        if endpoint.ready and not endpoint.terminating and endpoint.addresses and endpoint.addresses[0].version == version
    )
    return tuple(dict.fromkeys(found))


def into_proxy(fabric: Fabric, walk: Walk, crossing: Crossing, port: ProxyPort) -> Iterator[Ending]:
    """Yield what becomes of a packet that reached a port of kube-proxy's process."""
    if port.held:
        yield _held(walk, crossing, port)
        return
    accepted = changed(walk, accepted=walk)
    inside = accepted.enter(StackKind.PROXY, f"kube-proxy on {crossing.stack.name}", node=None, came_in=None, went_out=None)
    inside = inside.note(f"a process accepts the connection for {port.name} and makes a new one to an endpoint")
    found = dialled(fabric.cluster.objects, port)
    if not found:
        yield _closed(inside, crossing, f"Service port {port.name} has no ready endpoint", code="PROXY_NO_ENDPOINT")
        return
    for place, share in _first(inside, crossing, port, found):
        branch = changed(inside, probability=inside.probability * share)
        order = tuple(found[(place + n) % len(found)] for n in range(min(len(found), _MOST_TRIES)))
        yield from _dial(fabric, _remembered(branch, crossing, port, found[place]), crossing, order)


def _held(walk: Walk, crossing: Crossing, port: ProxyPort) -> Ending:
    packet, name = walk.packet, crossing.stack.name
    place = Place(kind="node", name=name, node=name, ip=packet.destination, port=packet.destination_port)
    text = (
        f"kube-proxy holds node port {packet.destination_port} of {port.service.namespace}/{port.service.name} on node {name} so that "
        "nobody else takes it, and no rule translated the packet: the kernel accepts the connection, and nobody ever answers on it"
    )
    return walk.end(Disposition.DELIVERED, Reason(code="PROXY_HOLDS_PORT", text=text), destination=place, listener=Listener.DECLARED)


def _first(inside: Walk, crossing: Crossing, port: ProxyPort, found: tuple[Dialled, ...]) -> Iterator[tuple[int, Fraction]]:
    """Yield with which endpoint the proxy begins: in turn, or with the one that this client had (session affinity)."""
    known = {a for stack, name, a in inside.recent if (stack, name) == (crossing.stack.name, _list_of(port))}
    source = inside.packet.source
    for place, endpoint in enumerate(found):
        if f"{source} {endpoint}" in known:
            yield place, Fraction(1)
            return
    for place in range(len(found)):
        yield place, Fraction(1, len(found))


def _list_of(port: ProxyPort) -> str:
    return f"proxy {port.name}"


def _remembered(walk: Walk, crossing: Crossing, port: ProxyPort, endpoint: Dialled) -> Walk:
    if port.service.session_affinity != "ClientIP":
        return walk
    return changed(walk, recent=walk.recent | {(crossing.stack.name, _list_of(port), f"{walk.packet.source} {endpoint}")})


def _dial(fabric: Fabric, inside: Walk, crossing: Crossing, order: tuple[Dialled, ...], tries: int = 1) -> Iterator[Ending]:
    """Connect to the first of *order*; where that fails and the client is still there, to the next."""
    endpoint = order[0]
    inside = inside.note(f"tries endpoint {endpoint}" if tries > 1 else f"endpoint {endpoint}, in turn")
    for ending in fabric.nodes.send(_new_connection(inside, crossing, endpoint), crossing.stack, source=None):
        outcome = ending.outcome
        if outcome.disposition not in _FAILED or inside.packet.protocol is not Protocol.TCP:
            yield ending
            continue
        why = f"{endpoint} does not answer ({outcome.reason.text if outcome.reason else outcome.disposition.value})"
        again = changed(inside, probability=outcome.probability, conditions=outcome.conditions).note(why)
        if tries == _MOST_TRIES or tries == len(order):
            yield _closed(again, crossing, f"no endpoint could be connected to; the last was tried in vain: {why}", code="PROXY_CLOSED")
        else:
            yield from _dial(fabric, again, crossing, (*order[1:], order[0]), tries + 1)


def _new_connection(inside: Walk, crossing: Crossing, endpoint: Dialled) -> Walk:
    """The proxy's own packet, in its node's stack, before the source address is chosen."""
    routing = crossing.stack.routing
    results = routing.lookup(endpoint.address)
    source = routing.source_address(results[0], endpoint.address) if results else None
    packet = Packet(
        protocol=inside.packet.protocol,
        source=source or type(endpoint.address)(0),
        source_port=None,
        source_port_random=True,
        destination=endpoint.address,
        destination_port=endpoint.port,
    )
    name = crossing.stack.name
    visit = Visit(kind=StackKind.NODE, name=name, node=name, came_in=None, packet_in=packet)
    sent = changed(inside, packet=packet)
    return changed(sent, visit=visit, hops=sent.left(None), source_port_certain=False)


def _closed(inside: Walk, crossing: Crossing, why: str, *, code: str) -> Ending:
    """No endpoint: TCP is closed after it was accepted; UDP has nothing to close, and the datagram is thrown away."""
    name = crossing.stack.name
    if inside.packet.protocol is Protocol.TCP:
        text = f"kube-proxy on node {name} accepts the connection and closes it at once: {why}"
        return inside.end(Disposition.CLOSED, Reason(code=code, text=text))
    return inside.end(Disposition.DROPPED, Reason(code=code, text=f"kube-proxy on node {name} throws the datagram away: {why}"))
