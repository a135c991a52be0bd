"""The answer's outcomes as paths of stops: each stop is a station with what it is, on which stack, and what it rewrote.

Reads the contract (trace-json.md) and nothing else. A field that is missing reads as absent; a stop's *key* is its identity. Where not
all outcomes are opened (``Likes``), nor are their paths: what draws and lists them asks for ends and odds, and opens those that it shows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from fractions import Fraction
from functools import partial
from typing import Any, Protocol, cast

from tracer.frontends.kinds import LISTED
from tracer.frozen import changed
from tracer.probability import rounded
from tracer.told_odds import read_odds
from tracer.values import dataclass

Json = Mapping[str, Any]
_EVENTS = frozenset({"dns", "send", "load-balancer", "pick", "mark", "dnat", "snat", "deliver", "leave", "reject", "drop", "unknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One station of one path. *key* says what it is, the same for every path that passes it.

    *within* is the node whose proxy process this is, or whose stack the process's own connection passes; *real_server* IPVS's.
    *carries*: the packet here is a tunnel's own.
    """

    n: int
    kind: str
    title: str
    key: str
    stack_kind: str
    stack: str
    node: str | None
    hop: int
    steps: tuple[int, ...] = ()
    chain: str = ""
    subtitle: str = ""
    service: str = ""
    way: bool = False
    numbers: tuple[int, ...] = ()
    badge: str = ""
    rewrote: tuple[str, ...] = ()
    within: str = ""
    real_server: str = ""
    carries: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One outcome. *target* identifies where it ends; *behaviour* what happens on the way, apart from where it ends.

    *state* is the pod's: ready, not ready, ending, or "" where it is not known.
    *entry* is the first node a load balancer handed the packet to, empty without a load balancer;
    *rules* what that node did, its own addresses left out; *entered* is the place of its hop, and what was left out.
    """

    index: int
    id: str
    probability: Fraction
    disposition: str
    conditions: tuple[str, ...]
    target: str
    title: str
    subtitle: str
    node: str
    stops: tuple[Stop, ...]
    replies: tuple[Stop, ...]
    behaviour: tuple[str, ...]
    entry: str = ""
    rules: tuple[str, ...] = ()
    state: str = ""
    entered: tuple[int, str, tuple[str, ...]] | None = None


class Likes(Protocol):
    """Outcomes of an answer of which one of each kind is opened, and others when they are asked for."""

    @property
    def odds(self) -> Sequence[Fraction]:
        """Return the exact odds of each."""

    def like(self, place: int) -> int:
        """Return the place of the outcome that the one at *place* is like."""

    def end(self, place: int) -> Json | None:
        """Return the ``destination`` of the outcome at *place*."""

    def drawn(self, place: int) -> tuple[int, Sequence[Json]]:
        """Return the steps that the outcome at *place* has of its own, and the hop that begins with them."""


class Like(Path):
    """The path of an outcome that nobody opened: it is *like* another one, and is opened for its id and its stops."""

    __slots__ = ("_held", "_open", "like")

    like: Path
    _open: Callable[[], Path]
    _held: Path | None

    @classmethod
    def of(cls, like: Path, opened: Callable[[], Path], **own: object) -> Like:
        """Return the path that has *own* fields where it differs from *like*."""
        path: Like = object.__new__(cls)
        for name in _FIELDS:
            vars(Path)[name].__set__(path, own.get(name, getattr(like, name)) if name not in _OPENED else None)
        object.__setattr__(path, "like", like)
        object.__setattr__(path, "_open", opened)
        object.__setattr__(path, "_held", None)
        return path

    def opened(self) -> Path:
        """Return the path of the outcome itself."""
        found = self._held
        if found is None:
            found = self._open()
            object.__setattr__(self, "_held", found)
        return found

    @property
    def id(self) -> str:
        """Return the outcome's id."""
        return self.opened().id

    @property
    def stops(self) -> tuple[Stop, ...]:
        """Return the stops on the way there."""
        return self.opened().stops

    @property
    def replies(self) -> tuple[Stop, ...]:
        """Return the stops on the way back."""
        return self.opened().replies


