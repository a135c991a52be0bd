"""What a person steps through: the rule steps of one outcome, grouped into numbered stations.

Owns the grouping. Strategy, for each network stack that a packet passes:

* a step that rewrites, marks, picks at random, refuses, or that the snapshot cannot judge is an *event*;
* a chain that leads to an event is a station; chains that were visited and left without one are folded into the next station;
* a hook without an event is one station, a whole stack without one is one station;
* a chain that does nothing but set a mark belongs to the rule that called it.

Every step belongs to exactly one station; only a rule that draws an endpoint and rewrites to it is told twice.
No chain, Service or comment is known by name here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tracer.frozen import changed
from tracer.kept import Kept
from tracer.limits import KEPT_LOOKS
from tracer.packet import Protocol
from tracer.patterns import pattern
from tracer.stations.lookup_stations import lookup_stations
from tracer.stations.reply_stations import reply_stations
from tracer.stations.station import ENDS, Station, StationKind, passes
from tracer.trace import Disposition, Hop, Lookup, Outcome, StackKind, Step, Trace
from tracer.unopened import Unopened, first_of, items_of
from tracer.values import dataclass

ChainId = tuple[str, str, str, str]
RandomChains = dict[ChainId, int]
Taken = tuple[int | str, ...]
IPVS = "ipvs"
_ADDRESSED = ("destination", "destination_port")

_JUMP = pattern(r"(?:jump|goto) (?P<chain>\S+)", re.ASCII)
_MARKS = frozenset({"mark", "ct_mark", "connmark"})
_KNOWN: Kept[tuple[object, ...], tuple[tuple[Step, ...], tuple[Station, ...], bool]] = Kept(KEPT_LOOKS)
"""The stations of steps that were told before, with the steps, so that their ids stay their own."""
_RANK = {
    StationKind.CHAIN: 0,
    StationKind.MARK: 1,
    StationKind.PICK: 2,
    StationKind.SNAT: 3,
    StationKind.DNAT: 3,
    StationKind.DROP: 4,
    StationKind.REJECT: 4,
}


def stations_of(trace: Trace) -> tuple[tuple[Station, ...], ...]:
    """Return the stations of every outcome of *trace*, in the order of its outcomes; see :class:`Numbering`."""
    numbering = Numbering(trace)
    return tuple(map(numbering.of, trace.outcomes))


class Numbering:
    """The stations of one trace's outcomes, each told when it is asked for.

    The whole trace is needed, not one outcome: the last rule of a random choice matches without a draw of its own. But what an outcome that
    is not opened has drawn is known without opening it.
    """

    def __init__(self, trace: Trace) -> None:
        items = items_of(trace.outcomes)
        self._trace, self._chains = trace, random_chains(items)
        self._told: dict[int, tuple[Outcome, tuple[Station, ...]]] = {}
        choices: dict[tuple[str, ...], set[Taken]] = {}
        for item in items:
            outcome = first_of(item)
            for station in self._stations(outcome):
                if station.kind is StationKind.PICK:
                    choices.setdefault(_choice(outcome, station), set()).add(_taken(item, outcome, station))
        self._places = {choice: {line: place for place, line in enumerate(sorted(lines), 1)} for choice, lines in choices.items()}

    def of(self, outcome: Outcome) -> tuple[Station, ...]:
        """Return the stations of one of the trace's outcomes, a random choice with its place among the rules that could have been taken."""
        return tuple(self._counted(outcome, station) for station in self._stations(outcome))

    def _stations(self, outcome: Outcome) -> tuple[Station, ...]:
        found = self._told.get(id(outcome))
        if found is None:
            told = stations(outcome, self._chains, self._trace.lookups, begins=self._trace.query.connection is None)
            found = self._told[id(outcome)] = outcome, told  # the outcome is held so that its id stays its own
        return found[1]

    def _counted(self, outcome: Outcome, station: Station) -> Station:
        if station.kind is not StationKind.PICK:
            return station
        places = self._places[_choice(outcome, station)]
        line = _line(outcome.hops[station.hop].steps, station)
        return changed(station, title=f"Endpoint {places[line]} of {len(places)} picked")


