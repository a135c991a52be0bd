"""CLIENT_IP_LOST: the pod sees another source than the client sent, and which rule made it so.

A node's own traffic that only changes from one of its addresses to another is not lost: the pod still sees that node.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from tracer.explain.explanation import Severity
from tracer.explain.findings.asked_again import asked_again
from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.passage import Mark, Passage
from tracer.explain.findings.subject import Subject, WayIn
from tracer.netfilter import model as m
from tracer.packet import Address, endpoint_text, unsaid
from tracer.trace import Disposition, Finding, Place
from tracer.unopened import firsts

_PLAIN_FIX = "Nothing, where the pod may see a node's address. Otherwise let the application carry the client's address itself."


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield CLIENT_IP_LOST for a delivered packet whose source was rewritten on the way."""
    outcome, sent = passage.outcome, case.sent
    place = outcome.destination
    if outcome.disposition is not Disposition.DELIVERED or outcome.source_seen is None or sent is None or place is None:
        return
    seen = outcome.source_seen[0]
    if seen == sent.source or not passage.snats or not _is_a_pods(place, case.subject) or _same_node(case, seen):
        return
    first = next((s for s in passage.snats if s.step.rewrote["source"][0] == str(sent.source)), passage.snats[0])
    cause, fix = _cause(case, passage, first, place)
    node = first.hop.node
    text = (
        f"{_who(place)} sees {_owned(case, passage, seen)} as the source, not {_subject_of_sentence(case, sent.source)}: "
        f"node {node} rewrites it at {first.where}, {cause}"
    )
    if (last := passage.snats[-1]) is not first and last.hop.node != node:
        text += f". Node {last.hop.node} rewrites it again at {last.where}"
    yield finding(
        code="CLIENT_IP_LOST",
        text=text,
        fix=fix,
        severity=Severity.WARNING if case.outside else Severity.NOTICE,
        at=first,
        evidence=tuple(s.evidence for s in (_marking(passage, first), _asking(passage, first)) if s is not None),
    )


def _is_a_pods(place: Place, subject: Subject | None) -> bool:
    """Whether somebody who may care for addresses got the packet: a pod, or whatever stands behind a Service."""
    return place.kind == "pod" or (place.kind == "node" and place.namespace is not None) or (place.kind != "node" and subject is not None)


def _same_node(case: Case, seen: Address) -> bool:
    """Whether a node's own process is still seen as that node."""
    if case.outside or case.client_pod is not None or not case.passages[0].nodes:
        return False
    return case.stack(case.passages[0].nodes[0]).routing.is_local(seen)


def _who(place: Place) -> str:
    return f"Pod {place.namespace}/{place.name}" if place.namespace else f"The endpoint {place.ip}"


def _owned(case: Case, passage: Passage, address: Address) -> str:
    """The address with the node that has it; several nodes may hold one, such as a pod gateway's: then the last node that rewrote."""
    if unsaid(address) is not None:
        return str(address)
    port = case.cluster.port_of(address)
    node = port.node if port else next((s.hop.node for s in reversed(passage.snats) if case.stack(s.hop).routing.is_local(address)), None)
    return f"{address} (node {node})" if node else str(address)


def _subject_of_sentence(case: Case, source: Address) -> str:
    return case.client if case.outside else f"{source} ({case.client})"


def _marking(passage: Passage, snat: Mark) -> Mark | None:
    """The step of the same hop that set the mark which the masquerade asks for; a step that clears bits is none."""
    for at, step in reversed(list(enumerate(passage.before(snat)))):
        before, after = (int(str(x), 16) for x in step.rewrote.get("mark", ("0", "0")))
        if after & ~before:
            return Mark(snat.hop, step, snat.at_hop, at)
    return None


def _asking(passage: Passage, snat: Mark) -> Mark | None:
    """The step that sent the packet to the marking rule: it holds the question why."""
    marking = _marking(passage, snat)
    if marking is None or marking.at_step == 0:
        return None
    before = Mark(snat.hop, snat.hop.steps[marking.at_step - 1], snat.at_hop, marking.at_step - 1)
    return before if before.step.verdict in (f"jump {marking.step.chain}", f"goto {marking.step.chain}") else None


