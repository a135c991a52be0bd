"""Where a node's rules and the API objects disagree about a Service.

STALE_RULE_FOR_REMOVED_POD, RULES_BEHIND_OBJECTS, NO_RULE_FOR_VIP, NODEPORT_NOT_PROGRAMMED, NODE_PORT_NOT_ON_LOOPBACK.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.explanation import Severity
from tracer.explain.findings.ages import Lag, lag_of
from tracer.explain.findings.asked_again import is_better, those_better
from tracer.explain.findings.case import Case, failed, finding, owner_text, some, target_of
from tracer.explain.findings.endpoints import Target
from tracer.explain.findings.passage import Mark, Passage
from tracer.explain.findings.subject import Subject, WayIn
from tracer.kube.endpoints import Listed, state_text
from tracer.packet import endpoint_text
from tracer.trace import Disposition, Finding, Hop, StackKind

_RESTART = "Look at {log} on node {node} for failed syncs and restart it there; take the snapshot again to rule out a moment's delay."
_READ_AGAIN = "Read the rules of node {node} again; if they still differ, look at {log} there for failed syncs."


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield where the rules of this outcome's path and the objects differ. What is not the Service proxy's rule is no proof against it."""
    subject = case.subject
    if subject is None or any(h.kind is StackKind.PROXY for h in passage.outcome.hops):
        return  # a proxy process reads the objects itself: the rules only lead to it
    at = chosen(case, subject, passage)
    if subject.port is None:
        yield from _no_such_port(case, subject, passage)
    elif at is not None:
        if case.is_of_proxy(at):
            yield from _translated(case, subject, at)
    elif passage.cause is not None:
        if subject.other_proxy is None and case.is_of_proxy(passage.cause):
            yield from _refused(case, subject, passage, passage.cause)
    elif subject.other_proxy is None and not passage.dnats:
        yield from _untouched(case, subject, passage)


def _advice(case: Case, hop: Hop, words: str = _RESTART) -> str:
    return words.format(log=case.proxy_at(hop).log, node=hop.node)


# -- the rules chose an endpoint ------------------------------------------------------------------------------------------------------


def chosen(case: Case, subject: Subject, passage: Passage) -> Mark | None:
    """Return the rule that took the packet from the Service's addresses, None when none did.

    One that only leads from one of its addresses to another (OVN-Kubernetes' node ports, a balancer of somebody's own) is not yet it.
    """
    own = {address for address, _ in subject.service.addresses}
    return next((at for at in passage.dnats if (target := target_of(at)) is None or target[0] not in own), None)


def _translated(case: Case, subject: Subject, at: Mark) -> Iterator[Finding]:
    target, node = target_of(at), at.hop.node
    if target is None or node is None or at.step.event is not None or not case.endpoints.known:
        return
    listed = case.endpoints.at(target)
    if listed is None:
        yield _removed(case, subject, at, target)
    elif not listed.ready and listed not in case.endpoints.usable() and listed not in case.endpoints.usable(node):
        yield _not_ready(case, subject, at, listed)
    if case.complete:
        if node not in case.unchosen:
            case.unchosen[node] = _missing(case, subject, node)
        if case.unchosen[node]:
            yield _behind(case, subject, at, case.unchosen[node])


def _removed(case: Case, subject: Subject, at: Mark, target: Target) -> Finding:
    owner = owner_text(case, target[0])
    who = "nobody has that address" if owner == "nobody" else f"that address belongs to {owner}, which the Service does not list"
    text = (
        f"Node {at.hop.node} sends the packet for Service {subject.name} to {endpoint_text(*target)} at {at.where}, but no "
        f"EndpointSlice of the Service lists it, and {who}"
    )
    lag = lag_of(case, at, subject, [target[0]], seen="seen to go")
    return _aged(case, lag, code="STALE_RULE_FOR_REMOVED_POD", text=text, severity=None, at=at)


def _aged(case: Case, lag: Lag | None, *, code: str, text: str, severity: Severity | None, at: Mark) -> Finding:
    """The finding with its age. Rules that were read before the change prove nothing against the proxy: then it is a notice."""
    if lag is None:
        return finding(code=code, text=text, fix=_advice(case, at.hop), severity=severity, at=at)
    if lag.is_early:
        again = _advice(case, at.hop, _READ_AGAIN)
        return finding(code=code, text=f"{text}. {lag.text}", fix=again, severity=Severity.NOTICE, at=at)
    return finding(code=code, text=f"{text}. {lag.text}", fix=_advice(case, at.hop), severity=severity, at=at)