def _choice(outcome: Outcome, station: Station) -> tuple[str, ...]:
    """Return what identifies a random choice: the chain, its node, and the packet that came in."""
    hop = outcome.hops[station.hop]
    return (hop.name, str(station.table), str(station.chain), str(hop.packet_in.destination), str(hop.packet_in.source), str(station.hop))


def _taken(item: Outcome | Unopened[Outcome], first: Outcome, station: Station) -> Taken:
    """Return what a random choice took in *item*, which is like *first*: that has its *station* too, with a rule of its own."""
    if isinstance(item, Outcome):
        return _line(first.hops[station.hop].steps, station)
    if station.hop == item.place and station.steps[-1] + 1 < len(item.drawn) + (
        first.hops[station.hop].steps[station.steps[-1]].table != IPVS
    ):
        return _line(item.drawn, station)
    return _line(item.opened().hops[station.hop].steps, station)


def _line(steps: Sequence[Step], station: Station) -> Taken:
    """Return what a random choice took: a rule by its line, and where one rule rewrites to one of several, the endpoint."""
    at = station.steps[-1]
    if steps[at].table == IPVS and at + 1 < len(steps):
        at += 1
    step = steps[at]
    drawn = step.names.get("element", "").partition(" ")[0]  # of a verdict map: the number that was drawn
    element = int(drawn) if drawn.isascii() and drawn.isdigit() else 0
    return (step.line or 0, element, *(str(step.rewrote[name][1]) for name in _ADDRESSED if name in step.rewrote), step.verdict or "")


def random_chains(outcomes: Iterable[Outcome | Unopened[Outcome]]) -> RandomChains:
    """Return the chains in which a random match took part, each with the first line where one did."""
    found: RandomChains = {}
    seen: set[int] = set()
    for item in outcomes:
        outcome = first_of(item)
        if not isinstance(item, Outcome):
            _note_drawn(found, outcome.hops[item.place].name, item.drawn)
            continue
        for hop in outcome.hops:
            # Outcomes share the hops that lie before their branch; look at each only once.
            if id(hop) not in seen:
                seen.add(id(hop))
                _note_drawn(found, hop.name, hop.steps)
    return found


def _note_drawn(found: RandomChains, stack: str, steps: Sequence[Step]) -> None:
    for step in steps:
        if step.chance is not None:
            key, line = (stack, step.family, step.table, step.chain), step.line or 0
            found[key] = min(found.get(key, line), line)


def stations(outcome: Outcome, chains: RandomChains, lookups: Sequence[Lookup] = (), *, begins: bool = True) -> tuple[Station, ...]:
    """Return the numbered stations of one outcome, the look-ups before it and the way back, when it is known, included.

    *begins*: the packet is the first one of its connection.
    """
    found: list[Station] = list(lookup_stations(lookups))
    if outcome.hops:
        found.append(_send(outcome.hops[0], begins=begins))
    for index, hop in enumerate(outcome.hops):
        found.extend(_hop_stations(hop, index, chains, last=index == len(outcome.hops) - 1, outcome=outcome))
    found.extend(_end(outcome, found))
    found.extend(reply_stations(outcome))
    return tuple(changed(station, n=n, title=title) for n, (station, title) in enumerate(zip(found, _titles(found), strict=True), start=1))


# --- one hop -----------------------------------------------------------------------------------------------------------------


def _send(hop: Hop, *, begins: bool) -> Station:
    who = {StackKind.POD: "Pod", StackKind.NODE: "Node"}.get(hop.kind, "Client")
    what = " SYN" if begins and hop.packet_in.protocol is Protocol.TCP else ""
    return Station(n=0, kind=StationKind.SEND, title=f"{who} sends{what}", hop=0, steps=() if hop.kind is StackKind.NODE else _all(hop))


def _all(hop: Hop) -> tuple[int, ...]:
    return tuple(range(len(hop.steps)))