def _cause(case: Case, passage: Passage, snat: Mark, place: Place) -> tuple[str, str]:
    """Why the source was rewritten, and what can be done."""
    subject, asking = case.subject, _asking(passage, snat)
    marking = asking or _marking(passage, snat)
    if marking is None:
        return _unmarked(case, place)
    if not case.is_of_proxy(marking):
        owner = case.owner(marking)
        return f"because {marking.where} marked the packet, a rule {owner.of}", owner.undo
    where = f" (marked by {asking.where})" if asking else ""
    pod = case.client_pod
    if pod is not None and place.kind == "pod" and pod.key == (place.namespace, place.name):
        return (
            f"because the Service chose the very pod that called (hairpin){where}: without this its answer would never leave the pod",
            "Nothing: a pod that reaches itself through a Service must be masqueraded.",
        )
    if subject is None:
        return f"because a rule marked the packet{where}", _PLAIN_FIX
    if subject.way is not WayIn.CLUSTER:
        return _from_outside(case, subject, where)
    if outside_of := _range_left_out(case, asking):
        return (
            f"because {outside_of}, so Service {subject.name} must bring the answer back through this node{where}",
            "Nothing for clients that are no pods; if pods lie outside that range, correct kube-proxy's clusterCIDR.",
        )
    return (
        f"because every packet to Service {subject.name} is marked for masquerading{where}",
        "Turn off masqueradeAll in kube-proxy's configuration; pods then need a way back that passes the same node.",
    )


def _from_outside(case: Case, subject: Subject, where: str) -> tuple[str, str]:
    if subject.is_local:
        return (
            f"because a packet from inside the cluster to the {subject.way} of Service {subject.name} "
            f"may be served by another node's endpoint, in spite of externalTrafficPolicy Local{where}",
            kept_at_cluster_ip(case, subject, "Dial {} from inside the cluster: pods keep their address there.") or _PLAIN_FIX,
        )
    return (
        f"because Service {subject.name} has externalTrafficPolicy Cluster: "
        f"the pod may be on another node, and its answer must come back this way{where}",
        "Set externalTrafficPolicy: Local to keep the address; then only nodes with a ready endpoint answer. "
        "Or carry it in the protocol (PROXY protocol, X-Forwarded-For).",
    )


def _unmarked(case: Case, place: Place) -> tuple[str, str]:
    if place.kind in ("endpoint", "external") and case.client_pod is not None:
        return (
            "because the pod network's own rule masquerades what leaves it",
            "Allow the nodes' addresses at the endpoint, or exempt its address from the network plugin's masquerading.",
        )
    return (
        "by a rule that is not about the Service: the node or the pod network masquerades what leaves it",
        _unmarked_fix(case),
    )


def _unmarked_fix(case: Case) -> str:
    if case.subject is None:
        return _PLAIN_FIX
    there = kept_at_cluster_ip(case, case.subject, "Dial {} from inside the cluster, or e") or "E"
    return f"{there}xempt the destination from the network plugin's masquerading."


def kept_at_cluster_ip(case: Case, subject: Subject, words: str) -> str:
    """Return *words* with the cluster IP, "" where a client who dials it is not answered or loses its address there as well."""
    ip = next((a for a in subject.service.cluster_ips if a.version == subject.address.version), None)
    if ip is None or ip == subject.address or case.outside or subject.port is None or case.sent is None:
        return ""
    found = asked_again(case, ip, subject.port.port)
    kept = found is not None and all(
        o.disposition is Disposition.DELIVERED and o.source_seen is not None and o.source_seen[0] == case.sent.source
        for o in firsts(found.outcomes)
    )
    return words.format(f"the cluster IP {endpoint_text(ip, subject.port.port)}") if kept else ""


def _range_left_out(case: Case, asking: Mark | None) -> str | None:
    """The range that the marking rule's ``! -s`` exempts, when there is one."""
    rule = case.rule_of(asking) if asking else None
    for match in rule.matches if rule else ():
        if isinstance(match, m.AddressMatch) and match.side == "source" and match.negated:
            return f"the source is outside the range that the rule takes for pods ({_network(match.network)})"
    return None


def _network(network: m.AddressMask) -> str:
    prefix = bin(network.mask).count("1")
    bits = 32 if network.version == 4 else 128
    if network.mask != ((1 << prefix) - 1) << (bits - prefix):
        return "a mask with holes"
    return str(IPv4Network((network.value, prefix)) if bits == 32 else IPv6Network((network.value, prefix)))
