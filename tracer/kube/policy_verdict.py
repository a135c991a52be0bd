"""Whether NetworkPolicy objects allow a flow, in both directions, and why not.

A pod is isolated in a direction once any policy of that type in its namespace selects it; then only what some policy's rule lists
is allowed.
Never isolated: pods on the host's network (their traffic is the node's), addresses that are no pod's, and a pod talking to itself.
NB: replies are always allowed; judge the packet that opens the connection, after DNAT.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tracer.kube.namespace import NAME_LABEL
from tracer.kube.networkpolicy import Direction, NetworkPolicy, PolicyRule, RulePeer, RulePort
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.packet import Address, Protocol, unsaid
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPeer:
    """One end of a flow: a pod with its namespace's labels, or an address. *node*: the node whose own address it is."""

    address: Address | None = None
    pod: Pod | None = None
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    node: str | None = None

    @classmethod
    def of_pod(cls, objects: Objects, pod: Pod, address: Address | None = None) -> PolicyPeer:
        """Return the end that is *pod*, seen as *address* (its first one when not given)."""
        namespace = objects.namespace(pod.namespace)
        labels = namespace.labels if namespace else {NAME_LABEL: pod.namespace}
        return cls(
            address=address or next(iter(pod.ips), None), pod=pod, namespace_labels=labels, node=pod.node_name if pod.host_network else None
        )

    @classmethod
    def of_address(cls, objects: Objects, address: Address) -> PolicyPeer:
        """Return the end that *address* belongs to: a pod of its own network, a node, or somebody outside.

        Of a node's address that nobody recorded only the node is known: no address block is taken to hold it.
        """
        if (some := unsaid(address)) is not None:
            return cls(node=some)
        pod = next((p for p in objects.pods_with_ip(address) if not p.host_network), None)
        if pod is not None:
            return cls.of_pod(objects, pod, address)
        node = objects.node_with_ip(address)
        return cls(address=address, node=node.name if node else None)

    @property
    def selectable(self) -> Pod | None:
        """Return the pod that selectors can see: None for addresses and for pods on the host's network."""
        return None if self.pod is None or self.pod.host_network else self.pod

    def __str__(self) -> str:
        if self.pod is not None:
            return f"pod {self.pod.namespace}/{self.pod.name}"
        return f"node {self.node}" if self.node else str(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionVerdict:
    """One direction: *isolating* are the policies that select the pod.

    *refusals* say for each isolating policy why it does not allow the flow; *notes* what the API leaves to the network plugin.
    """

    direction: Direction
    allowed: bool
    isolating: tuple[NetworkPolicy, ...] = ()
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVerdict:
    """Both directions; a flow passes when both allow it."""

    egress: DirectionVerdict
    ingress: DirectionVerdict

    @property
    def allowed(self) -> bool:
        """Return whether both directions allow the flow."""
        return self.egress.allowed and self.ingress.allowed

    @property
    def refusals(self) -> tuple[str, ...]:
        """Return why nothing allows the flow, one sentence a policy; empty when it is allowed."""
        return tuple(r for d in (self.egress, self.ingress) if not d.allowed for r in d.refusals)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what the API leaves to the network plugin, or exempts."""
        return self.egress.notes + self.ingress.notes


def allowed(objects: Objects, *, source: PolicyPeer, destination: PolicyPeer, port: int | None, protocol: Protocol) -> PolicyVerdict:
    """Return whether the policies let *source* open a connection to *port* of *destination*, the address after DNAT.

    *port* None is a protocol without ports. Source: as tracer.kube.networkpolicy.
    """
    flow = _Flow(source=source, destination=destination, port=port, protocol=protocol)
    egress, ingress = flow.judge(objects, Direction.EGRESS), flow.judge(objects, Direction.INGRESS)
    return PolicyVerdict(egress=egress, ingress=ingress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flow:
    source: PolicyPeer
    destination: PolicyPeer
    port: int | None
    protocol: Protocol

    def judge(self, objects: Objects, direction: Direction) -> DirectionVerdict:
        here, there = (self.destination, self.source) if direction is Direction.INGRESS else (self.source, self.destination)
        pod = here.selectable
        if pod is None:
            return DirectionVerdict(direction=direction, allowed=True)
        isolating = tuple(p for p in objects.policies_in(pod.namespace) if direction in p.types and p.pod_selector.matches(pod.labels))
        if exempt := self._exemption(pod, there, direction):
            return DirectionVerdict(direction=direction, allowed=True, isolating=isolating, notes=(exempt,) if isolating else ())
        if not isolating:
            return DirectionVerdict(direction=direction, allowed=True)
        refusals: list[str] = []
        for policy in isolating:
            rule = next((r for r in policy.rules(direction) if self._rule_allows(r, policy, there)), None)
            if rule is not None:
                notes = self._notes(rule, policy, there)
                return DirectionVerdict(direction=direction, allowed=True, isolating=isolating, notes=notes)
            refusals.append(self._refusal(policy, direction, there))
        return DirectionVerdict(direction=direction, allowed=False, isolating=isolating, refusals=tuple(refusals))

    def _exemption(self, pod: Pod, there: PolicyPeer, direction: Direction) -> str | None:
        if there.selectable is not None and there.selectable.key == pod.key:
            return "a pod can always reach itself"
        if direction is Direction.INGRESS and there.node is not None and there.node == pod.node_name:
            return f"traffic from a pod's own node ({there.node}) is always allowed: the kubelet's probes must get through"
        return None

    def _rule_allows(self, rule: PolicyRule, policy: NetworkPolicy, there: PolicyPeer) -> bool:
        peers = not rule.peers or any(_peer_matches(p, policy, there) for p in rule.peers)
        return peers and (not rule.ports or any(self._port_matches(p) for p in rule.ports))

    def _port_matches(self, wanted: RulePort) -> bool:
        if wanted.protocol is not self.protocol:
            return False
        if wanted.port is None:
            return True
        if self.port is None:
            return False
        if isinstance(wanted.port, str):
            pod = self.destination.pod
            declared = () if pod is None else pod.ports
            return any(c.name == wanted.port and c.protocol is self.protocol and c.container_port == self.port for c in declared)
        return wanted.port <= self.port <= (wanted.end_port or wanted.port)

    def _refusal(self, policy: NetworkPolicy, direction: Direction, there: PolicyPeer) -> str:
        who = f"NetworkPolicy {policy.namespace}/{policy.name} ({direction.value})"
        way = "from" if direction is Direction.INGRESS else "to"
        rules = policy.rules(direction)
        asked = f"{self.protocol.upper()} {self.port}" if self.port is not None else self.protocol.upper()
        if not rules:
            return f"{who} lists nothing, so it allows nothing {way} anybody"
        near = [r for r in rules if not r.peers or any(_peer_matches(p, policy, there) for p in r.peers)]
        if near:
            ports = ", ".join(str(p) for r in near for p in r.ports)
            return f"{who} allows {there} only on {ports}, not on {asked}"
        peers = "; ".join(str(p) for r in rules for p in r.peers)
        return f"{who} allows {way} {peers}; {there} is none of them"

    def _notes(self, rule: PolicyRule, policy: NetworkPolicy, there: PolicyPeer) -> tuple[str, ...]:
        """Say where only an address block lets a pod's address pass: plugins differ there."""
        if there.pod is None or not rule.peers or any(p.ip_block is None and _peer_matches(p, policy, there) for p in rule.peers):
            return ()
        who = f"NetworkPolicy {policy.namespace}/{policy.name}"
        return (f"{who} allows {there} by an ipBlock only; some network plugins apply those to addresses outside the cluster alone",)


def _peer_matches(peer: RulePeer, policy: NetworkPolicy, there: PolicyPeer) -> bool:
    if peer.ip_block is not None:
        return there.address is not None and peer.ip_block.holds(there.address)
    pod = there.selectable
    if pod is None:
        return False
    if peer.namespace_selector is None:
        if pod.namespace != policy.namespace:
            return False
    elif not peer.namespace_selector.matches(there.namespace_labels):
        return False
    # NB: a peer with neither selector nor block is refused by the API server; like no selector it would select every pod here.
    return peer.pod_selector is None or peer.pod_selector.matches(pod.labels)