def _not_ready(case: Case, subject: Subject, at: Mark, listed: Listed) -> Finding:
    text = (
        f"Node {at.hop.node} sends the packet for Service {subject.name} to {listed} at {at.where}, which the EndpointSlice lists "
        f"as {state_text(listed)}: "
        f"the rules are older than the objects"
    )
    lag = lag_of(case, at, subject, [listed.address], seen=f"seen to be {state_text(listed)}")
    return _aged(case, lag, code="RULES_BEHIND_OBJECTS", text=text, severity=None, at=at)


def _missing(case: Case, subject: Subject, node: str) -> tuple[Listed, ...]:
    """The usable endpoints that *node*'s rules never choose, where they should use all of them."""
    chosen = case.shares.get(node, {})
    usable = case.endpoints.usable()
    if subject.is_local or any(case.endpoints.at(t) is None for t in chosen):
        return ()
    missing = tuple(x for x in usable if x.target not in chosen)
    hinted = [x for x in usable if x.target in chosen]
    # NB: hints allow a node to leave endpoints out, when all that it uses are hinted for it. Source: KEP-2433, KEP-4444.
    if missing and _hinted_for(case, hinted, node):
        return ()
    return missing


def _hinted_for(case: Case, chosen: list[Listed], node: str) -> bool:
    found = case.cluster.node(node)
    zone = found.zone if found else None
    return bool(chosen) and all(
        node in x.endpoint.node_hints or (zone is not None and zone in x.endpoint.zone_hints) or _same_zone(x, zone) for x in chosen
    )


def _same_zone(listed: Listed, zone: str | None) -> bool:
    return zone is not None and bool(listed.endpoint.zone_hints) and listed.endpoint.zone == zone


def _behind(case: Case, subject: Subject, at: Mark, missing: tuple[Listed, ...]) -> Finding:
    text = (
        f"The rules of node {at.hop.node} never send a packet for Service {subject.name} to {some(missing)}, "
        f"which the EndpointSlice lists as ready; they choose at {at.where} among others only"
    )
    lag = lag_of(case, at, subject, [x.address for x in missing], seen="first seen ready")
    return _aged(case, lag, code="RULES_BEHIND_OBJECTS", text=text, severity=Severity.WARNING, at=at)


# -- the rules refused it -------------------------------------------------------------------------------------------------------------


def _refused(case: Case, subject: Subject, passage: Passage, at: Mark) -> Iterator[Finding]:
    """A node's rule for the Service refuses, although this node should have endpoints to choose from."""
    node = at.hop.node
    if node is None or not case.endpoints.known or not case.is_about(at, subject) or at.step.policy is not None:
        return
    usable = case.endpoints.usable(node if subject.is_local else None)
    denied = subject.service.load_balancer_source_ranges and subject.way is WayIn.LOAD_BALANCER
    if not usable or denied:
        return
    ending = "drops" if passage.outcome.disposition is Disposition.DROPPED else "rejects"
    text = (
        f"Node {node} {ending} the packet for Service {subject.name} at {at.where} as if it had no endpoint, although the "
        f"EndpointSlice lists {some(usable)} as ready"
    )
    lag = lag_of(case, at, subject, [x.address for x in usable], seen="first seen ready")
    yield _aged(case, lag, code="RULES_BEHIND_OBJECTS", text=text, severity=Severity.FAULT, at=at)


# -- no rule took it ------------------------------------------------------------------------------------------------------------------


def _untouched(case: Case, subject: Subject, passage: Passage) -> Iterator[Finding]:
    """The packet passed nodes and nobody translated or refused it."""
    outcome, node = passage.outcome, passage.nodes[0].node if passage.nodes else None
    if node is None or outcome.disposition is Disposition.UNKNOWN:
        return
    if subject.way is WayIn.NODE_PORT or passage.through_load_balancer:
        if (outcome.destination is not None and outcome.destination.kind == "node") or failed(outcome):
            yield _no_node_port(case, subject, passage.nodes[-1])
    elif failed(outcome) or outcome.destination is None or outcome.destination.ip == subject.address:
        if case.endpoints.known and not case.endpoints.usable() and not failed(outcome):
            return
        text = (
            f"No rule of node {node} takes the packet to {subject.target}, the {subject.way} of Service {subject.name}: "
            f"it is routed like any other packet{_ends(passage)}. {behind_it(case)}"
        )
        yield finding(code="NO_RULE_FOR_VIP", text=text, fix=_advice(case, passage.nodes[0]), evidence=_files(case, passage))


