"""A connection that exists already, in the table of each node that it comes to: its entry as conntrack.txt has it, or that there is none.

Where the file was not recorded, or has a line that cannot be read, both are possible: the node may hold the connection or not, as a
condition. What an entry that nobody recorded translates to is not known; that it translates nothing is taken only where no rule would.
What made an entry it does not say either: MASQUERADE binds a connection to the device that it left by, SNAT does not.
Source: nf_conntrack_in, resolve_normal_ct, tcp_new, sctp_new, icmp_pkt_to_tuple (nf_conntrack_proto_icmp.c), Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tracer.conntrack import Connection, FlowTuple
from tracer.conntrack_list import Entry
from tracer.forks import Fork
from tracer.frozen import changed
from tracer.packet import Packet, Protocol
from tracer.routing import RouteResult
from tracer.simulate.walk import Ending, Walk
from tracer.snapshot.node_files import CONNTRACK
from tracer.stack_protocols import TableId, TableKind
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, Reason, Sees, Unknown

_LOOSE, _LIBERAL = "net.netfilter.nf_conntrack_tcp_loose", "net.netfilter.nf_conntrack_tcp_be_liberal"


def sent(entry: Entry) -> Packet:
    """Return the packet of the original direction of *entry*, as it came to the node that holds it."""
    found = entry.original
    return Packet(
        protocol=found.protocol,
        source=found.source,
        destination=found.destination,
        source_port=found.source_port if isinstance(found.source_port, int) else None,
        destination_port=found.destination_port if isinstance(found.destination_port, int) else None,
    )


def held(stack: NodeStack, entry: Entry) -> tuple[tuple[TableId, Connection], ...]:
    """Return what *entry* of the conntrack table of *stack* puts into its tables: into that of IPVS too, where a virtual server has it."""
    connection = Connection(
        original=entry.original,
        reply=entry.reply,
        source_done=True,
        destination_done=True,
        mark=entry.mark,
        established=not entry.unreplied,
        opening=entry.is_opening,
        unseen=entry.protocol is Protocol.TCP and not entry.unreplied,
    )
    own, servers = TableId(TableKind.CONNTRACK, stack.name), stack.virtual_servers
    if servers is not None and connection.has_dnat and servers.find(sent(entry)) is not None:
        return (own, replace(connection, virtual=True)), (TableId(TableKind.IPVS, stack.name), connection)
    return ((own, connection),)


def met(walk: Walk, stack: NodeStack) -> Iterator[Walk]:
    """Yield *walk*, whose connection exists already, as the table of *stack* has it: with its entry, without, or each on a condition."""
    recorded, flow = stack.conntrack, FlowTuple.of(walk.packet)
    found = None if recorded is None else recorded.find(flow)
    if found is not None:
        yield changed(walk, entries=(*walk.entries, *held(stack, found[0])))
    elif walk.tunnel is not None:
        yield _carrier(walk, stack)
    elif recorded is None or recorded.unread is not None:
        yield from _either(walk, stack)
    else:
        yield walk.note(f"{stack.path_of(CONNTRACK)} holds no entry of this connection: {begun(walk, stack)}") if walk.midstream else walk


def _carrier(walk: Walk, stack: NodeStack) -> Walk:
    """The packet of a tunnel that carries a connection's: who drew its port nobody knows, so which entry is its own is not known either."""
    recorded = stack.conntrack
    if recorded is not None and recorded.unread is None and not recorded.has_some(FlowTuple.of(walk.packet)):
        return walk
    return walk.with_entry(TableId(TableKind.CONNTRACK, stack.name), _supposed(walk))


def _either(walk: Walk, stack: NodeStack) -> Iterator[Walk]:
    """The walk with an entry of which nothing is known, and without one."""
    asked = f"whether {stack.called} holds an entry of this connection"
    unknown = Unknown(code="DATA_MISSING", text=f"{asked}: {_why(stack)}", at={"node": stack.name, "file": stack.path_of(CONNTRACK)})
    names = f"{stack.called} holds an entry of this connection", f"{stack.called} holds no entry of this connection"
    with_entry, without = _ways(walk, asked, unknown, names)
    yield with_entry.with_entry(TableId(TableKind.CONNTRACK, stack.name), _supposed(walk))
    yield without


def _ways(walk: Walk, asked: str, unknown: Unknown, conditions: Sequence[str]) -> Iterator[Walk]:
    """Yield the walk once for each of *conditions*, one of which holds: which, what is *asked*, nobody recorded."""
    for number, condition in enumerate(conditions):
        fork = Fork(question=asked, branch=number, condition=condition, ways=len(conditions), unknowns=(unknown,))
        yield changed(
            walk,
            probability=walk.probability / len(conditions),
            conditions=(*walk.conditions, condition),
            unknowns=(*walk.unknowns, unknown),
            forks=(*walk.forks, fork),
        )


