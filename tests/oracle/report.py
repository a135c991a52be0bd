"""What a disagreement looks like in print."""

from __future__ import annotations

from tests.oracle.engine import Engine, Place
from tests.oracle.kernel import Loaded, Mark, Observation
from tests.oracle.rulesets import Shot
from tracer.trace import Trace


def shown(loaded: Loaded, engine: Engine, shot: Shot, observed: Observation, answer: Trace) -> str:
    """Return the packet, the kernel's steps and end, and the engine's outcomes beside them."""
    lines = [f"{loaded.backend} IPv{loaded.version}: {shot}", "kernel:", *(f"    {_step(loaded, m)}" for m in observed.marks)]
    lines.append(f"    seen {observed.seen.headers} refusals {observed.seen.refusals} {observed.seen.error}")
    if observed.reply:
        lines += [
            "kernel, the answer:",
            *(f"    {_step(loaded, m)}" for m in observed.reply.marks),
            f"    seen {observed.reply.seen.headers}",
        ]
    nearest = sorted(answer.outcomes, key=lambda o: -_common(engine.places(o), observed.marks))[:2]
    for outcome in nearest:
        reason = outcome.reason.text if outcome.reason else ""
        lines.append(f"engine, {outcome.disposition} with {outcome.probability}: {reason}")
        common = _common(engine.places(outcome), observed.marks)
        for number, place in enumerate(engine.places(outcome)):
            mark = " " if number < common else "*"
            lines.append(f"  {mark} {_step(loaded, place.mark)}{'' if place.sure else '   (perhaps)'}")
        if outcome.hops:
            lines.append(f"    out: {outcome.hops[-1].packet_out}; differs in: {engine.difference(outcome, observed)}")
        if observed.reply and outcome.reply:
            lines.append(f"engine, the answer is {outcome.reply.disposition}: {outcome.reply.reason and outcome.reply.reason.text}")
            lines += [f"    {_step(loaded, p.mark)}{'' if p.sure else '   (perhaps)'}" for p in engine.places(outcome, outcome.reply.hops)]
    if len(answer.outcomes) > 2:
        lines.append(f"engine: {len(answer.outcomes) - 2} more outcomes")
    return "\n".join(lines)


def _step(loaded: Loaded, mark: Mark) -> str:
    if mark.line is None:
        return f"{mark.table:8} {mark.chain} policy {loaded.policies.get((mark.table, mark.chain))}"
    return f"{mark.table:8} {loaded.texts[mark.line - 1] if mark.line > 0 else '?'}"


def _common(places: list[Place], marks: tuple[Mark, ...]) -> int:
    """How many of the engine's steps the kernel has in the same order, from the first on."""
    at = 0
    for count, place in enumerate(places):
        if at < len(marks) and place.mark == marks[at]:
            at += 1
        elif place.sure:
            return count
    return len(places)


def summary(loaded: Loaded, engine: Engine, shot: Shot, observed: Observation, answer: Trace) -> str:
    """Return the first thing that differs, in one line."""
    nearest = max(answer.outcomes, key=lambda o: _common(engine.places(o), observed.marks))
    places = engine.places(nearest)
    common = _common(places, observed.marks)
    at = len([p for p in places[:common] if p.mark in observed.marks])
    if engine.difference(nearest, observed) != "steps":
        return f"{shot.source} {shot.protocol} {shot.destination}: {engine.difference(nearest, observed)}"
    kernel = _step(loaded, observed.marks[at]) if at < len(observed.marks) else "nothing more"
    mine = _step(loaded, places[common].mark) if common < len(places) else "nothing more"
    return f"{shot.source} {shot.protocol} {shot.destination}: kernel {kernel} | engine {mine}"
