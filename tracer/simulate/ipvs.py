"""IPVS in the hooks of one stack: a request for a virtual server goes to a real server, its answer gets the virtual address back.

A request is taken where it is delivered (LOCAL_IN, behind the filter rules) or sent (LOCAL_OUT). To a real server elsewhere it leaves by
LOCAL_OUT and POSTROUTING, whose rules see it with the real server's address; to one of this stack the walk goes on where it was.
Source: ip_vs_core.c (ip_vs_ops, ip_vs_in_hook, ip_vs_schedule, ip_vs_leave, handle_response), ip_vs_xmit.c (ip_vs_nat_xmit,
__ip_vs_get_out_rt, crosses_local_route_boundary), ip_vs_nfct.c (ip_vs_update_conntrack), Linux 6.18.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from tracer.conntrack import Connection
from tracer.forks import Fork, drawn
from tracer.frozen import changed
from tracer.ipvs.model import Forwarding, RealServer, VirtualServer, VirtualServers
from tracer.ipvs.schedule import Choice, choices
from tracer.netfilter.model import Hook
from tracer.packet import Address, Packet, Protocol, endpoint_text, said
from tracer.refusals import NOBODY_ANSWERS
from tracer.routing import ResultKind, RouteResult
from tracer.simulate.crossing import Crossing, rewritten
from tracer.simulate.walk import Ending, Walk
from tracer.stack_protocols import TableId, TableKind
from tracer.trace import Disposition, Reason, Step, Unknown

ANSWERS = {Hook.INPUT: 98, Hook.OUTPUT: -99, Hook.FORWARD: 100}
"""Where in a hook IPVS looks for answers of real servers."""
REQUESTS = {Hook.INPUT: 99, Hook.OUTPUT: -98}
"""Where in a hook IPVS looks for requests to virtual servers."""

_SERVED = (Protocol.TCP, Protocol.UDP, Protocol.SCTP)


class Served(NamedTuple):
    """A packet that IPVS has looked at. *leaves*: it goes on from LOCAL_OUT by the crossing's route, not where it was."""

    walk: Walk
    crossing: Crossing
    leaves: bool = False


def connections_of(stack: str) -> TableId:
    """Return where a walk keeps the IPVS connections of *stack*, beside its conntrack entries."""
    return TableId(TableKind.IPVS, stack)


# -- answers --------------------------------------------------------------------------------------------------------------------------


def answered(walk: Walk, crossing: Crossing, hook: Hook) -> tuple[Walk, Crossing]:
    """Return the packet as it goes on: the answer of a real server comes from the virtual server's address again."""
    found = walk.entry(connections_of(crossing.stack.name), walk.packet)
    if found is None or not found[1]:
        return walk, crossing
    virtual = found[0].original
    port = virtual.destination_port if isinstance(virtual.destination_port, int) else None
    packet = changed(walk.packet, source=virtual.destination, source_port=port)
    step = Step(
        hook=hook.value,
        family=packet.family.value,
        table="ipvs",
        chain="",
        event="un-nat",
        rewrote=rewritten(walk.packet, packet),
    )
    return changed(walk, packet=packet).step(step), changed(crossing, served=True)


# -- requests -------------------------------------------------------------------------------------------------------------------------


def requested(walk: Walk, crossing: Crossing, hook: Hook) -> Iterator[Served | Ending]:
    """Yield every way a packet goes on at the place where IPVS looks for requests."""
    servers, packet = crossing.stack.virtual_servers, walk.packet
    found = walk.entry(connections_of(crossing.stack.name), packet)
    if servers is None or packet.protocol not in _SERVED or (found and found[1]):
        yield Served(walk, crossing)
    elif found:
        yield from _bound(walk, crossing, hook, found[0])
    elif (server := servers.find(packet)) is None or _is_late(walk):
        yield Served(walk, crossing)
    else:
        yield from _scheduled(walk, crossing, hook, servers, server)


def _is_late(walk: Walk) -> bool:
    """Whether IPVS makes no connection for the packet: TCP and SCTP start with their first packet only."""
    return walk.packet.protocol is not Protocol.UDP and (walk.midstream or walk.answering)


def _bound(walk: Walk, crossing: Crossing, hook: Hook, connection: Connection) -> Iterator[Served | Ending]:
    """A packet of a connection that IPVS has already."""
    port = connection.reply.source_port if isinstance(connection.reply.source_port, int) else None
    packet = changed(walk.packet, destination=connection.reply.source, destination_port=port)
    step = Step(hook=hook.value, family=packet.family.value, table="ipvs", chain="", event="nat", rewrote=rewritten(walk.packet, packet))
    yield from _sent(changed(walk, packet=packet).step(step), crossing, hook)


