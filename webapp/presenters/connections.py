"""The connections that nodes recorded, as a list: who spoke to whom, what the binding made of it, and a link that traces it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from tracer.conntrack import FlowTuple
from tracer.conntrack_list import Entry
from tracer.packet import endpoint_text, host_text
from tracer.values import dataclass
from webapp.models import LiveSource
from webapp.questions.sources import Source
from webapp.questions.trace_query import TraceQuery

MOST_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRow:
    """One recorded connection. *becomes* is what the node makes of the packet, "" where it changes nothing."""

    line: int
    protocol: str
    state: str
    source: str
    destination: str
    becomes: str
    timeout: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChoice:
    """A node with recorded connections, as a link to them."""

    name: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionList:
    """One node's connections. *hidden* ones match and are not shown; *faults* lines could not be read."""

    node: str
    file: str
    rows: tuple[ConnectionRow, ...]
    total: int
    hidden: int
    faults: int


def connection_list(node: str, file: str, entries: Sequence[Entry], faults: int, find: str, path: str) -> ConnectionList:
    """Return *entries* of *node* that contain *find*, each with the address that traces it; *path* is the trace page's."""
    wanted = [entry for entry in entries if find.casefold() in entry.text.casefold()]
    rows = tuple(_row(node, entry, path) for entry in wanted[:MOST_ROWS])
    return ConnectionList(node=node, file=file, rows=rows, total=len(entries), hidden=len(wanted) - len(rows), faults=faults)


def _row(node: str, entry: Entry, path: str) -> ConnectionRow:
    return ConnectionRow(
        line=entry.line,
        protocol=entry.protocol.value.upper(),
        state=entry.state or ("unreplied" if entry.unreplied else "–"),
        source=_end(entry.original, "source"),
        destination=_end(entry.original, "destination"),
        becomes=_becomes(entry),
        timeout="–" if entry.timeout is None else f"{entry.timeout} s",
        url=TraceQuery(connection=(node, entry.line)).url(path),
    )


def _becomes(entry: Entry) -> str:
    """Return the packet's ends after the translations: the answer's ends, turned round."""
    parts = []
    if entry.has_dnat:
        parts.append(f"to {_end(entry.reply, 'source')}")
    if entry.has_snat:
        parts.append(f"from {_end(entry.reply, 'destination')}")
    return ", ".join(parts)


def _end(flow: FlowTuple, side: str) -> str:
    address, port = getattr(flow, side), getattr(flow, f"{side}_port")
    return endpoint_text(address, port) if isinstance(port, int) else host_text(address)


def read_at(row: Source, node: str, name: str) -> datetime | None:
    """Return when the file *name* of *node* was read; of a snapshot, when that was taken. None: nobody noted it."""
    if not isinstance(row, LiveSource):
        return row.taken_at
    seconds = row.nodes.get(node, {}).get("files", {}).get(name, {}).get("read_at")
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def node_choices(names: Sequence[str], node: str, path: str) -> tuple[NodeChoice, ...]:
    """Return the nodes *names* as links; *node* is the one shown."""
    return tuple(NodeChoice(name=name, url=f"{path}?node={quote(name)}", current=name == node) for name in sorted(names))
