"""A connection that exists already: a line of a node's conntrack.txt as the start of a walk.

The packet follows its binding, whatever the rules say by now: it starts where the entry's source lives, in the middle of the connection,
and the entry stands in the conntrack table of the node that recorded it.
"""

from __future__ import annotations

from dataclasses import replace

from tracer.conntrack import Connection
from tracer.conntrack_list import Entry, parse_conntrack
from tracer.errors import QueryError
from tracer.packet import Packet
from tracer.query import Destination, Query, Source, SourceKind
from tracer.routing import ResultKind
from tracer.simulate.departure import Departure, Recorded, SentByNode, SentByPod
from tracer.simulate.ipvs import connections_of
from tracer.simulate.start import begun
from tracer.snapshot.node_files import CONNTRACK
from tracer.snapshot.unreadable import why_unread
from tracer.stack_protocols import TableId, TableKind
from tracer.topology.cluster import Cluster
from tracer.trace import StackKind


def recorded_entry(cluster: Cluster, node: str, line: int) -> Entry:
    """Return the connection on *line* of *node*'s conntrack.txt.

    :raises QueryError: the node or its file is not in the snapshot, or the line holds no connection that can be traced.
    """
    if node not in cluster.node_names:
        near = cluster.objects.near_names("Node", node)
        unknown = f"no node {node} in this {cluster.snapshot.called}"
        raise QueryError(unknown, code="NODE_NOT_FOUND", field="connection", near=near)
    why = why_unread(cluster.snapshot, node, CONNTRACK)
    text = cluster.snapshot.node_file(node, CONNTRACK.name) if why is None else None
    path = cluster.snapshot.path_of(node, CONNTRACK.name)
    if text is None:
        raise QueryError(f"no connections are recorded: {path} {why or 'is missing'}", code="CONNECTION_NOT_FOUND", field="connection")
    entries, _ = parse_conntrack(text, path)
    found = next((e for e in entries if e.line == line), None)
    if found is None:
        raise QueryError(f"line {line} of {path} holds no connection that can be traced", code="CONNECTION_NOT_FOUND", field="connection")
    return found


def existing_start(cluster: Cluster, query: Query, node: str, entry: Entry) -> tuple[Query, Departure]:
    """Return the query that the entry stands for, and the packet as its sender sends it, with the binding in *node*'s conntrack table."""
    found = entry.original
    packet = Packet(
        protocol=found.protocol,
        source=found.source,
        destination=found.destination,
        source_port=found.source_port if isinstance(found.source_port, int) else None,
        destination_port=found.destination_port if isinstance(found.destination_port, int) else None,
    )
    connection = Connection(
        original=found,
        reply=entry.reply,
        source_done=True,
        destination_done=True,
        mark=entry.mark,
        established=not entry.unreplied,
    )
    own = TableId(TableKind.CONNTRACK, node)
    entries: tuple[tuple[TableId, Connection], ...] = ((own, connection),)
    servers = cluster.stack(node).virtual_servers
    if servers is not None and connection.has_dnat and servers.find(packet) is not None:
        entries = ((own, replace(connection, virtual=True)), (connections_of(node), connection))
    source, start = _sender(cluster, node, packet, query)
    walk = replace(start.walk, entries=entries, midstream=not entry.unreplied)
    asked = replace(
        query,
        source=source,
        destination=Destination(host=str(packet.destination), port=packet.destination_port),
        protocol=packet.protocol,
        source_port=packet.source_port,
    )
    return asked, replace(start, walk=walk)


def _sender(cluster: Cluster, node: str, packet: Packet, query: Query) -> tuple[Source, Departure]:
    """Who sent the packet, as far as its source address tells, and how the walk starts there."""
    stack = cluster.stack(node)
    pod = cluster.pod_with_ip(packet.source, node)
    if stack.routing.is_local(packet.source):
        walk = begun(StackKind.NODE, node, packet, query)
        return Source(kind=SourceKind.NODE, name=node), SentByNode(walk=walk, node=node, source=packet.source)
    if pod is not None and pod.node_name == node:
        walk = begun(StackKind.POD, f"{pod.namespace}/{pod.name}", packet, query)
        return Source(kind=SourceKind.POD, namespace=pod.namespace, name=pod.name), SentByPod(walk=walk, pod=pod)
    results = stack.routing.lookup(packet.source)
    device = next((r.device for r in results if r.kind is ResultKind.UNICAST), None)
    port = cluster.port_of(packet.source)
    if pod is not None:
        source = Source(kind=SourceKind.POD, namespace=pod.namespace, name=pod.name)
        walk = begun(StackKind.POD, f"{pod.namespace}/{pod.name}", packet, query)
    elif port is not None:
        source = Source(kind=SourceKind.NODE, name=port.node)
        walk = begun(StackKind.NODE, port.node, packet, query)
    else:
        source = Source(kind=SourceKind.EXTERNAL, ip=packet.source)
        walk = begun(StackKind.EXTERNAL, str(packet.source), packet, query)
    walk = walk.note(f"as node {node} recorded it: the way here is not replayed")
    return source, Recorded(walk=walk, node=node, device=device)
