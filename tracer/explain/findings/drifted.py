"""Where rules on the packet's way are not what kube-proxy would have programmed: RULES_DRIFTED.

Only what touches the question is told: rules of the Service that was dialled, and rules of nobody's in chains that the packet walked.
``manage.py drift`` and the page Drift tell of the whole node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.passage import Passage
from tracer.explain.findings.rules_and_objects import findings as told_by_objects
from tracer.kubeproxy.drift.finding import Drift
from tracer.kubeproxy.drift.finding import Finding as Difference
from tracer.kubeproxy.rule_tables import is_ordered
from tracer.patterns import pattern
from tracer.snapshot.drift import NodeDrift
from tracer.trace import Finding, Hop, StackKind

_ADDRESS = pattern(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])|(?<!\w)[0-9a-f]{0,4}:[0-9a-f:]{1,35}(?![\w])", re.ASCII)
_TOLD = 3
_IS = {
    Drift.MISSING: "something is missing",
    Drift.STALE: "something is left of an earlier state",
    Drift.DIFFERENT: "something is altered",
    Drift.FOREIGN: "something is somebody else's",
    Drift.LEFTOVER: "something is left of what is gone",
}
_FIX = (
    "Look at {log} on node {node} for failed syncs and restart it there, which writes its rules anew; a rule of somebody else's comes back "
    "as long as whoever wrote it runs. manage.py drift and the page Drift tell of all of the node's rules."
)


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield one finding for each node on the way whose rules differ where this packet meets them.

    Where another finding tells that rules and objects disagree about endpoints, and how old each is, that is this difference.
    """
    seen = set[str]()
    for place, hop in enumerate(passage.outcome.hops):
        if hop.kind is not StackKind.NODE or hop.node is None or hop.node in seen:
            continue
        seen.add(hop.node)
        drift = case.cluster.drift(hop.node)
        # Where nobody notes what an answer rests on, nothing has to be looked at on most nodes.
        if drift is None or (not drift.findings and case.cluster.keeps_answers):
            continue
        chains = {(s.file, s.table, s.chain) for s in hop.steps if s.file is not None and not s.made_as}
        case.cluster.drift(hop.node, [one for one in chains if is_ordered(one[2])])
        if not chains:
            continue
        found = [one for one in _about(case, hop.node, drift) if _touches(hop, one)]
        if found and not any(told_by_objects(case, passage)):
            yield _told(case, hop, place, drift, found)


def _about(case: Case, node: str, drift: NodeDrift) -> Sequence[Difference]:
    """The differences of *node* that are of the Service that was dialled, or of none."""
    own = case.subject.name if case.subject else ""

    def chosen() -> list[Difference]:
        return [one for one in drift.findings if one.service.partition(":")[0] in ("", own)]

    return case.known.once(("drift", node, own), chosen)


def _told(case: Case, hop: Hop, place: int, drift: NodeDrift, found: Sequence[Difference]) -> Finding:
    about = f" for Service {case.subject.name}" if case.subject else ""
    said = dict.fromkeys(f"in {one.place} {_IS[one.drift]}" for one in found)
    more = f", and {len(said) - _TOLD} more" if len(said) > _TOLD else ""
    text = (
        f"On node {hop.node} rules{about} that this packet meets are not what kube-proxy would have programmed: "
        f"{', '.join(list(said)[:_TOLD])}{more}"
    )
    is_early = drift.rules_read_at is not None and drift.objects_read_at is not None and drift.rules_read_at < drift.objects_read_at
    if is_early:
        text += ". The rules were read before the objects: kube-proxy may have caught up since"
    lines = {one.line for one in found if one.line is not None}
    at = next((n for n, step in enumerate(hop.steps) if step.line in lines and step.file == found[0].file), None)
    made = finding(
        code="RULES_DRIFTED",
        text=text,
        fix=_FIX.format(log=case.proxy_at(hop).log, node=hop.node),
        severity=Severity.NOTICE if is_early else None,
        evidence=tuple(evidence for one in found[:_TOLD] for evidence in _evidence(one)),
    )
    return replace(made, hop=place, step=at)


def _evidence(one: Difference) -> Iterator[str]:
    if one.text:
        yield f"{one.file}:{one.line} {one.text}" if one.line is not None else f"{one.file} {one.text}"
    if one.expected:
        yield f"expected: {one.expected}"


def _touches(hop: Hop, one: Difference) -> bool:
    """Return whether the packet of *hop* meets what differs."""
    if one.drift is Drift.FOREIGN:
        return any(step.file == one.file and step.line == one.line for step in hop.steps)
    return _is_walked(one, hop) or (bool(one.service) and _speaks_of(one, hop))


def _is_walked(one: Difference, hop: Hop) -> bool:
    """Return whether the packet came to the chain, and every rule of it may count: it is not one with a rule for each Service."""
    chain = one.place.rpartition(" ")[2]
    return is_ordered(chain) and any(
        s.file == one.file and (s.chain == chain or (s.verdict or "").endswith(f" {chain}")) for s in hop.steps
    )


def _speaks_of(one: Difference, hop: Hop) -> bool:
    """Return whether a rule for each Service, an element or a virtual server is about what the packet was sent to."""
    packet = hop.packet_in
    said, address = f"{one.place} {one.text} {one.expected} ", str(packet.destination)
    behind = r"(?![\w.])" if packet.destination.version == 4 else r"(?![\w.:])"
    if re.search(rf"(?<![\w.:]){re.escape(address)}{behind}", said):
        return True
    # By a node's port no address is named.
    return re.search(rf"(?:--dport |(?:tcp|udp|sctp)(?: \. |:)){packet.destination_port}(?!\d)", said) is not None and not _ADDRESS.search(
        said
    )
