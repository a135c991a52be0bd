"""What a load balancer checks its nodes by, as far as its provider is known: which port of a node, and from where.

With policy Local that is healthCheckNodePort, of nearly everybody; with Cluster kube-proxy's own health port or the Service's node port,
by provider. Balancers that nodes announce themselves (MetalLB, kube-vip, Cilium, k3s) go by the endpoints, and send no check.
Source: providers' controllers and their documentation, as docs/sources.md lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from ipaddress import IPv4Address

from tracer.assumptions import NODE_PORT
from tracer.front.marks import mark_of
from tracer.kube.node import Node
from tracer.kube.service import Service, ServicePort, TrafficPolicy
from tracer.packet import Address, Protocol
from tracer.values import dataclass

HEALTHZ = 10256
"""The port at which kube-proxy tells how it is itself, by default."""


class _Asked(Enum):
    """Which port of a node a check asks."""

    HEALTHZ = auto()
    OF_THE_PORT = auto()
    OF_THE_FIRST = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Habit:
    """How one provider checks: what it asks with the Cluster policy, and with Local where that is the same (*is_blind* to the policy).

    Of several *asked* ports nobody can tell which one it is. *sources* is one address of each range that checks come from.
    """

    asked: tuple[_Asked, ...]
    sources: tuple[Address, ...] = ()
    is_blind: bool = False


_GOOGLE = _Habit(
    asked=(_Asked.HEALTHZ,),
    sources=tuple(IPv4Address(text) for text in ("35.191.0.1", "130.211.0.1", "209.85.152.1", "209.85.204.1")),
)
_HETZNER = _Habit(asked=(_Asked.OF_THE_PORT,), is_blind=True)
_BY_PROVIDER: Mapping[str, _Habit] = {
    "gce": _GOOGLE,
    "azure": _Habit(asked=(_Asked.OF_THE_PORT,), sources=(IPv4Address("168.63.129.16"),)),
    "aws": _Habit(asked=(_Asked.OF_THE_FIRST,)),
    "digitalocean": _Habit(asked=(_Asked.HEALTHZ, _Asked.OF_THE_FIRST)),
    "hcloud": _HETZNER,
    "hrobot": _HETZNER,
    "ocid1": _Habit(asked=(_Asked.HEALTHZ,)),
    "k3s": _Habit(asked=(), is_blind=True),
}
"""How a Node's providerID begins → how its balancers check. NB: DigitalOcean's controller came to kube-proxy's port in a later version."""
_AMAZON = _Habit(asked=(_Asked.OF_THE_PORT,))
_BY_CLASS = {
    **{f"networking.gke.io/l4-regional-{kind}": _GOOGLE for kind in ("external", "external-legacy", "internal", "internal-legacy")},
    "service.k8s.aws/nlb": _AMAZON,
}
_AMAZON_KIND = "service.beta.kubernetes.io/aws-load-balancer-type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A health check of *port*. *sources* are addresses that it may come from, one of each range; none: they are not known.

    *is_sure*: the balancer surely asks there. *is_of_service*: the Service itself answers it, not who tells of the node's health.
    """

    port: int
    sources: tuple[Address, ...] = ()
    is_sure: bool = True
    is_of_service: bool = False


def probes_of(service: Service, nodes: Iterable[Node], port: ServicePort) -> tuple[Probe, ...]:
    """Return what may check the *nodes* of *service*'s load balancer for its *port*; nothing where nobody checks."""
    mark = mark_of(service)
    is_listed = (service.load_balancer_class or "") in _BY_CLASS
    if mark is not None and mark.way != NODE_PORT and not is_listed:
        return ()
    habit = _habit(service, nodes)
    is_local = service.external_traffic_policy is TrafficPolicy.LOCAL
    if is_local and not (habit is not None and habit.is_blind):
        number = service.health_check_node_port
        return () if number is None else (Probe(port=number, sources=() if habit is None else habit.sources),)
    if habit is None:  # nobody knows whether it checks at all
        return (Probe(port=HEALTHZ, is_sure=False),)
    is_sure = len(habit.asked) == 1 and not _is_set_by_hand(service)
    found = (_probe(service, port, asked, habit, is_sure=is_sure) for asked in habit.asked)
    return tuple(probe for probe in found if probe is not None)


def _habit(service: Service, nodes: Iterable[Node]) -> _Habit | None:
    """How the provider of *service*'s balancer checks, None where it is not known."""
    chosen = service.load_balancer_class or ""
    if chosen:
        return _BY_CLASS.get(chosen)
    providers = {(node.provider_id or "").partition("://")[0].partition(".")[0] for node in nodes}
    habits = {id(habit): habit for habit in map(_BY_PROVIDER.get, providers)}
    found = next(iter(habits.values())) if len(habits) == 1 else None
    is_network = found is _BY_PROVIDER["aws"] and service.annotations.get(_AMAZON_KIND, "").startswith(("nlb", "external"))
    return _AMAZON if is_network else found


def _probe(service: Service, port: ServicePort, asked: _Asked, habit: _Habit, *, is_sure: bool) -> Probe | None:
    """The check at one port; a port that is not TCP's has no check of its own, nor has one without a node port."""
    if asked is _Asked.HEALTHZ:
        return Probe(port=HEALTHZ, sources=habit.sources, is_sure=is_sure)
    of = port if asked is _Asked.OF_THE_PORT else service.ports[0]
    if of.node_port is None or of.protocol is not Protocol.TCP:
        return None
    return Probe(port=of.node_port, sources=habit.sources, is_sure=is_sure, is_of_service=True)


def _is_set_by_hand(service: Service) -> bool:
    """Whether an annotation names another port to check. NB: each provider has its own; all have both words."""
    return any("health" in key and "port" in key.partition("/")[2] for key in service.annotations)
