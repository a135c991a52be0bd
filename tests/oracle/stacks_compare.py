"""One answer of the engine beside what the kernel's client saw: whether they agree, and a disagreement in words, with the cluster."""

from __future__ import annotations

from tests.oracle.stacks_drawn import Drawn
from tests.oracle.stacks_sockets import Observed
from tracer.trace import Disposition, Outcome, Trace


def agrees(answer: Trace, observed: Observed) -> bool:
    return sum(o.probability for o in answer.outcomes) == 1 and any(_fits(outcome, observed) for outcome in answer.outcomes)


def _fits(outcome: Outcome, observed: Observed) -> bool:
    """Whether *observed* is what *outcome* says. An outcome of unknown says nothing: how many there are is counted."""
    sees = str(outcome.client_sees)
    if outcome.disposition is Disposition.UNKNOWN:
        return True
    if observed.sees == "connected":
        place, source = outcome.destination, outcome.source_seen
        if place is None or source is None or sees not in ("connected", "unknown"):
            return False
        return not observed.server or (place.name, str(source[0])) == (observed.server, observed.source)  # an echo says nobody's name
    if sees == "unknown":
        return observed.sees in ("refused", "timeout", "closed")
    return sees == observed.sees or (sees, observed.sees) == ("no-route", "timeout")  # a neighbour is asked for three seconds


def told(drawn: Drawn, asked: object, observed: Observed, answer: Trace) -> str:
    """Return a disagreement in words, with the cluster."""
    lines = [f"seed {drawn.seed}: {asked}", f"  kernel: {observed.sees} {observed.server} {observed.source}"]
    for outcome in answer.outcomes:
        place, reply = outcome.destination, outcome.reply
        lines.append(
            f"  engine: {outcome.probability} {outcome.disposition} sees {outcome.client_sees}"
            f" {place.name if place else ''} from {outcome.source_seen[0] if outcome.source_seen else ''}:"
            f" {outcome.reason.text if outcome.reason else ''} {list(outcome.conditions)}"
            f" reply {reply.disposition if reply else None} {reply.reason.text if reply and reply.reason else ''}"
        )
        lines.append("    by " + " > ".join(f"{hop.name}({hop.came_in or ''}:{hop.went_out or ''})" for hop in outcome.hops))
    lines.append(f"  IPv{drawn.plan.version}, overlay {drawn.overlay}, networks {drawn.networks}")
    for node in drawn.nodes:
        lines.append(
            f"  {node.name}: rp_filter {node.rp_filter}, {'; '.join(node.routing)}, hooks {'told' if node.tells_hooks else 'not told'}"
        )
        for table in node.tables:
            lines += [f"    {table.maker} {line}" for line in table.text().splitlines()]
        if node.pod is not None:
            lines.append(f"  its pod: recorded, hooks {'told' if node.pod.tells_hooks else 'not told'}")
            lines += [f"    {table.maker} {line}" for table in node.pod.tables for line in table.text().splitlines()]
    return "\n".join(lines)
