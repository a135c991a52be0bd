"""One path as a person steps through it: for every station, where it is and what the packet looks like before and after.

Replays the rewrites that the steps carry; at the border of each hop the answer's own packets are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracer.packet import Protocol, endpoint_text, host_text
from tracer.values import dataclass

Json = Mapping[str, Any]
_SIDES = ("source", "source_port", "source_port_random", "destination", "destination_port")
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
    found += _moments([s for s in stations if s.get("reply")], [_answering(hop, there) for hop in back])
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


def _answering(hop: Json, there: Sequence[Json]) -> Json:
    """Return a hop of the way back with words for the ports that it answers to: those from which the way *there* was sent.

    The stack that sent a packet on with another port takes the answer to that one, and gives it the port that the packet came with.
    """

    def worded(packet: Json, sent: Sequence[Json]) -> Json:
        if packet.get("destination_port") is not None:
            return packet
        port = next((shown(one, "source_port") for one in sent if one.get("source") == packet.get("destination")), "random")
        return {**packet, "destination_port": port}

    same = [one for one in there if one.get("stack") == hop.get("stack")]
    last = [packet for one in reversed(there) for packet in (one["packet_out"], one["packet_in"])]
    taken = worded(hop["packet_in"], [*(one["packet_out"] for one in reversed(same)), *last])
    given = worded(hop["packet_out"], [*(one["packet_in"] for one in same), *reversed(last)])
    return {**hop, "packet_in": taken, "packet_out": given}


def _moments(stations: Sequence[Json], hops: Sequence[Json]) -> Iterator[Moment]:
    packet: dict[str, Any] = {}
    hop_at, came = -1, packet
    for place, station in enumerate(stations):
        hop: Json = hops[station["hop"]] if station["hop"] < len(hops) else {}
        if station["hop"] != hop_at and hop:
            came, packet, hop_at = packet, dict(hop["packet_in"]), station["hop"]
            # A process between the two answers on a connection of its own: what came to it is another packet.
            before = packet | {name: came[name] for name in _SIDES if name in came}
        else:
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