def _scheduled(walk: Walk, crossing: Crossing, hook: Hook, servers: VirtualServers, server: VirtualServer) -> Iterator[Served | Ending]:
    """A new connection: the scheduler picks a real server, or the client is refused."""
    if server.hides_thresholds:
        unsaid = f"{servers.file} does not show them, ipvsadm -S -n does"
        walk = walk.note(f"assumed: no real server of {server.name} has an upper limit of connections ({unsaid})")
    found = _choices(walk, crossing, server)
    for number, choice in enumerate(found):
        branch = _taken(walk, crossing, servers, server, choice, number, len(found))
        if choice.real_server is None:
            yield _refused(branch, crossing, hook, servers, server, choice)
        else:
            yield from _forwarded(branch, crossing, hook, servers, server, choice, choice.real_server)


def _taken(walk: Walk, crossing: Crossing, servers: VirtualServers, server: VirtualServer, choice: Choice, number: int, ways: int) -> Walk:
    """The walk on which *choice* is taken, the one of this *number*: by chance, or on a condition."""
    where = f"{servers.file}:{server.line}"
    if choice.condition is None:
        taken = walk.forks if ways == 1 else (*walk.forks, drawn(where, number))
        return changed(walk, probability=walk.probability * choice.share, forks=taken)
    known = Unknown(code="SCHEDULER_STATE", text=_why(crossing, server, choice), at={"file": servers.file, "line": server.line})
    fork = Fork(
        question=known.text.partition(":")[0],
        branch=number,
        condition=f"{where}: {choice.condition}",
        ways=ways,
        unknowns=(known,),
    )
    return changed(
        walk,
        probability=walk.probability * choice.share,
        conditions=(*walk.conditions, f"{where}: {choice.condition}"),
        unknowns=(*walk.unknowns, known),
        forks=(*walk.forks, fork),
    )


def _why(crossing: Crossing, server: VirtualServer, choice: Choice) -> str:
    name = f"{server.name} of node {crossing.stack.name}"
    return f"which real server scheduler {server.scheduler} takes for {name} ({choice.reason}): its state is not in a snapshot"


def _choices(walk: Walk, crossing: Crossing, server: VirtualServer) -> tuple[Choice, ...]:
    """The real servers that may be next; a client that persistence remembers gets its own."""
    return (pinned,) if (pinned := _pinned(walk, crossing, server)) is not None else choices(server, _as_hashed(walk))


def _as_hashed(walk: Walk) -> Packet:
    """The packet as a hash scheduler sees it: a port that NAT may have changed is none that is known."""
    return walk.packet if walk.source_port_certain else changed(walk.packet, source_port=None)


def _pinned(walk: Walk, crossing: Crossing, server: VirtualServer) -> Choice | None:
    """The real server of the client's last connection: of this walk, else of the templates that ``ipvsadm -L -c -n`` listed.

    NB: a template to a drained server counts unless ``expire_quiescent_template`` says otherwise. Source: ip_vs_check_template.
    """
    if server.persistence_timeout is None:
        return None
    stack, client = crossing.stack, _client(server, walk.packet.source)
    here = {a for name, of, a in walk.recent if (name, of) == (stack.name, server.name)}
    own = next((r for r in server.real_servers if f"{client} {endpoint_text(r.address, r.port)}" in here), None)
    if own is not None:
        return Choice(real_server=own, reason="persistence: the real server of its last connection")
    forgets = stack.routing.get("net.ipv4.vs.expire_quiescent_template") == "1"
    for template in stack.remembered_clients:
        if template.pins(server, client.network_address):
            kept = next((r for r in server.real_servers if (r.address, r.port) == template.real), None)
            if kept is not None and (kept.weight or not forgets):
                why = f"persistence: recorded for {client.network_address}, for another {template.expires} seconds (line {template.line})"
                return Choice(real_server=kept, reason=why)
    return None


