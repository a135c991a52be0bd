"""What depends on a node's mode: rules that another mode left behind, drained IPVS servers, the alpha's and nftables' drops, the proxy.

LEFTOVER_RULES, IPVS_CONNECTION_REUSED, LB_IP_DROPPED_ON_NODE, CLIENT_IP_LOST through a proxy process.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, finding, some
from tracer.explain.findings.load_balancers import cluster_ip
from tracer.explain.findings.passage import Mark, Passage, marks
from tracer.explain.findings.subject import WayIn
from tracer.ipvs.model import RealServer, VirtualServer
from tracer.packet import endpoint_text
from tracer.query import SourceKind
from tracer.snapshot.node_files import VIRTUAL_COUNTERS, VIRTUAL_SERVERS
from tracer.topology.mode import mode_of
from tracer.trace import Disposition, Finding, Hop, StackKind

_REUSE = "net.ipv4.vs.conn_reuse_mode"


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield what the modes of the nodes explain of this outcome."""
    for hop in passage.nodes:
        yield from _leftover(case, hop)
    for mark in marks(passage.outcome.hops, lambda step: step.table == "ipvs" and step.verdict == "continue"):
        yield from _drained(case, mark)
    yield from _dropped_on_node(case, passage)
    yield from _proxied(case, passage)


# -- leftovers ------------------------------------------------------------------------------------------------------------------------


def _leftover(case: Case, hop: Hop) -> Iterator[Finding]:
    node = hop.node or hop.name
    found = case.known.once(("mode", node), lambda: mode_of(case.cluster, node))
    if not found.leftovers or found.mode is None:
        return
    text = (
        f"Node {node} runs kube-proxy in {found.mode} mode ({'; '.join(found.evidence)}), and still holds what another mode made: "
        f"{'; '.join(found.leftovers)}. The kernel asks both, and nobody keeps the leftovers up to date"
    )
    fix = f"Run kube-proxy --cleanup with the old mode's settings on node {node}, or reboot it."
    yield finding(code="LEFTOVER_RULES", text=text, fix=fix, evidence=found.leftovers)


# -- IPVS -----------------------------------------------------------------------------------------------------------------------------


def _drained(case: Case, mark: Mark) -> Iterator[Finding]:
    """Weight 0 and connections: a client that uses a source port again may meet the old one's connection."""
    servers = case.stack(mark.hop).virtual_servers
    server = next((s for s in servers.servers if s.line == mark.step.line), None) if servers is not None else None
    drained = tuple(r for r in server.real_servers if r.weight == 0) if server is not None else ()
    if server is None or not drained:
        return
    held = tuple(r for r in drained if (r.active or 0) + (r.inactive or 0))
    if held:
        yield _reused(case, mark, server, held)
    elif any(r.inactive is None for r in drained):
        node = mark.hop.node or mark.hop.name
        text = (
            f"Virtual server {server.name} of node {node} drains {some([endpoint_text(r.address, r.port) for r in drained])} (weight 0). "
            f"Whether connections that a client may reuse are left is not known: {case.path(node, VIRTUAL_COUNTERS.name)} is missing"
        )
        yield finding(
            code="IPVS_CONNECTION_REUSED",
            text=text,
            fix="Record ipvsadm -L -n as well, and look for InActConn above 0.",
            severity=Severity.INFO,
            at=mark,
        )


def _reused(case: Case, mark: Mark, server: VirtualServer, held: tuple[RealServer, ...]) -> Finding:
    node = mark.hop.node or mark.hop.name
    setting = case.stack(mark.hop).routing.get(_REUSE)
    mode = f"{_REUSE} is {setting}" if setting is not None else f"{_REUSE} is not recorded"
    shown = [f"{endpoint_text(r.address, r.port)} ({r.active} active, {r.inactive} inactive connections)" for r in held]
    text = (
        f"Virtual server {server.name} of node {node} drains {some(shown)} (weight 0). A client that takes the address and port of one of "
        f"these connections again meets the old real server, or waits a second for a new one ({mode})"
    )
    fix = f"Use Linux 5.9 or later with {_REUSE}=1 on node {node}, and keep connections open in the client."
    evidence = tuple(f"{case.path(node, VIRTUAL_SERVERS.name)}:{r.line} {r.text}" for r in held)
    return finding(code="IPVS_CONNECTION_REUSED", text=text, fix=fix, at=mark, evidence=evidence)


# -- nftables -------------------------------------------------------------------------------------------------------------------------


def _dropped_on_node(case: Case, passage: Passage) -> Iterator[Finding]:
    """A client of the cluster, a Local load-balancer address, and a drop that only nftables mode makes."""
    at, subject = passage.decided, case.subject
    if at is None or subject is None or subject.way is not WayIn.LOAD_BALANCER or not subject.is_local or case.outside:
        return
    if passage.outcome.disposition is not Disposition.DROPPED or at.step.table != "kube-proxy" or at.hop.node is None:
        return
    text = (
        f"Node {at.hop.node} drops {case.client}'s packet to {subject.target}, the load balancer address of Service {subject.name}: "
        f"externalTrafficPolicy is Local, the node has no local endpoint, and in nftables mode {at.where} drops it before the rule for "
        "clients of the cluster is asked. iptables mode sends such a client to any endpoint"
    )
    inside = cluster_ip(case, subject)
    fix = f"Run an endpoint of Service {subject.name} on node {at.hop.node}" + (f", or dial its cluster IP {inside}." if inside else ".")
    yield finding(code="LB_IP_DROPPED_ON_NODE", text=text, fix=fix, at=at)


# -- userspace ------------------------------------------------------------------------------------------------------------------------


def _proxied(case: Case, passage: Passage) -> Iterator[Finding]:
    proxy = next((h for h in passage.outcome.hops if h.kind is StackKind.PROXY), None)
    if proxy is None or passage.outcome.source_seen is None or case.sent is None or case.trace.query.source.kind is SourceKind.NODE:
        return
    about = f" of Service {case.subject.name}" if case.subject else ""
    text = (
        f"A process, {proxy.name}, ends the connection of {case.client} and makes another: the pod{about} sees "
        f"{passage.outcome.source_seen[0]}, not {case.sent.source}. Traffic policies and source ranges have no effect"
    )
    fix = "Leave userspace mode (Kubernetes 1.26 removed it): the other modes can keep the client's address."
    yield finding(code="CLIENT_IP_LOST", text=text, fix=fix)
