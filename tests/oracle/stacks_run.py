"""The run of the oracle of stacks: cluster after cluster, all questions of one at once; kernel against engine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.oracle.stacks_compare import agrees, told
from tests.oracle.stacks_drawn import Drawing, Shot
from tests.oracle.stacks_existing import talk
from tests.oracle.stacks_sockets import Observed
from tests.oracle.stacks_world import World
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Trace

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
    talked: Counter[str] = field(default_factory=Counter)

    def table(self) -> str:
        """Return the counts of every dimension as Markdown."""
        lines = ["| dimension | count |", "|---|--:|", *(f"| {name} | {self.counts[name]} |" for name in sorted(self.counts))]
        return "\n".join(lines)

    def summary(self) -> str:
        """Return the figures in a few lines."""
        sees, talked = (", ".join(f"{name} {count}" for name, count in sorted(found.items())) for found in (self.sees, self.talked))
        return (
            f"{self.packets} packets through {self.counts['labs']} random clusters in {self.seconds:.0f} s: "
            f"{len(self.disagreements)} disagreements.\nClients saw: {sees}.\nClients of connections that existed saw: {talked}."
        )


def run(
    *,
    seed: int,
    labs: int = 1,
    packets: int = 0,
    seconds: float = 1e9,
    most: int = 5,
    tell: Callable[[str], None] = lambda text: None,
) -> Result:
    """Run clusters from *seed* on: at least *labs* of them, and until *packets* are sent. It ends before with *most* disagreements, or when
    *seconds* are over.

    *tell* is told each disagreement at once.
    """
    result, started = Result(), time.monotonic()
    while result.counts["labs"] < labs or result.packets < packets:
        if time.monotonic() - started > seconds or len(result.disagreements) >= most:
            break
        before = len(result.disagreements)
        one_cluster(seed, result)
        for text in result.disagreements[before:]:
            tell(text)
        seed += 1
    result.seconds = time.monotonic() - started
    return result


def one_cluster(seed: int, result: Result) -> None:
    """Build the cluster of a seed, ask it, and note where kernel and engine disagree; first of new connections, then of those that exist."""
    drawing = Drawing(seed)
    drawn = drawing.cluster()
    shots = drawing.shots(drawn, SHOTS)
    with World(drawn) as world:
        cluster = Cluster.from_snapshot(Snapshot.from_files(world.files()))
        seen = world.sockets.shoot(shots)
        answers = {shot: asked(cluster, shot) for shot in shots}
        again = [shot for shot, one in zip(shots, seen, strict=True) if not agrees(answers[shot], one)]
        settled = _again(world, answers, list(dict.fromkeys(again)))
        for shot, observed in zip(shots, seen, strict=True):
            result.packets += 1
            answer = answers[shot]
            _count(result, answer, shot, observed)
            if not agrees(answer, observed) and not agrees(answer, settled[shot]):
                result.disagreements.append(told(drawn, shot, settled[shot], answer))
        for observed, text in talk(world, drawing, drawn):
            result.packets += 1
            result.talked[observed.sees] += 1
            if text:
                result.disagreements.append(text)
    result.counts += drawn.counts


def _again(world: World, answers: Mapping[Shot, Trace], shots: list[Shot]) -> dict[Shot, Observed]:
    """What clients see that ask again, each sender once at a time, and who still disagrees alone, as if nobody had sent before.

    NB: of a route that leads nowhere the kernel tells each sender once a second, beyond the first five. A neighbour that is asked for on
    behalf of somebody whom it does not answer (rp_filter looks at ARP requests, too) is not there for others either, for a while.
    """
    found: dict[Shot, Observed] = {}
    while left := [shot for shot in shots if shot not in found]:
        turn = list({shot.source: shot for shot in left}.values())
        time.sleep(_ONE_TOKEN)
        found |= dict(zip(turn, world.sockets.shoot(turn, _PATIENTLY), strict=True))
    for shot in shots:
        if not agrees(answers[shot], found[shot]):
            world.forget_neighbours()
            time.sleep(_ONE_TOKEN)
            found[shot] = world.sockets.shoot([shot], _PATIENTLY)[0]
    return found


def asked(cluster: Cluster, shot: Shot) -> Trace:
    """Return the engine's answer."""
    source = {"kind": "node", "name": shot.source} if shot.source[0] == "n" else {"kind": "pod", "namespace": "lab", "name": shot.source}
    to = {"host": shot.destination} if shot.protocol == "icmp" else {"host": shot.destination, "port": shot.port}
    query = {"from": source, "to": to, "protocol": shot.protocol}
    return trace(cluster, query_from_dict(query))


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