_FIELDS = tuple(field.name for field in fields(Path))
_OPENED = ("id", "stops", "replies")


def opened(path: Path) -> Path:
    """Return *path*, opened where it was not."""
    return path.opened() if isinstance(path, Like) else path


def kind_of(path: Path) -> Path:
    """Return the path that stands for those that are like this one."""
    return path.like if isinstance(path, Like) else path


def passes(path: Path, key: str) -> bool:
    """Return whether a path passes the stop with that key."""
    return any(stop.key == key for stop in path.stops)


def named(paths: Sequence[Path], identity: str) -> Path | None:
    """Return the path with an id; those that are opened are looked at first."""
    if not identity:
        return None
    ordered = sorted(paths, key=lambda path: isinstance(path, Like))
    return next((path for path in ordered if path.id == identity), None)


def firsts(outcomes: Sequence[Json]) -> list[Json]:
    """Return one outcome of each kind, in their order: all where each is opened."""
    likes = likes_of(outcomes)
    return list(outcomes) if likes is None else [outcomes[place] for place in range(len(outcomes)) if likes.like(place) == place]


def likes_of(outcomes: Sequence[Json]) -> Likes | None:
    """Return *outcomes* as such of which not all are opened; None where they are a plain list."""
    return cast("Likes", outcomes) if hasattr(outcomes, "like") else None


def paths_of(answer: Json, pods: Mapping[str, Json] | None = None) -> tuple[Path, ...]:
    """Return one path for each outcome of *answer*, in its order. *pods* maps ns/name to ``{"ready", "terminating"}``.

    Odds of very many draws are rounded: they are drawn, not told.
    """
    outcomes, likes = answer["outcomes"], likes_of(answer["outcomes"])
    odds = rounded(read_odds(outcomes) if likes is None else likes.odds)
    held: dict[int, Path] = {}
    for index in range(len(outcomes)):
        made = partial(_path_at, index, answer, pods or {}, odds[index])
        first = None if likes is None or likes.like(index) == index else held[likes.like(index)]
        held[index] = made() if likes is None or first is None else _like(first, index, odds[index], likes, pods or {}, made)
    return tuple(held.values())


def _path_at(index: int, answer: Json, pods: Mapping[str, Json], odds: Fraction) -> Path:
    return _path(index, answer["outcomes"][index], answer, pods, odds)


def _like(first: Path, index: int, odds: Fraction, likes: Likes, pods: Mapping[str, Json], made: Callable[[], Path]) -> Path:
    """The path of the outcome at *index*, which is like *first*: opened only where it ends at nothing that tells one from another."""
    place = likes.end(index)
    if not place or first.disposition != "delivered" or first.conditions:
        return made()
    target, title, subtitle, node = _delivered(place)
    state = _state(place, pods)
    return Like.of(
        first,
        made,
        index=index,
        probability=odds,
        target=target,
        title=title,
        subtitle=subtitle,
        node=node,
        behaviour=(*first.behaviour[:-1], state),
        state=state,
        rules=_own_rules(first, *likes.drawn(index)),
    )


def _own_rules(first: Path, at: int, drawn: Sequence[Json]) -> tuple[str, ...]:
    """What the node behind a load balancer did, where the endpoint was drawn there: else it did the same for all."""
    entered = first.entered
    if entered is None or entered[0] != at:
        return first.rules
    return tuple(_anonymous(step, *entered[1:]) for step in drawn) + first.rules[len(drawn) :]


