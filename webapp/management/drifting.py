"""``manage.py drift``: where a snapshot's recorded rules are not what kube-proxy would program for its objects, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

from tracer.errors import TracerError, UnsupportedError
from tracer.kubeproxy.drift.finding import WORDS, Finding
from tracer.limits import Limits as QuestionLimits
from tracer.snapshot import Snapshot
from tracer.snapshot.drift import NodeDrift, expected_texts, node_drift
from tracer.snapshot.proxy_configuration import proxy_configuration
from webapp import uploads
from webapp.uploads import Limits
from webapp.uploads.arranged import ArrangedFiles, arrangement_in


class Answer(IntEnum):
    """What the command found, as its exit code."""

    NONE = 0
    DRIFT = 1
    UNKNOWN = 2


class UnusableSnapshotError(Exception):
    """The snapshot cannot be read."""


def read_snapshot(name: str, *, limits: QuestionLimits, upload_limits: Limits) -> Snapshot:
    """Return the snapshot in the file or folder *name*. :raises UnusableSnapshotError: there is none."""
    path = Path(name)
    if not path.exists():
        raise UnusableSnapshotError(f"{name}: no such file or folder")
    try:
        files, _ = uploads.read_and_left_out(path, limits=upload_limits)
        return Snapshot.from_files(ArrangedFiles(files, arrangement_in(files)), limits)
    except (TracerError, uploads.UploadError, OSError) as error:
        raise UnusableSnapshotError(f"{name}: {error}") from None


def run(snapshot: Snapshot, answer: Callable[[str], object], *, is_json: bool) -> Answer:
    """Compare every node and answer; return what was found.

    Drift counts before what cannot be told. Nodes of which no rules are recorded count only where there is no other.
    """
    nodes = [node_drift(snapshot, node) for node in snapshot.node_names]
    found = _found(nodes)
    if is_json:
        answer(json.dumps({"answer": found.name.lower(), "nodes": [node.to_dict() for node in nodes]}, indent=1))
    else:
        for line in _lines(nodes, found):
            answer(line)
    return found


def print_expected(snapshot: Snapshot, node: str, answer: Callable[[str], object]) -> None:
    """Print the rules that kube-proxy would program on *node*.

    :raises UnusableSnapshotError: they are not modelled, or there is no such node.
    """
    if node not in snapshot.node_names:
        raise UnusableSnapshotError(f"the snapshot has no node {node!r}")
    found = proxy_configuration(snapshot, node)
    for said in found.assumed:
        answer(f"# assumed: {said}")
    try:
        texts = list(expected_texts(snapshot, found.configuration))
    except UnsupportedError as error:
        raise UnusableSnapshotError(str(error)) from None
    for name, text in texts:
        answer(f"# {name}")
        answer(text)


def _found(nodes: Sequence[NodeDrift]) -> Answer:
    if any(node.findings for node in nodes):
        return Answer.DRIFT
    is_told = any(node.compared for node in nodes) and not any(node.unknown for node in nodes)
    return Answer.NONE if is_told else Answer.UNKNOWN


def _lines(nodes: Sequence[NodeDrift], found: Answer) -> Iterator[str]:
    for node in nodes:
        yield from _node_lines(node)
    compared = sum(1 for node in nodes if node.compared)
    match found:
        case Answer.NONE:
            yield f"No drift between objects and rules on {compared} of {len(nodes)} nodes."
        case Answer.DRIFT:
            count = sum(len(node.findings) + node.more for node in nodes)
            yield f"Drift: {count} difference{'' if count == 1 else 's'} on {sum(1 for n in nodes if n.findings)} of {len(nodes)} nodes."
        case Answer.UNKNOWN:
            yield "Cannot tell: not everything that would have to be compared is there."


def _node_lines(node: NodeDrift) -> Iterator[str]:
    configuration = node.found.configuration
    yield f"{node.node}: {configuration.mode} mode, kube-proxy {configuration.release}"
    yield from (f"  assumed: {said}" for said in node.found.assumed)
    if not node.is_recorded:
        yield "  no rules recorded"
    yield from (f"  cannot tell: {said}" for said in node.unknown)
    if node.rules_read_at is not None and node.objects_read_at is not None:
        yield f"  rules read {_at(node.rules_read_at)}, objects {_at(node.objects_read_at)}"
    for finding in node.findings:
        yield from _finding_lines(finding)
    if node.more:
        yield f"  and {node.more} more differences"
    if node.compared and not node.findings and not node.unknown:
        yield f"  no drift between objects and rules: {', '.join(node.compared)}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    where = finding.file if finding.line is None else f"{finding.file}:{finding.line}"
    about = f" {finding.service}" if finding.service else ""
    yield f"  {finding.drift}{about}: {finding.note or WORDS[finding.drift]} ({where}, {finding.place})"
    if finding.owner:
        yield f"    written by: {finding.owner}"
    if finding.text:
        yield f"    recorded: {finding.text}"
    if finding.expected and finding.expected != finding.text:
        yield f"    expected: {finding.expected}"


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