def _client(server: VirtualServer, source: Address) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The clients that persistence takes for one."""
    return ipaddress.ip_network(f"{said(source)}/{server.granularity}", strict=False)


def _refused(walk: Walk, crossing: Crossing, hook: Hook, servers: VirtualServers, server: VirtualServer, choice: Choice) -> Ending:
    refusal = "icmp6-port-unreachable" if walk.packet.destination.version == 6 else "icmp-port-unreachable"
    step = _step(walk, crossing, hook, servers, server, None, "reject", choice)
    why = "all real servers that it may choose are drained" if server.real_servers else "it has no real server"
    text = f"IPVS of node {crossing.stack.name} refuses a connection to {server.name} with {refusal}: {why} ({servers.file}:{server.line})"
    return walk.step(step).end(Disposition.REJECTED, Reason(code="NO_REAL_SERVER", text=text), reject_with=refusal)


def _forwarded(
    walk: Walk, crossing: Crossing, hook: Hook, servers: VirtualServers, server: VirtualServer, choice: Choice, real: RealServer
) -> Iterator[Served | Ending]:
    walk = walk.step(_step(walk, crossing, hook, servers, server, None, "continue", choice))
    if real.forwarding is not Forwarding.MASQUERADE:
        way = "a tunnel" if real.forwarding is Forwarding.TUNNEL else "direct routing"
        text = f"{servers.file}:{real.line} forwards by {way}, which kube-proxy never sets up and Hopline does not replay"
        yield walk.unknown(Unknown(code="UNMODELLED_TARGET", text=text, at={"file": servers.file, "line": real.line}))
        return
    before = walk.packet
    packet = changed(before, destination=real.address, destination_port=real.port)
    step = changed(_step(walk, crossing, hook, servers, server, real, "dnat", choice), rewrote=rewritten(before, packet))
    entry = Connection.begin(before).translated(packet)
    name = crossing.stack.name
    if server.persistence_timeout is not None:
        pin = f"{_client(server, before.source)} {endpoint_text(real.address, real.port)}"
        walk = changed(walk, recent=walk.recent | {(name, server.name, pin)})
    walk = changed(walk, packet=packet).step(step).note(f"{server.name}: {choice.reason}")
    if not server.one_packet:
        walk = walk.with_entry(connections_of(name), entry)
    yield from _sent(*_conntracked(walk, crossing, server), hook)


def _conntracked(walk: Walk, crossing: Crossing, server: VirtualServer) -> tuple[Walk, Crossing]:
    """What conntrack learns: with ``net.ipv4.vs.conntrack`` the answer's new source, without it the packet is tracked no more.

    NB: the kernel's default is 0, but kube-proxy sets 1 when it starts and depends on it for masquerading.
    """
    connection = crossing.connection
    if crossing.stack.routing.get("net.ipv4.vs.conntrack") == "0":
        return walk, changed(crossing, connection=None, state="UNTRACKED")
    if connection is None or crossing.reply or connection.established or server.one_packet:
        return walk, crossing
    connection = changed(connection.translated(walk.packet), virtual=not connection.has_dnat)
    return walk.with_entry(crossing.table, connection), changed(crossing, connection=connection)


# -- the way on -----------------------------------------------------------------------------------------------------------------------


def _sent(walk: Walk, crossing: Crossing, hook: Hook) -> Iterator[Served | Ending]:
    """Route the packet to its real server."""
    results = crossing.stack.routing.lookup(walk.packet.destination)
    for number, result in enumerate(results):
        branch = walk
        if len(results) > 1:
            taken = drawn(f"{crossing.stack.name} routes to {walk.packet.destination}", number)
            branch = changed(walk, probability=walk.probability * result.share, forks=(*walk.forks, taken))
        yield _unroutable(branch, crossing, result) or _routed(branch, crossing, hook, result)


def _unroutable(walk: Walk, crossing: Crossing, result: RouteResult) -> Ending | None:
    name, destination, source = crossing.stack.name, walk.packet.destination, walk.packet.source
    if result.kind is ResultKind.UNKNOWN:
        return walk.unknown(crossing.stack.unknown_way(destination, result.unknown_reason))
    if result.kind not in (ResultKind.LOCAL, ResultKind.UNICAST):
        told = changed(walk, says=NOBODY_ANSWERS[destination.version])  # whatever the route's kind. Source: __ip_vs_get_out_rt
        return told.end(Disposition.UNREACHABLE, Reason(code="NO_ROUTE", text=f"Node {name} has no route to real server {destination}"))
    if result.kind is ResultKind.UNICAST and source.is_loopback:
        text = f"IPVS of node {name} drops a packet from {source} to real server {destination}: loopback addresses do not leave a node"
        return walk.end(Disposition.DROPPED, Reason(code="MARTIAN_SOURCE", text=text))
    return None


def _routed(walk: Walk, crossing: Crossing, hook: Hook, result: RouteResult) -> Served:
    if result.kind is ResultKind.LOCAL:
        return Served(walk, changed(crossing, served=True))
    header = dict(crossing.header)
    if hook is Hook.INPUT and "ttl" in header:
        header["ttl"] -= 1
    note = f"route to the real server: {result.route.to_text()}" if result.route is not None else ""
    walk = walk.note(note) if note else walk
    return Served(walk, changed(crossing, served=True, out_device=result.device, route=result, header=header), leaves=True)


def _step(
    walk: Walk,
    crossing: Crossing,
    hook: Hook,
    servers: VirtualServers,
    server: VirtualServer,
    real: RealServer | None,
    verdict: str,
    choice: Choice,
) -> Step:
    """The step of a virtual server's line, or of the line of the real server that was chosen."""
    line = server if real is None else real
    drawn = real is not None and choice.share != 1 and choice.condition is None
    return Step(
        hook=hook.value,
        family=walk.packet.family.value,
        table="ipvs",
        chain=server.name,
        rule=line.text,
        file=servers.file_of(line.line),
        line=line.line,
        verdict=verdict,
        chance=choice.share if drawn else None,
        condition=choice.condition if real is not None else None,
        names=crossing.stack.virtual_names(server, real),
        made_as=servers.maker(line.line),
        position=line.line if servers.maker(line.line) else None,
    )