def _hop_stations(hop: Hop, index: int, chains: RandomChains, *, last: bool, outcome: Outcome) -> Iterator[Station]:
    if hop.kind is StackKind.LOAD_BALANCER:
        yield Station(n=0, kind=StationKind.LOAD_BALANCER, title="Load balancer picks a node", hop=index, steps=_all(hop))
        return
    if hop.kind is StackKind.PROXY:
        if not last or outcome.disposition is not Disposition.CLOSED:
            yield Station(n=0, kind=StationKind.CHAIN, title=f"{hop.name.split(' on ')[0]} connects anew", hop=index, steps=_all(hop))
        return
    if hop.kind is not StackKind.NODE:
        # A pod's or a client's own stack: its rules, if it has any, belong to what it does there.
        if index and not (last and outcome.disposition in (Disposition.DELIVERED, Disposition.LEAVES)):
            yield Station(n=0, kind=StationKind.CHAIN, title=passes(hop), hop=index, steps=_all(hop))
        return
    yield from _node_stations(hop, index, chains, arrives=last and outcome.disposition is Disposition.DELIVERED)


def _node_stations(hop: Hop, index: int, chains: RandomChains, *, arrives: bool) -> Iterator[Station]:
    found, is_eventful = _grouped_once(hop, index, chains)
    if not is_eventful and index and not arrives:
        yield Station(n=0, kind=StationKind.CHAIN, title=passes(hop), hop=index, steps=_all(hop))
        return
    yield from found


def _grouped_once(hop: Hop, index: int, chains: RandomChains) -> tuple[tuple[Station, ...], bool]:
    """The stations of a hop's hooks, and whether there is an event among them: as they were told of steps like these before."""
    drawn = tuple(chains.get((hop.name, s.family, s.table, s.chain)) for s in hop.steps) if any(hop.name == c[0] for c in chains) else ()
    key = (index, drawn, *map(_like, hop.steps))
    kept = _KNOWN.get(key)
    if kept is None:
        hooks = _runs(hop.steps, key=lambda step: step.hook)
        found = tuple(station for start, stop in hooks for station in _hook_stations(hop, index, start, stop, chains))
        is_eventful = any(station.kind is not StationKind.CHAIN or _conditional(hop, station) for station in found)
        kept = _KNOWN.put(key, (hop.steps, found, is_eventful))
    return kept[1:]


def _like(step: Step) -> object:
    """What stations are told by of a step: most are the same for all packets, those that say what they did have it beside them."""
    if not step.rewrote and step.chance is None:
        return id(step)
    return (
        step.hook,
        step.family,
        step.table,
        step.chain,
        step.verdict,
        step.policy,
        step.line,
        *step.rewrote,
        step.chance,
        step.condition,
    )


def _conditional(hop: Hop, station: Station) -> bool:
    return any(hop.steps[i].condition for i in station.steps)


