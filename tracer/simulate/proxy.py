"""The userspace proxy: a connection ends in kube-proxy's process, which makes another one to an endpoint, from the node's own address.

It accepts before it knows an endpoint: with none, or with none that it can connect to, it closes. Endpoints are taken in turn; where one
does not answer, the next is tried, four times in all. Traffic policies, hints and source ranges are not looked at.
Source: pkg/proxy/userspace/{proxysocket,roundrobin}.go, Kubernetes 1.20.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from tracer.kube.endpoints import listed_on, stays
from tracer.kube.objects import Objects
from tracer.stack_protocols import Dial, Passing, Process, StackId, Target
from tracer.topology.cluster import Cluster
from tracer.topology.proxy_ports import ProxyPort, proxy_port
from tracer.trace import Reason, StackKind
from tracer.values import dataclass

_MOST_TRIES = 4


def dialled(objects: Objects, port: ProxyPort) -> tuple[Target, ...]:
    """Return the endpoints that the proxy knows for a Service port: the ready ones, of the Service's first address family.

    NB: it reads Endpoints objects, which hold that family only; here the slices say the same.
    """
    service = port.service
    version = service.cluster_ips[0].version if service.cluster_ips else 4
    listed = listed_on(objects.slices_of(service.namespace, service.name), port.port, version=version)
    return tuple(dict.fromkeys(Target(address=found.address, port=found.port) for found in listed if stays(found)))


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeProxy:
    """kube-proxy's process on *node*, reached at *port*."""

    objects: Objects
    node: str
    port: ProxyPort

    @property
    def name(self) -> str:
        """Return what a hop through it is called."""
        return f"kube-proxy on {self.node}"

    @property
    def program(self) -> str:
        """Return the program's name."""
        return "kube-proxy"

    @property
    def place(self) -> str:
        """Return where it runs."""
        return f"on node {self.node}"

    @property
    def note(self) -> str:
        """Return for which Service port it accepts."""
        return f"a process accepts the connection for {self.port.name} and makes a new one to an endpoint"

    @property
    def closed(self) -> str:
        """Return the code for a connection that nobody answers."""
        return "PROXY_CLOSED"

    def silence(self, walk: Passing) -> Reason | None:
        """Return why nobody answers on a node port that is only held."""
        if not self.port.held:
            return None
        service = self.port.service
        text = (
            f"kube-proxy holds node port {walk.packet.destination_port} of {service.namespace}/{service.name} on node {self.node} so that "
            "nobody else takes it, and no rule translated the packet: the kernel accepts the connection, and nobody ever answers on it"
        )
        return Reason(code="PROXY_HOLDS_PORT", text=text)

    def dials(self, walk: Passing) -> Iterator[Dial | Reason]:
        """Yield with which endpoint it may begin: each in turn, or the one that this client had (session affinity)."""
        found = dialled(self.objects, self.port)
        if not found:
            yield Reason(code="PROXY_NO_ENDPOINT", text=f"Service port {self.port.name} has no ready endpoint")
            return
        for first, share in self._first(walk, found):
            order = tuple(found[(first + n) % len(found)] for n in range(min(len(found), _MOST_TRIES)))
            yield Dial(targets=order, share=share, how="in turn", remembers=self._remembers(walk, found[first]))

    def _first(self, walk: Passing, found: tuple[Target, ...]) -> Iterator[tuple[int, Fraction]]:
        known = {entry for stack, name, entry in walk.recent if (stack, name) == (self.node, self._list)}
        for place, endpoint in enumerate(found):
            if f"{walk.packet.source} {endpoint}" in known:
                yield place, Fraction(1)
                return
        for place in range(len(found)):
            yield place, Fraction(1, len(found))

    @property
    def _list(self) -> str:
        return f"proxy {self.port.name}"

    def _remembers(self, walk: Passing, endpoint: Target) -> tuple[tuple[str, str, str], ...]:
        if self.port.service.session_affinity != "ClientIP":
            return ()
        return ((self.node, self._list, f"{walk.packet.source} {endpoint}"),)


def kube_proxy(cluster: Cluster, host: StackId, walk: Passing) -> Process | None:
    """Return kube-proxy's process where a connection reached one of its ports on a node; None for any other."""
    if host.kind is not StackKind.NODE:
        return None
    stack = cluster.stack(host.name)
    if stack.is_programmed and walk.packet_in.destination_port == walk.packet.destination_port:
        return None  # by no rule: which ports kube-proxy drew for itself nobody knows
    port = proxy_port(cluster, stack, walk.packet)
    return None if port is None else KubeProxy(objects=cluster.objects, node=host.name, port=port)