def _ends(passage: Passage) -> str:
    reason = passage.outcome.reason
    return f" ({reason.text})" if reason else ""


def behind_it(case: Case) -> str:
    """Return a sentence of what stands behind the Service."""
    usable = case.endpoints.usable()
    if not case.endpoints.known:
        return "The snapshot has no EndpointSlices, so whether the Service has endpoints is not known"
    return f"The EndpointSlice lists {some(usable)}" if usable else "The Service has no ready endpoint either"


def _files(case: Case, passage: Passage) -> tuple[str, ...]:
    hop = passage.nodes[0]
    return tuple(d.file for d in case.stack(hop).dumps(hop.packet_in.family))


def _no_node_port(case: Case, subject: Subject, hop: Hop) -> Finding:
    node, proxy = hop.node, case.proxy_at(hop)
    number = subject.port.node_port if subject.port else subject.number
    ready = behind_it(case)
    if subject.address.is_loopback:
        text = (
            f"Node {node} does not serve node port {number} of Service {subject.name} on {subject.address}: no rule takes the packet, "
            f"and it reaches the node's own processes. {ready}"
        )
        there = _instead(case, subject, hop, number)
        served = f"Let {proxy.name} serve node ports on loopback addresses (iptables mode, route_localnet), or use another way in."
        return finding(code="NODE_PORT_NOT_ON_LOOPBACK", text=text, fix=f"Dial {there}." if there else served)
    text = (
        f"No rule of node {node} takes the packet to node port {number} of Service {subject.name} at {subject.address}: it reaches "
        "the node's own "
        f"processes, where nothing need listen. {ready}"
    )
    there = _instead(case, subject, hop, number)
    fix = f"Dial {there}, w" if there else "W"
    fix += f"iden the addresses that {proxy.name} serves (nodePortAddresses), or look for failed syncs in {proxy.log} on node {node}."
    return finding(code="NODEPORT_NOT_PROGRAMMED", text=text, fix=fix)


def _instead(case: Case, subject: Subject, hop: Hop, number: int | None) -> str:
    """Where the Service answers this client: another address of the node at its port, or the cluster IP; nothing where neither does."""
    listed = case.cluster.node(hop.node or "")
    others = [a for a in (listed.ips if listed else ()) if a != subject.address and a.version == subject.address.version]
    if found := those_better(case, others[:2], number, most=1):
        return endpoint_text(found[0], number)
    port = subject.port.port if subject.port else None
    ips = [] if case.outside else [a for a in subject.service.cluster_ips if a.version == subject.address.version]
    inside = those_better(case, ips[:1], port)
    return f"the cluster IP {endpoint_text(inside[0], port)}" if inside else ""


def _no_such_port(case: Case, subject: Subject, passage: Passage) -> Iterator[Finding]:
    """The address is a Service's, the port is not one of its."""
    if (not passage.nodes and not passage.through_load_balancer) or not failed(passage.outcome) or case.sent is None:
        return
    ports = [f"{p.port}/{p.protocol.value}" + (f" ({p.name})" if p.name else "") for p in subject.service.ports]
    text = (
        f"{subject.address} is the {subject.way} of Service {subject.name}, which has no port {subject.number}/{case.sent.protocol.value}: "
        f"it has {some(ports) or 'none'}. So no rule takes the packet{_ends(passage)}"
    )
    same = [p.port for p in subject.service.ports if p.protocol is case.sent.protocol]
    open_ones = [str(number) for number in same[:3] if is_better(case, subject.address, number)]
    fix = (
        f"Dial port {' or '.join(open_ones)}, or add the port to Service {subject.name}."
        if open_ones
        else f"Add the port to Service {subject.name}."
    )
    yield finding(code="NO_RULE_FOR_VIP", text=text, fix=fix, at=passage.decided)
