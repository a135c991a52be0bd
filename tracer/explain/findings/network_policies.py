"""POLICY_NOT_SEEN_IN_RULES: NetworkPolicy objects deny what the rules deliver. POLICY_KIND_NOT_EVALUATED: others may decide about it.

Egress is judged with the pod that sends; ingress with the source that arrives, which is what an enforcing plugin could see.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, finding, some
from tracer.explain.findings.passage import Passage
from tracer.kube.networkpolicy import Direction
from tracer.kube.other_policies import POLICY_KINDS, OtherPolicy, other_policies
from tracer.kube.policy_verdict import DirectionVerdict, PolicyPeer, allowed
from tracer.packet import Address, Packet
from tracer.trace import Disposition, Finding, Hop, Outcome, Place

_MOST = 3


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield one finding for each direction in which the policies deny a packet that was delivered, or left the cluster."""
    outcome, sent = passage.outcome, case.sent
    place = outcome.destination
    arrived = outcome.disposition in (Disposition.DELIVERED, Disposition.LEAVES)
    if not arrived or place is None or sent is None or outcome.source_seen is None:
        return
    if not sent.protocol.has_ports:
        return  # policies speak of TCP, UDP and SCTP; what becomes of ICMP is up to who enforces them
    others = case.known.once(("other policies",), lambda: tuple(other_policies(case.objects)))
    if any(_has_policy_rules(case, hop) for hop in passage.nodes):
        others = ()  # they are rules here, which were followed
    if others and not _itself(case, place) and (place.kind == "pod" or case.client_pod is not None):
        yield _not_evaluated(others)
    if case.objects.network_policies:
        yield from _judged(case, outcome, place, sent, others)


def _judged(case: Case, outcome: Outcome, place: Place, sent: Packet, others: tuple[OtherPolicy, ...]) -> Iterator[Finding]:
    if outcome.source_seen is None:
        return
    seen = outcome.source_seen[0]
    there = _destination(case, place)
    shown = _MODELLED if any(step.made_as for hop in outcome.hops for step in hop.steps) else _RECORDED
    client = PolicyPeer.of_pod(case.objects, case.client_pod, sent.source) if case.client_pod else None
    kept = client is not None and seen == sent.source
    arriving = client if client is not None and kept else PolicyPeer.of_address(case.objects, seen)
    for direction, here in ((Direction.EGRESS, client), (Direction.INGRESS, arriving)):
        if here is None:
            continue
        verdict = allowed(case.objects, source=here, destination=there, port=place.port, protocol=sent.protocol)
        judged = verdict.egress if direction is Direction.EGRESS else verdict.ingress
        if not judged.allowed and not _itself(case, place):
            yield _not_told(judged, here, seen) if _asks_for_address(judged, here) else _denied(judged, here, there, place, others, shown)


def _asks_for_address(judged: DirectionVerdict, source: PolicyPeer) -> bool:
    """Whether an address block of a policy may hold *source*, of which only the node is known."""
    rules = (rule for policy in judged.isolating for rule in policy.rules(judged.direction))
    return source.address is None and any(peer.ip_block is not None for rule in rules for peer in rule.peers)


def _not_told(judged: DirectionVerdict, source: PolicyPeer, seen: Address) -> Finding:
    names = ", ".join(f"{p.namespace}/{p.name}" for p in judged.isolating)
    text = f"Whether NetworkPolicy {names} lets {source} in is not checked: address blocks are asked for {seen} (ip-addr.json)"
    return finding(code="DATA_MISSING", text=text, fix=f"Record ip -j addr on node {source.node}.")


def _destination(case: Case, place: Place) -> PolicyPeer:
    pod = case.objects.pod(place.namespace, place.name) if place.namespace and place.name else None
    return PolicyPeer.of_pod(case.objects, pod, place.ip) if pod is not None else PolicyPeer.of_address(case.objects, place.ip)


def _itself(case: Case, place: Place) -> bool:
    """Whether a pod reached itself, which policies never forbid, whatever source it sees."""
    return case.client_pod is not None and place.kind == "pod" and case.client_pod.key == (place.namespace, place.name)


def _has_policy_rules(case: Case, hop: Hop) -> bool:
    """Whether Calico makes rules of policies on the node of *hop*: a chain for each pod that it looks after."""
    return any(dump.count("filter", "cali-tw-") for dump in case.stack(hop).dumps(hop.packet_in.family))


def _not_evaluated(others: tuple[OtherPolicy, ...]) -> Finding:
    text = (
        f"Policies of other kinds are in the snapshot, and Hopline does not evaluate them: {_named(others)}. "
        "Whether they let this connection pass is not known"
    )
    fix = "Ask the program that enforces them, or try the connection; rules that they became are followed like any other."
    return finding(code="POLICY_KIND_NOT_EVALUATED", text=text, fix=fix, evidence=tuple(map(str, others[:_MOST])))


_RECORDED = "no rule on the path enforces it"
_MODELLED = "whether a rule on the path enforces it was not recorded"
_OUTSIDE = {_RECORDED: " outside iptables", _MODELLED: ""}


def _named(others: tuple[OtherPolicy, ...]) -> str:
    return some([f"{other} (asked {other.kind.order})" for other in others], _MOST)


def _beside(others: tuple[OtherPolicy, ...]) -> str:
    """What may stand before the NetworkPolicy, read or not."""
    if others:
        return f"Before or beside it stand policies of other kinds, which Hopline does not evaluate: {_named(others)}"
    kinds = ", ".join(dict.fromkeys(k.name for k in POLICY_KINDS if not k.is_namesake))
    return f"Whether policies of other kinds ({kinds}) decide first is not in the snapshot"


def _denied(
    judged: DirectionVerdict, source: PolicyPeer, destination: PolicyPeer, place: Place, others: tuple[OtherPolicy, ...], rules: str
) -> Finding:
    names = ", ".join(f"{p.namespace}/{p.name}" for p in judged.isolating)
    way = f"leave {source}" if judged.direction is Direction.EGRESS else f"enter {destination} from {source}"
    shown = "to leave the cluster" if place.kind == "outside" else "as delivered"
    text = (
        f"NetworkPolicy {names} would not let this connection {way}, to {place.ip} port {place.port}, and {rules}: "
        f"{'; '.join(judged.refusals)}. If the network plugin enforces policies{_OUTSIDE[rules]}, the connection fails although it "
        f"is shown {shown}. {_beside(others)}"
    )
    fix = (
        "Find out whether the network plugin enforces NetworkPolicy: if it does, allow this connection in the policy; "
        "if it does not, the policy protects nothing."
    )
    return finding(
        code="POLICY_NOT_SEEN_IN_RULES",
        text=text,
        fix=fix,
        severity=Severity.NOTICE if others else None,
        evidence=tuple(f"NetworkPolicy {p.namespace}/{p.name}" for p in judged.isolating),
    )