def masqueraded(walk: Walk, stack: NodeStack, held: Connection, way: RouteResult | None) -> Iterator[Walk | Ending]:
    """Yield *walk*, which leaves *stack* by *way* and has the entry *held*, as it goes on, and its end where MASQUERADE made the entry.

    The kernel notes the device that MASQUERADE gave a connection its address for, and ends the connection when a packet of it leaves by
    another; SNAT notes none. An entry tells neither: its address is a hint, where the node has it and the way out would give another.
    Source: nf_nat_oif_changed, nf_nat_inet_fn in nf_nat_core.c, Linux 6.18.
    """
    recorded = stack.conntrack
    if not held.has_snat or not walk.existing or recorded is None or recorded.find(held.original) is None:
        yield walk
        return
    routing, source = stack.routing, held.reply.destination
    taken = routing.masquerade_address(way.device, way, walk.packet.destination) if way is not None and way.device is not None else None
    if taken in (None, source) or not routing.is_local(source):
        yield walk
        return
    asked = f"whether MASQUERADE or SNAT gave this connection the source {source} on {stack.called}"
    unknown = Unknown(code="DATA_MISSING", text=f"{asked}: no file tells", at={"node": stack.name})
    names = f"SNAT gave the connection the source {source}", f"MASQUERADE gave the connection the source {source}"
    kept, ended = _ways(walk, asked, unknown, names)
    yield kept
    device = way.device if way is not None else None
    text = (
        f"The kernel drops it and forgets the connection: MASQUERADE took {source} for another device than {device}, by which it leaves now"
    )
    if ended.packet.protocol is Protocol.TCP:
        ended = changed(ended, sees=Sees.UNKNOWN)  # the next segment begins an entry anew, with another source
    yield ended.end(Disposition.DROPPED, Reason(code="MASQUERADE_MOVED", text=text))


def _supposed(walk: Walk) -> Connection:
    """An entry that nobody recorded. NB: of an answer it is known that a node which translated the request would have seen that too."""
    flow = FlowTuple.of(walk.packet)
    original = flow.inverse if walk.answering else flow
    return Connection(
        original=original,
        reply=original.inverse,
        source_done=walk.answering,
        destination_done=walk.answering,
        established=walk.midstream,
        supposed=not walk.answering,
    )


def begins(walk: Walk, stack: NodeStack) -> bool:
    """Return whether conntrack begins an entry with the packet of *walk*, which has none; it is INVALID otherwise."""
    protocol = walk.packet.protocol
    if walk.is_error:
        return False
    if protocol is Protocol.UDP:
        return True
    if not walk.midstream or protocol is not Protocol.TCP:
        return not walk.answering and (not walk.midstream or protocol is not Protocol.SCTP)
    return walk.refusal is None and stack.routing.get(_LOOSE) != "0"


def outruns(walk: Walk, connection: Connection, stack: NodeStack) -> str | None:
    """Return why conntrack of *stack* takes an answer of *connection* for INVALID, None if it does not: it acknowledges what was not seen.

    Source: tcp_in_window (nf_conntrack_proto_tcp.c), Linux 6.18.
    """
    recorded = stack.routing.get(_LIBERAL)
    if not (connection.unseen and walk.answering) or walk.is_error or recorded not in (None, "0"):
        return None
    setting = f"{_LIBERAL} is 0" if recorded else f"{_LIBERAL} is taken to be 0, the kernel's default"
    return f"{stack.begins} tracks this connection and has not seen the packet that this one acknowledges: it is INVALID ({setting})"


def begun(walk: Walk, stack: NodeStack) -> str:
    """Return what conntrack makes of a packet in the middle of a connection that it does not know, in words."""
    if not begins(walk, stack):
        return "to its rules the packet is INVALID"
    if walk.packet.protocol is not Protocol.TCP:
        return "to its rules the packet begins a new one (NEW)"
    recorded = stack.routing.get(_LOOSE)
    setting = f"{_LOOSE} is {recorded}" if recorded is not None else f"{_LOOSE} is taken to be 1, the kernel's default"
    return f"to its rules the packet begins a new one (NEW; {setting})"


def unknown_translation(walk: Walk, stack: NodeStack) -> Unknown:
    """Return what is not known of an entry that nobody recorded."""
    what = f"to what the entry of {stack.called} translates a packet for {walk.packet.destination}"
    return Unknown(code="DATA_MISSING", text=f"{what}: {_why(stack)}", at={"node": stack.name, "file": stack.path_of(CONNTRACK)})


def _why(stack: NodeStack) -> str:
    """Why it is not known which entries the node holds."""
    fault = stack.conntrack.unread if stack.conntrack is not None else None
    return stack.lacking(CONNTRACK) if fault is None else f"{fault.file}:{fault.line} cannot be read"
