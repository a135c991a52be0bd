"""What nodes remember of connections: conntrack entries that no longer fit.

CONNTRACK_TO_REMOVED_ENDPOINT, CONNTRACK_WITHOUT_NAT.
NB: a TCP entry to a removed endpoint is ordinary after a pod went; only who keeps sending from one UDP or SCTP port is stuck.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.conntrack_list import Entry, entries_towards
from tracer.explain.explanation import Severity
from tracer.explain.findings.asked_again import asked_again
from tracer.explain.findings.case import Case, finding, owner_text, some, target_of
from tracer.explain.findings.endpoints import Target
from tracer.explain.findings.passage import Mark, Passage, passage_of
from tracer.explain.findings.subject import Subject
from tracer.packet import Packet, Protocol
from tracer.snapshot.node_files import CONNTRACK
from tracer.trace import Finding, Hop


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield what remembered connections mean for this outcome."""
    subject = case.subject
    if subject is None:
        return
    yield from _followed(case, subject, passage)
    for hop in passage.nodes:
        if case.trace.query.connection is None and hop.packet_in.destination_port is not None:
            yield from _remembered(case, subject, passage, hop)


# -- conntrack ------------------------------------------------------------------------------------------------------------------------


def _followed(case: Case, subject: Subject, passage: Passage) -> Iterator[Finding]:
    """A trace of an existing connection: its binding leads to what is no endpoint any more."""
    if case.trace.query.connection is None or not passage.dnats or not case.endpoints.known:
        return
    at, (node, line) = passage.dnats[0], case.trace.query.connection
    target = target_of(at)
    if target is None or case.endpoints.at(target) is not None:
        return
    if _is_of_others(case, at, target):
        return
    where = f"{case.path(node, CONNTRACK.name)}:{line}"
    text = (
        f"This connection to Service {subject.name} is bound to {target[0]} port {target[1]} on node {node} ({where}), which is no "
        "endpoint of "
        f"the Service any more; {owner_text(case, target[0])} has that address"
    )
    yield finding(code="CONNTRACK_TO_REMOVED_ENDPOINT", text=text, fix=_delete(subject, node, at.hop.packet_in), at=at, evidence=(where,))


def _is_of_others(case: Case, at: Mark, target: Target) -> bool:
    """Whether a rule of others (a pod's hostPort) would bind a new connection in the same way: then nothing was removed."""
    packet = at.hop.packet_in
    now = asked_again(case, packet.destination, packet.destination_port)
    taken = (mark for outcome in now.outcomes for mark in passage_of(outcome).dnats) if now is not None else ()
    return any(target_of(mark) == target and not case.is_of_proxy(mark) for mark in taken)


def _remembered(case: Case, subject: Subject, passage: Passage, hop: Hop) -> Iterator[Finding]:
    packet, node = hop.packet_in, hop.node or hop.name
    entries = case.known.once(("entries", node, packet.destination), lambda: _entries(case, node, packet))
    mine = [e for e in entries if e.protocol is packet.protocol and e.original.destination_port == packet.destination_port]
    translated = next((x for x in passage.dnats if x.hop is hop), None)
    others = None if translated is None or case.is_of_proxy(translated) else target_of(translated)
    removed = [e for e in mine if e.has_dnat and _leads_nowhere(case, e) and others != (e.reply.source, e.reply.source_port)]
    plain = [e for e in mine if not e.has_dnat and translated is not None and _is_stuck(e)]
    if removed:
        yield _finding(case, subject, hop, removed, "CONNTRACK_TO_REMOVED_ENDPOINT", translated)
    if plain:
        yield _finding(case, subject, hop, plain, "CONNTRACK_WITHOUT_NAT", translated)


def _entries(case: Case, node: str, packet: Packet) -> tuple[Entry, ...]:
    text = case.node_text(node, CONNTRACK.name)
    if text is None or f"dst={packet.destination} " not in text:
        return ()
    return tuple(entries_towards(text, packet.destination))


def _leads_nowhere(case: Case, entry: Entry) -> bool:
    """Whether a connectionless entry translates to an address that no EndpointSlice of the Service lists."""
    port = entry.reply.source_port
    if not case.endpoints.known or entry.protocol is Protocol.TCP or not isinstance(port, int):
        return False
    return case.endpoints.at((entry.reply.source, port)) is None


def _is_stuck(entry: Entry) -> bool:
    return entry.protocol is not Protocol.TCP or (entry.state == "SYN_SENT" and entry.unreplied)


def _finding(case: Case, subject: Subject, hop: Hop, entries: list[Entry], code: str, at: Mark | None) -> Finding:
    node, packet = hop.node or hop.name, hop.packet_in
    path = case.path(node, CONNTRACK.name)
    asked = case.trace.query.source_port
    own = [e for e in entries if e.original.source == packet.source and asked in (None, e.original.source_port)]
    shown = own or entries
    clients = some([f"{e.original.source} port {e.original.source_port} ({path}:{e.line})" for e in shown], 3)
    protocol = packet.protocol.value.upper()
    if code == "CONNTRACK_TO_REMOVED_ENDPOINT":
        gone = some(sorted({f"{e.reply.source} port {e.reply.source_port}" for e in shown}), 3)
        what = f"still goes to {gone}, which no EndpointSlice lists"
    else:
        what = f"is not rewritten at all, although {at.where if at else 'a rule'} now would: its first packet came before the rule"
    text = f"On node {node}, {protocol} to {subject.name} from {clients} {what}. "
    text += (
        f"That is {case.client}: it is stuck for as long as it keeps sending from that port; a new port works as shown"
        if own
        else "A new connection works as shown; those clients are stuck for as long as they keep sending"
    )
    return finding(
        code=code,
        text=text,
        fix=_delete(subject, node, packet),
        severity=None if own else Severity.NOTICE,
        at=at,
        evidence=tuple(f"{path}:{e.line} {e.text}" for e in shown[:3]),
    )


def _delete(subject: Subject, node: str, packet: Packet) -> str:
    return (
        f"On node {node}: conntrack -D -p {packet.protocol.value} -d {packet.destination} --dport {packet.destination_port}; the "
        "clients of "
        f"Service {subject.name} then start anew. A current kube-proxy does this itself."
    )
