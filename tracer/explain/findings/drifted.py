"""Where rules on the packet's way are not what kube-proxy would have programmed: RULES_DRIFTED.

Only what touches the question is told: what is about the Service that was dialled, or about none, where the packet comes to it. Nothing is
told where anything that kube-proxy was told is assumed, or not everything could be compared. ``manage.py drift`` and the page Drift tell
of the whole node, and of what is assumed there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.passage import Passage
from tracer.explain.findings.rules_and_objects import findings as told_by_objects
from tracer.kubeproxy.drift.finding import Drift
from tracer.kubeproxy.drift.finding import Finding as Difference
from tracer.kubeproxy.rule_tables import is_ordered
from tracer.packet import Packet, Protocol, endpoint_text
from tracer.patterns import pattern
from tracer.trace import Finding, Hop, StackKind, Step

if TYPE_CHECKING:  # who compares nothing does without what is compared with
    from tracer.snapshot.drift import NodeDrift

_TOLD = 3
_GRACE_SECONDS = 10.0
"""So long after a change its rules may still be on their way: kube-proxy gathers what follows closely."""
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
_BEHIND_KEY = pattern(r" : | comment ", re.ASCII)
_TO = pattern(r" -d (\S+?)(?:/(\d{1,3}))? ", re.ASCII)
_PROTOCOL = pattern(r" -p (\S+) ", re.ASCII)
_PORT = pattern(r" --dport (\d{1,5}) ", re.ASCII)
_OPTION = {Protocol.TCP: "-t", Protocol.UDP: "-u", Protocol.SCTP: "--sctp-service"}


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield one finding for each node on the way whose rules differ where this packet meets them.

    Where another finding tells that a node's rules and the objects disagree about endpoints, and how old each is, that is this difference.
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
        if not chains:
            continue
        case.cluster.drift(hop.node, [one for one in chains if is_ordered(one[2])])
        found = _touching(case, hop, drift)
        if found and (found := [one for one in found if one.drift is Drift.FOREIGN or not _is_told(case, passage, hop)]):
            yield _told(case, hop, place, drift, found)


def _touching(case: Case, hop: Hop, drift: NodeDrift) -> Sequence[Difference]:
    """The differences that the packet meets on *hop*; many outcomes come there as the same packet and meet the same."""
    own = case.subject.name if case.subject else ""
    key = (hop.node, own, hop.packet_in, tuple((s.file, s.line, s.table, s.chain, s.verdict) for s in hop.steps))
    if key not in case.drifted:
        about = case.known.once(("drift", hop.node or "", own), lambda: _about(drift, own))
        case.drifted[key] = [one for one in about if _touches(case, hop, one)]
    return case.drifted[key]


def _about(drift: NodeDrift, own: str) -> list[Difference]:
    """The differences of a node that are of the Service *own*, or of none."""
    return [one for one in drift.findings if one.service.partition(":")[0] in ("", own)]


def _is_told(case: Case, passage: Passage, hop: Hop) -> bool:
    """Return whether another finding says that the node's rules and the objects disagree."""
    told = list(told_by_objects(case, passage))
    return any(one.hop is None or passage.outcome.hops[one.hop].node == hop.node for one in told)


def _told(case: Case, hop: Hop, place: int, drift: NodeDrift, found: Sequence[Difference]) -> Finding:
    about = f" for Service {case.subject.name}" if case.subject else ""
    said = dict.fromkeys(f"in {one.place} {_IS[one.drift]}" for one in found)
    more = f", and {len(said) - _TOLD} more" if len(said) > _TOLD else ""
    text = (
        f"On node {hop.node} rules{about} that this packet meets are not what kube-proxy would have programmed: "
        f"{', '.join(list(said)[:_TOLD])}{more}"
    )
    is_early = _is_early(case, drift)
    if is_early:
        text += ". The rules were read before the objects, or just after they changed: kube-proxy may have caught up since"
    at = next((n for one in found for n, step in enumerate(hop.steps) if _is_of(step, one) and _is_same(step, one)), None)
    made = finding(
        code="RULES_DRIFTED",
        text=text,
        fix=_FIX.format(log=case.proxy_at(hop).log, node=hop.node),
        severity=Severity.NOTICE if is_early else None,
        evidence=tuple(evidence for one in found[:_TOLD] for evidence in _evidence(one)),
    )
    return replace(made, hop=place, step=at)


