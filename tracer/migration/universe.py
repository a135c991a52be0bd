"""The questions of a migration report: who dials what, for every Service.

Owns which questions are asked (``UNIVERSE`` says it in words) and in which order: Service by Service, by their names, so that a cluster of
many Services is asked as a stream. Who asks and what is dialled is found in the objects alone, and in the addresses that nodes hold.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address

from tracer.kube.endpoints import ready_endpoints
from tracer.kube.endpointslice import EndpointSlice
from tracer.kube.fields import Network
from tracer.kube.pod import Pod
from tracer.kube.service import AddressOf, Service, ServicePort, ServiceType
from tracer.limits import MIGRATED_ADDRESSES, MIGRATED_PEERS
from tracer.packet import Address, Protocol
from tracer.query import Destination, Query, Source, SourceKind
from tracer.topology.cluster import Cluster
from tracer.values import dataclass

UNIVERSE = (
    "From outside: one address that is in no range of the cluster, and one in each of the Service's loadBalancerSourceRanges.",
    "From each node itself.",
    "On each node from one pod that is not an endpoint of the Service, and from one that is.",
    "To every port of the Service at each cluster IP, external IP and balancer address; to its node ports and its health check's at nodes"
    f" (from outside at all; else the own node's and those of {MIGRATED_PEERS} others), at 127.0.0.1 from a node itself;"
    " to a port that it does not define, and as a ping, at a cluster IP.",
    "Once from each of them: to a cluster IP that no Service has, where the addresses of cluster IPs are known.",
)
"""What is asked, in words: a report says it."""
_CLIENTS = ("203.0.113.10", "198.51.100.10", "192.0.2.10", "100.127.255.10", "2001:db8::10", "3fff::10", "2001:db8:ffff::10")
_LOOPBACK = ip_address("127.0.0.1")
_UNDEFINED = (4444, 4445, 4446, 4447)
_MOST_TRIED = 64


class Way(StrEnum):
    """What of a Service is dialled."""

    CLUSTER_IP = "cluster IP"
    EXTERNAL_IP = "external IP"
    LOAD_BALANCER = "load balancer"
    NODE_PORT = "node port"
    LOOPBACK = "node port on loopback"
    HEALTH_CHECK = "health-check node port"
    UNDEFINED_PORT = "undefined port"
    PING = "ping"
    UNALLOCATED = "unallocated cluster IP"


class Asker(StrEnum):
    """What kind of source dials."""

    OUTSIDE = "outside"
    IN_RANGE = "outside, in a source range"
    NODE = "node"
    POD = "pod"
    OWN_POD = "pod of the Service"


_WAYS = {AddressOf.CLUSTER: Way.CLUSTER_IP, AddressOf.EXTERNAL: Way.EXTERNAL_IP, AddressOf.LOAD_BALANCER: Way.LOAD_BALANCER}


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """Who dials: *node* is where a pod runs, or which node it is; None outside. *versions* are the families it can dial."""

    asker: Asker
    source: Source
    node: str | None = None
    versions: frozenset[int] = frozenset((4, 6))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One question of the report: *service* is None where nobody's address is dialled, *target* the node whose port is, else None.

    *port* is that of the Service, None where none of its ports is dialled. *is_primary*: the node's address is its first of that family.
    *is_here*: a ready endpoint of the Service is where the packet is looked at first: at *target*, else on the asker's node.
    """

    asker: Asker
    source: Source
    node: str | None
    way: Way
    address: Address
    number: int | None
    protocol: Protocol
    service: Service | None = None
    port: ServicePort | None = None
    target: str | None = None
    is_primary: bool = True
    is_here: bool = False

    @property
    def query(self) -> Query:
        """Return the question as a trace answers it."""
        return Query(source=self.source, destination=Destination(host=str(self.address), port=self.number), protocol=self.protocol)

    @property
    def is_own(self) -> bool:
        """Return whether a node's port is dialled on the node itself."""
        return self.target is not None and self.target == self.node


