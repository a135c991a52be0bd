"""Whether a node lacks the route to another node's pods that its peers have.

Where the network between the nodes knows pod addresses (cloud routes, a router that speaks BGP, addresses out of the cloud's own network),
no node has such routes, and none lacks one. A node lacks it where others lead to pods by their nodes' addresses and it does not, though it
could as well: the other node is on its own link, or it has the tunnel that its peers use.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.limits import PEERS
from tracer.packet import Address
from tracer.routing import ResultKind, RouteResult
from tracer.topology.cluster import Cluster
from tracer.topology.stack import NodeStack
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A route of *node* that leads to pods of *pods_of*, by that node's address."""

    node: str
    pods_of: str
    route: str
    file: str
    destination: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacked:
    """*node* has no route to the pods of *pods_of*; *known* is what a peer has, *wanted* the route that would be like it."""

    node: str
    pods_of: str
    known: Known
    wanted: str

    @property
    def text(self) -> str:
        """Return it as a sentence."""
        known = self.known
        shown = "has one to them" if known.pods_of == self.pods_of else f"has one to those of node {known.pods_of}"
        lacks = f"node {self.node} has no route to the pods of node {self.pods_of}"
        return f"{lacks}, and node {known.node} {shown}: {known.route} ({known.file})"


def lacked_route(cluster: Cluster, node: str, pods_of: str, address: Address) -> Lacked | None:
    """Return which route to *address*, a pod's on node *pods_of*, *node* lacks; None where it has one, or no peer shows that it should."""
    stack = cluster.stack(node)
    if node == pods_of or not _is_recorded(stack, address.version) or any(_is_exact(way) for way in stack.routing.lookup(address)):
        return None
    towards = next((a for a in _own(cluster, pods_of) if a.version == address.version), None)
    if towards is None:
        return None
    for known in _peers(cluster, node, pods_of, address):
        link = cluster.stack(known.node).routing.link(known.device)
        tunnel = link is not None and link.is_tunnel
        if tunnel:
            mine = stack.routing.link(known.device)
            fits = mine is not None and mine.kind == link.kind if link is not None else False
        else:
            fits = any(way.kind is ResultKind.UNICAST and way.gateway is None for way in stack.routing.lookup(towards))
        if fits:
            destination = known.destination if known.pods_of == pods_of else f"the pods of node {pods_of}"
            by = f"dev {known.device}" if tunnel else f"via {towards}"
            return Lacked(node=node, pods_of=pods_of, known=known, wanted=f"{destination} {by}")
    return None


def _peers(cluster: Cluster, node: str, pods_of: str, address: Address) -> Iterator[Known]:
    """What others know: the way to the same pods, or, of the node that has them, the way to this node's pods."""
    back = _address_of_a_pod(cluster, node, address.version)
    if back is not None and (known := _known(cluster, pods_of, node, back)) is not None:
        yield known
    recorded = (name for name in cluster.node_names if name not in (node, pods_of) and _is_recorded(cluster.stack(name), address.version))
    for _, name in zip(range(PEERS), recorded, strict=False):
        if (known := _known(cluster, name, pods_of, address)) is not None:
            yield known


def _known(cluster: Cluster, node: str, pods_of: str, address: Address) -> Known | None:
    stack = cluster.stack(node)
    if not _is_recorded(stack, address.version):
        return None
    for way in stack.routing.lookup(address):
        port = cluster.port_of(way.gateway) if way.gateway is not None else None
        if port is not None and port.node == pods_of and _is_exact(way) and way.route is not None and way.device is not None:
            return Known(
                node=node,
                pods_of=pods_of,
                route=way.route.to_text(),
                file=way.route.file,
                destination=str(way.route.destination),
                device=way.device,
            )
    return None


def _is_exact(way: RouteResult) -> bool:
    """Whether a route of its own decides, and not the default route or none."""
    return way.kind is ResultKind.UNKNOWN or (way.route is not None and way.route.destination.prefixlen > 0)


def _is_recorded(stack: NodeStack, version: int) -> bool:
    return not stack.routing.inferred_from and ("ip_route" if version == 4 else "ip6_route") not in stack.routing.missing


def _own(cluster: Cluster, node: str) -> tuple[Address, ...]:
    found = cluster.node(node)
    return found.internal_ips or found.ips if found is not None else ()


def _address_of_a_pod(cluster: Cluster, node: str, version: int) -> Address | None:
    pods = (p for p in cluster.objects.pods if p.node_name == node and not p.host_network and not p.has_ended)
    return next((a for pod in pods for a in pod.owned_ips if a.version == version), None)
