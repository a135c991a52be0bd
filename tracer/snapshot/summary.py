"""What a snapshot holds, what is missing from it and what that limits, and every fault of its files.

Made once, when a snapshot is stored: it reads everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from datetime import datetime

from tracer.errors import Fault, ParseError, SnapshotError
from tracer.kube.json_text import decode_json
from tracer.snapshot.form import Form, Forms
from tracer.snapshot.missing import Missing, missing_from
from tracer.snapshot.node_files import BY_NAME, NodeFile
from tracer.snapshot.proxy_mode import ProxyMode, proxy_mode
from tracer.snapshot.snapshot import Snapshot
from tracer.snapshot.taken_at import collected_by, kubernetes_version, taken_at
from tracer.snapshot.timeline import STEPS, Step, read_steps
from tracer.snapshot.told import PROXY_LABEL
from tracer.values import dataclass

Progress = Callable[[str, int, int], None]
"""Told the node that is being read, which one it is (from 1), and of how many."""

_FAULTS_A_FILE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSummary:
    """One node: whether there is a Node object, its files by their documented names, kube-proxy's mode and how that is known."""

    name: str
    has_object: bool
    files: tuple[str, ...]
    mode: ProxyMode | None

    def to_dict(self) -> dict[str, object]:
        """Return the node as the summary stores it."""
        mode = None if self.mode is None else {"mode": self.mode.mode, "source": self.mode.source}
        return {"name": self.name, "has_object": self.has_object, "files": list(self.files), "kube_proxy": mode}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFaults:
    """The first faults of one file, and how many there are in all."""

    file: str
    faults: tuple[Fault, ...]
    count: int

    def to_dict(self) -> dict[str, object]:
        """Return the faults as the summary stores them: line, column, message, the text, and all of it printed with a caret."""
        listed = [{"line": f.line, "column": f.column, "message": f.message, "text": f.text[:400], "printed": str(f)} for f in self.faults]
        return {"file": self.file, "count": self.count, "faults": listed}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A snapshot in short. *taken_at* None: nothing says when; *taken_from* says what did. *timeline*: a timeline's steps, else None.

    *manifests* is how many of *objects* were not recorded, by kind.
    *sketched* is what is said of a sketch, None where something was recorded.
    *has_proxy_pods* None: Pods of other namespaces may not have been recorded.
    """

    bundle: str
    objects: Mapping[str, int]
    nodes: tuple[NodeSummary, ...]
    taken_at: datetime | None
    taken_from: str | None
    kubernetes: str | None
    collector: str | None
    missing: tuple[Missing, ...]
    unknown_files: tuple[str, ...]
    faults: tuple[FileFaults, ...]
    timeline: tuple[Step, ...] | None = None
    form: Form = Form.RECORDED
    manifests: Mapping[str, int] = field(default_factory=dict)
    has_proxy_pods: bool | None = None
    sketched: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the summary as plain values, for storage as JSON."""
        return {
            "bundle": self.bundle,
            "form": self.form.value,
            "manifests": dict(self.manifests),
            "has_proxy_pods": self.has_proxy_pods,
            "sketched": None if self.sketched is None else list(self.sketched),
            "objects": dict(self.objects),
            "nodes": [n.to_dict() for n in self.nodes],
            "taken_at": self.taken_at.isoformat() if self.taken_at else None,
            "taken_from": self.taken_from,
            "kubernetes": self.kubernetes,
            "collector": self.collector,
            "missing": [m.to_dict() for m in self.missing],
            "unknown_files": list(self.unknown_files),
            "faults": [f.to_dict() for f in self.faults],
            "timeline": None if self.timeline is None else {"steps": [step.to_dict() for step in self.timeline]},
        }


