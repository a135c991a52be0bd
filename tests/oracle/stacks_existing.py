"""Connections that exist while the rules change: what the next packet of each meets, kernel against engine.

Every node's conntrack.txt is recorded behind the change; the engine is asked for each line that holds a connection as its client dialled it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.oracle.stacks_compare import agrees, told
from tests.oracle.stacks_drawn import Drawing, Drawn
from tests.oracle.stacks_sockets import Asking, Observed
from tests.oracle.stacks_world import World
from tracer.query import query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

_CONNECTIONS = 8
_PATIENTLY = 2.5
"""Seconds more that a client waits which has not heard what the engine says: the machine may be busy."""


def talk(world: World, drawing: Drawing, drawn: Drawn) -> Iterator[tuple[Observed, str]]:
    """Let clients connect, change the rules, let them go on; yield what each saw for every line asked about, and the disagreement, if any."""
    asking = world.sockets.converse(drawing.conversations(drawn, _CONNECTIONS))
    world.change(drawing.changes(drawn))
    files = world.files(connections=True)
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    lines = {one.port: list(_lines(files, drawn, one)) for one in asking}
    drawn.counts["connections that exist"] += len(asking)
    for one in asking:
        if one.shot.protocol == "tcp" and all("[UNREPLIED]" in _entry(files, *line) for line in lines[one.port]):
            drawn.counts["connections whose entries saw no answer (not asked: they tell no more than a SYN does)"] += bool(lines[one.port])
            lines[one.port] = []
    drawn.counts["connections that no node has an entry of, or none that saw an answer"] += sum(not found for found in lines.values())
    asking = [one for one in asking if lines[one.port]]
    seen = world.sockets.go_on(asking)
    answers = [[trace(cluster, query_from_dict({"connection": {"node": n, "line": at}})) for n, at in lines[one.port]] for one in asking]
    late = [
        one
        for one, observed, found in zip(asking, seen, answers, strict=True)
        if one.observed is None and not all(agrees(answer, observed) for answer in found)
    ]
    later = dict(zip((one.port for one in late), world.sockets.listen(late, _PATIENTLY), strict=True))
    for one, before, found in zip(asking, seen, answers, strict=True):
        observed = later.get(one.port, before)
        for (node, at), answer in zip(lines[one.port], found, strict=True):
            drawn.counts["packets of connections that exist"] += 1
            drawn.counts[f"packets of connections that exist, {one.shot.protocol}"] += 1
            drawn.counts["answers about existing connections with an unknown end"] += any(
                str(o.disposition) == "unknown" for o in answer.outcomes
            )
            drawn.counts["answers about existing connections with conditions"] += any(o.conditions for o in answer.outcomes)
            asked = f"{one.shot} from port {one.port}, line {at} of {node}, {_entry(files, node, at)}"
            yield observed, "" if agrees(answer, observed) else told(drawn, asked, observed, answer)


def _lines(files: dict[str, bytes], drawn: Drawn, one: Asking) -> Iterator[tuple[str, int]]:
    """The lines of the nodes' conntrack.txt that hold the connection of *one* as its client dialled it."""
    source, destination = one.socket.getsockname(), one.socket.getpeername()
    wanted = f" src={source[0]} dst={destination[0]} sport={source[1]} dport={destination[1]} "
    for node in drawn.nodes:
        lines = files[f"nodes/{node.name}/conntrack.txt"].decode().splitlines()
        yield from ((node.name, at) for at, line in enumerate(lines, 1) if 0 <= line.find(wanted) == line.find(" src="))


def _entry(files: dict[str, bytes], node: str, at: int) -> str:
    return files[f"nodes/{node}/conntrack.txt"].decode().splitlines()[at - 1]
