"""DATA_MISSING, PARSE_ERROR: which checks could not be made for lack of a file, and which files of the nodes on the way are there and
cannot be read. Says nothing where nothing was left out."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, finding, some
from tracer.explain.findings.passage import Passage
from tracer.explain.findings.subject import WayIn
from tracer.packet import Protocol
from tracer.query import SourceKind
from tracer.snapshot.node_files import CONNTRACK, IP_LINK, SYSCTL
from tracer.trace import Finding


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield one finding that lists what was not checked for the whole trace, on its first outcome that is known."""
    yield from _unread(case, passage)
    if not case.judged or passage is not case.judged[0]:
        return
    missing = list(dict.fromkeys(m for p in case.judged for m in _missing(case, p)))
    if missing:
        text = f"Not checked, because the snapshot lacks the input: {some(missing)}"
        fix = "Collect these files as well, and upload the snapshot anew."
        yield finding(code="DATA_MISSING", text=text, fix=fix, severity=Severity.INFO)


def _unread(case: Case, passage: Passage) -> Iterator[Finding]:
    """Say which files the way rests on that are there and hold nothing that can be read."""
    if case.sent is None:
        return
    version = case.sent.destination.version
    nodes = dict.fromkeys(h.node for h in passage.nodes if h.node)
    unread = [said for node in nodes for said in case.cluster.stack(node).unread(version)]
    if unread:
        fix = "Take these files again, and look at what they hold before the snapshot is uploaded anew."
        yield finding(code="PARSE_ERROR", text="; ".join(unread), fix=fix, severity=Severity.WARNING)


def _missing(case: Case, passage: Passage) -> Iterator[str]:
    nodes = [h.node for h in passage.nodes if h.node]
    place = passage.outcome.destination
    if passage.dnats and case.subject is None and not case.objects.services:
        yield "whether a Service has the address, as no Service was recorded (services.json)"
    if case.subject is not None and case.subject.port is not None:
        if not case.endpoints.known:
            yield "whether the rules fit the endpoints (endpointslices.json)"
        if case.sent is not None and case.sent.protocol is not Protocol.TCP:
            for node in nodes:
                if case.node_text(node, CONNTRACK.name) is None:
                    yield f"connections that node {node} remembers ({case.path(node, CONNTRACK.name)})"
        yield from _ports(case, passage, nodes)
    if place is not None and place.kind == "pod" and not case.holds("NetworkPolicy"):
        yield "whether a NetworkPolicy denies it (networkpolicies.json)"
    if case.trace.query.source.kind is SourceKind.NODE and passage.snats and nodes and not case.stack(passage.nodes[0]).routing.links:
        yield f"whether it leaves node {nodes[0]} by VXLAN ({case.path(nodes[0], IP_LINK.name)})"


def _ports(case: Case, passage: Passage, nodes: list[str]) -> Iterator[str]:
    by_node_port = case.subject is not None and (case.subject.way is WayIn.NODE_PORT or passage.through_load_balancer)
    if by_node_port and nodes and case.cluster.stack(nodes[0]).routing.local_port_range is None:
        file = case.path(nodes[0], SYSCTL.name)
        yield f"whether the node port is one of node {nodes[0]}'s own source ports (ip_local_port_range in {file})"
