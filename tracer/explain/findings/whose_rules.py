"""Whose rule decided, where it is not the node's Service proxy: what takes or ends a packet without standing for a Service, and rules
that stand for a Service which is gone, or which another proxy has to serve.

FOREIGN_RULE, MARKED_FOR_DROP, RULES_FOR_REMOVED_SERVICE, SERVICE_OF_ANOTHER_PROXY.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, failed, finding, owner_text, target_of
from tracer.explain.findings.passage import Mark, Passage, caller_of
from tracer.explain.findings.rules_and_objects import behind_it, chosen
from tracer.explain.findings.subject import Subject, WayIn, subject_of
from tracer.kube.known_programs import is_listed, program_in
from tracer.kube.pod import Pod
from tracer.netfilter.rule_comments import spoken_in
from tracer.packet import endpoint_text
from tracer.patterns import pattern
from tracer.trace import Disposition, Finding, Hop, Reason, Step

# The Service that a rule of kube-proxy's names: at the beginning of iptables' comments, and in the names of nft's chains.
_SAID = pattern(
    r"(?:^|masquerade traffic for |[a-z]-[A-Z0-9]{8}-)(?P<namespace>[a-z0-9][a-z0-9-]{0,62})/(?P<name>[a-z0-9][a-z0-9-]{0,62})(?=[:/ ]|$)",
    re.ASCII,
)
_ENDS = {Disposition.DROPPED: "drops", Disposition.REJECTED: "rejects"}


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield whose rules decided about this outcome, where that is not whom one would ask first."""
    subject = case.subject
    cause, decided = passage.cause, passage.decided
    if cause is not None and decided is not None and cause != decided:
        yield _marked(case, cause, decided)
    if subject is None:
        yield from _nobodys(case, passage)
    elif subject.other_proxy is not None:
        yield from _of_another_proxy(subject, subject.other_proxy, passage, chosen(case, subject, passage))
    elif subject.port is None and passage.dnats and case.is_of_proxy(passage.dnats[0]):
        why = f"Service {subject.name} has {subject.address} and no port {subject.number} of that protocol"
        yield _left_over(case, passage.dnats[0], why)
    if subject is not None and (at := chosen(case, subject, passage)) is not None:
        yield from _taken(case, subject, at)
    if cause is not None and cause.step.policy is None and not case.is_of_proxy(cause):
        yield from _ended(case, passage, cause)


def _rule(case: Case, at: Mark) -> str:
    """The rule of *at* as a sentence names it: its place, whose it is, what it says of itself."""
    words = spoken_in(at.step.rule or "")
    return f"{at.where}, a rule {case.owner(at).of}" + (f" (“{words}”)" if words else "")


# -- rules of others ------------------------------------------------------------------------------------------------------------------


def _taken(case: Case, subject: Subject, at: Mark) -> Iterator[Finding]:
    """Somebody else's rule translates what is for the Service. To an endpoint of it: then that is how this cluster balances."""
    target = target_of(at)
    if target is None or at.step.event is not None or case.is_of_proxy(at) or case.endpoints.at(target) is not None:
        return
    pod = case.cluster.pod_with_ip(target[0])
    if pod is not None and _is_balancer(pod):
        text = f"Node {at.hop.node} sends the packet for Service {subject.name} to pod {pod.namespace}/{pod.name} at {_rule(case, at)}"
        text += ": a load balancer in a pod (klipper-lb), which passes it on by rules of its own, that no snapshot holds"
        fix = "Nothing, where that pod is the Service's; trace from it to the cluster IP to follow the packet."
        yield finding(code="FOREIGN_RULE", text=text, fix=fix, severity=Severity.INFO, at=at)
        return
    proxy = case.proxy_at(at.hop)
    listed = "which is no endpoint of the Service" if case.endpoints.known else "and the endpoints of the Service were not recorded"
    text = (
        f"Node {at.hop.node} sends the packet for Service {subject.name} to {endpoint_text(*target)} at {_rule(case, at)}: "
        f"{owner_text(case, target[0])} has that address, {listed}{_own_address(case, subject, at)}. "
        f"{proxy.name} did not write that rule and does not take it away"
    )
    yield finding(code="FOREIGN_RULE", text=text, fix=case.owner(at).undo, at=at)


def _is_balancer(pod: Pod) -> bool:
    """Whether the pod is k3s' load balancer for a Service: it takes the Service's ports of the node by hostPort, as it is meant to."""
    programs = (program_in(port.container, "") for port in pod.ports)
    return any(program is not None and is_listed("klipper-lb", program.images) for program in programs)


def _own_address(case: Case, subject: Subject, at: Mark) -> str:
    """What makes a rule for a node's own addresses take a cluster IP: IPVS keeps them on a device of the node."""
    asked = any("--dst-type LOCAL" in (s.rule or "") or "daddr type local" in (s.rule or "") for s in at.hop.steps[: at.at_step + 1])
    if not asked or subject.way is WayIn.NODE_PORT or not case.stack(at.hop).routing.is_local(subject.address):
        return ""
    return f". In IPVS mode {subject.address} is an address of the node itself, and the rule asks for no more than that"