def modelled_nodes(answer: Json) -> dict[str, str]:
    """Return the nodes whose rules were not recorded, each with whose programming stands in for them (``kube-proxy 1.36 iptables``)."""
    found: dict[str, str] = {}
    for outcome in firsts(answer["outcomes"]):
        for hop in (*outcome.get("hops", ()), *((outcome.get("reply") or {}).get("hops") or ())):
            if hop.get("origin") == "modelled" and hop.get("node") not in found:
                makers = [str(step["as"]) for step in hop.get("steps") or () if step.get("policy") and "as" in step]
                found[str(hop["node"])] = makers[0] if makers else ""
    return dict(sorted(found.items()))


def most_likely(paths: Sequence[Path]) -> Path:
    """Return the path to follow when none was asked for: the most likely one, of several the longest, of these the first."""
    return min(paths, key=lambda path: (-path.probability, -_length(kind_of(path)), path.index))


def _length(path: Path) -> int:
    return len(path.stops) + len(path.replies)


def _path(index: int, outcome: Json, answer: Json, pods: Mapping[str, Json], odds: Fraction) -> Path:
    hops = outcome.get("hops") or []
    replies = (outcome.get("reply") or {}).get("hops") or []
    stations = outcome.get("stations") or []
    asked = [s for s in stations if s["kind"] == "dns"]
    sent = [_stop(s, hops, outcome) for s in stations if not s.get("reply") and s["kind"] != "dns"]
    stops = tuple(_distinct(iter([*_asking(asked, answer, is_sent=bool(hops)), *sent])))
    target, title, subtitle, node = _target(outcome, hops)
    entry, rules, entered = _entry(hops)
    state = _state(outcome.get("destination") or {}, pods)
    return Path(
        index=index,
        id=outcome["id"],
        probability=odds,
        disposition=outcome["disposition"],
        conditions=tuple(outcome.get("conditions") or ()),
        target=target,
        title=title,
        subtitle=subtitle,
        node=node,
        stops=stops,
        replies=tuple(_stop(s, replies, outcome) for s in stations if s.get("reply")),
        behaviour=(*_behaviour(outcome, stops), state),
        entry=entry,
        rules=rules,
        state=state,
        entered=entered,
    )


def _asking(stations: Sequence[Json], answer: Json, *, is_sent: bool) -> Iterator[Stop]:
    """Yield the look-ups as one stop beside the client, and the client itself where nothing is sent in the end."""
    if not stations:
        return
    servers = {answer["lookups"][i]["server"] for s in stations for i in s.get("lookups", ()) if i < len(answer.get("lookups") or ())}
    numbers = tuple(int(s["n"]) for s in stations)
    yield Stop(
        n=numbers[0],
        kind="dns",
        title=stations[0]["title"] if len(stations) == 1 else f"{len(stations)} names asked",
        key="dns",
        stack_kind="",
        stack="",
        node=None,
        hop=0,
        subtitle=", ".join(sorted(servers)) if len(servers) < 2 else f"{len(servers)} servers",
        numbers=numbers,
        badge=str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}",
    )
    if not is_sent:
        source = answer["query"]["from"]
        name, below = str(source.get("ip") or source.get("name") or ""), str(source.get("namespace") or source["kind"])
        yield Stop(
            n=0, kind="send", title="Would send", key="send", stack_kind=source["kind"], stack=name, node=None, hop=0, subtitle=below
        )


def _distinct(stops: Iterator[Stop]) -> Iterator[Stop]:
    """Yield the stops with repeated keys numbered: a packet that comes twice makes two boxes, not a circle."""
    seen: dict[str, int] = {}
    for stop in stops:
        times = seen[stop.key] = seen.get(stop.key, 0) + 1
        yield stop if times == 1 else changed(stop, key=f"{stop.key}|{times}")


