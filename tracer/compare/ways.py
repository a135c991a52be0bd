"""The ways of two answers, rule by rule: what only one of them meets, on the way there or back.

A rule is the same where it has the same text in the same chain of the same stack: not its place in a file, which moves with any change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tracer.compare.difference import Difference, Kind
from tracer.limits import TOLD_RULES
from tracer.trace import NOT_CHECKED, Hop, Lookup, Outcome, Step, Trace

Key = tuple[str, str, str, str, str, str]
"""Stack (kind and name), hook, family, table, chain, and the rule, policy or event."""


def steps_of(answer: Trace) -> dict[Key, Step]:
    """Return the steps of all ways of *answer*, each once."""
    found: dict[Key, Step] = {}
    seen: set[int] = set()
    for hop in (hop for outcome in answer.outcomes for hop in _hops(outcome)):
        stack = f"{hop.kind} {hop.name}"
        for step in hop.steps:
            if id(step) not in seen:
                seen.add(id(step))
                found[_key(stack, step)] = step
    return found


def _key(stack: str, step: Step) -> Key:
    said = step.rule or step.event or f"policy {step.policy}"
    return (stack, step.hook, step.family, step.table, step.chain, said)


def _hops(outcome: Outcome) -> Iterator[Hop]:
    yield from outcome.hops
    if outcome.reply is not None:
        yield from outcome.reply.hops


def of_the_way(before: Trace, after: Trace) -> Iterator[Difference]:
    """Yield what differs on the ways alone: look-ups, findings, and for each stack the rules that only one answer met."""
    asked, others = _lookups(before.lookups), _lookups(after.lookups)
    if asked != others:
        text = "Names are looked up otherwise, or have other addresses."
        only, only_now = tuple(x for x in asked if x not in others), tuple(x for x in others if x not in asked)
        yield Difference(kind=Kind.LOOKUPS, text=text, before=only, after=only_now)
    yield from _found(_findings(before), _findings(after))
    met, now = steps_of(before), steps_of(after)
    by_stack, by_stack_now = _by_stack(met.keys() - now.keys(), met), _by_stack(now.keys() - met.keys(), now)
    for stack in dict.fromkeys((*by_stack, *by_stack_now)):
        gone, new = by_stack.get(stack, []), by_stack_now.get(stack, [])
        text = f"Rules met in {stack}: {len(gone):,} only before, {len(new):,} only after."
        yield Difference(kind=Kind.STEPS, text=text, where=(stack,), before=_bounded(gone), after=_bounded(new))


def _found(before: set[str], after: set[str]) -> Iterator[Difference]:
    """What is found of the packets of one answer alone."""
    if gone := tuple(sorted(before - after)):
        yield Difference(kind=Kind.FINDINGS, text=f"Found no more: {', '.join(gone)}.", before=gone)
    if new := tuple(sorted(after - before)):
        yield Difference(kind=Kind.FINDINGS, text=f"Found now: {', '.join(new)}.", after=new)


def _findings(answer: Trace) -> set[str]:
    """The codes of what was found of the packets; that something could not be checked is no finding."""
    return {found.code for outcome in answer.outcomes for found in outcome.findings if found.code != NOT_CHECKED}


def _lookups(asked: Sequence[Lookup]) -> tuple[str, ...]:
    return tuple(f"{one.name} {one.rdtype} at {one.server}: {one.rcode} {', '.join(sorted(one.answers))}".strip() for one in asked)


def _by_stack(only: set[Key], steps: Mapping[Key, Step]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in steps:
        if key in only:
            found.setdefault(key[0], []).append(f"{key[3]} {key[4]}: {key[5]}")
    return found


def _bounded(rules: Sequence[str]) -> tuple[str, ...]:
    if len(rules) <= TOLD_RULES:
        return tuple(rules)
    return (*rules[:TOLD_RULES], f"and {len(rules) - TOLD_RULES:,} others")
