"""The run of the oracle of stacks: cluster after cluster, all questions of one at once; kernel against engine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.oracle.stacks_drawn import Drawing, Drawn, Shot
from tests.oracle.stacks_world import Observed, World
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, Trace

SHOTS = 20
_PATIENTLY = 2.5
"""Seconds that who asks again waits: the machine may be busy."""
_ONE_TOKEN = 1.1
"""Seconds in which a sender may be told of one more route that leads nowhere. Source: ip_error, ip_rt_error_cost."""


@dataclass(slots=True)
class Result:
    """What a run came to."""

    packets: int = 0
    disagreements: list[str] = field(default_factory=list)
    seconds: float = 0
    counts: Counter[str] = field(default_factory=Counter)
    sees: Counter[str] = field(default_factory=Counter)

    def table(self) -> str:
        """Return the counts of every dimension as Markdown."""
        lines = ["| dimension | count |", "|---|--:|", *(f"| {name} | {self.counts[name]} |" for name in sorted(self.counts))]
        return "\n".join(lines)

    def summary(self) -> str:
        """Return the figures in a few lines."""
        sees = ", ".join(f"{name} {count}" for name, count in sorted(self.sees.items()))
        return (
            f"{self.packets} packets through {self.counts['labs']} random clusters in {self.seconds:.0f} s: "
            f"{len(self.disagreements)} disagreements.\nClients saw: {sees}."
        )


def run(*, seed: int, packets: int = 10**9, seconds: float = 1e9, most: int = 5, tell: Callable[[str], None] = lambda text: None) -> Result:
    """Run clusters from *seed* on; it ends when *packets* are sent, when *seconds* are over, or with *most* disagreements.

    *tell* is told each disagreement at once.
    """
    result, started = Result(), time.monotonic()
    while result.packets < packets and time.monotonic() - started < seconds and len(result.disagreements) < most:
        before = len(result.disagreements)
        one_cluster(seed, result)
        for text in result.disagreements[before:]:
            tell(text)
        seed += 1
    result.seconds = time.monotonic() - started
    return result


def one_cluster(seed: int, result: Result) -> None:
    """Build the cluster of a seed, ask it, and note where kernel and engine disagree."""
    drawing = Drawing(seed)
    drawn = drawing.cluster()
    shots = drawing.shots(drawn, SHOTS)
    result.counts += drawn.counts
    with World(drawn) as world:
        cluster = Cluster.from_snapshot(Snapshot.from_files(world.files()))
        seen = world.shoot(shots)
        again = [shot for shot, one in zip(shots, seen, strict=True) if not _agrees(asked(cluster, shot), one)]
        settled = _again(world, list(dict.fromkeys(again)))
    for shot, observed in zip(shots, seen, strict=True):
        result.packets += 1
        answer = asked(cluster, shot)
        _count(result, answer, shot, observed)
        if not _agrees(answer, observed) and not _agrees(answer, settled[shot]):
            result.disagreements.append(told(drawn, shot, settled[shot], answer))


def _again(world: World, shots: list[Shot]) -> dict[Shot, Observed]:
    """What clients see that ask again, each sender once at a time.

    NB: of a route that leads nowhere the kernel tells each sender once a second, beyond the first five.
    """
    found: dict[Shot, Observed] = {}
    while left := [shot for shot in shots if shot not in found]:
        turn = list({shot.source: shot for shot in left}.values())
        time.sleep(_ONE_TOKEN)
        found |= dict(zip(turn, world.shoot(turn, _PATIENTLY), strict=True))
    return found


def asked(cluster: Cluster, shot: Shot) -> Trace:
    """Return the engine's answer."""
    source = {"kind": "node", "name": shot.source} if shot.source[0] == "n" else {"kind": "pod", "namespace": "lab", "name": shot.source}
    query = {"from": source, "to": {"host": shot.destination, "port": shot.port}, "protocol": shot.protocol}
    return trace(cluster, query_from_dict(query))


def _agrees(answer: Trace, observed: Observed) -> bool:
    return sum(o.probability for o in answer.outcomes) == 1 and any(_fits(outcome, observed) for outcome in answer.outcomes)


def _fits(outcome: Outcome, observed: Observed) -> bool:
    """Whether *observed* is what *outcome* says. An outcome of unknown says nothing: how many there are is counted."""
    sees = str(outcome.client_sees)
    if outcome.disposition is Disposition.UNKNOWN:
        return True
    if observed.sees == "connected":
        place, source = outcome.destination, outcome.source_seen
        if place is None or place.name != observed.server or source is None or str(source[0]) != observed.source:
            return False
        return sees in ("connected", "unknown")
    if sees == "unknown":
        return observed.sees in ("refused", "timeout")
    return sees == observed.sees or (sees, observed.sees) == ("no-route", "timeout")  # a neighbour is asked for three seconds


def _count(result: Result, answer: Trace, shot: Shot, observed: Observed) -> None:
    result.sees[observed.sees] += 1
    result.counts[f"packets from a {'pod' if shot.source[0] == 'p' else 'node'} over {shot.protocol}"] += 1
    dispositions = {str(outcome.disposition) for outcome in answer.outcomes}
    result.counts["answers with an unknown end"] += "unknown" in dispositions
    result.counts["answers with conditions"] += any(outcome.conditions for outcome in answer.outcomes)
    result.counts["answers where the order of chains decides"] += any(u.code == "HOOK_ORDER_UNKNOWN" for u in answer.unknowns)
    stacks = max(len({hop.name for hop in outcome.hops}) for outcome in answer.outcomes)
    result.counts[f"packets through {stacks} stacks"] += 1
    for outcome in answer.outcomes[:1]:
        result.counts[f"ends: {outcome.disposition}"] += 1
        if outcome.reply is not None and str(outcome.reply.disposition) != "delivered":
            result.counts[f"answers that end otherwise than delivered: {outcome.reply.disposition}"] += 1


def told(drawn: Drawn, shot: Shot, observed: Observed, answer: Trace) -> str:
    """Return a disagreement in words, with the cluster."""
    lines = [f"seed {drawn.seed}: {shot}", f"  kernel: {observed.sees} {observed.server} {observed.source}"]
    for outcome in answer.outcomes:
        place, reply = outcome.destination, outcome.reply
        lines.append(
            f"  engine: {outcome.probability} {outcome.disposition} sees {outcome.client_sees}"
            f" {place.name if place else ''} from {outcome.source_seen[0] if outcome.source_seen else ''}:"
            f" {outcome.reason.text if outcome.reason else ''} {list(outcome.conditions)}"
            f" reply {reply.disposition if reply else None} {reply.reason.text if reply and reply.reason else ''}"
        )
        lines.append("    by " + " > ".join(f"{hop.name}({hop.came_in or ''}:{hop.went_out or ''})" for hop in outcome.hops))
    lines.append(f"  overlay {drawn.overlay}, networks {drawn.networks}")
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
