"""Questions worth asking of a cluster, found by what its Services are: none is known by name or address.

Strategy: each kind of example looks through the Services in the snapshot's order and takes the first that shows it; a cluster without
such a Service has no such example. Only objects are read here: whether the packet arrives is for the trace to say.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from ipaddress import ip_address

from tracer.kube.endpoints import ready_endpoints
from tracer.kube.endpointslice import Endpoint
from tracer.kube.node import Node
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.kube.service import Service, ServicePort, ServiceType, TrafficPolicy
from tracer.packet import Address, Protocol
from tracer.query import Destination, Query, Source, SourceKind
from tracer.values import dataclass

CLIENT_OUTSIDE = ip_address("203.0.113.10")
"""The client outside, of the block that RFC 5737 keeps for documentation."""
CLIENT_OUTSIDE_V6 = ip_address("2001:db8::10")
_MOST_SERVICES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleQuery:
    """A question to try: *title* says what is asked, *shows* what it teaches."""

    title: str
    shows: str
    query: Query


def example_queries(objects: Objects, *, recorded: Container[str] | None = None, most: int = 9) -> tuple[ExampleQuery, ...]:
    """Return up to *most* examples for the cluster that *objects* describe, the most instructive first.

    *recorded* are the nodes whose rules the snapshot holds (None: all): examples that begin there are preferred.
    """
    cluster = _Cluster(objects, recorded)
    found = (make(cluster) for make in _KINDS)
    return tuple(example for example in found if example is not None)[:most]


class _Cluster:
    """The objects, with the few look-ups that examples need."""

    def __init__(self, objects: Objects, recorded: Container[str] | None) -> None:
        self._recorded = recorded
        self.services = objects.services[:_MOST_SERVICES]
        self.nodes = sorted(objects.nodes, key=lambda node: self.is_dark(node.name))
        self._objects = objects
        self._clients = sorted((p for p in objects.pods if p.ready and _is_plain(p)), key=lambda p: p.key)

    def is_dark(self, node: str | None) -> bool:
        """Return whether nothing of *node*'s rules is recorded."""
        return self._recorded is not None and node not in self._recorded

    def endpoints(self, service: Service) -> tuple[Endpoint, ...]:
        """Return the ready endpoints of *service*."""
        return ready_endpoints(self._objects.slices_of(*service.key))

    def pods_behind(self, service: Service) -> tuple[Pod, ...]:
        """Return the pods that are ready endpoints of *service*, without those on the host's network."""
        references = (e.target_ref for e in self.endpoints(service))
        pods = (self._objects.pod(r.namespace or service.namespace, r.name) for r in references if r and r.kind == "Pod")
        return tuple(sorted((p for p in pods if p is not None and _is_plain(p)), key=lambda p: self.is_dark(p.node_name)))

    def clients(self, service: Service) -> Iterator[Pod]:
        """Yield pods that could call *service*: of its namespace first, and not its own."""
        own = {p.key for p in self.pods_behind(service)}
        others = [p for p in self._clients if p.key not in own]
        yield from sorted(others, key=lambda p: (self.is_dark(p.node_name), p.namespace != service.namespace))

    def nodes_without(self, service: Service) -> Iterator[Node]:
        """Yield the nodes that run no ready endpoint of *service* and have an IPv4 address."""
        running = {e.node_name for e in self.endpoints(service)}
        yield from (n for n in self.nodes if n.name not in running and _ipv4(n.internal_ips))

    def asked(
        self, wanted: Callable[[Service], bool], port: Callable[[ServicePort], bool] = lambda _: True
    ) -> Iterator[tuple[Service, ServicePort]]:
        """Yield the Services that are *wanted*, each with its first TCP port that *port* accepts."""
        for service in self.services:
            chosen = next((p for p in service.ports if p.protocol is Protocol.TCP and port(p)), None)
            if chosen and wanted(service):
                yield service, chosen


def _outside_to_load_balancer(cluster: _Cluster) -> ExampleQuery | None:
    def is_open(service: Service) -> bool:
        return (
            service.external_traffic_policy is TrafficPolicy.CLUSTER
            and not service.load_balancer_source_ranges
            and bool(cluster.endpoints(service))
        )

    for service, port in cluster.asked(_has_balancer, lambda p: p.node_port is not None):
        if is_open(service):
            shows = "Load balancer, node port, choice of a pod, and the client's address lost on the way."
            return _from_outside(f"From outside to {_name(service)}", shows, _balancer(service), port.port)
    return None


def _pod_to_cluster_ip(cluster: _Cluster) -> ExampleQuery | None:
    def is_plain(service: Service) -> bool:
        return (
            service.type is ServiceType.CLUSTER_IP
            and _is_simple(service)
            and len(cluster.endpoints(service)) > 1
            and bool(service.selector)
        )

    for service, port in cluster.asked(is_plain):
        for pod in cluster.clients(service):
            shows = "How a cluster IP becomes one of several pods, with exact odds."
            return _from_pod(f"A pod calls {_name(service)}", shows, pod, _ipv4(service.cluster_ips), port.port)
    return None


def _local_node_port(cluster: _Cluster) -> ExampleQuery | None:
    asked = cluster.asked(_is_external_local, lambda p: p.node_port is not None)
    found = [(node, service, port) for service, port in asked if cluster.endpoints(service) for node in cluster.nodes_without(service)]
    if not found:
        return None
    node, service, port = min(found, key=lambda one: cluster.is_dark(one[0].name))
    title = f"From outside to node port {port.node_port} of {node.name}"
    shows = f"{_name(service)} has externalTrafficPolicy Local, and no endpoint on this node."
    return _from_outside(title, shows, _ipv4(node.internal_ips), port.node_port)