def _is_early(case: Case, drift: NodeDrift) -> bool:
    """Return whether the rules were read before the objects, or so soon after these changed that kube-proxy may not have followed."""
    changed_at = case.cluster.snapshot.rules_asked_for_at()
    if drift.rules_read_at is None:
        return False
    if changed_at is not None:
        return drift.rules_read_at < changed_at + _GRACE_SECONDS
    return drift.objects_read_at is not None and drift.rules_read_at < drift.objects_read_at


def _evidence(one: Difference) -> Iterator[str]:
    if one.text:
        yield f"{one.file}:{one.line} {one.text}" if one.line is not None else f"{one.file} {one.text}"
    if one.expected:
        yield f"expected: {one.expected}"


# -- what a packet meets --------------------------------------------------------------------------------------------------------------


def _touches(case: Case, hop: Hop, one: Difference) -> bool:
    """Return whether the packet of *hop* meets what differs."""
    steps = [step for step in hop.steps if _is_of(step, one)]
    if one.drift is Drift.FOREIGN:
        return any(_is_same(step, one) for step in steps)
    kind, _, name = one.place.rpartition(" ")
    packet = hop.packet_in
    match kind.split():
        case [table] if table in ("nat", "filter", "mangle", "raw"):
            if not _came_to(steps, name):
                return False
            return is_ordered(name) or _is_for(case, one.expected or one.text, packet)
        case [family, _, "chain"] if family in ("ip", "ip6"):
            return _came_to(steps, name)
        case [family, _, "set" | "map"] if family in ("ip", "ip6"):
            return packet.family.value == family and _is_element_for(one.expected or one.text, packet)
        case ["virtual", "server", option]:
            return option == _OPTION.get(packet.protocol) and name == endpoint_text(packet.destination, packet.destination_port)
        case ["set"]:
            return _is_entry_for(case, name, one.expected or one.text, packet)
        case ["device"]:
            return str(packet.destination) in (one.expected, one.text)
    return False


def _is_of(step: Step, one: Difference) -> bool:
    """Return whether a step is of the file, the family and the table that *one* is told of."""
    first = one.place.partition(" ")[0]
    if step.file != one.file or step.made_as:
        return False
    return step.family == first if first in ("ip", "ip6") else first not in ("nat", "filter", "mangle", "raw") or step.table == first


def _is_same(step: Step, one: Difference) -> bool:
    """Return whether a step is of the very rule that *one* tells of; a listing as JSON has no lines."""
    is_there = step.chain == one.place.rpartition(" ")[2]
    return is_there and (step.line == one.line if one.line is not None else step.rule is not None and step.rule == one.text)


def _came_to(steps: Sequence[Step], chain: str) -> bool:
    return any(step.chain == chain or (step.verdict or "").endswith(f" {chain}") for step in steps)


def _is_for(case: Case, rule: str, packet: Packet) -> bool:
    """Return whether a rule of a chain with rules for all Services asks for what the packet has, as far as kube-proxy's rules ask."""
    text = f"{rule} "
    to, protocol, port = _TO.search(text), _PROTOCOL.search(text), _PORT.search(text)
    if to is not None and to[1] != str(packet.destination):
        return False
    if protocol is not None and protocol[1] != packet.protocol.value:
        return False
    if port is not None and int(port[1]) != packet.destination_port:
        return False
    return "--dst-type LOCAL" not in text or case.objects.node_with_ip(packet.destination) is not None


def _is_element_for(text: str, packet: Packet) -> bool:
    """Return whether an element of an nft set or map is what the packet is looked up by."""
    key = f"{packet.protocol.value} . {packet.destination_port}"
    found = _BEHIND_KEY.split(text)[0].strip()
    return found in (str(packet.destination), key, f"{packet.destination} . {key}")


def _is_entry_for(case: Case, name: str, text: str, packet: Packet) -> bool:
    """Return whether an entry of an ipset of kube-proxy's is what the packet is looked up by: its address and port, or a node's port."""
    if text.partition(",")[0] == str(packet.destination):
        asked = text.split(",")[1:2]
        return not asked or asked == [f"{packet.protocol.value}:{packet.destination_port}"] or ":" not in asked[0]
    number = text.rpartition(":")[2]
    is_port = "NODE-PORT" in name and name.endswith(packet.protocol.value.upper()) and number == str(packet.destination_port)
    return is_port and case.objects.node_with_ip(packet.destination) is not None
