"""Which Service a port of kube-proxy's own process is for: userspace mode sends a Service's connections there by REDIRECT and DNAT rules.

The process is known by ss.txt; without it, by a node that runs userspace mode. The Service is the one of the rules that translate to the
port. A node port that kube-proxy holds, so that nobody else takes it, is listened on and never accepted from.
Source: pkg/proxy/userspace/proxier.go, pkg/proxy/userspace/port_allocator.go, Kubernetes 1.20.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.kube.service import Service, ServicePort
from tracer.netfilter import model as m
from tracer.netfilter.dump import Chain
from tracer.packet import Packet, Protocol
from tracer.topology.cluster import Cluster
from tracer.topology.stack import NodeStack
from tracer.values import dataclass

_PROXIES = ("kube-proxy", "hyperkube")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyPort:
    """A port of kube-proxy's process. *held*: it only keeps a node port from others, and answers nobody."""

    service: Service
    port: ServicePort
    held: bool = False
    rule: m.Rule | None = None

    @property
    def name(self) -> str:
        """Return ``namespace/name:port``."""
        shown = self.port.name or str(self.port.port)
        return f"{self.service.namespace}/{self.service.name}:{shown}"


def proxy_port(cluster: Cluster, stack: NodeStack, packet: Packet, device: str | None = None) -> ProxyPort | None:
    """Return what kube-proxy's process does with a packet that reached a socket of *stack*; None when it is not kube-proxy's.

    *device* is the one that the packet came in by. NB: a list without processes does not say whose a socket is; then a node port of a
    Service that somebody listens on is held by kube-proxy, for which such ports are reserved.
    """
    port, sockets = packet.destination_port, stack.sockets
    socket = sockets.of(packet, device) if sockets is not None else None
    if port is None or (sockets is not None and socket is None):
        return None
    may_be = sockets is None or not sockets.shows_programs
    is_proxys = (socket is not None and socket.program in _PROXIES) or (may_be and stack.mode == "userspace")
    if is_proxys and (found := _redirected(cluster, stack, packet, port)):
        return found
    if socket is not None and (is_proxys or may_be):
        for service, named in cluster.objects.services_with_node_port(port, packet.protocol):
            return ProxyPort(service=service, port=named, held=True)
    return None


def _redirected(cluster: Cluster, stack: NodeStack, packet: Packet, port: int) -> ProxyPort | None:
    for rule in _rules_to(stack, packet, port):
        if found := _service_port(cluster, rule, packet.protocol):
            return ProxyPort(service=found[0], port=found[1], rule=rule)
    return None


def _rules_to(stack: NodeStack, packet: Packet, port: int) -> Iterator[m.Rule]:
    """Yield the rules that translate to *port* of the node itself. Looks at the text first, so that most rules stay unparsed."""
    for dump in stack.dumps(packet.family):
        table = dump.tables.get("nat")
        for chain in table.chains.values() if table else ():
            for i in range(len(chain)):
                if _may_lead_to(chain, i, port) and _leads_to(rule := chain.rule(i), stack, port):
                    yield rule


def _may_lead_to(chain: Chain, position: int, port: int) -> bool:
    text = chain.text(position)
    return str(port) in text and ("REDIRECT" in text or "DNAT" in text)


def _leads_to(rule: m.Rule, stack: NodeStack, port: int) -> bool:
    match rule.target:
        case m.Redirect(ports=ports):
            return ports is not None and ports.low == port == ports.high
        case m.Dnat(range=chosen):
            local = chosen.low is not None and stack.routing.is_local(chosen.low)
            return local and chosen.ports is not None and chosen.ports.low == port == chosen.ports.high
    return False


def _service_port(cluster: Cluster, rule: m.Rule, protocol: Protocol) -> tuple[Service, ServicePort] | None:
    """The Service port that a rule is for: the one it names, else the one whose node port it asks for."""
    names, number = cluster.names(rule), _asked_port(rule)
    if "service" in names:
        namespace, _, name = names["service"].partition("/")
        service = cluster.objects.service(namespace, name)
        for port in service.ports if service else ():
            fits = port.name == names["port"] if "port" in names else number in (port.port, port.node_port)
            if service is not None and port.protocol is protocol and fits:
                return service, port
    elif number is not None:
        return next(iter(cluster.objects.services_with_node_port(number, protocol)), None)
    return None


def _asked_port(rule: m.Rule) -> int | None:
    for match in rule.matches:
        if isinstance(match, m.PortsMatch) and match.side == "destination" and len(match.ranges) == 1 and not match.negated:
            return match.ranges[0].low
    return None