def _runs(steps: tuple[Step, ...], key: object) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each run of steps with the same *key*."""
    start = 0
    for i in range(1, len(steps) + 1):
        if i == len(steps) or key(steps[i]) != key(steps[start]):  # type: ignore[operator]
            yield start, i
            start = i


def _hook_stations(hop: Hop, index: int, start: int, stop: int, chains: RandomChains) -> Iterator[Station]:
    """Yield the stations of one hook: one for each chain that leads to an event, or one for the whole hook."""
    frames = _frames(hop, start, stop, chains)
    groups = _grouped(hop, frames, start, stop)
    if not groups:
        hook = hop.steps[start].hook
        verb = "accepts" if any(_accepts(step) for step in hop.steps[start:stop]) else "lets it pass"
        yield Station(n=0, kind=StationKind.CHAIN, title=f"{hook.upper()} {verb}", hop=index, steps=tuple(range(start, stop)), hook=hook)
        return
    for kind, chain, steps in groups:
        at = next((hop.steps[i] for i in reversed(steps) if hop.steps[i].chain == chain), hop.steps[steps[-1]])
        station = Station(n=0, kind=kind, title=chain, hop=index, steps=steps, hook=at.hook, table=at.table, chain=chain)
        if kind is StationKind.DNAT and at.table != IPVS and at.chance not in (None, 1):
            # One rule draws the endpoint and rewrites to it (nft: dnat to numgen … map): two things happen, one after the other.
            yield changed(station, kind=StationKind.PICK)
            station = changed(station, steps=steps[-1:])
        yield station


def _accepts(step: Step) -> bool:
    return step.verdict == "accept" or step.policy == "ACCEPT"


@dataclass(slots=True)
class _Frame:
    """One visit of one chain while a hook is walked (mutable: filled during one pass over the steps)."""

    chain: str
    table: str
    parent: int | None
    events: dict[int, StationKind]
    shown: bool = False
    marks_only: bool = True


def _frames(hop: Hop, start: int, stop: int, chains: RandomChains) -> tuple[list[_Frame], list[int]]:
    """Return the visited chains of one hook and, for each of its steps, which visit it belongs to."""
    frames: list[_Frame] = []
    stack: list[int] = []
    owner: list[int] = []
    previous: Step | None = None
    for i in range(start, stop):
        step = hop.steps[i]
        if previous is None or previous.table != step.table:
            stack = []
        jumped = previous is not None and (m := _JUMP.fullmatch(previous.verdict or "")) and m["chain"] == step.chain
        if jumped and previous is not None and (previous.verdict or "").startswith("goto"):
            pass  # a goto's caller stays below its target: that is how the path is told, not how the kernel returns
        if not jumped:
            while stack and frames[stack[-1]].chain != step.chain:
                stack.pop()
        if jumped or not stack:
            frames.append(_Frame(chain=step.chain, table=step.table, parent=stack[-1] if stack else None, events={}))
            stack.append(len(frames) - 1)
        frame = frames[stack[-1]]
        owner.append(stack[-1])
        kind = event(step, hop.name, chains)
        if kind is not None:
            frame.events[i] = kind
        if kind not in (None, StationKind.MARK) or _JUMP.fullmatch(step.verdict or ""):
            frame.marks_only = False
        previous = step
    _show(frames)
    return frames, owner


def _show(frames: list[_Frame]) -> None:
    """Mark the chains that lead to an event; a chain that only marks hands its events to its caller."""
    for frame in reversed(frames):
        if not frame.events:
            continue
        at: int | None = frame.parent
        frame.shown = True
        while at is not None:
            frames[at].shown = True
            at = frames[at].parent


def event(step: Step, stack: str, chains: RandomChains) -> StationKind | None:
    """Return what kind of station *step* makes, or None when it changes nothing about the packet's fate."""
    verdict = (step.verdict or "").split(" ")[0]
    if verdict == "reject":
        return StationKind.REJECT
    if verdict == "drop" or step.policy == "DROP":
        return StationKind.DROP
    if verdict in ("dnat", "redirect") or "destination" in step.rewrote or "destination_port" in step.rewrote:
        return StationKind.DNAT
    if verdict in ("snat", "masquerade") or "source" in step.rewrote or "source_port" in step.rewrote:
        return StationKind.SNAT
    if _picks(step, stack, chains):
        return StationKind.PICK
    if _MARKS & step.rewrote.keys():
        return StationKind.MARK
    return StationKind.CHAIN if step.condition else None


def _picks(step: Step, stack: str, chains: RandomChains) -> bool:
    first = chains.get((stack, step.family, step.table, step.chain))
    if first is not None and step.table == IPVS:
        return step.verdict == "continue"
    if first is None or step.line is None or step.line < first:
        return first is not None and step.chance is not None
    return step.chance is not None or (step.verdict or "").startswith(("jump ", "goto ", "dnat"))


Group = tuple[StationKind, str, tuple[int, ...]]


