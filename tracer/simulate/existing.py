"""A connection that exists already: a line of a node's conntrack.txt as the start of a walk.

The packet follows its binding, whatever the rules say by now: it starts where the entry's source lives, in the middle of the connection.
The connection is everybody's: where the source is another node's, or a pod's of another node, whose table holds the connection too, it
starts there, and every node that it comes to looks in its own table (``tracer.simulate.recorded``).
"""

from __future__ import annotations

from dataclasses import replace

from tracer.conntrack_list import Entry, parse_conntrack
from tracer.errors import QueryError
from tracer.packet import Packet
from tracer.query import Destination, Query, Source, SourceKind
from tracer.routing import ResultKind
from tracer.simulate.departure import Departure, Recorded, SentByNode, SentByPod
from tracer.simulate.recorded import held, sent
from tracer.simulate.start import begun
from tracer.snapshot.node_files import CONNTRACK
from tracer.snapshot.unreadable import why_unread
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
    """Return the query that the entry stands for, and the packet as its sender sends it, with the binding in *node*'s conntrack table.

    Where a node before this one holds the connection too, it starts there: as it was before that node translated it.
    """
    entries = held(cluster.stack(node), entry)
    first_node, first, lacking = _first_to_see(cluster, node, entry)
    if first is not entry:
        entries += held(cluster.stack(first_node), first)
    packet = sent(first)
    source, start = _sender(cluster, first_node, packet, query)
    walk = replace(start.walk, entries=entries, midstream=not (entry.unreplied and first.unreplied), existing=True)
    if lacking is not None:
        walk = walk.note(lacking)
    asked = replace(
        query,
        source=source,
        destination=Destination(host=str(packet.destination), port=packet.destination_port),
        protocol=packet.protocol,
        source_port=packet.source_port,
    )
    return asked, replace(start, walk=walk)


def _first_to_see(cluster: Cluster, node: str, entry: Entry) -> tuple[str, Entry, str | None]:
    """The node that sees the connection first, with the entry, and a remark where the node before that should have one and has none.

    NB: the packet may have been translated on the way here: the node before holds it with what came out of it as the reply's tuple. A node
    that holds nothing is taken to have sent on what the next one got: to its own rules the packet is new, or INVALID.
    """
    passed = {node}
    while (before := _node_of_sender(cluster, entry)) is not None and before not in passed:
        recorded = cluster.stack(before).conntrack
        if recorded is None:
            break
        found = recorded.find(entry.original.inverse)
        if found is None or found[0].reply != entry.original.inverse:
            if recorded.unread is not None:
                break
            sender = f"node {before}, from where {entry.original.source} sends"
            file = cluster.snapshot.path_of(before, CONNTRACK.name)
            return before, entry, f"{sender}, holds no entry of this connection ({file})"
        node, entry = before, found[0]
        passed.add(node)
    return node, entry, None


def _node_of_sender(cluster: Cluster, entry: Entry) -> str | None:
    """The node that the packets of *entry* leave first: the one that has their source, or runs the pod that has it."""
    pod = cluster.pod_with_ip(entry.original.source)
    if pod is not None and not pod.host_network:
        return pod.node_name
    port = cluster.port_of(entry.original.source)
    return port.node if port is not None else None


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
