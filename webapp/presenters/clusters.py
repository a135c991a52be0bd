"""The clusters' pages: what each followed cluster is at, what was read of its nodes and what that cost, what Hopline may do there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils.http import urlencode

from tracer.snapshot.layout import KINDS
from tracer.snapshot.missing import Missing, missing_from
from tracer.snapshot.node_files import CONNTRACK, READ
from tracer.snapshot.proxy_mode import proxy_mode
from tracer.values import dataclass
from webapp.cluster.kinds import FOLLOWED_KINDS, SYSTEM_NAMESPACE
from webapp.cluster.permissions import permissions, rbac_manifest
from webapp.live.connecting import Check
from webapp.models import LiveSource
from webapp.presenters.source import Freshness, freshness
from webapp.questions import sources

READINGS = MappingProxyType(
    {
        LiveSource.Readings.EXEC.value: "run iptables-save and the like in kube-proxy's pods",
        LiveSource.Readings.DAEMONSET.value: "read them through Hopline's own DaemonSet",
        LiveSource.Readings.NONE.value: "do not read the nodes",
    }
)
"""How the rules of nodes are read, in words."""
PROGRAMS = tuple(" ".join(file.argv) for file in (*READ, CONNTRACK))
"""All that is ever run on a node, as it is run."""
_SINGULAR = MappingProxyType({kind.key: kind.key.replace(kind.plural, kind.kind.lower(), 1) for kind in FOLLOWED_KINDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRow:
    """One followed cluster or timeline in a list."""

    row: LiveSource
    fresh: Freshness
    trace_url: str
    reads: str

    @property
    def is_timeline(self) -> bool:
        """Return whether it is a recording that is played."""
        return self.row.kind == LiveSource.Kind.TIMELINE


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReading:
    """One file of a node: when it was read, how large it is, how long that took, and what went wrong since."""

    name: str
    read_at: datetime | None
    size: int | None
    took: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReading:
    """What was read of one node. *lacking* are the files for which its container has no program.

    *connections_url* is "" until its connections were read; *connections_error* says why the last attempt came to nothing.
    """

    name: str
    pod: str
    read_at: datetime | None
    size: int
    took: str
    error: str
    lacking: tuple[str, ...]
    files: tuple[FileReading, ...]
    connections_url: str
    connections_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KindCount:
    """How many objects of a kind are known, and why that may not be all."""

    name: str
    count: int
    listed: bool
    error: str

    @property
    def words(self) -> str:
        """Return the kind as its count says it: ``2 ingresses``, ``1 ingress``."""
        return _SINGULAR.get(self.name, self.name) if self.count == 1 else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPage:
    """One followed cluster. *stacks* are the readings of pods' own stacks, each by its pod and node."""

    listed: ClusterRow
    kinds: tuple[KindCount, ...]
    nodes: tuple[NodeReading, ...]
    stacks: tuple[NodeReading, ...]
    gaps: tuple[Missing, ...]
    recording: str
    recorded_url: str
    recording_error: str

    @property
    def failed(self) -> int:
        """Return how many nodes could not be read the last time."""
        return sum(bool(node.error) for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """One permission in words, and whether it is granted: yes, no, unknown; *reason* is the server's."""

    words: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of one context found. *lines* are empty when it was not reached; *error* then says why."""

    name: str
    context: str
    readings: str
    version: str
    error: str
    lines: tuple[CheckLine, ...]

    @property
    def denied(self) -> int:
        """Return how many permissions are missing."""
        return sum(line.verdict == "no" for line in self.lines)


def cluster_row(row: LiveSource) -> ClusterRow:
    """Return *row* as lists show it."""
    trace_url = reverse("trace", args=[row.id])
    return ClusterRow(row=row, fresh=freshness(row), trace_url=trace_url, reads=READINGS.get(row.readings, ""))


def cluster_page(row: LiveSource) -> ClusterPage:
    """Return the page of *row*."""
    state = str(row.recording.get("state", ""))
    stored = row.recording.get("snapshot")
    return ClusterPage(
        listed=cluster_row(row),
        kinds=tuple(_kinds(row.heads)),
        nodes=tuple(_node(row, name, told) for name, told in sorted(row.nodes.items()) if "/pods/" not in name),
        stacks=tuple(_stack(row, name, told) for name, told in sorted(row.nodes.items()) if "/pods/" in name),
        gaps=_gaps(row) if row.generation else (),
        recording=state,
        recorded_url=reverse("snapshot", args=[stored]) if stored else "",
        recording_error=str(row.recording.get("error", "")),
    )


def checked(found: Check, context: str, readings: str) -> Checked:
    """Return the result of a check for its page."""
    asked = set(permissions(readings, settings.READER_NAMESPACE if readings == LiveSource.Readings.DAEMONSET else SYSTEM_NAMESPACE))
    version = str((found.version or {}).get("gitVersion", ""))
    words = {True: "yes", False: "no", None: "unknown"}
    lines = (CheckLine(words=p.to_text(), verdict=words[said.allowed], reason=said.reason) for p, said in found.verdicts if p in asked)
    name = context or "this cluster"
    return Checked(name=name, context=context, readings=readings, version=version, error=found.error, lines=tuple(lines))


def manifest(readings: str) -> str:
    """Return the manifest that grants exactly what is used with *readings*."""
    return rbac_manifest(readings, settings.READER_NAMESPACE)


def _kinds(heads: Mapping[str, Any]) -> Iterator[KindCount]:
    for key, told in heads.items():
        yield KindCount(name=key, count=int(told.get("count", 0)), listed=bool(told.get("listed")), error=str(told.get("error", "")))


def _node(row: LiveSource, name: str, told: Mapping[str, Any]) -> NodeReading:
    files = told.get("files", {})
    connections = files.get(CONNTRACK.name, {})
    url = f"{reverse('connections', args=[row.id])}?{urlencode({'node': name})}"
    return NodeReading(
        name=name,
        pod=str(told.get("pod") or ""),
        read_at=_moment(told.get("read_at")),
        size=int(told.get("bytes") or 0),
        took=_took(told.get("seconds")),
        error=str(told.get("error") or ""),
        lacking=tuple(told.get("lacking", ())),
        files=tuple(_file(file, said) for file, said in sorted(files.items())),
        connections_url=url if connections.get("read_at") else "",
        connections_error=str(connections.get("error") or ""),
    )


def _stack(row: LiveSource, name: str, told: Mapping[str, Any]) -> NodeReading:
    node, _, pod = name.partition("/pods/")
    return replace(_node(row, name, told), name=f"{pod.replace('_', '/', 1)} on {node}")


def _file(name: str, said: Mapping[str, Any]) -> FileReading:
    return FileReading(
        name=name,
        read_at=_moment(said.get("read_at")),
        size=said.get("bytes"),
        took=_took(said.get("seconds")),
        error=str(said.get("error") or ""),
    )


def _took(seconds: float | None) -> str:
    if not seconds:
        return ""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{max(1, round(seconds * 1000))} ms"


def _gaps(row: LiveSource) -> tuple[Missing, ...]:
    """Return what was not read of the cluster, and what that limits."""
    counts: dict[str, int] = {}
    for kind in _kinds(row.heads):
        name = KINDS.get(kind.name.partition("/")[0], kind.name)
        counts[name] = counts.get(name, 0) + kind.count
    with sources.using(row) as cluster:
        snapshot = cluster.snapshot
        return missing_from(snapshot, counts, {name: proxy_mode(snapshot, name) for name in snapshot.node_names})


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
