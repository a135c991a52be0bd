"""The dependencies of one answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import field, replace

from tracer.changes import Change, FileChange, ObjectChange
from tracer.explain.dependencies.facets import Facet, differs
from tracer.explain.dependencies.lines import moved, placed, relined, surroundings_differ
from tracer.explain.dependencies.routing_facets import HOLDING_FILES, Holding
from tracer.explain.dependencies.watched_cluster import FileName, WatchedCluster
from tracer.explain.dependencies.watched_objects import Asked, asked_of
from tracer.explain.findings import diagnose
from tracer.packet import Address
from tracer.simulate import trace as traced
from tracer.topology.cluster import Cluster
from tracer.topology.mode import mode_of
from tracer.trace import StackKind, Trace
from tracer.values import dataclass

_REFS = {("Service", "name"): "svc", ("EndpointSlice", "service"): "svc", ("Pod", "name"): "pod", ("Node", "name"): "node"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What one answer rests on. *refs* are what pages call the things it names (``svc/NS/NAME``, ``pod/NS/NAME``, ``node/NAME``).

    NB: *refs* is for display and first guesses (an object that does not exist yet has no name in an answer); ``touched_by`` is the proof.
    """

    refs: frozenset[str]
    asked: frozenset[Asked] = frozenset()
    facets: Mapping[FileName, Set[Facet]] = field(default_factory=dict)
    held: frozenset[Address] = frozenset()
    nodes: frozenset[str] = frozenset()
    places: frozenset[tuple[str, int]] = frozenset()

    def touched_by(self, change: Change, *, lines: bool = True) -> bool:
        """Return whether *change* may make the answer another one.

        A file in which the answer's rules only stand on other lines, or beside other rules, touches it, too, unless *lines* is False:
        then ``relined`` gives the answer with the lines as they are now.
        """
        if isinstance(change, ObjectChange):
            return not self.asked.isdisjoint(asked_of(change))
        if "/pods/" not in change.node and change.node not in self.nodes and Asked("Node", "names") in self.asked:
            return True
        read = self.facets.get((change.node, change.name), ())
        if any(differs(facet, change.before, change.after, change.name) for facet in (*read, *self._holdings(change.name))):
            return True
        moves = self._moves(change)
        if any(new is None or (lines and new != old) for old, new in moves.items()):
            return True
        return lines and surroundings_differ(change.before, change.after, moves)

    def _holdings(self, name: str) -> Iterator[Facet]:
        """Which node holds an address is asked of the addresses and devices of every node."""
        return (Holding(address) for address in self.held if name in HOLDING_FILES)

    def together(self, other: Dependencies) -> Dependencies:
        """Return what two answers rest on that are shown together."""
        facets = {name: frozenset((*self.facets.get(name, ()), *other.facets.get(name, ()))) for name in (*self.facets, *other.facets)}
        return Dependencies(
            refs=self.refs | other.refs,
            asked=self.asked | other.asked,
            facets=facets,
            held=self.held | other.held,
            nodes=self.nodes | other.nodes,
            places=self.places | other.places,
        )

    def relined(self, trace: Trace, change: Change) -> Trace:
        """Return the answer *trace* after *change*, which does not touch it otherwise: its rules' lines as the file has them now."""
        if not isinstance(change, FileChange):
            return trace
        moves = self._moves(change)
        return relined(trace, _path(change), moves) if any(old != new for old, new in moves.items()) else trace

    def after(self, change: Change) -> Dependencies:
        """Return the dependencies of ``relined``'s answer."""
        if not isinstance(change, FileChange):
            return self
        path, moves = _path(change), self._moves(change)
        places = frozenset((file, (moves.get(line) or line) if file == path else line) for file, line in self.places)
        return replace(self, places=places)

    def _moves(self, change: FileChange) -> Mapping[int, int | None]:
        """Where the lines that the answer names stand after *change*."""
        path = _path(change)
        named = {line for file, line in self.places if file == path}
        if not named or change.before == change.after:
            return {}
        if change.before is None or change.after is None:
            return dict.fromkeys(named)
        return moved(change.before, change.after, change.name, named)


def _path(change: FileChange) -> str:
    return f"nodes/{change.node}/{change.name}"


def dependencies_of(cluster: Cluster, trace: Trace) -> Dependencies:
    """Return what *trace*, an answer of *cluster* with its findings, rests on. Answers the question once more, watching.

    :raises TracerError: as ``trace`` and ``diagnose``.
    """
    watched = WatchedCluster(cluster)
    diagnose(watched, traced(watched, trace.query))
    return watched_dependencies(watched, trace)


def watched_dependencies(watched: WatchedCluster, trace: Trace) -> Dependencies:
    """Return what was asked of *watched* so far as the dependencies of *trace*, for who answers with a watched cluster anyway."""
    mentioned = frozenset(_refs(trace))
    for ref in mentioned:
        _look_at(watched, ref)
    reads = watched.reads
    named = {f"{_REFS[a.kind, a.aspect]}/{a.key}" for a in reads.asked if (a.kind, a.aspect) in _REFS}
    return Dependencies(
        refs=mentioned | named,
        asked=frozenset(reads.asked),
        facets={name: frozenset(found) for name, found in reads.facets.items()},
        held=frozenset(reads.held),
        nodes=frozenset(watched.node_names),
        places=placed(trace),
    )


def _look_at(watched: WatchedCluster, ref: str) -> None:
    """Look at what an answer names, as the page around it does: a node's mode, a pod's state, a Service's affinity."""
    kind, _, name = ref.partition("/")
    namespace, _, own = name.partition("/")
    match kind:
        case "node":
            watched.node(name)
            mode_of(watched, name)
        case "pod":
            watched.objects.pod(namespace, own)
        case "svc":
            watched.objects.service(namespace, own)


def _refs(trace: Trace) -> Iterator[str]:
    if trace.query.destination.service:
        yield "svc/" + "/".join(trace.query.destination.service)
    for outcome in trace.outcomes:
        place = outcome.destination
        if place is not None and place.namespace and place.name:
            yield f"pod/{place.namespace}/{place.name}"
        if place is not None and place.node:
            yield f"node/{place.node}"
        for hop in (*outcome.hops, *(outcome.reply.hops if outcome.reply else ())):
            if hop.node:
                yield f"node/{hop.node}"
            if hop.kind is StackKind.POD:
                yield f"pod/{hop.name}"
            for step in hop.steps:
                yield from (f"{prefix}/{step.names[key]}" for key, prefix in _STEP_REFS.items() if key in step.names)


_STEP_REFS = {"service": "svc", "pod": "pod", "node": "node"}
