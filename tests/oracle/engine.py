"""Ask the engine the same, and hold its answer against what the kernel did.

The kernel's packet must be one of the answer's outcomes: the same rules in the same order (every table, policies included), the same end,
the same header. A step whose rule may or may not have matched and changes nothing may be missing on the kernel's side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tests.oracle.frames import Header
from tests.oracle.kernel import Loaded, Mark, Observation
from tests.oracle.lab import BRIDGED, CLIENT, NODE, ROUTED
from tests.oracle.rulesets import Shot
from tracer.packet import Protocol
from tracer.query import Destination, Query, Source, SourceKind, parse_address
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Hop, Outcome, Step, Trace

_FILES = {("nft", 4): "iptables-save.txt", ("nft", 6): "ip6tables-save.txt"}
_SIZES = {("udp", 4): 28, ("udp", 6): 48, ("tcp", 4): 44, ("tcp", 6): 64, ("sctp", 4): 52, ("sctp", 6): 72}
_OWN_SIZES = _SIZES | {("tcp", 4): 60, ("tcp", 6): 80}


@dataclass(frozen=True, slots=True)
class Place:
    """A step of the engine: the line of the dump, None for a policy; *sure* is false where the rule may not have matched."""

    mark: Mark
    sure: bool = True


class Engine:
    """One loaded rule set, as a snapshot."""

    def __init__(self, files: Mapping[str, bytes], loaded: Loaded) -> None:
        # The engine reads one back end's dump under either name; the nft one's is what it always has.
        name = _FILES["nft", loaded.version]
        own = {f"nodes/{NODE}/{name}": loaded.dump.encode(), f"nodes/{NODE}/ipset-save.txt": loaded.sets.encode()}
        self._loaded = loaded
        self._cluster = Cluster.from_snapshot(Snapshot.from_files({**files, **own}))

    def ask(self, shot: Shot) -> Trace:
        """Return the engine's answer."""
        sizes = _OWN_SIZES if shot.source == "node" else _SIZES
        query = Query(
            source=_source(shot),
            destination=Destination(host=shot.destination, port=shot.destination_port),
            protocol=Protocol(shot.protocol),
            source_port=shot.source_port,
            dscp=shot.dscp if shot.said else None,
            length=sizes[shot.protocol, shot.version] + shot.payload if shot.said else None,
            ttl=shot.ttl if shot.said else None,
        )
        return trace(self._cluster, query)

    def agreeing(self, answer: Trace, observed: Observation) -> Outcome | None:
        """Return the outcome that is what the kernel did, None if there is none."""
        ways = ((o, way) for o in answer.outcomes if o.probability for way in _ways(o))
        return next((o for o, way in ways if self.difference(way, observed) is None), None)

    def difference(self, outcome: Outcome, observed: Observation) -> str | None:
        """Return how *outcome* differs from what the kernel did, None if it does not."""
        places = self.places(outcome)
        if outcome.disposition is Disposition.UNKNOWN:
            return None if _follows(places, observed.marks, whole=False) else "steps"
        if not _follows(places, observed.marks, whole=True):
            return "steps"
        return _end(outcome, observed) or self._reply_difference(outcome, observed)

    def _reply_difference(self, outcome: Outcome, observed: Observation) -> str | None:
        reply, seen = outcome.reply, observed.reply
        if reply is None or seen is None or outcome.disposition is not Disposition.DELIVERED:
            return None
        places = self.places(outcome, reply.hops)
        if not _follows(places, seen.marks, whole=reply.disposition is not Disposition.UNKNOWN):
            return "the reply's steps"
        found = list(dict.fromkeys(seen.seen.headers))
        if reply.source is None:
            unknown = reply.disposition in (Disposition.UNKNOWN, Disposition.LOST, Disposition.REJECTED)
            return None if unknown or not found else f"the reply is {reply.disposition}, seen {found}"
        if len(found) != 1 or found[0][1].source != str(reply.source) or reply.source_port not in (None, found[0][1].source_port):
            return f"the reply comes from {reply.source} {reply.source_port}, seen {found}"
        return None

    def places(self, outcome: Outcome, hops: tuple[Hop, ...] | None = None) -> list[Place]:
        """Return the rules and policies that *outcome* (or its reply, *hops*) passes in the node, those that switch the trace on left out."""
        found = []
        for hop in outcome.hops if hops is None else hops:
            if hop.node is None:
                continue
            for step in hop.steps:
                if step.event is None and " -j TRACE" not in (step.rule or ""):
                    mark = Mark(step.table, step.chain, None if step.rule is None else step.line)
                    found.append(Place(mark, _is_sure(step, outcome)))
        return found


