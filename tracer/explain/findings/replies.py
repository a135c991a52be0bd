"""The answer that does not reach the client: REPLY_BYPASSES_NAT, and what dropped it on the way."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.node_rules import forward_policy, is_forward_policy
from tracer.explain.findings.passage import Mark, Passage, deciding
from tracer.netfilter import model as m
from tracer.trace import Disposition, Finding, Reply, StackKind


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield why the answer of a delivered packet is lost."""
    reply = passage.outcome.reply
    if reply is None or reply.disposition in (Disposition.DELIVERED, Disposition.UNKNOWN):
        return
    if passage.outcome.disposition not in (Disposition.DELIVERED, Disposition.LEAVES):
        return  # a refusal that is lost: its outcome says so, and what is to be mended is what refuses
    at = deciding(reply.hops)
    if at is not None and is_forward_policy(at):
        yield from forward_policy(case, at, reply=True)
    elif at is not None and _is_for_invalid(case, at):
        yield _invalid(case, passage, reply, at)
    elif reply.reason is not None and reply.reason.code == "REPLY_BYPASSES_NAT":
        yield _bypassed(case, passage, reply)
    elif reply.reason is not None:
        yield _ended(case, passage, reply, at)


def _is_for_invalid(case: Case, at: Mark) -> bool:
    rule = case.rule_of(at)
    return rule is not None and any(isinstance(x, m.CtStateMatch) and not x.negated and "INVALID" in x.states for x in rule.matches)


def _holder(passage: Passage, reply: Reply) -> str:
    """Who translated the request and is not on the answer's way."""
    passed = {(h.kind, h.name) for h in reply.hops}
    balancer = next((h for h in passage.outcome.hops if h.kind is StackKind.LOAD_BALANCER), None)
    if balancer is not None and (balancer.kind, balancer.name) not in passed:
        return f"The load balancer of {balancer.name}, which sent the request to a node port,"
    missed = next((x for x in passage.dnats if (x.hop.kind, x.hop.name) not in passed), None)
    if missed is None:
        return "Who rewrote the request"
    return f"Node {missed.hop.node}, which rewrote the request at {missed.where},"


def _about(case: Case) -> str:
    return f" of Service {case.subject.name}" if case.subject else ""


_FIX = (
    "Masquerade on the node that rewrites the request (Cluster policy, or a correct clusterCIDR), or route the answers back "
    "through that node."
)


def _bypassed(case: Case, passage: Passage, reply: Reply) -> Finding:
    last = reply.hops[-1] if reply.hops else None
    way = " > ".join(h.name for h in reply.hops)
    text = (
        f"The answer{_about(case)} goes {way or 'another way'}. {_holder(passage, reply)} never sees it and cannot undo its rewriting: "
        f"{case.client} gets an answer from {reply.source} port {reply.source_port}, which it did not dial"
    )
    steps = (f"answer leaves {last.name} as {last.packet_out.source}",) if last else ()
    return finding(code="REPLY_BYPASSES_NAT", text=text, fix=_FIX, reply=True, evidence=steps)


def _invalid(case: Case, passage: Passage, reply: Reply, at: Mark) -> Finding:
    text = (
        f"Node {at.hop.node} drops the answer{_about(case)} at {at.where} as INVALID: it did not see the request. "
        f"{_holder(passage, reply)} is not on the answer's way"
    )
    return finding(code="REPLY_BYPASSES_NAT", text=text, fix=_FIX, at=at, reply=True)


def _ended(case: Case, passage: Passage, reply: Reply, at: Mark | None) -> Finding:
    reason = reply.reason
    code, said = (reason.code, reason.text) if reason else ("REPLY_BYPASSES_NAT", "")
    where = f" on node {reply.hops[-1].node}" if reply.hops and reply.hops[-1].node else ""
    text = f"The packet{_about(case)} arrives, and its answer to {case.client} does not{where}: {said}"
    return finding(
        code=code,
        text=text,
        fix="Look at the answer's last step: what holds for the request must hold for the way back too.",
        at=at,
        reply=True,
    )
