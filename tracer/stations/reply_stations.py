"""The stations of the way back: who answers, where a stack undoes rewrites, and who receives."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.stations.station import ENDS, Station, StationKind, passes
from tracer.trace import Disposition, Hop, Outcome, StackKind


def reply_stations(outcome: Outcome) -> Iterator[Station]:
    """Yield the way back of *outcome*, nothing where it is not known."""
    reply = outcome.reply
    if reply is None or not reply.hops:
        return
    last = len(reply.hops) - 1
    who = {StackKind.POD: "Pod", StackKind.NODE: "Node"}.get(reply.hops[0].kind, "Host")
    yield Station(n=0, kind=StationKind.REPLY, title=f"{who} replies", hop=0, steps=_all(reply.hops[0]), reply=True)
    for index, hop in enumerate(reply.hops[1:], start=1):
        kind, title = _undone(hop)
        if index == last and reply.disposition is Disposition.DELIVERED and kind is not StationKind.UN_NAT:
            break
        yield Station(n=0, kind=kind, title=title, hop=index, steps=_all(hop), reply=True)
    if reply.disposition is Disposition.DELIVERED:
        # A node that sent the packet itself also undoes its own rewrites: two stations on one stack.
        own = last > 0 and _undone(reply.hops[last])[0] is StationKind.UN_NAT
        end = {StackKind.POD: "Pod", StackKind.NODE: "Node"}.get(reply.hops[last].kind, "Client")
        yield Station(
            n=0,
            kind=StationKind.RECEIVE,
            title=f"{end} receives",
            hop=last,
            steps=() if own or not last else _all(reply.hops[last]),
            reply=True,
        )
    else:
        kind, title = ENDS.get(reply.disposition, (StationKind.DROP, "The answer is lost"))
        yield Station(n=0, kind=kind, title=title, hop=last, reply=True)


def _undone(hop: Hop) -> tuple[StationKind, str]:
    source = (hop.packet_in.source, hop.packet_in.source_port) != (hop.packet_out.source, hop.packet_out.source_port)
    destination = hop.packet_in.destination != hop.packet_out.destination
    if source and destination:
        return StationKind.UN_NAT, "Both rewrites undone"
    if source:
        return StationKind.UN_NAT, "Service address restored" if hop.kind is StackKind.NODE else f"{hop.name} restores its address"
    if destination:
        return StationKind.UN_NAT, "Client address restored"
    return StationKind.CHAIN, passes(hop)


def _all(hop: Hop) -> tuple[int, ...]:
    return tuple(range(len(hop.steps)))
