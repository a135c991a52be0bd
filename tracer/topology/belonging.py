"""Whether the cluster itself should have an address that nobody in the snapshot has: only then is a packet for it lost.

Anything else is somebody's outside: a packet to it leaves the cluster, and what becomes of it there is in no snapshot. That holds for the
nodes' own subnet, too, where routers, databases and printers stand beside the nodes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping

from tracer.kube.fields import Network
from tracer.kube.objects import Objects
from tracer.kube.service import Service
from tracer.packet import Address, Packet
from tracer.topology.cluster import Cluster

_SERVICES = {4: 16, 6: 112}
_PODS = {4: 24, 6: 64}
"""How long the networks are that a range is taken to have around an address: what installers give Services (kubeadm, k3s, EKS, AKS) and
the pods of one node, where they do not give more."""
_NODE_PORTS = range(30000, 32768)
"""The ports that node ports are given by default. Source: kube-apiserver --service-node-port-range."""


def why_the_clusters(cluster: Cluster, address: Address, asked: Packet) -> str | None:
    """Return why the cluster should have *address*, as a clause that says "it"; None where nobody needs to have it.

    *asked* is the packet as its sender sent it.
    """
    return next(_reasons(cluster, address, asked), None)


def _reasons(cluster: Cluster, address: Address, asked: Packet) -> Iterator[str]:
    objects = cluster.objects
    if found := objects.services_with_address(address):
        service, which = found[0]
        yield f"it is the {which.value} address of Service {service.namespace}/{service.name}"
    if address != asked.destination and (dialled := _dialled_service(cluster, asked)):
        yield f"rules made it of what was sent to Service {dialled}"
    for node in objects.nodes:
        if network := next((n for n in node.pod_cidrs if address in n), None):
            yield f"it is of {network}, the pods' range of node {node.name}"
    if (around := _near_services(objects, address)) is not None:
        yield f"it is near the Services' addresses, in {around}"
    around = None if address.version == 4 and address.is_global else _around(objects, address, _PODS)
    if around is not None and any(ip in around for pod in objects.pods for ip in pod.owned_ips):
        yield f"it is near pods' addresses, in {around}"


def unlisted_service(cluster: Cluster, packet: Packet) -> str | None:
    """Return why a Service that the snapshot does not list may take *packet*, as a clause; None where that is not likely.

    It may where Services of one namespace alone were recorded, and the packet is for an address near theirs, or for a port of a node out of
    those that node ports are given.
    """
    if cluster.is_large:
        return None
    objects, to, port = cluster.objects, packet.destination, packet.destination_port
    namespaces = cluster.once(("namespaces of Services",), lambda: frozenset(service.namespace for service in objects.services))
    if len(namespaces) != 1 or objects.services_with_address(to):
        return None
    if port is not None and cluster.is_node_address(to):
        may_be = port in _NODE_PORTS and not objects.services_with_node_port(port, packet.protocol)
    else:
        may_be = _near_services(objects, to) is not None
    only = f"the snapshot holds those of namespace {next(iter(namespaces))} only (kubectl get services -A -o json takes all)"
    return f"whether a Service of another namespace has {to} port {port}: {only}" if may_be else None


def unlisted_endpoints(cluster: Cluster, packet: Packet) -> str | None:
    """Return why it is not known who stands behind the Service that *packet* is for, as a clause; None where it is, or it is for none.

    Objects of some namespaces alone may have been recorded: endpoints that nobody listed are not taken for none.
    """
    objects, port = cluster.objects, packet.destination_port
    services = [service for service, _ in objects.services_with_address(packet.destination)]
    if not services and port is not None and cluster.is_node_address(packet.destination):
        services = [service for service, _ in objects.services_with_node_port(port, packet.protocol)]
    for service in services:
        if (why := _why_no_endpoints(cluster, service)) is not None:
            return f"the endpoints of Service {service.namespace}/{service.name} were not recorded: {why}"
    return None


def _why_no_endpoints(cluster: Cluster, service: Service) -> str | None:
    objects, namespace = cluster.objects, service.namespace
    if objects.has_endpoints:
        if objects.slices_of(namespace, service.name):
            return None
        listed = cluster.once(("namespaces of EndpointSlices",), lambda: frozenset(one.namespace for one in objects.slices))
        return None if namespace in listed else f"no EndpointSlice of namespace {namespace} is in the snapshot"
    if not service.selector:
        return "no EndpointSlices are in the snapshot, and it selects no pods"
    there = cluster.once(("namespaces of pods",), lambda: frozenset(pod.namespace for pod in objects.pods))
    return None if namespace in there else f"neither EndpointSlices nor pods of namespace {namespace} are in the snapshot"


def _near_services(objects: Objects, address: Address) -> Network | None:
    """The network around *address* in which Services have theirs."""
    around = _around(objects, address, _SERVICES)
    if around is None or not any(ip in around for service in objects.services for ip in service.cluster_ips):
        return None
    return around


def _dialled_service(cluster: Cluster, asked: Packet) -> str | None:
    """The Service that the packet was sent to, by one of its addresses or by its node port."""
    found = [service for service, _ in cluster.objects.services_with_address(asked.destination)]
    if not found and asked.destination_port is not None and cluster.is_node_address(asked.destination):
        found = [s for s, _ in cluster.objects.services_with_node_port(asked.destination_port, asked.protocol)]
    return f"{found[0].namespace}/{found[0].name}" if found else None


def _around(objects: Objects, address: Address, lengths: Mapping[int, int]) -> Network | None:
    """The network around *address* that a range of the cluster's own may have there; None where nodes are, and with them others."""
    around = ipaddress.ip_network(f"{address}/{lengths[address.version]}", strict=False)
    return None if any(ip in around for node in objects.nodes for ip in node.ips) else around