def _stop(station: Json, hops: Sequence[Json], outcome: Json) -> Stop:
    hop: Json = hops[station["hop"]] if station["hop"] < len(hops) else {}
    stack = hop.get("stack") or {}
    proxy = _proxy_node(hops, station["hop"])
    steps = [hop["steps"][i] for i in station.get("steps", ()) if i < len(hop.get("steps") or ())]
    kind, name = station["kind"], str(stack.get("name", ""))
    rewrote = tuple(sorted({field for step in steps for field in step.get("rewrote", ())}))
    subtitle, part = _subtitle(kind, hop, steps)
    if kind == "dnat" and not proxy and _proxy_node(hops, station["hop"] + 1):
        subtitle, part = "to the proxy", ""
    key = (
        _target(outcome, hops)[0]
        if kind in ("deliver", "leave")
        else "|".join(
            (
                kind,
                str(stack.get("kind", "")),
                name,
                str(station.get("hook", "")),
                str(station.get("chain", "")),
                part,
                str(hop.get("tunnel", "")),
            )
        )
    )
    return Stop(
        n=station["n"],
        kind=kind,
        title=station["title"],
        key=key,
        stack_kind=str(stack.get("kind", "")),
        stack=name,
        node=hop.get("node"),
        within=proxy,
        real_server=_real_server(steps) if kind == "dnat" else "",
        carries="tunnel" in hop,
        hop=station["hop"],
        steps=tuple(station.get("steps", ())),
        chain=str(station.get("chain") or ""),
        subtitle=subtitle,
        service=_service(steps),
        way=_is_way(station, stack),
        numbers=(station["n"],),
        badge=str(station["n"]),
        rewrote=rewrote,
    )


def _proxy_node(hops: Sequence[Json], at: int) -> str:
    """Return the node of the proxy process at hop *at*, or just before it; "" where there is none."""
    for place in (at, at - 1):
        if 0 < place < len(hops) and (hops[place].get("stack") or {}).get("kind") == "proxy":
            return str(hops[place - 1].get("node") or "")
    return ""


def _real_server(steps: Sequence[Json]) -> str:
    last = steps[-1] if steps else {}
    if last.get("table") in LISTED:
        return str((last.get("names") or {}).get("endpoint", ""))
    words = str(last.get("rule", "")).split(" ")
    return words[words.index("-r") + 1] if last.get("table") == "ipvs" and "-r" in words[:-1] else ""


def _is_way(station: Json, stack: Json) -> bool:
    """Whether nothing happens here that deserves a box: a whole hook that lets the packet through."""
    return station["kind"] == "chain" and not station.get("chain") and station.get("hook") is not None and stack.get("kind") == "node"


def _subtitle(kind: str, hop: Json, steps: Sequence[Json]) -> tuple[str, str]:
    """Return the second line of a stop and the part of its identity that the chain's name leaves open."""
    last = steps[-1] if steps else {}
    line = place_of(last)
    if kind == "send":
        return str((hop.get("packet_in") or {}).get("source", "")), ""
    if kind == "load-balancer":
        return str((hop.get("packet_in") or {}).get("destination", "")), ""
    if kind == "mark":
        marks = [step["rewrote"]["mark"][1] for step in steps if "mark" in step.get("rewrote", {})]
        return (f"mark {_hex(marks[-1])}" if marks else line), ""
    if kind == "dnat":
        to = [step["rewrote"]["destination"][1] for step in steps if "destination" in step.get("rewrote", {})]
        return line, str(to[-1]) if to else ""
    if kind == "pick":
        names = last.get("names") or {}
        service = str(names.get("service", "")).rpartition("/")[2]
        port = names.get("port")
        return (f"{service}:{port}" if port else service) or line, ""
    if kind in ("drop", "reject"):
        return line or str((hop.get("packet_out") or {}).get("destination", "")), str(last.get("rule", ""))
    return line, ""


def place_of(step: Json) -> str:
    """Return the line of a step's rule in its file, or its place in the chain where it was modelled; "" where it has none."""
    if step.get("position"):
        return f"rule {step['position']}"
    return f"line {step['line']}" if step.get("line") else ""


def _hex(mark: object) -> str:
    return f"{mark:#x}" if isinstance(mark, int) else str(mark)


def _service(steps: Sequence[Json]) -> str:
    return next((str(step["names"]["service"]) for step in reversed(steps) if (step.get("names") or {}).get("service")), "")