def _ways(outcome: Outcome) -> Iterator[Outcome]:
    """Yield *outcome* and the other ways that end like it, each as an outcome. NB: the rules that their replies pass are not told."""
    yield outcome
    for other in outcome.also:
        yield replace(outcome, hops=other.hops, conditions=(*outcome.conditions, *other.condition.split(" and ")), reply=None)


def _is_sure(step: Step, outcome: Outcome) -> bool:
    if step.condition is None:
        return True
    # Where it changed nothing it is passed without a condition: then, of several passes, which ones are meant is not said.
    meant = sum(c.startswith(f"{step.file}:{step.line} matches") for c in outcome.conditions)
    hops = (*outcome.hops, *(outcome.reply.hops if outcome.reply else ()))
    passes = sum((s.file, s.line) == (step.file, step.line) and s.condition is not None for hop in hops for s in hop.steps)
    return meant >= passes


def _source(shot: Shot) -> Source:
    if shot.source == "node":
        return Source(kind=SourceKind.NODE, name=NODE)
    if shot.source == "client":
        return Source(kind=SourceKind.EXTERNAL, ip=parse_address(CLIENT[shot.version]))
    return Source(kind=SourceKind.POD, namespace="lab", name=shot.source)


def _follows(places: list[Place], marks: tuple[Mark, ...], *, whole: bool) -> bool:
    """Whether *marks* are *places* in order, unsure ones present or not. Not *whole*: the kernel may go on beyond the last."""
    positions = {0}
    for place in places:
        after = {p + 1 for p in positions if p < len(marks) and marks[p] == place.mark}
        positions = after if place.sure else after | positions
        if not positions:
            return False
    return len(marks) in positions if whole else True


def _end(outcome: Outcome, observed: Observation) -> str | None:
    seen = list(dict.fromkeys(observed.seen.headers))
    if outcome.disposition is Disposition.DELIVERED and outcome.destination is not None:
        wanted = _place(outcome)
        if len(seen) != 1:
            return f"delivered to {wanted}, seen {seen}"
        return None if seen[0][0] == wanted and _fits(outcome, seen[0][1]) else f"delivered to {wanted}, seen {seen}"
    if outcome.disposition in (Disposition.LOST, Disposition.LEAVES):
        return _lost(outcome, seen)
    if outcome.reason is not None and outcome.reason.code == "HAIRPIN_WITHOUT_MASQ":
        return None  # it arrived, and the pod's own stack drops it
    if seen:
        return f"{outcome.disposition}, seen {seen}"
    if outcome.disposition is Disposition.REJECTED:
        # NB: what was refused earlier may be told late; every packet has a source port of its own.
        own = outcome.hops[0].packet_in.source_port
        kinds = {r.kind for r in observed.seen.refusals if r.source_port == own}
        if kinds and kinds != {outcome.reject_with}:
            return f"rejected with {outcome.reject_with}, the sender got {kinds}"
    return None


def _lost(outcome: Outcome, seen: list[tuple[str, Header]]) -> str | None:
    device = next(hop.went_out for hop in reversed(outcome.hops) if hop.node is not None)
    destination = outcome.hops[-1].packet_out.destination
    if not seen:
        # An address on a link that nobody has: the kernel asks for its neighbour in vain.
        return None if device != "eth0" or str(destination).startswith(("192.0.2.", "fd00:c:")) else f"lost by {device}, nothing seen"
    return None if len(seen) == 1 and seen[0][0] == device and _fits(outcome, seen[0][1]) else f"lost by {device}, seen {seen}"


def _place(outcome: Outcome) -> str:
    found = outcome.destination
    if found is None or found.kind == "external":
        return "eth0"
    return "local" if found.kind == "node" else (ROUTED | BRIDGED)[found.name or ""][0]


def _fits(outcome: Outcome, header: Header) -> bool:
    packet = outcome.hops[-1].packet_out
    return (
        header.protocol == packet.protocol.value
        and header.source == str(packet.source)
        and header.destination == str(packet.destination)
        and header.destination_port == packet.destination_port
        and (packet.source_port_random or header.source_port == packet.source_port)
    )
