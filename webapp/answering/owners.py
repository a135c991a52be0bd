"""Whose each address on the way is: a Service's, a load balancer's, a node's, a pod's, the client's, or somebody's outside.

A step knows which address it wrote, and not whose it is: an endpoint that a Service names may be a pod, a node or a host outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tracer.kube.service import AddressOf
from tracer.query import parse_address

if TYPE_CHECKING:
    from tracer.packet import Address
    from tracer.topology.cluster import Cluster
    from tracer.trace import Hop, Place, Trace

_OF_SERVICES = {AddressOf.CLUSTER: "Service", AddressOf.LOAD_BALANCER: "load balancer", AddressOf.EXTERNAL: "external IP"}
_WRITTEN = ("source", "destination")


def owners(cluster: Cluster, traced: Trace, hops: Iterable[Hop], ends: Iterable[Place]) -> dict[str, str]:
    """Return address → whose it is, in a word, of every address that packets in *hops* have at some step, and of the *ends*."""
    hops = tuple(hops)
    nodes = tuple(dict.fromkeys(hop.node for hop in hops if hop.node))
    found = {str(end.ip): "pod" for end in ends if end.ip is not None and _is_pods(cluster, end)}
    return found | {str(a): _owner(cluster, traced, nodes, a) for a in dict.fromkeys(_addresses(hops)) if str(a) not in found}


def _is_pods(cluster: Cluster, end: Place) -> bool:
    """Whether a packet ends at a pod that has the address for itself."""
    pod = cluster.objects.pod(end.namespace, end.name) if end.namespace and end.name else None
    return pod is not None and not pod.host_network


def _addresses(hops: Iterable[Hop]) -> Iterator[Address]:
    for hop in hops:
        for packet in (hop.packet_in, hop.packet_out):
            yield from (packet.source, packet.destination)
        written = (step.rewrote[side][1] for step in hop.steps for side in _WRITTEN if side in step.rewrote)
        yield from (address for text in written if (address := parse_address(str(text))) is not None)


def _owner(cluster: Cluster, traced: Trace, nodes: Iterable[str], address: Address) -> str:
    if found := cluster.objects.services_with_address(address):
        return _OF_SERVICES[found[0][1]]
    if cluster.pod_with_ip(address) is not None:
        return "pod"
    if cluster.is_node_address(address) or any(cluster.stack(node).routing.device_of(address) is not None for node in nodes):
        return "node"
    return "client" if address == traced.query.source.ip else "outside"