def _target(outcome: Json, hops: Sequence[Json]) -> tuple[str, str, str, str]:
    """Return (identity, first line, second line, node) of where the path ends."""
    place = outcome.get("destination") or {}
    if outcome["disposition"] == "delivered" and place:
        return _delivered(place)
    if place and outcome.get("left_from"):
        return f"to|{place['kind']}||{place['ip']}|", str(place["ip"]), "outside the cluster", str(outcome["left_from"])
    last = hops[-1] if hops else {}
    code = (outcome.get("reason") or {}).get("code", "")
    identity = "|".join(
        (
            "end",
            outcome["disposition"],
            code,
            str((last.get("stack") or {}).get("name", "")),
            str((last.get("packet_out") or {}).get("destination", "")),
        )
    )
    return identity, outcome["disposition"], code, str(last.get("node") or "")


def _delivered(place: Json) -> tuple[str, str, str, str]:
    name = place.get("name") or place.get("ip", "")
    node = str(place.get("node") or "")
    identity = "|".join(("to", place.get("kind", ""), str(place.get("namespace", "")), str(name), str(place.get("ip", "")), node))
    return identity, str(name), str(place.get("ip", "")), node


def _state(place: Json, pods: Mapping[str, Json]) -> str:
    pod = pods.get(f"{place.get('namespace')}/{place.get('name')}")
    if pod is None:
        return ""
    return "ending" if pod.get("terminating") else "" if pod.get("ready") is None else "ready" if pod["ready"] else "not ready"


def _behaviour(outcome: Json, stops: Sequence[Stop]) -> tuple[str, ...]:
    """Return what happens on this path in general terms: verdict, reasons, conditions and the kinds of rewrites, in order."""
    # What could not be checked is told once for a whole answer, beside whichever outcome comes first.
    codes = sorted({finding["code"] for finding in outcome.get("findings") or ()} - {"DATA_MISSING"})
    verdict = (
        outcome["disposition"],
        (outcome.get("reason") or {}).get("code", ""),
        outcome.get("listener", ""),
        str((outcome.get("reply") or {}).get("disposition", "")),
    )
    # The hairpin's mark or a second rewrite makes a row behave differently; passing one node more does not.
    events = tuple(stop.kind for stop in stops if stop.kind in ("mark", "dnat", "snat", "drop", "reject", "unknown"))
    return (*verdict, *codes, *(outcome.get("conditions") or ()), *events)


def _entry(hops: Sequence[Json]) -> tuple[str, tuple[str, ...], tuple[int, str, tuple[str, ...]] | None]:
    """Return the node behind a load balancer, what its rules did with its own addresses replaced by a word, where, and which these are."""
    for at, (before, hop) in enumerate(itertools.pairwise(hops), 1):
        if before["stack"]["kind"] == "load-balancer" and hop["stack"]["kind"] == "node":
            own = str(hop["packet_in"]["destination"])
            steps = hop.get("steps") or ()
            ports = tuple(str(s["rewrote"]["destination_port"][1]) for s in steps if _redirects(s))
            return hop["stack"]["name"], tuple(_anonymous(step, own, ports) for step in steps), (at, own, ports)
    return "", (), None


def _redirects(step: Json) -> bool:
    return step.get("verdict") == "redirect" and "destination_port" in (step.get("rewrote") or {})


def _anonymous(step: Json, own: str, ports: Sequence[str]) -> str:
    """Return the step without what is the node's own: its address, and *ports*, which its proxy process drew for itself."""
    text = step.get("rule") or f"{step['chain']} {step.get('policy', '')}"
    text = text.replace(f"{own}/32", "NODE").replace(own, "NODE")
    for port in ports:
        text = re.sub(rf"\b{port}\b", "PORT", text)
    return f"{step['hook']} {step['table']} {text}"


def is_event(kind: str) -> bool:
    """Return whether a station of this kind is kept when a row is folded into a stack."""
    return kind in _EVENTS
