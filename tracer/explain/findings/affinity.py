"""Session affinity as each mode writes it: a client that is, or will be, sent to the same endpoint again.

AFFINITY_PINS_CLIENT. iptables keeps ``-m recent`` lists, nftables sets that rules update, IPVS templates of persistent clients.
Source: kube-proxy pkg/proxy/{iptables,nftables,ipvs}/proxier.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, finding, target_of
from tracer.explain.findings.passage import Mark, Passage, marks
from tracer.explain.findings.subject import Subject
from tracer.ipvs.model import VirtualServer
from tracer.netfilter import model as m
from tracer.patterns import pattern
from tracer.query import FlowState
from tracer.trace import Disposition, Finding, Hop, Step
from tracer.values import dataclass

_NFT_SETS = pattern(r"(?:update|add) @(?P<set>\S+) \{ ip6? saddr", re.ASCII)
_NFT_ASKS = pattern(r"ip6? saddr @(?P<set>\S+) (?:goto|jump) ", re.ASCII)

_ENDPOINT = "KUBE-SEP-"
"""kube-proxy names a list as the endpoint's chain. Source: proxier.go, writeServiceToEndpointRules."""


@dataclass(frozen=True, slots=True)
class _Pin:
    """A step that remembers the client, or (*asks*) that finds it remembered. *seconds* is how long, None where the rule does not say."""

    mark: Mark
    asks: bool
    seconds: int | None


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield AFFINITY_PINS_CLIENT: for a new client what is coming, for one that is remembered that it happened."""
    subject = case.subject
    if subject is None or passage.outcome.disposition is Disposition.UNKNOWN or not passage.dnats:
        return
    pins = [pin for mark in marks(passage.outcome.hops, _may_pin) if (pin := _pin(case, mark)) is not None]
    if pins and pins[-1].mark.hop.node is not None:
        yield from _pinned(case, subject, passage, pins)


def _pinned(case: Case, subject: Subject, passage: Passage, pins: list[_Pin]) -> Iterator[Finding]:
    at, target = pins[-1].mark, target_of(passage.dnats[0])
    if target is None:
        return
    address = at.hop.packet_in.source
    seconds = next((p.seconds for p in pins if p.seconds is not None), subject.service.session_affinity_timeout)
    listed = case.endpoints.at(target)
    gone = case.endpoints.known and (listed is None or not listed.ready)
    shared = case.sent is not None and address != case.sent.source
    asked = next((p.mark for p in pins if p.asks), None)
    lead = f"Service {subject.name} has session affinity: "
    lead += (
        f"node {at.hop.node} sends {address} to {target[0]} port {target[1]} again ({asked.where})"
        if asked is not None
        else f"after this connection node {at.hop.node} sends {address} to {target[0]} port {target[1]} again ({at.where})"
    )
    lasting = f"for {seconds} seconds after its last connection" if seconds is not None else "for as long as the node remembers it"
    text = f"{lead}, {lasting}, and each new connection starts the time anew"
    text += f". That endpoint is {'not ready' if listed else 'no longer listed'}" if gone else ""
    text += f". All clients that come as {address} share this endpoint" if shared or case.outside else ""
    fix = (
        "Lower sessionAffinityConfig.clientIP.timeoutSeconds, keep the clients' addresses apart (no SNAT in front), or pin by "
        "cookie in an HTTP proxy."
    )
    severity = Severity.WARNING if gone or shared else Severity.NOTICE
    yield finding(code="AFFINITY_PINS_CLIENT", text=text, fix=fix, severity=severity, at=asked or at)


def _may_pin(step: Step) -> bool:
    return step.table in ("ipvs", "kube-proxy") or " -m recent " in (step.rule or "")


def _pin(case: Case, mark: Mark) -> _Pin | None:
    if mark.step.table == "ipvs":
        return _persistent(case, mark)
    return _in_set(case, mark, mark.step.rule or "") if mark.step.table == "kube-proxy" else _recent(case, mark)


def _recent(case: Case, mark: Mark) -> _Pin | None:
    """``-m recent`` with a list of kube-proxy's: a firewall has its own.

    NB: nobody recorded these lists, so for a new client ``--rcheck`` only says what might be.
    """
    rule = case.rule_of(mark)
    found = next((x for x in rule.matches if isinstance(x, m.RecentMatch)), None) if rule else None
    if found is None or not found.name.startswith(_ENDPOINT):
        return None
    asks = found.action in ("rcheck", "update") and case.trace.query.state is FlowState.RETURNING
    return _Pin(mark, asks, found.seconds)


def _in_set(case: Case, mark: Mark, rule: str) -> _Pin | None:
    """A set of nftables mode. A client is asked for and found where it is new too: the listing holds those that are remembered."""
    found, asks = _NFT_SETS.search(rule), False
    if found is None:
        found, asks = _NFT_ASKS.search(rule), True
    return _Pin(mark, asks, _timeout(case, mark.hop, found["set"])) if found else None


def _timeout(case: Case, hop: Hop, name: str) -> int | None:
    nft = case.stack(hop).nft
    tables = [t for t in nft.ruleset.tables if t.name == "kube-proxy" and name in t.sets] if nft is not None else []
    return tables[0].sets[name].timeout if tables else None


def _persistent(case: Case, mark: Mark) -> _Pin | None:
    """A virtual server with persistence: the step of its line, and the note beside it says whether the client was remembered."""
    if mark.step.verdict != "continue" or (server := _server(case, mark)) is None or server.persistence_timeout is None:
        return None
    asks = any(note.startswith(f"{server.name}: persistence: ") for note in mark.hop.notes)
    return _Pin(mark, asks, server.persistence_timeout)


def _server(case: Case, mark: Mark) -> VirtualServer | None:
    servers = case.stack(mark.hop).virtual_servers
    return next((s for s in servers.servers if s.line == mark.step.line), None) if servers is not None else None
