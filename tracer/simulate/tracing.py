"""Query → Trace: find who sends and where to, walk the packet, collect every ending."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

from tracer.assumptions import ENTERS, parse_assumptions
from tracer.errors import QueryError
from tracer.forks import Fork, drawn
from tracer.frozen import changed
from tracer.kube.service import Service
from tracer.limits import Budget
from tracer.packet import Address
from tracer.query import FlowState, Query, SourceKind
from tracer.simulate.afterwards import Afterwards
from tracer.simulate.alike import merged
from tracer.simulate.answering import answered
from tracer.simulate.asked import Notes
from tracer.simulate.assuming import Assuming
from tracer.simulate.classes import Classes, Grouping, ManyWaysError, Plain, Reference
from tracer.simulate.departure import Departure
from tracer.simulate.existing import existing_start, recorded_entry
from tracer.simulate.fabric import Fabric
from tracer.simulate.health import HealthChecks
from tracer.simulate.kept_traces import kept_or
from tracer.simulate.kept_ways import KeptWays, TakenOver
from tracer.simulate.members import Member, UnlikeError, Unwalked
from tracer.simulate.patience import Patience
from tracer.simulate.segments import full_sized
from tracer.simulate.sent_again import seen
from tracer.simulate.start import new_start, not_here
from tracer.simulate.taken import UnprogrammedError
from tracer.simulate.walk import Ending
from tracer.simulate.weighing import Share, weighed
from tracer.snapshot.snapshot import SKETCHED
from tracer.topology.cluster import Cluster
from tracer.topology.programmed import Keys, services_for
from tracer.trace import Disposition, Outcome, Trace, Unknown, WhatIf
from tracer.unopened import Unopened, many
from tracer.values import dataclass

_ALIKE, _NEAR = 15, 5
_ENDING, _STEP, _CONDITION = 300, 10, 5


def trace(cluster: Cluster, query: Query, *, patience: int | None = None, is_plain: bool = False, is_verdict: bool = False) -> Trace:
    """Return every way the first packet of *query*'s connection can end, with exact odds.

    NB: hostile inputs can make more ways than anybody can walk: what is beyond the cluster's limits is one unknown end.
    Ways that differ in nothing but addresses and names are walked once (``tracer.simulate.classes``); *is_plain*: each is walked alone, the
    reference that the classes are held against.
    *is_verdict*: only where packets end and what the client sees is asked for. What assumptions would change is not looked at, and the
    answer is not kept.
    *patience* is for who has to be quick: after that much work (``Limits.work``) there is no answer but :class:`TooMuchWork`.

    :raises QueryError: the source or the Service does not exist (with the nearest names), or a port is missing.
    :raises TracerError: a file that the walk needs cannot be read.
    :raises TooMuchWork: *patience* is at its end.
    """
    cluster = cluster.overridden(query.overrides, query.apply)
    budget = Budget(cluster.limits) if patience is None else Patience(cluster.limits, patience)
    _checked(cluster, query)
    asked = partial(_changed, partial(_traced, is_plain=is_plain))
    if is_verdict:
        return _marked(cluster, asked(cluster, query, budget))

    def answer() -> Trace:
        return _marked(cluster, weighed(asked(cluster, query, budget), budget, partial(_otherwise, asked, cluster, query)))

    return answer() if is_plain else kept_or(cluster, query, budget, answer)


def _changed(asked: Callable[[Cluster, Query, Budget], Trace], cluster: Cluster, query: Query, budget: Budget) -> Trace:
    """The answer, with what was changed of the cluster for it."""
    found, changed = asked(cluster, query, budget), cluster.what_if
    if changed is None:
        return found
    return replace(found, what_if=WhatIf(words=query.overrides, changes=changed.changes, notes=changed.notes))


def _marked(cluster: Cluster, found: Trace) -> Trace:
    """The answer, which says where nothing of the cluster was recorded."""
    return found if cluster.snapshot.sketched is None else replace(found, origin=SKETCHED)


def _checked(cluster: Cluster, query: Query) -> None:
    """Check that an echo request has no ports, and that a node that the question assumes is there. :raises QueryError: that is not so."""
    ports = (("to", query.destination.port), ("source_port", query.source_port))
    if not query.protocol.has_ports and (wrong := next((name for name, port in ports if port is not None), None)):
        raise QueryError("an echo request (icmp) has no ports: leave the port out", code="BAD_PORT", field=wrong)
    for word in query.assume:
        name, _, node = word.partition(":")
        if name == ENTERS and node not in cluster.node_names:
            near = tuple(f"{name}:{n}" for n in cluster.objects.near_names("Node", node))
            raise QueryError(f"no node {node} in this cluster, to assume {word}", code="NODE_NOT_FOUND", field="assume", near=near)


def _otherwise(asked: Callable[[Cluster, Query, Budget], Trace], cluster: Cluster, query: Query, word: str, share: Share) -> Trace:
    """The answer with the assumption *word* instead, as far as *share* goes."""
    kept = tuple(other for other in query.assume if other.partition(":")[0] != word.partition(":")[0])
    return asked(cluster, replace(query, assume=parse_assumptions((*kept, word))), share)


def _traced(cluster: Cluster, query: Query, budget: Budget, *, is_plain: bool = False) -> Trace:
    cluster = cluster.programmed_as(query.assume)
    if query.connection is not None:
        query, start = existing_start(cluster, query, query.connection[0], recorded_entry(cluster, *query.connection))
    else:
        destination = _destination(cluster, query)
        query = _with_port(cluster, query)
        if destination is None:
            from tracer.simulate.naming import traced_name

            return traced_name(cluster, query, partial(_traced, is_plain=is_plain), budget)
        start = new_start(cluster, query, destination)
    packet, objects = start.walk.packet, cluster.objects
    services: Keys = frozenset()
    if cluster.is_large:
        services = services_for(objects, packet.destination, packet.destination_port, packet.protocol)
    while True:
        try:
            found = _grouped(cluster.programmed_for(services), query, budget, start, is_plain=is_plain)
        except UnprogrammedError as error:  # another Service's rules are met on the way
            services |= error.services
        else:
            return replace(found, services=services) if services else found


def _grouped(cluster: Cluster, query: Query, budget: Budget, start: Departure, *, is_plain: bool) -> Trace:
    left = budget.left
    for grouping in _groupings(cluster, query, is_plain=is_plain):
        try:
            budget.left = left
            return _walked(cluster, query, budget, start, grouping)
        except (ManyWaysError, UnlikeError):
            pass
    raise TypeError("a plain walk asks for no other")


def _groupings(cluster: Cluster, query: Query, *, is_plain: bool) -> Iterator[Grouping]:
    """How to walk, and how to walk where that turns out not to do.

    NB: who watches what an answer asked for (a followed cluster) has to hear of every endpoint; a second connection begins with many lists.
    """
    if is_plain:
        yield Reference()
    elif cluster.keeps_answers and query.state is not FlowState.RETURNING:
        yield KeptWays(cluster, query)
        yield Classes(cluster, Notes())
    yield Plain()


def _walked(cluster: Cluster, query: Query, budget: Budget, start: Departure, grouping: Grouping) -> Trace:
    checks = HealthChecks(cluster, budget, query.assume)
    assuming = Assuming(query.assume)
    fabric = Fabric(cluster, client=query.source.ip, budget=budget, assuming=assuming, check=checks.of, grouping=grouping)
    endings = _endings(fabric, start, grouping)
    if query.state is FlowState.RETURNING:
        endings = _second_time(fabric, start, endings)
    ends = grouping.expanded(endings) if isinstance(grouping, Classes) else endings
    return _collected(query, merged(ends), fabric.assuming)


def _endings(fabric: Fabric, start: Departure, grouping: Grouping) -> list[Ending]:
    """Every way the packet and its answer can end, one of each class of ways; the rest as one unknown end where a limit is met."""
    found: list[Ending] = []
    classes = grouping if isinstance(grouping, Classes) else None
    kept = grouping if isinstance(grouping, KeptWays) else None
    for ending in _ways(fabric, start, classes) if kept is None else _kept_ways(fabric, start, kept):
        if len(found) == fabric.budget.limits.ways or (found and fabric.budget.is_spent):
            if classes is not None:
                raise UnlikeError
            left = start.walk.probability - sum((e.outcome.probability for e in found), Fraction(0))
            found.append(_not_walked(start, left, fabric.budget, "the packet has"))
            break
        fabric.budget.spend(_cost(ending))
        found.append(ending)
    if classes is None:
        return found
    if fabric.budget.is_spent or classes.number(found) > fabric.budget.limits.ways:
        raise UnlikeError  # what a plain walk has no room for is cut off, and said, as it would
    return found


def _ways(fabric: Fabric, start: Departure, classes: Classes | None = None) -> Iterator[Ending]:
    """Every way the packet can end, its answer, and what both ends send after that."""
    afterwards, ways = Afterwards(fabric, start), fabric.endings(start)
    for way in ways if classes is None else classes.watched(ways):
        answers = answered(fabric, way)
        for last in full_sized(fabric, start, (last for back in answers for last in afterwards.of(back))):
            yield last if last.walk.drawn == way.walk.drawn else Ending(last.outcome, changed(last.walk, drawn=way.walk.drawn))


def _kept_ways(fabric: Fabric, start: Departure, kept: KeptWays) -> Iterator[Ending]:
    """The same, where ways may be taken over from earlier questions."""
    afterwards = Afterwards(fabric, start)
    for way in kept.watched(fabric.endings(start)):
        if isinstance(way, TakenOver):
            yield way
            continue
        for last in full_sized(fabric, start, (last for back in answered(fabric, way) for last in afterwards.of(back))):
            kept.ended(last)
            yield last


def _cost(ending: Ending) -> int:
    """What an end that is kept costs: its hops hold every step on the way."""
    return _ENDING + _CONDITION * len(ending.outcome.conditions) + _STEP * sum(len(hop.steps) for hop in ending.outcome.hops)


def _not_walked(start: Departure, left: Fraction, budget: Budget, subject: str) -> Ending:
    """The end of all ways that were not walked, *left* of the odds."""
    ways, text = budget.limits.ways, f"{subject} more ways to go than one question may walk (limit work)"
    if not budget.is_spent:
        text = f"{subject} more than {ways} ways to go: the others were not walked"
    return replace(start.walk, probability=left).unknown(Unknown(code="UNSUPPORTED", text=text))


def _second_time(fabric: Fabric, start: Departure, before: list[Ending]) -> list[Ending]:
    """The endings for a client that came once before: the ``-m recent`` lists hold what its first connection put there.

    Each way the first connection may have gone is as likely as it was then; those that left the same behind are walked once, and ways
    that end alike are one. What the first took for granted (settings, orders that nobody recorded) the second does, too.
    NB: hostile rules can make too many to walk: the rest is one unknown end.
    """
    found: dict[str, Ending] = {}
    left, walks = _left_behind(before), 0
    lists = {recent: number for number, recent in enumerate(dict.fromkeys(one.recent for one in left))}
    for number, first in enumerate(left):
        if walks > fabric.budget.limits.ways or (walks and fabric.budget.is_spent):
            rest = sum((one.share for one in left[number:]), Fraction(0))
            ending = _not_walked(start, rest, fabric.budget, "the client's second connection has")
            found[f"{ending.outcome.id} rest"] = ending
            break
        forks = (*first.forks, drawn("the client's first connection", lists[first.recent]))
        walk = replace(
            start.walk, recent=first.recent, probability=first.share, conditions=first.conditions, forks=forks, settled=first.settled
        )
        for back in _ways(fabric, replace(start, walk=walk)):
            walks += 1
            fabric.budget.spend(_ENDING)
            have = found.get(back.outcome.id)
            if have is None:
                found[back.outcome.id] = back
            else:
                total = have.outcome.probability + back.outcome.probability
                found[back.outcome.id] = Ending(replace(have.outcome, probability=total), have.walk)
    return list(found.values())


@dataclass(slots=True)
class _Left:
    """What a first connection left in lists, under which conditions, with the odds of all that did."""

    recent: frozenset[tuple[str, str, str]]
    conditions: tuple[str, ...]
    forks: tuple[Fork, ...]
    settled: frozenset[tuple[str, str, bool]]
    share: Fraction = Fraction(0)


def _left_behind(before: list[Ending]) -> list[_Left]:
    """What first connections left behind, each once."""
    found: dict[tuple[frozenset[tuple[str, str, str]], tuple[str, ...]], _Left] = {}
    for first in before:
        recent, conditions = first.walk.recent, first.outcome.conditions
        forks = tuple(fork for fork in first.walk.forks if fork.condition is not None)
        left = found.setdefault((recent, conditions), _Left(recent, conditions, forks, first.walk.settled))
        left.share += first.outcome.probability
    return list(found.values())


def _collected(query: Query, endings: Sequence[Ending | Unwalked], assuming: Assuming) -> Trace:
    unknowns: dict[tuple[str, str], Unknown] = {}
    firsts: dict[int, Outcome] = {}
    outcomes: list[Outcome | Unopened[Outcome]] = []
    for end in endings:
        ending = end if isinstance(end, Ending) else end.cut.ending if end.cut.is_known else end.walked()
        for unknown in ending.walk.unknowns:
            unknowns.setdefault((unknown.code, unknown.text), unknown)
        if ending.outcome.disposition is Disposition.UNKNOWN and ending.outcome.reason:
            reason = ending.outcome.reason
            unknowns.setdefault((reason.code, reason.text), Unknown(code=reason.code, text=reason.text))
        if isinstance(end, Ending) or not end.cut.is_known:
            firsts[id(ending)] = changed(ending.outcome, client_sees=seen(ending))
            outcomes.append(firsts[id(ending)])
        else:
            outcomes.append(Member(end, firsts[id(ending)]))
    met = {word for outcome in firsts.values() for word in outcome.assumes}
    assumptions = tuple(a for a in assuming.told() if a.code in met)
    return Trace(query=query, outcomes=many(outcomes), unknowns=tuple(unknowns.values()), assumptions=assumptions)


def _with_port(cluster: Cluster, query: Query) -> Query:
    """The query with a port: a Service that has just one of the protocol needs none said. :raises QueryError: there is no port."""
    asked = query.destination
    if asked.port is not None or not query.protocol.has_ports:
        return query
    service = cluster.objects.service(*asked.service) if asked.service else None
    ports = [p.port for p in service.ports if p.protocol is query.protocol] if service else []
    if len(ports) == 1:
        return replace(query, destination=replace(asked, port=ports[0]))
    choice = f": one of {', '.join(map(str, ports))}" if ports else ""
    spelled = "[IPv6]:PORT" if ":" in asked.host else "HOST:PORT"
    raise QueryError(f"give a port, as {spelled}{choice}", code="PORT_REQUIRED", field="to")


def _destination(cluster: Cluster, query: Query) -> Address | None:
    """The address the packet is sent to, None when the destination is a name that must be looked up."""
    asked = query.destination
    if asked.service is None:
        return asked.address
    namespace, name = asked.service
    service = cluster.objects.service(namespace, name)
    if service is None:
        alike = cluster.objects.near_names("Service", f"{namespace}/{name}", count=_ALIKE)
        near = tuple(n for n in alike if _can_be_asked(cluster.objects.service(*n.split("/", 1)), query))[:_NEAR]
        where = not_here(cluster, "services", cluster.objects.services, namespace)
        raise QueryError(f"no Service {namespace}/{name} {where}", code="SERVICE_NOT_FOUND", field="to", near=near)
    usable = _versions(cluster, query)
    return next((a for a in service.cluster_ips if a.version in usable), service.cluster_ips[0] if service.cluster_ips else None)


def _can_be_asked(service: Service | None, query: Query) -> bool:
    """Whether the question has an answer with that Service in it: it has an address, and the port that is asked for."""
    port = query.destination.port
    return service is not None and bool(service.cluster_ips) and (port is None or service.port(port, query.protocol) is not None)


def _versions(cluster: Cluster, query: Query) -> set[int]:
    source = query.source
    if source.kind is SourceKind.EXTERNAL and source.ip is not None:
        return {source.ip.version}
    if source.kind is SourceKind.POD and (pod := cluster.objects.pod(source.namespace or "", source.name or "")):
        return {a.version for a in pod.ips} or {4, 6}
    return {4, 6}