class Universe:
    """The questions about one cluster; *nodes* and *services* (namespace, name) are those alone that are asked, None for all.

    *cluster_ips* are the networks that cluster IPs are taken from, as far as they are known.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        nodes: Container[str] | None = None,
        services: Container[tuple[str, str]] | None = None,
        cluster_ips: Sequence[Network] = (),
    ) -> None:
        self._cluster = cluster
        self._service_networks = tuple(cluster_ips)
        self._objects = cluster.objects
        self._nodes = [name for name in cluster.node_names if nodes is None or name in nodes]
        self._wanted = services

    @cached_property
    def services(self) -> tuple[Service, ...]:
        """Return the Services that are asked about: those that kube-proxy serves, by their names."""
        served = (s for s in self._objects.services if s.type is not ServiceType.EXTERNAL_NAME and s.addresses)
        return tuple(sorted((s for s in served if self._wanted is None or s.key in self._wanted), key=lambda s: s.key))

    def of(self, service: Service) -> Iterator[Cell]:
        """Yield the questions about *service*."""
        ready = self._ready(service)
        for who in self._who(service):
            for cell in self._dialled(service, who):
                if cell.address.version in who.versions:
                    yield _placed(cell, ready)

    def of_nobody(self) -> Iterator[Cell]:
        """Yield the question for a cluster IP that no Service has, from everybody, where it is known which addresses are cluster IPs.

        Nothing where certain Services alone are asked about.
        """
        for address in self._unallocated if self._wanted is None else ():
            for who in self._who(None):
                if address.version in who.versions:
                    yield _cell(who, Way.UNALLOCATED, address, 80, Protocol.TCP)

    # -- who dials

    def _who(self, service: Service | None) -> Iterator[From]:
        yield from (_outside(Asker.OUTSIDE, address) for address in self._clients)
        for network in dict.fromkeys(service.load_balancer_source_ranges if service is not None else ()):
            if (inside := self._client_in(network)) is not None:
                yield _outside(Asker.IN_RANGE, inside)
        own = self._pods_of(service) if service is not None else frozenset()
        for node in self._nodes:
            yield From(asker=Asker.NODE, source=Source(kind=SourceKind.NODE, name=node), node=node)
            pods = self._pods.get(node, ())
            other = next((pod for pod in pods if pod.key not in own), None)
            one = next((pod for pod in pods if pod.key in own), None)
            yield from (_of_pod(Asker.POD, pod) for pod in (other,) if pod is not None)
            yield from (_of_pod(Asker.OWN_POD, pod) for pod in (one,) if pod is not None)

    @cached_property
    def _clients(self) -> tuple[Address, ...]:
        """One address outside of each family that the cluster has no range around."""
        free = [a for a in map(ip_address, _CLIENTS) if not any(a in network for network in self._ranges)]
        firsts = (next((a for a in free if a.version == version), None) for version in (4, 6))
        return tuple(address for address in firsts if address is not None)

    @cached_property
    def _ranges(self) -> tuple[Network, ...]:
        """The ranges of pods, and those that Services let in; nodes and Services have addresses, no ranges."""
        let_in = (n for s in self._objects.services for n in s.load_balancer_source_ranges if n.prefixlen)
        return tuple(dict.fromkeys((*(n for node in self._objects.nodes for n in node.pod_cidrs), *let_in)))

    def _client_in(self, network: Network) -> Address | None:
        """An address of *network* that nobody in the cluster has: its first; None where everybody is let in, or the first are taken."""
        if not network.prefixlen:
            return None
        most = min(network.num_addresses, _MOST_TRIED)
        first = int(network.network_address) + (1 if network.num_addresses > 2 else 0)
        tried = _addresses(network.version, range(first, first + most))
        return next((a for a in tried if a in network and not self._is_somebodys(a)), None)

    def _is_somebodys(self, address: Address) -> bool:
        if any(address in network for node in self._objects.nodes for network in node.pod_cidrs):
            return True
        return bool(self._cluster.ports_of(address) or self._objects.pods_with_ip(address) or self._objects.services_with_address(address))

    @cached_property
    def _pods(self) -> dict[str, list[Pod]]:
        """The pods of each node that can dial: in networks of their own, by their names, those that are ready first."""
        found: dict[str, list[Pod]] = {}
        for pod in sorted(self._objects.pods, key=lambda p: (not p.ready, p.key)):
            if pod.node_name and pod.owned_ips and not pod.terminating:
                found.setdefault(pod.node_name, []).append(pod)
        return found

    def _pods_of(self, service: Service) -> frozenset[tuple[str, str]]:
        """The pods behind *service*, whether they are ready or not."""
        found = (e for one in self._objects.slices_of(*service.key) for e in one.endpoints)
        named = (e.target_ref for e in found if e.target_ref is not None and e.target_ref.kind == "Pod")
        return frozenset((reference.namespace or service.namespace, reference.name) for reference in named)

    # -- what is dialled

    def _dialled(self, service: Service, who: From) -> Iterator[Cell]:
        for address, what in service.addresses:
            for port in service.ports:
                yield _cell(who, _WAYS[what], address, port.port, port.protocol, service, port)
        for address in service.cluster_ips[:1]:
            taken = {p.port for p in service.ports}
            yield _cell(who, Way.UNDEFINED_PORT, address, next(n for n in _UNDEFINED if n not in taken), Protocol.TCP, service)
            yield _cell(who, Way.PING, address, None, Protocol.ICMP, service)
        yield from self._at_nodes(service, who)

    def _at_nodes(self, service: Service, who: From) -> Iterator[Cell]:
        ports = [port for port in service.ports if port.node_port]
        check = service.health_check_node_port
        for node, address, is_primary in self._addresses_for(service, who) if ports or check else ():
            for port in ports:
                yield _cell(who, Way.NODE_PORT, address, port.node_port, port.protocol, service, port, target=node, is_primary=is_primary)
            if check and is_primary:
                yield _cell(who, Way.HEALTH_CHECK, address, check, Protocol.TCP, service, target=node)
        if who.asker is Asker.NODE:
            for port in ports:
                yield _cell(who, Way.LOOPBACK, _LOOPBACK, port.node_port, port.protocol, service, port, target=who.node)

    def _addresses_for(self, service: Service, who: From) -> Iterator[tuple[str, Address, bool]]:
        """The nodes whose ports *who* dials, with their addresses."""
        names = self._cluster.node_names if who.node is None else (who.node, *self._peers(service, who.node))
        for name in names:
            yield from ((name, address, is_primary) for address, is_primary in self._held[name])

    def _peers(self, service: Service, own: str) -> Iterator[str]:
        """Other nodes, those with a ready endpoint of the Service and those without in turns, up to a bound."""
        here = {node for _, node in self._ready(service)}
        others = [name for name in self._cluster.node_names if name != own]
        having, lacking = [n for n in others if n in here], [n for n in others if n not in here]
        turns = [n for pair in zip(having, lacking, strict=False) for n in pair]
        rest = having[len(lacking) :] or lacking[len(having) :]
        yield from (*turns, *rest)[:MIGRATED_PEERS]

    @cached_property
    def _held(self) -> dict[str, list[tuple[Address, bool]]]:
        """The addresses of each node that its Node lists, or a device holds that a client can reach; and whether it is the primary one."""
        return {name: self._held_by(name) for name in self._cluster.node_names}

    def _held_by(self, name: str) -> list[tuple[Address, bool]]:
        node = self._objects.node(name)
        listed = node.ips if node is not None else ()
        routing = self._cluster.stack(name).routing
        held = [h.address for h in routing.addresses if not (h.address.is_loopback or h.address.is_link_local)]
        services = (a for a in held if not self._objects.services_with_address(a) and self._cluster.is_node_address(a))
        primary = {a.version: a for a in reversed(node.internal_ips if node is not None else ())}
        return [(a, primary.get(a.version) == a) for a in dict.fromkeys((*listed, *services))][:MIGRATED_ADDRESSES]

    def _ready(self, service: Service) -> frozenset[tuple[Address, str | None]]:
        return ready_of(self._objects.slices_of(*service.key))

    @cached_property
    def _unallocated(self) -> tuple[Address, ...]:
        """An address of each network of cluster IPs that no Service has: the last that is free."""
        return tuple(a for network in self._service_networks if (a := self._free(network)) is not None)

    def _free(self, network: Network) -> Address | None:
        last = int(network.broadcast_address) - 1
        tried = _addresses(network.version, range(last, max(last - _MOST_TRIED, int(network.network_address)), -1))
        return next((a for a in tried if not self._objects.services_with_address(a)), None)


def _addresses(version: int, numbers: Iterable[int]) -> Iterator[Address]:
    return (IPv4Address(number) if version == 4 else IPv6Address(number) for number in numbers)


def ready_of(slices: Iterable[EndpointSlice]) -> frozenset[tuple[Address, str | None]]:
    """Return the endpoints that are ready, each address with its node."""
    return frozenset((address, e.node_name) for e in ready_endpoints(slices) for address in e.addresses)


def _outside(asker: Asker, address: Address) -> From:
    return From(asker=asker, source=Source(kind=SourceKind.EXTERNAL, ip=address), versions=frozenset((address.version,)))


def _of_pod(asker: Asker, pod: Pod) -> From:
    source = Source(kind=SourceKind.POD, namespace=pod.namespace, name=pod.name)
    return From(asker=asker, source=source, node=pod.node_name, versions=frozenset(a.version for a in pod.owned_ips))


def _cell(
    who: From,
    way: Way,
    address: Address,
    number: int | None,
    protocol: Protocol,
    service: Service | None = None,
    port: ServicePort | None = None,
    *,
    target: str | None = None,
    is_primary: bool = True,
) -> Cell:
    return Cell(
        asker=who.asker,
        source=who.source,
        node=who.node,
        way=way,
        address=address,
        number=number,
        protocol=protocol,
        service=service,
        port=port,
        target=target,
        is_primary=is_primary,
    )


def _placed(cell: Cell, ready: Iterable[tuple[Address, str | None]]) -> Cell:
    """*cell*, with whether the Service has an endpoint of that family where the packet comes in."""
    entry = cell.target or cell.node
    is_here = entry is not None and any(node == entry and a.version == cell.address.version for a, node in ready)
    return replace(cell, is_here=True) if is_here else cell
