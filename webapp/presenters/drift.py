"""A node's drift as a page shows it: what came of the comparison in one sentence, and each rule that differs with what was expected."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from django.utils.http import urlencode

from tracer.kubeproxy.drift.finding import WORDS, Finding
from tracer.snapshot.drift import NodeDrift
from tracer.values import dataclass

MOST_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftNode:
    """A node, as a link to its comparison. *has_rules* False: none of its rules were recorded."""

    name: str
    url: str
    current: bool
    has_rules: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRow:
    """One rule that differs. *where* is its file and line, or its file alone where it is missing; *note* says in words what is wrong."""

    drift: str
    service: str
    place: str
    where: str
    text: str
    expected: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftList:
    """What came of comparing *node*: a *verdict* (``none``, ``drift``, ``unknown``) and its sentence; *hidden* rows are not shown."""

    node: str
    verdict: str
    sentence: str
    by: str
    rows: tuple[DriftRow, ...]
    hidden: int
    unknown: tuple[str, ...]
    assumed: tuple[str, ...]
    compared: tuple[str, ...]
    rules_read_at: datetime | None
    objects_read_at: datetime | None


def drift_nodes(names: Sequence[str], recorded: Collection[str], chosen: str, path: str) -> tuple[DriftNode, ...]:
    """Return every node as a link below *path*."""
    urls = {name: f"{path}?{urlencode({'node': name})}" for name in names}
    return tuple(DriftNode(name=name, url=url, current=name == chosen, has_rules=name in recorded) for name, url in urls.items())


def drift_list(found: NodeDrift) -> DriftList:
    """Return the comparison of one node."""
    verdict, sentence = _verdict(found)
    configuration = found.found.configuration
    return DriftList(
        node=found.node,
        verdict=verdict,
        sentence=sentence,
        by=f"kube-proxy {configuration.release}, {configuration.mode} mode",
        rows=tuple(map(_row, found.findings[:MOST_ROWS])),
        hidden=max(len(found.findings) - MOST_ROWS, 0) + found.more,
        unknown=found.unknown,
        assumed=found.found.assumed,
        compared=found.compared,
        rules_read_at=_moment(found.rules_read_at),
        objects_read_at=_moment(found.objects_read_at),
    )


def _verdict(found: NodeDrift) -> tuple[str, str]:
    count = len(found.findings) + found.more
    if count:
        rules, are, it = ("rule", "is", "it") if count == 1 else ("rules", "are", "them")
        return "drift", f"{count:,} {rules} of node {found.node} {are} not as kube-proxy would write {it}"
    if not found.is_recorded:
        return "unknown", f"No rules of node {found.node} were recorded: there is nothing to compare"
    if found.unknown or not found.compared:
        return "unknown", f"Whether the rules of node {found.node} drifted cannot be told"
    return "none", f"No drift between objects and rules on node {found.node}"


def _row(finding: Finding) -> DriftRow:
    note = finding.note or WORDS[finding.drift]
    return DriftRow(
        drift=finding.drift.value,
        service=finding.service,
        place=finding.place,
        where=finding.file if finding.line is None else f"{finding.file}:{finding.line}",
        text=finding.text,
        expected=finding.expected,
        note=f"{note} ({finding.owner})" if finding.owner else note,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
