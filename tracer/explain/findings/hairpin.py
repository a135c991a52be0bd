"""A pod that reaches itself through a Service: HAIRPIN_WITHOUT_MASQ and HAIRPIN_OFF, with their share of the connections."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from tracer.explain.findings.case import Case, finding, target_of
from tracer.explain.findings.passage import Passage
from tracer.trace import Finding
from tracer.unopened import first_of, items_of

_CODES = ("HAIRPIN_WITHOUT_MASQ", "HAIRPIN_OFF")


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield the finding for an outcome that ended because the pod was sent to itself."""
    reason = passage.outcome.reason
    if reason is None or reason.code not in _CODES:
        return
    at = passage.dnats[-1] if passage.dnats else None
    node = passage.last_node
    reasons = ((item.probability, first_of(item).reason) for item in items_of(case.trace.outcomes))
    share = sum((odds for odds, why in reasons if why is not None and why.code == reason.code), start=Fraction(0))
    nearest = share.limit_denominator(1000)
    often = f"{nearest} of its connections fail" if share != 1 else "every connection fails"
    what = f"Service {case.subject.name}" if case.subject else "this address"
    target = target_of(at) if at else None
    lead = f"{case.client[:1].upper()}{case.client[1:]} cannot reach itself through {what}: {often}"
    if at and target:
        lead = f"{lead}. Rule {at.where} of node {node} sends them to {target[0]} port {target[1]}, the pod's own address, and"
    else:
        lead = f"{lead}:"
    if reason.code == "HAIRPIN_OFF":
        text = f"{lead} the pod's bridge port on node {node} does not send a packet back where it came from (hairpin mode is off)"
        fix = (
            "Set hairpinMode: true in the network plugin's bridge configuration and recreate the pod, or bridge link set dev VETH "
            "hairpin on."
        )
    else:
        text = f"{lead} no rule masquerades it: the pod gets a packet from its own address and drops it"
        fix = (
            f"{at.where} is a rule {case.owner(at).of}: whoever wrote it has to masquerade what a pod sends to itself."
            if at is not None and not case.is_of_proxy(at)
            else "Let kube-proxy masquerade hairpin traffic (a rule -s POD -j KUBE-MARK-MASQ for each endpoint is its default): check "
            "what removed it."
        )
    yield finding(code=reason.code, text=text, fix=fix, at=at)
