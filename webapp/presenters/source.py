"""What a page says of its source: the name at its top right, how fresh it is, where its pages are, and what else could be asked instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from django.urls import reverse

from tracer.snapshot.told import untraceable
from tracer.values import dataclass
from webapp.live.announce import standing
from webapp.models import LiveSource, Snapshot
from webapp.presenters.timeline_bar import Timeline, timeline
from webapp.questions import sources
from webapp.questions.sources import Source

MOST_OTHERS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How fresh a followed cluster is. *state* is connecting, live, paused, stale or stopped; *text* says it in words.

    *connection* tells this following of a cluster from another, after it was disconnected: generations of one are none of the other's.
    *changed_at* is when its last change came, *read_at* when the rules of a node were read last: None before the first.
    """

    generation: int
    connection: str
    state: str
    text: str
    problem: str
    since: datetime
    changed_at: datetime | None
    read_at: datetime | None
    socket: str
    events_url: str
    state_url: str
    control_url: str
    timeline: Timeline | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSource:
    """Another source: its name, what it is in a word, and the page where the same can be asked of it."""

    name: str
    word: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHead:
    """One source as the top of its pages shows it. *live* is None for a snapshot; *remark* says why nothing can be traced in it, if so."""

    id: str
    name: str
    taken_at: datetime | None
    url: str
    trace_url: str
    dns_url: str
    connections_url: str
    drift_url: str
    migrate_url: str
    live: Freshness | None
    others: tuple[OtherSource, ...]
    remark: str = ""


def source_head(row: Source, owner: str, question: str = "") -> SourceHead:
    """Return the head of *row* for the session *owner*; *question* (a query string) is asked of the other sources as well."""
    followed = row if isinstance(row, LiveSource) else None
    return SourceHead(
        id=row.id,
        name=row.name,
        taken_at=row.taken_at if isinstance(row, Snapshot) else row.changed_at,
        url=source_url(row),
        trace_url=reverse("trace", args=[row.id]),
        dns_url=reverse("dns", args=[row.id]),
        connections_url=reverse("connections", args=[row.id]),
        drift_url=reverse("drift", args=[row.id]),
        migrate_url=reverse("migrate", args=[row.id]),
        live=freshness(followed) if followed else None,
        others=tuple(_others(row, owner, question)),
        remark=untraceable(row.summary) if isinstance(row, Snapshot) else "",
    )


def source_url(row: Source) -> str:
    """Return the address of the page about *row* itself."""
    return reverse("cluster" if isinstance(row, LiveSource) else "snapshot", args=[row.id])


def freshness(row: LiveSource) -> Freshness:
    """Return how fresh *row* is."""
    bar = timeline(row) if row.kind == LiveSource.Kind.TIMELINE else None
    read_at = last_reading(row)
    now = standing(row)
    state = "paused" if bar and not bar.playing and now.state == LiveSource.State.LIVE else str(now.state)
    return Freshness(
        generation=row.generation,
        connection=connection_of(row),
        state=state,
        text=_words(state, bar, read_at, row),
        problem=now.text,
        since=now.since,
        changed_at=row.changed_at,
        read_at=read_at,
        socket=f"/live/{row.id}",
        events_url=reverse("live-events", args=[row.id]),
        state_url=reverse("live-state", args=[row.id]),
        control_url=reverse("live-control", args=[row.id]),
        timeline=bar,
    )


def connection_of(row: LiveSource) -> str:
    """Return when *row* was connected, in Unix microseconds."""
    return str(round(row.created_at.timestamp() * 1_000_000))


def last_reading(row: LiveSource) -> datetime | None:
    """Return when a file of a node of *row* was read last, None when none was."""
    moments = [file["read_at"] for node in row.nodes.values() for file in node.get("files", {}).values() if file.get("read_at")]
    return datetime.fromtimestamp(max(moments), UTC) if moments else None


def _words(state: str, bar: Timeline | None, read_at: datetime | None, row: LiveSource) -> str:
    match state:
        case "live" if bar:
            return f"Playing, step {bar.number} of {bar.total}"
        case "live":
            return f"Live, rules read {read_at:%H:%M:%S}" if read_at else "Live"
        case "paused" if bar:
            return f"{'At its end' if bar.at_end else 'Paused'}, step {bar.number} of {bar.total}"
        case "connecting":
            return "Connecting"
        case "stale":
            return f"Connection lost, last update {row.changed_at:%H:%M:%S}" if row.changed_at else "Connection lost"
    return "Stopped"


def _others(row: Source, owner: str, question: str) -> Iterator[OtherSource]:
    found: Sequence[Source] = sources.visible(owner)
    for other in [one for one in found if one.id != row.id][:MOST_OTHERS]:
        url = reverse("trace", args=[other.id])
        yield OtherSource(name=other.name, word=_word(other), url=f"{url}?{question}" if question else url)


def _word(row: Source) -> str:
    if isinstance(row, Snapshot):
        return f"snapshot from {row.taken_at:%-d %b %Y}" if row.taken_at else "snapshot"
    return "timeline being played" if row.kind == LiveSource.Kind.TIMELINE else "live cluster"