def summarise(snapshot: Snapshot, progress: Progress | None = None, *, met: tuple[Fault, ...] = ()) -> Summary:
    """Return the summary of *snapshot*. Each node's file is checked as the table of node files says; JSON files are decoded anyway.

    *met* are the faults that were met when the files were stored: what could not be read was not, so only they say what was wrong.

    :raises SnapshotError: there is no Service in any file.
    :raises ParseError: there is none, and a file that may have held some cannot be read.
    """
    # Before the objects are read, which stay: a dump of rules is the largest thing there is, and no longer needed then.
    of_nodes = _node_faults(snapshot, progress)
    objects = snapshot.objects
    forms = Forms()
    counts = objects.check_all(forms.look)
    if not counts.get("Service"):
        _refuse(_as_read(objects.faults, met))
    faults = _as_read((*objects.faults, *of_nodes), met)
    timeline, broken = _timeline(snapshot)
    moment, source = taken_at(snapshot)
    modes = {n: proxy_mode(snapshot, n) for n in snapshot.node_names}
    return Summary(
        bundle=snapshot.bundle.value,
        objects=counts,
        nodes=tuple(_node(snapshot, n, modes[n]) for n in snapshot.node_names),
        taken_at=moment,
        taken_from=source,
        kubernetes=kubernetes_version(snapshot),
        collector=collected_by(snapshot),
        missing=missing_from(snapshot, counts, modes),
        unknown_files=snapshot.layout.unknown,
        faults=faults_by_file([*faults, *broken]),
        timeline=timeline,
        form=forms.of_all(has_node_files=bool(snapshot.node_files)),
        manifests=forms.manifests,
        has_proxy_pods=_has_proxy_pods(snapshot),
        sketched=snapshot.sketched,
    )


def _has_proxy_pods(snapshot: Snapshot) -> bool | None:
    """Return whether kube-proxy runs in pods that its usual label finds; None where Pods of other namespaces may not have been recorded."""
    key, value = PROXY_LABEL
    namespaces = set[object]()
    for raw, _ in snapshot.objects.others("Pod"):
        metadata = raw.value.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        if isinstance(labels, dict) and labels.get(key) == value:
            return True
        namespaces.add(str(metadata.get("namespace")) if isinstance(metadata, dict) else "")
    return False if "kube-system" in namespaces or len(namespaces) > 1 else None


def _as_read(faults: tuple[Fault, ...], met: tuple[Fault, ...]) -> tuple[Fault, ...]:
    """Return *faults* of the stored files, with those *met* before in the place of what is found in the same file now."""
    files = {fault.file for fault in met}
    return (*met, *(fault for fault in faults if fault.file not in files))


def _timeline(snapshot: Snapshot) -> tuple[tuple[Step, ...] | None, tuple[Fault, ...]]:
    """Return a timeline's steps, or why there are none: a timeline whose steps cannot be read is the snapshot at its start."""
    if STEPS not in snapshot.layout.recording:
        return None, ()
    try:
        return read_steps(snapshot.text(STEPS)), ()
    except ParseError as error:
        return None, error.faults


def _refuse(faults: tuple[Fault, ...]) -> None:
    if faults:
        raise ParseError(*faults[:_FAULTS_A_FILE])
    raise SnapshotError(
        "no Services in any file: a snapshot needs at least services.json, or one file with all objects "
        "(kubectl get services,endpointslices,nodes,pods -A -o json > cluster.json)"
    )


def _node(snapshot: Snapshot, name: str, mode: ProxyMode | None) -> NodeSummary:
    files = tuple(sorted(snapshot.node_files.get(name, {})))
    return NodeSummary(name=name, has_object=snapshot.objects.node(name) is not None, files=files, mode=mode)


def _node_faults(snapshot: Snapshot, progress: Progress | None) -> list[Fault]:
    found: list[Fault] = []
    nodes = sorted(snapshot.node_files)
    for place, node in enumerate(nodes, 1):
        if progress is not None:
            progress(node, place, len(nodes))
        for name in sorted(snapshot.node_files[node]):
            found.extend(file_faults(snapshot, node, BY_NAME[name]))
    for stack, named in sorted(snapshot.pod_stacks.items()):
        for name in sorted(named):
            found.extend(file_faults(snapshot, stack, BY_NAME[name]))
    return found


def file_faults(snapshot: Snapshot, node: str, file: NodeFile) -> tuple[Fault, ...]:
    """Return every fault of *node*'s *file*, as its row in the table of node files checks it."""
    path = snapshot.path_of(node, file.name)
    try:
        text = snapshot.text(path)
        is_blank = not text or text.isspace()
        if is_blank and not file.may_be_empty:
            return (Fault(file=path, line=None, column=None, message="the file is empty: its command printed nothing"),)
        if file.check is not None:
            return file.check(text, path)
        if file.name.endswith(".json") and not is_blank:
            decode_json(text, path)
    except ParseError as error:
        return error.faults
    return ()


def faults_by_file(faults: Iterable[Fault]) -> tuple[FileFaults, ...]:
    """Return *faults* file by file, by their names."""
    by_file: dict[str, list[Fault]] = {}
    for fault in dict.fromkeys(faults):
        by_file.setdefault(fault.file, []).append(fault)
    return tuple(FileFaults(file=f, faults=tuple(found[:_FAULTS_A_FILE]), count=len(found)) for f, found in sorted(by_file.items()))
