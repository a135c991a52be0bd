"""Where a load balancer's health check comes from, as far as its provider is known, and which port of a node it asks.

Only what is checked at healthCheckNodePort is told (policy Local): what is checked otherwise differs from provider to provider. Balancers
that nodes announce themselves (MetalLB, kube-vip, Cilium) go by the endpoints, and send no check.
Source: providers' controllers and their documentation, as docs/sources.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from tracer.assumptions import NODE_PORT
from tracer.front.marks import mark_of
from tracer.kube.node import Node
from tracer.kube.service import Service, TrafficPolicy
from tracer.packet import Address

_GOOGLE = tuple(IPv4Address(text) for text in ("35.191.0.1", "130.211.0.1", "209.85.152.1", "209.85.204.1"))
"""One address of each of Google's ranges."""
_BY_PROVIDER: Mapping[str, tuple[Address, ...]] = {"gce": _GOOGLE, "azure": (IPv4Address("168.63.129.16"),)}
"""The scheme of a Node's providerID → where checks come from."""
_BY_CLASS = {f"networking.gke.io/l4-regional-{kind}": _GOOGLE for kind in ("external", "external-legacy", "internal", "internal-legacy")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A health check of *port*. *sources* are addresses that it may come from, one of each range; none: they are not known."""

    port: int
    sources: tuple[Address, ...] = ()


def probe_of(service: Service, nodes: Iterable[Node]) -> Probe | None:
    """Return what checks the *nodes* of *service*'s load balancer at its health-check port, None where nothing does."""
    if service.external_traffic_policy is not TrafficPolicy.LOCAL or service.health_check_node_port is None:
        return None
    chosen, mark = service.load_balancer_class or "", mark_of(service)
    if chosen in _BY_CLASS:
        return Probe(port=service.health_check_node_port, sources=_BY_CLASS[chosen])
    if mark is not None and mark.way != NODE_PORT:
        return None
    providers = {(node.provider_id or "").partition("://")[0] for node in nodes}
    sources = _BY_PROVIDER.get(next(iter(providers)), ()) if len(providers) == 1 and not chosen else ()
    return Probe(port=service.health_check_node_port, sources=sources)
