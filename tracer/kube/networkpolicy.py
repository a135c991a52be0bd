"""NetworkPolicy: the object, and whether the policies of a cluster let a flow through.

Evaluates what the API promises and nothing that a network plugin adds. The verdict is about objects only: whether any node enforces
it is another question, answered by rules.
Source: networking.k8s.io/v1 types.go, kubernetes.io/docs/concepts/services-networking/network-policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum

from tracer.kube.fields import Fields, Network, Origin
from tracer.kube.selector import LabelSelector
from tracer.kube.service import read_protocol
from tracer.packet import Address, Protocol
from tracer.values import dataclass


class Direction(StrEnum):
    """The two policy types."""

    INGRESS = "Ingress"
    EGRESS = "Egress"


@dataclass(frozen=True, slots=True, kw_only=True)
class IpBlock:
    """A network without some parts of it."""

    cidr: Network
    excluded: tuple[Network, ...] = ()

    def holds(self, address: Address) -> bool:
        """Return whether *address* is in the block and in none of its exceptions."""
        return address in self.cidr and not any(address in e for e in self.excluded)

    def __str__(self) -> str:
        return f"{self.cidr}" + (f" except {', '.join(map(str, self.excluded))}" if self.excluded else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePeer:
    """One entry of ``from`` or ``to``: an address block, or selectors of which both must match when both are given."""

    ip_block: IpBlock | None = None
    namespace_selector: LabelSelector | None = None
    pod_selector: LabelSelector | None = None

    def __str__(self) -> str:
        if self.ip_block is not None:
            return f"addresses {self.ip_block}"
        pods = f"pods with {self.pod_selector}" if self.pod_selector is not None else "all pods"
        return pods if self.namespace_selector is None else f"{pods} in namespaces with {self.namespace_selector}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePort:
    """One entry of ``ports``: *port* None is every port of the protocol, a name is looked up at the destination pod."""

    protocol: Protocol = Protocol.TCP
    port: int | str | None = None
    end_port: int | None = None

    def __str__(self) -> str:
        last = f"-{self.end_port}" if self.end_port else ""
        return f"{self.protocol.upper()} {'any port' if self.port is None else self.port}{last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """Peers and ports; no peers means everybody, no ports every port and protocol."""

    peers: tuple[RulePeer, ...] = ()
    ports: tuple[RulePort, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """A NetworkPolicy with its types defaulted: Ingress always, Egress where there are egress rules."""

    namespace: str
    name: str
    pod_selector: LabelSelector
    types: tuple[Direction, ...]
    ingress: tuple[PolicyRule, ...] = ()
    egress: tuple[PolicyRule, ...] = ()
    created: datetime | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return (self.namespace, self.name)

    def rules(self, direction: Direction) -> tuple[PolicyRule, ...]:
        """Return the rules of one direction."""
        return self.ingress if direction is Direction.INGRESS else self.egress

    @classmethod
    def from_dict(cls, value: object, origin: Origin | None = None) -> NetworkPolicy:
        """Return the policy an API object describes. :raises ParseError: a field has the wrong type."""
        top = Fields.of(value, "NetworkPolicy", origin)
        metadata, spec = top.nested("metadata"), top.nested("spec")
        egress = tuple(_rule(r, "to") for r in spec.each("egress"))
        return cls(
            namespace=metadata.text_or("namespace", "default"),
            name=metadata.name(),
            pod_selector=LabelSelector.from_fields(spec.nested("podSelector")),
            types=_types(spec) or ((Direction.INGRESS, Direction.EGRESS) if egress else (Direction.INGRESS,)),
            ingress=tuple(_rule(r, "from") for r in spec.each("ingress")),
            egress=egress,
            created=metadata.time("creationTimestamp"),
            annotations=metadata.text_map("annotations"),
            origin=origin or Origin(),
        )


def _types(spec: Fields) -> tuple[Direction, ...]:
    texts = spec.texts("policyTypes")
    for place, text in enumerate(texts):
        if text not in tuple(Direction):
            spec.refuse(f"policyTypes[{place}]", f"{text!r} is not Ingress or Egress")
    return tuple(Direction(t) for t in texts)


def _rule(entry: Fields, peers: str) -> PolicyRule:
    return PolicyRule(peers=tuple(_peer(p) for p in entry.each(peers)), ports=tuple(_port(p) for p in entry.each("ports")))


def _peer(entry: Fields) -> RulePeer:
    block = entry.nested("ipBlock")
    return RulePeer(
        ip_block=IpBlock(cidr=block.network("cidr"), excluded=block.networks("except")) if entry.has("ipBlock") else None,
        namespace_selector=LabelSelector.from_fields(entry.nested("namespaceSelector")) if entry.has("namespaceSelector") else None,
        pod_selector=LabelSelector.from_fields(entry.nested("podSelector")) if entry.has("podSelector") else None,
    )


def _port(entry: Fields) -> RulePort:
    said = entry.raw("port")
    if said is not None and (isinstance(said, bool) or not isinstance(said, int | str)):
        entry.refuse("port", "is neither a number nor a name")
    chosen = entry.text("port") if isinstance(said, str) else entry.port("port")
    return RulePort(protocol=read_protocol(entry), port=chosen, end_port=entry.port("endPort"))
