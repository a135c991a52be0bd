"""Packets that a rule hands to a program which decides by NetworkPolicy objects: kindnetd and kube-network-policies.

Such a program lets a packet pass or drops it by the policies of the two pods, so what it says is what the objects say, as long as those
were recorded and no policy of a kind that is not evaluated may come first. Answers always pass. A queue of another program stays unknown.
Source: kubernetes-sigs/kindnet and kube-network-policies (pkg/dataplane, queue 101 and 100, with bypass); nf_reinject in nf_queue.c: what
is accepted goes on with the next chain.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from tracer.kube.networkpolicy import Direction, NetworkPolicy
from tracer.kube.other_policies import POLICY_KINDS, other_policies
from tracer.kube.policy_verdict import PolicyPeer, PolicyVerdict, allowed
from tracer.netfilter.leaf import Leaf
from tracer.netfilter.model import UnmodelledTarget
from tracer.packet import Packet
from tracer.topology.cluster import Cluster
from tracer.values import dataclass

QUEUES: Final = ("queue", "NFQUEUE")
"""What the two languages call it."""
_PROGRAMS = (("kindnet", "kindnetd"), ("kube-network-policies", "kube-network-policies"))
"""Each program's tables, chains and pods begin so."""
_NUMBERS = ("100", "101")
_OF_THE_API = frozenset(kind.name for kind in POLICY_KINDS if kind.groups == ("policy.networking.k8s.io",))
"""The other kinds that these programs may follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the program does with the packet: it *passes*, or not, or (None) that is not known. *text* says so with the reason."""

    passes: bool | None
    text: str


def is_queued(leaf: Leaf) -> bool:
    """Return whether *leaf* hands the packet to a program."""
    return leaf.verdict == "unknown" and isinstance(leaf.target, UnmodelledTarget) and leaf.target.name in QUEUES


def judged(cluster: Cluster, node: str, leaf: Leaf, packet: Packet, *, is_first: bool) -> Judged | None:
    """Return what the program says of *packet* in *leaf* at *node*; None where it is none that is known. *is_first*: of its connection."""
    program = _program(cluster, node, leaf)
    if program is None:
        return None
    said = f"{leaf.where} hands the packet to {program}, which decides by NetworkPolicy objects"
    if not is_first:
        return Judged(passes=True, text=f"{said}: what belongs to a connection passes")
    if not any(file.kind in (None, NetworkPolicy.__name__) for file in cluster.snapshot.layout.objects):
        return Judged(passes=None, text=f"{said}, and those were not recorded (networkpolicies.json)")
    other = next((p for p in other_policies(cluster.objects) if p.kind.name in _OF_THE_API), None)
    if other is not None:
        return Judged(passes=None, text=f"{said}, and may ask {other} before or behind them, which is not evaluated")
    return _by_policies(cluster, packet, said)


def _by_policies(cluster: Cluster, packet: Packet, said: str) -> Judged:
    source, destination = (PolicyPeer.of_address(cluster.objects, address) for address in (packet.source, packet.destination))
    verdict = allowed(cluster.objects, source=source, destination=destination, port=packet.destination_port, protocol=packet.protocol)
    policies = dict.fromkeys(f"{p.namespace}/{p.name}" for way in (verdict.egress, verdict.ingress) for p in way.isolating)
    if not policies:
        return Judged(passes=True, text=f"{said}: none selects {source} or {destination}, so the packet passes")
    if packet.destination_port is None or packet.destination_port_random:
        unsaid = "which port it asks for" if packet.protocol.has_ports else "what it makes of ICMP, of which no policy speaks,"
        return Judged(passes=None, text=f"{said}: {unsaid} is not known")
    if _asks_for_what_is_not_known(verdict, source):
        return Judged(passes=None, text=f"{said}: {', '.join(policies)} asks for the address of {source}, which is not recorded")
    if verdict.allowed:
        return Judged(passes=True, text=f"{said}: {', '.join(policies)} lets the packet pass")
    return Judged(passes=False, text=f"{said}: {'; '.join(verdict.refusals)}")


def _asks_for_what_is_not_known(verdict: PolicyVerdict, source: PolicyPeer) -> bool:
    rules = (rule for policy in verdict.ingress.isolating for rule in policy.rules(Direction.INGRESS))
    return source.address is None and any(peer.ip_block is not None for rule in rules for peer in rule.peers)


def _program(cluster: Cluster, node: str, leaf: Leaf) -> str | None:
    """The program that takes what *leaf* hands on: by its table, by the rule's own words, or by its pod, where the number is theirs."""
    table = leaf.steps.step.table if leaf.steps is not None else ""
    number = _number(leaf)
    for begins, program in _PROGRAMS:
        if table.startswith(begins) or begins in leaf.where.partition(": ")[2]:
            return f"{program} (queue {number})"
    if number not in _NUMBERS:
        return None
    pods = tuple(pod.name for pod in cluster.host_network_pods(node))
    found = next((program for begins, program in _PROGRAMS if any(name.startswith(begins) for name in pods)), None)
    return f"{found} (queue {number})" if found is not None else None


def _number(leaf: Leaf) -> str:
    """The queue's number as the rule has it, ``0`` where it says none."""
    words = leaf.target.text.split() if isinstance(leaf.target, UnmodelledTarget) else []
    behind = [after for word, after in pairwise(words) if word in ("to", "num", "--queue-num", "--queue-balance")]
    return behind[-1] if behind else "0"