def _denied_by_source_range(cluster: _Cluster) -> ExampleQuery | None:
    # From a pod, not from outside: a pass-through load balancer asks for a node port, where kube-proxy does not apply source ranges.
    for service, port in cluster.asked(lambda s: _has_balancer(s) and bool(s.load_balancer_source_ranges)):
        for pod in cluster.clients(service):
            if not any(ip in r for ip in pod.ips for r in service.load_balancer_source_ranges):
                title = f"A pod calls {_name(service)} by its load balancer's address"
                return _from_pod(title, "The pod is not in loadBalancerSourceRanges.", pod, _balancer(service), port.port)
    return None


def _internal_local(cluster: _Cluster) -> ExampleQuery | None:
    for service, port in cluster.asked(lambda s: s.internal_traffic_policy is TrafficPolicy.LOCAL and _ipv4(s.cluster_ips) is not None):
        running = {e.node_name for e in cluster.endpoints(service)}
        if not running:
            continue  # none is ready anywhere: the policy is not why
        for pod in cluster.clients(service):
            if pod.node_name not in running:
                title = f"A pod on {pod.node_name} calls {_name(service)}"
                return _from_pod(
                    title, "internalTrafficPolicy is Local, and this node has no endpoint.", pod, _ipv4(service.cluster_ips), port.port
                )
    return None


def _hairpin(cluster: _Cluster) -> ExampleQuery | None:
    for service, port in cluster.asked(lambda s: _ipv4(s.cluster_ips) is not None and s.internal_traffic_policy is TrafficPolicy.CLUSTER):
        for pod in cluster.pods_behind(service):
            if _ipv4(pod.ips):
                shows = "The pod may choose itself: watch the source address on that way."
                return _from_pod(f"A pod of {_name(service)} calls its own Service", shows, pod, _ipv4(service.cluster_ips), port.port)
    return None


def _wrong_target_port(cluster: _Cluster) -> ExampleQuery | None:
    for service, port in cluster.asked(lambda s: _is_simple(s), lambda p: isinstance(p.target_port, int)):
        behind = cluster.pods_behind(service)
        number = port.target_port if isinstance(port.target_port, int) else 0
        if behind and all(p.ports and not p.declares(number, port.protocol) for p in behind):
            for pod in cluster.clients(service):
                shows = f"targetPort is {number}, which no container declares."
                return _from_pod(f"A pod calls {_name(service)}", shows, pod, _ipv4(service.cluster_ips), port.port)
    return None


def _without_endpoints(cluster: _Cluster) -> ExampleQuery | None:
    for service, port in cluster.asked(lambda s: _is_simple(s) and bool(s.selector) and not cluster.endpoints(s)):
        for pod in cluster.clients(service):
            return _from_pod(
                f"A pod calls {_name(service)}", "No pod is ready: refused by a rule.", pod, _ipv4(service.cluster_ips), port.port
            )
    return None


def _over_ipv6(cluster: _Cluster) -> ExampleQuery | None:
    for service, port in cluster.asked(lambda s: _ipv6(s.cluster_ips) is not None and bool(cluster.endpoints(s))):
        for pod in cluster.clients(service):
            if _ipv6(pod.ips):
                return _from_pod(
                    f"A pod calls {_name(service)} over IPv6",
                    "The same walk through ip6tables.",
                    pod,
                    _ipv6(service.cluster_ips),
                    port.port,
                )
    return None


_KINDS: tuple[Callable[[_Cluster], ExampleQuery | None], ...] = (
    _outside_to_load_balancer,
    _pod_to_cluster_ip,
    _local_node_port,
    _denied_by_source_range,
    _internal_local,
    _hairpin,
    _wrong_target_port,
    _without_endpoints,
    _over_ipv6,
)


def _from_outside(title: str, shows: str, address: Address | None, port: int | None) -> ExampleQuery:
    client = CLIENT_OUTSIDE_V6 if address is not None and address.version == 6 else CLIENT_OUTSIDE
    return _example(title, shows, Source(kind=SourceKind.EXTERNAL, ip=client), address, port)


def _from_pod(title: str, shows: str, pod: Pod, address: Address | None, port: int) -> ExampleQuery:
    return _example(title, shows, Source(kind=SourceKind.POD, namespace=pod.namespace, name=pod.name), address, port)


def _example(title: str, shows: str, source: Source, address: Address | None, port: int | None) -> ExampleQuery:
    return ExampleQuery(title=title, shows=shows, query=Query(source=source, destination=Destination(host=str(address), port=port)))


def _is_plain(pod: Pod) -> bool:
    return not pod.host_network and not pod.has_ended and _ipv4(pod.ips) is not None


def _is_simple(service: Service) -> bool:
    return (
        _ipv4(service.cluster_ips) is not None
        and service.session_affinity == "None"
        and service.internal_traffic_policy is TrafficPolicy.CLUSTER
    )


def _is_external_local(service: Service) -> bool:
    return service.external_traffic_policy is TrafficPolicy.LOCAL


def _has_balancer(service: Service) -> bool:
    return service.type is ServiceType.LOAD_BALANCER and _balancer(service) is not None


def _balancer(service: Service) -> Address | None:
    return next((i.ip for i in service.load_balancer_ingress if i.ip is not None), None)


def _ipv4(addresses: Iterable[Address]) -> Address | None:
    return next((a for a in addresses if a.version == 4), None)


def _ipv6(addresses: Iterable[Address]) -> Address | None:
    return next((a for a in addresses if a.version == 6), None)


def _name(service: Service) -> str:
    return f"{service.namespace}/{service.name}"
