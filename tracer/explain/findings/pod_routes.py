"""POD_ROUTE_MISSING: a node on the way, of the request or of the answer, lacks the route to a pod that its peers have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.passage import Passage
from tracer.topology.pod_routes import Lacked, lacked_route
from tracer.trace import Finding, Hop, StackKind

_ENDS = frozenset({"POD_ROUTE_MISSING", "NO_ROUTE"})


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield it for the node where the request ended, and for that where the answer did."""
    outcome, reply = passage.outcome, passage.outcome.reply
    if outcome.reason is not None and outcome.reason.code in _ENDS:
        yield from _at_end(case, outcome.hops, reply=False)
    if reply is not None and reply.reason is not None and reply.reason.code in _ENDS:
        yield from _at_end(case, reply.hops, reply=True)


def _at_end(case: Case, hops: Sequence[Hop], *, reply: bool) -> Iterator[Finding]:
    last = hops[-1] if hops else None
    if last is None or last.kind is not StackKind.NODE or last.node is None:
        return
    address = last.packet_out.destination
    pod = case.cluster.pod_with_ip(address)
    if pod is None or pod.node_name is None:
        return
    lacked = lacked_route(case.cluster, last.node, pod.node_name, address)
    if lacked is not None:
        yield _finding(lacked, f"pod {pod.namespace}/{pod.name}", len(hops) - 1, reply=reply)


def _finding(lacked: Lacked, pod: str, hop: int, *, reply: bool) -> Finding:
    what = f"the answer to {pod}" if reply else f"the packet for {pod}"
    text = f"{lacked.text[0].upper()}{lacked.text[1:]}; {what} goes by the default route, or nowhere"
    fix = (
        f"See why the CNI's agent on node {lacked.node} did not write the route ({lacked.wanted}): its log, whether it runs there, and "
        "what removed the route (a restart of the network, NetworkManager)."
    )
    evidence = (f"{lacked.known.file} {lacked.known.route}",)
    return replace(finding(code="POD_ROUTE_MISSING", text=text, fix=fix, reply=reply, evidence=evidence), hop=hop)
