"""One path as a person steps through it: for every station, where it is and what the packet looks like before and after.

Replays the rewrites that the steps carry; at the border of each hop the answer's own packets are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracer.packet import Protocol, endpoint_text, host_text
from tracer.values import dataclass

Json = Mapping[str, Any]
FIELDS = ("source", "source_port", "destination", "destination_port", "protocol", "mark")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One station of the followed path. *before* and *after* are packets of the contract; *steps* the rule steps told here.

    *leaves_node*: it is the last one on a node's stack, where the packet is routed onward.
    """

    n: int
    kind: str
    title: str
    where: str
    hop: int
    reply: bool
    before: Json
    after: Json
    steps: tuple[Json, ...]
    chain: str
    stack: Json
    notes: tuple[str, ...] = ()
    lookups: tuple[Json, ...] = ()
    leaves_node: bool = False

    @property
    def is_inferred(self) -> bool:
        """Return whether the way out of the node was inferred, as its routes were not recorded."""
        return self.leaves_node and any(note.startswith("inferred") or note.endswith("(inferred)") for note in self.notes)

    @property
    def question(self) -> str:
        """Return the name that is looked up here, "" where none is."""
        return str(self.lookups[0]["question"]["name"]) if self.lookups else ""

    @property
    def changed(self) -> tuple[str, ...]:
        """Return the packet's fields that differ after this station."""
        return tuple(name for name in FIELDS if shown(self.before, name) != shown(self.after, name))

    @property
    def changes_source(self) -> bool:
        """Return whether the source address or port is rewritten here."""
        return bool({"source", "source_port"} & set(self.changed))

    @property
    def changes_destination(self) -> bool:
        """Return whether the destination address or port is rewritten here."""
        return bool({"destination", "destination_port"} & set(self.changed))


def journey(outcome: Json, lookups: Sequence[Json] = ()) -> tuple[Moment, ...]:
    """Return the stations of *outcome* in order, the reply's behind. *lookups* are the answer's."""
    there = outcome.get("hops") or []
    back = (outcome.get("reply") or {}).get("hops") or []
    stations = outcome.get("stations") or []
    asked = [s for s in stations if s["kind"] == "dns"]
    found = [_asked(station, lookups) for station in asked]
    found += _moments([s for s in stations if not s.get("reply") and s not in asked], there)
    sent = next((moment.before for moment in found if moment.before), {})
    found += _moments([s for s in stations if s.get("reply")], [_answering(hop, sent) for hop in back])
    return tuple(found)


def _asked(station: Json, lookups: Sequence[Json]) -> Moment:
    """Return the moment in which a name is asked for; no packet of the traced connection exists yet."""
    asked = tuple(lookups[i] for i in station.get("lookups", ()) if i < len(lookups))
    return Moment(
        n=station["n"],
        kind="dns",
        title=station["title"],
        where=f"DNS server {asked[0]['server']}" if asked else "",
        hop=0,
        reply=False,
        before={},
        after={},
        steps=(),
        chain="",
        stack={},
        lookups=asked,
    )


def _answering(hop: Json, sent: Json) -> Json:
    """Return a hop of the way back with words for the port that it answers to: the client's own, or the one the kernel drew."""

    def worded(packet: Json) -> Json:
        if packet.get("destination_port") is not None or not sent:
            return packet
        own = packet.get("destination") == sent.get("source")
        return {**packet, "destination_port": shown(sent, "source_port") if own else "random"}

    return {**hop, "packet_in": worded(hop["packet_in"]), "packet_out": worded(hop["packet_out"])}


def _moments(stations: Sequence[Json], hops: Sequence[Json]) -> Iterator[Moment]:
    packet: dict[str, Any] = {}
    hop_at = -1
    for place, station in enumerate(stations):
        hop: Json = hops[station["hop"]] if station["hop"] < len(hops) else {}
        if station["hop"] != hop_at and hop:
            packet, hop_at = dict(hop["packet_in"]), station["hop"]
        before = dict(packet)
        steps = tuple(hop["steps"][i] for i in station.get("steps", ()) if i < len(hop.get("steps") or ()))
        # Where one rule draws and rewrites, the draw is told first and changes nothing yet.
        for step in steps if station["kind"] != "pick" else ():
            packet |= {name: values[1] for name, values in (step.get("rewrote") or {}).items() if name in FIELDS}
        if hop and _settles(station, stations[place + 1 :]):
            packet = dict(hop["packet_out"])
        stack = hop.get("stack") or {}
        yield Moment(
            n=station["n"],
            kind=station["kind"],
            title=station["title"],
            where=_where(station, hop),
            hop=station["hop"],
            reply=bool(station.get("reply")),
            before=before,
            after=dict(packet),
            steps=steps,
            chain=str(station.get("chain") or ""),
            stack=stack,
            notes=tuple(hop.get("notes") or ()),
            leaves_node=stack.get("kind") == "node" and not any(_hop_of(other) == _hop_of(station) for other in stations[place + 1 :]),
        )


def _hop_of(station: Json) -> tuple[bool, int]:
    return bool(station.get("reply")), station["hop"]


def _settles(station: Json, rest: Sequence[Json]) -> bool:
    """Whether what the hop did to the packet beyond the steps' own rewrites (a drawn port, a load balancer's choice) is told here."""
    here = [other for other in rest if other["hop"] == station["hop"]]
    if station["kind"] in ("snat", "load-balancer", "un-nat"):
        return not any(other["kind"] in ("snat", "un-nat") for other in here)
    return not here and station["kind"] not in ("send", "deliver", "leave", "drop", "reject", "unknown")


def _where(station: Json, hop: Json) -> str:
    stack = hop.get("stack") or {}
    name = str(stack.get("name", ""))
    if station.get("chain"):
        return f"{name} · {station.get('table', '')} {str(station.get('hook', '')).upper()}"
    if station.get("hook"):
        return f"{name} · {str(station['hook']).upper()}"
    if station["kind"] == "un-nat" and stack.get("kind") == "node":
        return f"{name} · conntrack"
    kind = {"external": "outside the cluster", "load-balancer": "load balancer", "pod": "pod", "node": "node"}.get(
        str(stack.get("kind", "")), ""
    )
    return f"{name} · {kind}" if name and kind else name or kind


_PORTLESS = tuple(protocol.value for protocol in Protocol if not protocol.has_ports)


def shown(packet: Json, name: str) -> str:
    """Return a packet's field for people: ``any`` for a port that nobody gave, ``random`` for one that the kernel draws."""
    value = packet.get(name)
    if name == "source_port" and value is None:
        if packet.get("protocol") in _PORTLESS:
            return "–"
        return "random" if packet.get("source_port_random") else "any"
    if name == "mark":
        return f"{value:#x}" if isinstance(value, int) else str(value or "0x0")
    if name == "protocol":
        return str(value or "").upper()
    return "–" if value is None else str(value)


def side_text(packet: Json, side: str) -> str:
    """Return ``address:port`` of the packet's *side* (source or destination), IPv6 in brackets."""
    address, port = packet.get(side, ""), shown(packet, f"{side}_port")
    return host_text(address) if port == "–" else endpoint_text(address, port)
