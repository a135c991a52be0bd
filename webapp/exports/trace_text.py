"""A trace as a tree for a terminal: shared beginnings once, odds at every fork, the verdict at every leaf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction

from tracer.compare import differences, told
from tracer.dispositions import WORDS, client_sentence
from tracer.odds_text import is_long
from tracer.packet import Packet, endpoint_text
from tracer.told_odds import summed
from tracer.trace import Assumption, Finding, Hop, Listener, Outcome, OutcomeClass, Step, Trace

_MOST_NAMED = 3
_SKETCHED = "sketched: nothing of this cluster was recorded; it is what a cluster would make of the manifests"


def trace_text(trace: Trace, *, with_steps: bool, expand: bool = False) -> str:
    """Return *trace* as indented text. *with_steps* lists every rule that matched, with file and line.

    Of outcomes that differ in nothing but an endpoint's addresses and names the first is told, and what the others are; *expand*: each is.
    """
    query = trace.query
    count = len(trace.outcomes)
    classes = tuple(OutcomeClass((outcome,)) for outcome in trace.outcomes) if expand else trace.classes
    kinds = f" of {len(classes)} kinds" if len(classes) < count else ""
    lines = [f"{query.source} -> {query.destination} {query.protocol.value}: {count} {'path' if count == 1 else 'paths'}{kinds}"]
    lines += [_SKETCHED] if trace.origin else []
    lines += _tree([(one, list(_passages(one.first, with_steps=with_steps))) for one in classes])
    lines += [f"unknown: {unknown.text} [{unknown.code}]" for unknown in trace.unknowns]
    lines += [f"assumed: {assumption.text} [{assumption.code}]{_changes(assumption)}" for assumption in trace.assumptions]
    if trace.what_if is not None:
        lines += [f"what if: {change}" for change in trace.what_if.changes]
        lines += [f"what if, NB: {note}" for note in trace.what_if.notes]
    elif query.is_what_if:
        lines.append("what if: nothing changes, it is so already or nothing that is traced follows from it")
    offered = dict.fromkeys(unknown.assume for unknown in trace.unknowns if unknown.assume)
    lines += [f"not assumed, each way is told: {_words(words)} picks one" for words in offered]
    return "\n".join(lines)


def comparison_text(before: Trace, after: Trace, told_as: Callable[[Trace], str]) -> str:
    """Return what differs between two answers, and both, each as *told_as* tells it."""
    found = differences(before, after)
    lines = [told(found), *(f"- {one.text}" for one in found)]
    return "\n".join([*lines, "", "As it is:", told_as(before), "", "What if:", told_as(after)])


def _words(words: Iterable[str]) -> str:
    return " or ".join(f"--assume {word}" for word in words)


def _changes(assumption: Assumption) -> str:
    others = _words(assumption.other)
    said = {True: "changes the answer", False: "changes nothing", None: "was not looked at"}[assumption.changes]
    return f"; {others} {said}" if others else ""


Branch = tuple[OutcomeClass, list[str]]


def _tree(branches: Sequence[Branch]) -> Iterator[str]:
    """Yield the lines of some branches: what they share, then each group of those that go on alike, whatever the depth."""
    waiting = [("", branches, "", 0)]
    while waiting:
        head, group, indent, at = waiting.pop()
        yield from [head] if head else ()
        shared = _shared(group, at)
        yield from (indent + line for line in group[0][1][at:shared])
        if len(group) == 1:
            yield from (indent + line for line in (*_verdict(group[0][0].first), *_members(group[0][0])))
            continue
        for alike in reversed(_alike(group, shared)):
            total = summed(one.share for one, _ in alike)
            waiting.append((f"{indent}+- {_odds(total, alike)}", alike, indent + "|  ", shared))


def _shared(branches: Sequence[Branch], at: int) -> int:
    """The place from which on the branches, alike before *at*, are no longer alike: the end of the shortest at most."""
    first, shortest = branches[0][1], min(len(lines) for _, lines in branches)
    while at < shortest and all(lines[at] == first[at] for _, lines in branches):
        at += 1
    return at


def _alike(branches: Sequence[Branch], at: int) -> list[list[Branch]]:
    groups: dict[object, list[Branch]] = {}
    for number, (one, lines) in enumerate(branches):
        groups.setdefault(lines[at] if at < len(lines) else number, []).append((one, lines))
    if len(groups) == 1:
        return [[branch] for branch in branches]
    return list(groups.values())


def _odds(total: Fraction, group: Sequence[Branch]) -> str:
    if any(one.first.conditions for one, _ in group):
        return "odds unknown"
    nearest = total.limit_denominator(1000)
    exact = "" if nearest == total or is_long(total) else f" (exactly {total})"
    sign = "" if nearest == total else "~"
    return f"{sign}{nearest}{exact}"


def _passages(outcome: Outcome, *, with_steps: bool) -> Iterator[str]:
    for hop in outcome.hops:
        yield _hop(hop)
        yield from (f"    {note}" for note in hop.notes)
        for step in hop.steps:
            if with_steps:
                yield f"    {_step(step)}"
            elif step.rewrote:
                yield f"    {_rewrite(step)}"


def _hop(hop: Hop) -> str:
    came = f" in {hop.came_in}" if hop.came_in else ""
    went = f" out {hop.went_out}" if hop.went_out else ""
    carrier = f" (carrier of {hop.tunnel})" if hop.tunnel else ""
    return f"{hop.kind.value} {hop.name}{came}{went}{carrier}: {_packet(hop.packet_in)}"


def _packet(packet: Packet) -> str:
    if not packet.protocol.has_ports:
        return f"{packet.source} > {packet.destination} ({packet.protocol.value})"
    source_port = "random" if packet.source_port_random else packet.source_port or "any"
    return f"{endpoint_text(packet.source, source_port)} > {endpoint_text(packet.destination, packet.destination_port)}"


def _step(step: Step) -> str:
    if step.policy is not None:
        return f"{step.table} {step.chain}: policy {step.policy}"
    if step.event is not None:
        return f"{step.hook}: conntrack {step.event} {_rewrite(step)}"
    changed = f"  ({_rewrite(step)})" if step.rewrote else ""
    return f"{step.table} {step.where} {step.rule}  => {step.verdict}{changed}"


def _rewrite(step: Step) -> str:
    return ", ".join(f"{name} {before} -> {after}" for name, (before, after) in step.rewrote.items())


def _has_ports(outcome: Outcome) -> bool:
    return not outcome.hops or outcome.hops[0].packet_in.protocol.has_ports


def _verdict(outcome: Outcome) -> Iterator[str]:
    line = WORDS[outcome.disposition].line
    yield f"= {outcome.disposition.value}{line and f': {line}'}"
    if outcome.reason:
        yield f"  {outcome.reason.text} [{outcome.reason.code}]"
    if outcome.left_from:
        yield f"  leaves the cluster from node {outcome.left_from}"
    if said := client_sentence(outcome.disposition, outcome.client_sees, outcome.hops[0].packet_in.protocol if outcome.hops else ""):
        yield f"  client sees: {outcome.client_sees.value}. {said}"
    if outcome.source_seen:
        address, port = outcome.source_seen
        yield f"  source seen: {endpoint_text(address, port or 'any') if _has_ports(outcome) else address}"
    if outcome.listener is Listener.ABSENT:
        yield "  listener absent: nothing listens there"
    elif outcome.listener and outcome.listener is not Listener.DECLARED:
        yield f"  listener {outcome.listener.value}: whether anything listens there is not certain"
    if outcome.reply:
        yield f"  reply: {outcome.reply.disposition.value}" + (f" ({outcome.reply.reason.text})" if outcome.reply.reason else "")
    for finding in outcome.findings:
        yield f"  finding: {finding.text} [{finding.code}]"
        if isinstance(finding, Finding) and finding.fix:
            yield f"    fix: {finding.fix}"
    yield from (f"  if: {condition}" for condition in outcome.conditions)
    yield from (f"  remark: {remark.text}" for remark in outcome.remarks)
    yield from (f"  also, if {way.condition}: {_route(way.hops)}" for way in outcome.also)


def _members(one: OutcomeClass) -> Iterator[str]:
    """What the others of a class are, beside the first."""
    others = one.places[1:] if one.first.destination is not None else one.places
    if others:
        named = [f"{place.namespace}/{place.name} ({place.ip})" if place.namespace else f"{place.name or place.ip}" for place in others]
        rest = len(named) - _MOST_NAMED
        more = f" and {rest} more" if rest > 0 else ""
        yield f"  just so, with their own addresses: {', '.join(named[:_MOST_NAMED])}{more} (--expand tells each)"


def _route(hops: Sequence[Hop]) -> str:
    """The stacks of a way, in order."""
    return " > ".join(f"{hop.kind.value} {hop.name}" for hop in hops)
