"""Which endpoints a Service has and a node uses, and why not the others: the one place that asks an endpoint for its conditions.

*Ready* ones are what DNS names, balancers' health checks count and proxies prefer; *usable* ones are the ready, or where there are none
those that still serve while they terminate (KEP-1669); *in use* is what kube-proxy 1.36 decides for one port on one node.
Two sets: *cluster* endpoints, used where the policy is Cluster, and *local* ones, used where it is Local.
Topology hints narrow the first only.
This predicts what kube-proxy should have programmed; a trace follows the rules themselves.
Source: pkg/proxy/topology.go, pkg/proxy/serviceport.go, pkg/proxy/endpointslicecache.go of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Protocol, TypeVar

from tracer.kube.endpointslice import Endpoint, EndpointSlice
from tracer.kube.objects import Objects
from tracer.kube.service import Service, ServicePort, TrafficPolicy
from tracer.packet import Address, endpoint_text
from tracer.values import dataclass


class Conditions(Protocol):
    """What an EndpointSlice says of an endpoint's state."""

    @property
    def ready(self) -> bool: ...
    @property
    def serving(self) -> bool: ...
    @property
    def terminating(self) -> bool: ...


E = TypeVar("E", bound=Conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One endpoint with the *port* that its slice gives it for the Service port that was asked for."""

    address: Address
    port: int
    endpoint: Endpoint
    slice: str = ""

    @property
    def target(self) -> tuple[Address, int]:
        """Return (address, port)."""
        return (self.address, self.port)

    @property
    def ready(self) -> bool:
        """Return whether proxies prefer it."""
        return self.endpoint.ready

    @property
    def serving(self) -> bool:
        """Return whether it answers, ready or not."""
        return self.endpoint.serving

    @property
    def terminating(self) -> bool:
        """Return whether its pod is being deleted."""
        return self.endpoint.terminating

    def __str__(self) -> str:
        reference = self.endpoint.target_ref
        shown = endpoint_text(self.address, self.port)
        return f"{shown} (pod {reference.name})" if reference and reference.kind == "Pod" else shown


def ready_of(endpoints: Iterable[E]) -> tuple[E, ...]:
    """Return those of *endpoints* that are ready."""
    return tuple(e for e in endpoints if e.ready)


def ready_endpoints(slices: Iterable[EndpointSlice]) -> tuple[Endpoint, ...]:
    """Return the endpoints of *slices* that are ready, in their order."""
    return ready_of(endpoint for found in slices for endpoint in found.endpoints)


def ready_addresses(slices: Iterable[EndpointSlice]) -> tuple[Address, ...]:
    """Return the addresses of the endpoints that are ready, in the order of the slices."""
    return tuple(address for endpoint in ready_endpoints(slices) for address in endpoint.addresses)


def stays(endpoint: Conditions) -> bool:
    """Return whether an endpoint is ready and not on its way out: health checks count it, and the userspace proxy knows it."""
    return endpoint.ready and not endpoint.terminating


def serves_on(endpoint: Conditions) -> bool:
    """Return whether an endpoint is used only when no ready one is left: it still serves while it terminates (KEP-1669)."""
    return endpoint.serving and endpoint.terminating


def usable(endpoints: Sequence[E]) -> tuple[E, ...]:
    """Return those of *endpoints* that a proxy should use: the ready ones, else those that serve on."""
    return ready_of(endpoints) or tuple(e for e in endpoints if serves_on(e))


def state_text(endpoint: Conditions) -> str:
    """Return why an endpoint is not ready, in a word or two."""
    return "terminating" if endpoint.terminating else "not ready"


def whole_state_text(endpoint: Conditions) -> str:
    """Return all that an endpoint's conditions say, in words."""
    if endpoint.terminating:
        return "terminating" if endpoint.serving else "terminating, not serving"
    return "ready" if endpoint.ready else "not ready, serving" if endpoint.serving else "not ready"


def number_in(found: EndpointSlice, port: ServicePort) -> int | None:
    """Return the number that a slice gives *port* at its endpoints, None where it gives none."""
    return next((p.port for p in found.ports if p.name == port.name and p.protocol is port.protocol), None)


def listed_on(slices: Iterable[EndpointSlice], port: ServicePort, *, version: int) -> Iterator[Listed]:
    """Yield the endpoints of one family behind *port*, whatever their state, in the order of the slices; one may stand in several."""
    for found in slices:
        number = number_in(found, port) if found.address_type == f"IPv{version}" else None
        for endpoint in found.endpoints if number is not None else ():
            if number is not None and endpoint.addresses:
                yield Listed(address=endpoint.addresses[0], port=number, endpoint=endpoint, slice=found.name)


class Topology(StrEnum):
    """How hints narrow the cluster endpoints on a node."""

    NONE = ""
    SAME_ZONE = "PreferSameZone"
    SAME_NODE = "PreferSameNode"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortEndpoint:
    """One address and port that a Service port may be sent to, seen from one node."""

    address: Address
    port: int
    ready: bool
    serving: bool
    terminating: bool
    is_local: bool
    zone_hints: tuple[str, ...] = ()
    node_hints: tuple[str, ...] = ()
    node_name: str | None = None
    zone: str | None = None
    slice: str = ""

    def __str__(self) -> str:
        return endpoint_text(self.address, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointsInUse:
    """What one node uses of one Service port.

    *cluster* and *local* are None where the port has no use for them. *reachable* are all that some rule leads to.
    *topology_reason* says which hint is used, or why hints are not. *why_not* gives the reason for every endpoint that no rule leads to.
    """

    cluster: tuple[PortEndpoint, ...] | None
    local: tuple[PortEndpoint, ...] | None
    reachable: tuple[PortEndpoint, ...]
    has_any: bool
    topology: Topology
    topology_reason: str
    why_not: Mapping[str, str] = field(default_factory=dict)


def is_externally_accessible(service: Service, port: ServicePort) -> bool:
    """Return whether the port has a node port, or the Service an external or load-balancer address that nodes handle."""
    balancer = any(i.ip is not None and i.ip_mode == "VIP" for i in service.load_balancer_ingress)
    return port.node_port is not None or balancer or bool(service.external_ips)


def uses_cluster_endpoints(service: Service, port: ServicePort) -> bool:
    """Return whether some traffic to the port may go to any node. With an external Local policy pods' own traffic still does."""
    return service.internal_traffic_policy is TrafficPolicy.CLUSTER or is_externally_accessible(service, port)


def uses_local_endpoints(service: Service, port: ServicePort) -> bool:
    """Return whether some traffic to the port may go to the node's own endpoints only."""
    external = service.external_traffic_policy is TrafficPolicy.LOCAL and is_externally_accessible(service, port)
    return service.internal_traffic_policy is TrafficPolicy.LOCAL or external


def endpoints_in_use(objects: Objects, service: Service, port: ServicePort, *, node: str, version: int) -> EndpointsInUse:
    """Return what *node* uses for *port* of *service* in one address family (*version* 4 or 6)."""
    listed = objects.node(node)
    return categorise(
        port_endpoints(objects.slices_of(service.namespace, service.name), port, node=node, version=version),
        uses_cluster=uses_cluster_endpoints(service, port),
        uses_local=uses_local_endpoints(service, port),
        node=node,
        zone=listed.zone or "" if listed else "",
    )


def port_endpoints(slices: Iterable[EndpointSlice], port: ServicePort, *, node: str, version: int) -> tuple[PortEndpoint, ...]:
    """Return the endpoints behind *port*, ordered by address. One that stands in several slices counts once, its readiest entry."""
    found: dict[tuple[Address, int], PortEndpoint] = {}
    for listing in slices:
        number = number_in(listing, port) if listing.address_type == f"IPv{version}" else None
        for endpoint in listing.endpoints if number is not None else ():
            if number is None or not endpoint.addresses:
                continue
            target = (endpoint.addresses[0], number)
            known = found.get(target)
            if known is None or (endpoint.ready, endpoint.serving) > (known.ready, known.serving):
                found[target] = _seen_from(node, endpoint, number, listing.name)
    return tuple(sorted(found.values(), key=lambda e: (int(e.address), e.port)))


def _seen_from(node: str, endpoint: Endpoint, number: int, listing: str) -> PortEndpoint:
    return PortEndpoint(
        address=endpoint.addresses[0],
        port=number,
        ready=endpoint.ready,
        serving=endpoint.serving,
        terminating=endpoint.terminating,
        is_local=endpoint.node_name == node,
        zone_hints=endpoint.zone_hints,
        node_hints=endpoint.node_hints,
        node_name=endpoint.node_name,
        zone=endpoint.zone,
        slice=listing,
    )


def categorise(
    endpoints: Sequence[PortEndpoint], *, uses_cluster: bool, uses_local: bool, node: str, zone: str, honour_node_hints: bool = True
) -> EndpointsInUse:
    """Return which of *endpoints* a node uses. *zone* is empty for a node without one.

    *honour_node_hints* False is kube-proxy before PreferSameNode (1.35).
    Source: CategorizeEndpoints in pkg/proxy/topology.go.
    """
    topology, reason = Topology.NONE, "no traffic may go to other nodes, hints are not looked at"
    cluster: tuple[PortEndpoint, ...] | None = None
    if uses_cluster:
        topology, reason = _topology(endpoints, node, zone, honour_node_hints=honour_node_hints)
        cluster = tuple(e for e in ready_of(endpoints) if _is_hinted(e, topology, node, zone))
        # Hints are given up where they leave nothing, so here nothing is ready anywhere.
        cluster = cluster or usable(endpoints)
    local: tuple[PortEndpoint, ...] | None = None
    if uses_local:
        local = usable([e for e in endpoints if e.is_local])
    chosen = {id(e) for e in (*(cluster or ()), *(local or ()))}  # all of them are of *endpoints*
    reachable = tuple(e for e in endpoints if id(e) in chosen)
    return EndpointsInUse(
        cluster=cluster,
        local=local,
        reachable=reachable,
        has_any=bool(cluster) or (uses_local and bool(usable(endpoints))),
        topology=topology,
        topology_reason=reason,
        why_not={str(e): _why_not(e, endpoints, topology, zone) for e in endpoints if id(e) not in chosen},
    )


def _topology(endpoints: Sequence[PortEndpoint], node: str, zone: str, *, honour_node_hints: bool) -> tuple[Topology, str]:
    """Return how hints narrow the endpoints, and in words why, or why not."""
    ready = ready_of(endpoints)
    if not ready:
        return Topology.NONE, "no endpoint is ready, hints are not looked at"
    if honour_node_hints and all(e.node_hints for e in ready) and any(node in e.node_hints for e in ready):
        return Topology.SAME_NODE, f"every ready endpoint has node hints, and some are for {node}"
    without = [e for e in ready if not e.zone_hints]
    if len(without) == len(ready):
        return Topology.NONE, "no ready endpoint has hints"
    if without:
        return Topology.NONE, f"hints are not used: {without[0]} has none"
    if not zone:
        return Topology.NONE, f"hints are not used: node {node} has no zone label"
    if not any(zone in e.zone_hints for e in ready):
        return Topology.NONE, f"hints are not used: no ready endpoint is hinted for zone {zone}"
    return Topology.SAME_ZONE, f"every ready endpoint has zone hints, and some are for {zone}"


def _is_hinted(endpoint: PortEndpoint, topology: Topology, node: str, zone: str) -> bool:
    if topology is Topology.NONE:
        return True
    return node in endpoint.node_hints if topology is Topology.SAME_NODE else zone in endpoint.zone_hints


def _why_not(endpoint: PortEndpoint, endpoints: Sequence[PortEndpoint], topology: Topology, zone: str) -> str:
    if not endpoint.ready and not serves_on(endpoint):
        return "it is terminating and no longer serving" if endpoint.terminating else "it is not ready"
    if not endpoint.ready:
        return "it is terminating, and ready endpoints are left" if ready_of(endpoints) else "it is terminating on another node"
    if topology is Topology.SAME_NODE:
        return f"it is hinted for node {', '.join(endpoint.node_hints)}"
    if topology is Topology.SAME_ZONE:
        return f"it is hinted for zone {', '.join(endpoint.zone_hints)}, the node is in {zone}"
    return "it is on another node, and the traffic policy is Local"