def _ended(case: Case, passage: Passage, at: Mark) -> Iterator[Finding]:
    subject, owner = case.subject, case.owner(at)
    if at.step.event is not None or at.step.rule is None or at.hop.node is None or (subject is None and not owner.name):
        return
    does = _ENDS.get(passage.outcome.disposition, "ends")
    about = f" for Service {subject.name}" if subject is not None else ""
    text = f"Node {at.hop.node} {does} the packet{about} at {_rule(case, at)}"
    if subject is not None and subject.port is not None:
        text += f". {case.proxy_at(at.hop).name} did not write that rule and does not take it away. {behind_it(case)}"
    severity = Severity.WARNING if subject is not None else Severity.NOTICE
    yield finding(code="FOREIGN_RULE", text=text, fix=owner.undo, severity=severity, at=at)


# -- marked here, dropped there -------------------------------------------------------------------------------------------------------


def _marked(case: Case, cause: Mark, decided: Mark) -> Finding:
    about = f" for Service {case.subject.name}" if case.subject is not None else ""
    text = (
        f"Node {decided.hop.node} ends the packet{about} at {decided.where} because of its mark, which {_rule(case, cause)}, gave it: "
        f"that rule is the reason, the other one ends whatever is marked"
    )
    fix = f"Look at what {cause.where} stands for; {decided.where} has to stay."
    return finding(code="MARKED_FOR_DROP", text=text, fix=fix, at=cause, evidence=(decided.evidence,))


# -- Services that are gone, or another's ---------------------------------------------------------------------------------------------


def _nobodys(case: Case, passage: Passage) -> Iterator[Finding]:
    """The Service proxy's own rules took or refused the packet, and no Service has what they were asked for."""
    at = passage.dnats[0] if passage.dnats else passage.cause
    if at is None or at.step.policy is not None or not case.is_of_proxy(at):
        return
    packet = at.hop.packet_in
    number = packet.destination_port
    if subject_of(case.cluster, packet, from_node=True) is not None or not case.objects.services:
        return  # NB: every cluster has Services: where there is none, they were not recorded
    if number is not None and case.objects.services_with_node_port(number, packet.protocol):
        return  # a node port, at an address that nobody is known to have
    if at.step.rewrote or _named_by(at.step) is not None or _looked_up(at):
        dialled = endpoint_text(packet.destination, number)
        yield _left_over(case, at, f"no Service of the snapshot has {dialled}/{packet.protocol.value}")


def _looked_up(at: Mark) -> bool:
    """Whether what ended the packet was found for its address and port: an IPVS server, an element of one of nft's maps.

    The general rules behind those (``cluster-ips-check``) end what is for nobody, as they should.
    """
    led = caller_of(at)
    return at.step.table == "ipvs" or any(
        "map @" in (m.step.rule or "") for m in (at, led) if m is not None and m.step.table == "kube-proxy"
    )


def _named_by(step: Step) -> tuple[str, str] | None:
    """The Service that a rule of kube-proxy's is for, by its comment or its chain's name."""
    texts = (spoken_in(step.rule or ""), step.chain if step.table == "kube-proxy" else "", step.verdict or "")
    found = next((m for text in texts if (m := _SAID.search(text))), None)
    return (found["namespace"], found["name"]) if found else None


def _left_over(case: Case, at: Mark, why: str) -> Finding:
    said = next((s for step in reversed(at.hop.steps[: at.at_step + 1]) if (s := _named_by(step))), None)
    there = case.objects.service(*said) if said is not None else None
    proxy, node = case.proxy_at(at.hop), at.hop.node
    text = f"Node {node} has rules left over: {why}, and {at.where} still acts on it"
    if said is not None:
        text += f". They name Service {'/'.join(said)}, which " + ("has other addresses or ports" if there else "is not in the snapshot")
    text += _whole(case, said)
    fix = f"Look at {proxy.log} on node {node} for failed syncs: it should have removed them. Clients must stop using the address."
    return finding(code="RULES_FOR_REMOVED_SERVICE", text=text, fix=fix, severity=Severity.NOTICE if there else None, at=at)


def _whole(case: Case, said: tuple[str, str] | None) -> str:
    """What stays open where not all Services may have been recorded: every cluster has default/kubernetes."""
    if case.objects.service("default", "kubernetes") is not None or any(said and s.namespace == said[0] for s in case.objects.services):
        return ""
    return ". Service default/kubernetes, which every cluster has, is not in the snapshot: perhaps not all Services were recorded"


def _of_another_proxy(subject: Subject, label: str, passage: Passage, at: Mark | None) -> Iterator[Finding]:
    arrived = passage.outcome.disposition is Disposition.DELIVERED
    if at is not None and arrived:
        return
    whoever = "another proxy has to serve it" if "proxy-name" in label else "nobody need serve it"
    text = f"Service {subject.name} has the label “{label}”: kube-proxy leaves it alone, and {whoever}. {_what_was_seen(passage)}"
    fix = f"Look at the program that the label means, or take the label from Service {subject.name}: kube-proxy then serves it."
    labels = (f"Service {subject.name} metadata.labels",)
    severity = Severity.FAULT if failed(passage.outcome) else None
    yield finding(code="SERVICE_OF_ANOTHER_PROXY", text=text, fix=fix, severity=severity, at=at or passage.cause, evidence=labels)


def _what_was_seen(passage: Passage) -> str:
    hop: Hop | None = passage.nodes[0] if passage.nodes else None
    reason: Reason | None = passage.outcome.reason
    ended = f" ({reason.text})" if reason else ""
    if passage.outcome.disposition is Disposition.UNKNOWN:
        return f"What becomes of the packet is not known{ended}"
    if hop is None or passage.cause is not None:
        return f"Nobody on this way did{ended}"
    return f"No rule of node {hop.node} does{ended}"