def _grouped(hop: Hop, framed: tuple[list[_Frame], list[int]], start: int, stop: int) -> list[Group]:
    """Return the stations of one hook as (kind, chain, steps); empty when nothing in it is an event."""
    frames, owner = framed
    if not any(frame.shown for frame in frames):
        return []
    groups: list[tuple[StationKind, int, list[int]]] = []
    pending: list[int] = []
    for i in range(start, stop):
        at = _home(frames, owner[i - start])
        if at is None:
            pending.append(i)
            continue
        kind = frames[owner[i - start]].events.get(i, StationKind.CHAIN)
        if groups and groups[-1][1] == at and _joins(groups[-1][0], kind):
            groups[-1] = (max(groups[-1][0], kind, key=_RANK.__getitem__), at, [*groups[-1][2], *pending, i])
        elif groups and _leads(frames, groups[-1], at):
            groups[-1] = (kind, at, [*groups[-1][2], *pending, i])
        else:
            groups.append((kind, at, [*pending, i]))
        pending = []
    if pending:
        groups[-1][2].extend(pending)
    return [(kind, frames[at].chain, tuple(sorted(steps))) for kind, at, steps in groups]


def _home(frames: list[_Frame], at: int) -> int | None:
    """Return the visit whose station a step of visit *at* belongs to, or None when that visit leads nowhere."""
    frame = frames[at]
    if not frame.shown:
        return None
    if frame.marks_only and frame.parent is not None and frame.events:
        return frame.parent
    return at


def _joins(have: StationKind, kind: StationKind) -> bool:
    """Whether a step of the same chain goes on with the station, rather than beginning the next one.

    A mark that is taken back just before the source is rewritten is one thing; a mark before a choice or before DNAT is its own station.
    """
    if have is StationKind.MARK:
        return kind in (StationKind.CHAIN, StationKind.MARK, StationKind.SNAT)
    return have is StationKind.CHAIN or kind is StationKind.CHAIN


def _leads(frames: list[_Frame], group: tuple[StationKind, int, list[int]], at: int) -> bool:
    """Whether *group* is only the base chain's jump into visit *at*: such a jump is told with the chain it leads to."""
    kind, have, _ = group
    return kind is StationKind.CHAIN and frames[have].parent is None and frames[at].parent == have


# --- the ends ----------------------------------------------------------------------------------------------------------------


def _end(outcome: Outcome, found: list[Station]) -> Iterator[Station]:
    """Yield the last station of the way there, unless a rule's own station already is it."""
    hop = max(len(outcome.hops) - 1, 0)
    if outcome.disposition is Disposition.DELIVERED:
        last = outcome.hops[-1] if outcome.hops else None
        who = {"pod": "Pod", "node": "Node", "external": "Host outside"}.get(
            outcome.destination.kind if outcome.destination else "", "Endpoint"
        )
        own = _all(last) if last and hop and last.kind not in (StackKind.NODE, StackKind.LOAD_BALANCER) else ()
        yield Station(n=0, kind=StationKind.DELIVER, title=f"{who} receives", hop=hop, steps=own)
        return
    if outcome.disposition not in ENDS:
        return
    kind, title = ENDS[outcome.disposition]
    if not (found and found[-1].kind is kind and found[-1].steps):
        yield Station(n=0, kind=kind, title=title, hop=hop)


# --- words -------------------------------------------------------------------------------------------------------------------


def _titles(found: list[Station]) -> Iterator[str]:
    """Yield the title of each station: what happens there; a plain chain keeps its name."""
    for i, station in enumerate(found):
        match station.kind:
            case StationKind.MARK:
                later = {s.kind for s in found[i + 1 :] if s.hop == station.hop and s.reply == station.reply}
                yield "Marked for masquerade" if StationKind.SNAT in later else "Mark changed"
            case StationKind.PICK:
                yield "Endpoint picked"
            case StationKind.DNAT:
                yield "Destination rewritten (DNAT)"
            case StationKind.SNAT:
                yield "Source rewritten (SNAT)"
            case StationKind.DROP if station.chain:
                yield f"Dropped by {station.chain}"
            case StationKind.REJECT if station.chain:
                yield f"Rejected by {station.chain}"
            case _:
                yield station.title
