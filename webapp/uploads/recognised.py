"""What each text of an upload is, before it is handed in: what a command printed and of which node, or which objects, or why it is neither.

Strategy: the texts go the way that an upload goes (glances, arrangement, layout), so that what is said is what will come of them.
Nothing is kept. Refuses to judge a whole: what is missing says the snapshot's page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from tracer.errors import Fault, TracerError
from tracer.sketch import USUAL_NODES
from tracer.snapshot import Snapshot
from tracer.snapshot.arranging import ONE_NODE, Arrangement, what_of
from tracer.snapshot.contents import KnownNode
from tracer.snapshot.node_files import BY_NAME
from tracer.snapshot.redact import Redaction
from tracer.snapshot.summary import file_faults
from tracer.snapshot.told import counted, to_place
from tracer.snapshot.wrong_form import wrong_form
from tracer.values import dataclass
from webapp.uploads.arranged import ArrangedFiles, arrangement_of
from webapp.uploads.limits import UploadError
from webapp.uploads.sketched import sketch_of
from webapp.uploads.source import Source

_NOTHING = (
    "neither API objects nor what a known command prints. "
    "Paste all that was printed, from its first line on: of kubectl get -o yaml, iptables-save, nft list ruleset, ip route and the like"
)
_REMARK = "no output that a trace uses"
_REMARKS_LENGTH = 200
"""A shorter piece between others is what somebody wrote, or a command like hostname printed: nothing went wrong with it."""
_FAULTS_SAID = 3


class State(StrEnum):
    """What will come of a text; the value is what stands in front of its sentence."""

    USED = "Recognised"
    PARTLY = "Recognised, with faults"
    WAITING = "Recognised, but not whose it is"
    UNREAD = "Not usable"
    REMARK = "Not needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """One text, or a part of it that is a thing of its own: its *path*, what will come of it, in a *sentence*, and its first *faults*."""

    path: str
    state: State
    sentence: str
    faults: tuple[str, ...] = ()


def look_at(texts: Mapping[str, bytes], nodes: Iterable[KnownNode] = ()) -> tuple[Recognised, ...]:
    """Return what each of *texts* (path → content) is, in their order. *nodes* are those of the snapshot that they will complete.

    :raises UploadError: they are two snapshots.
    """
    source, nodes = Source(names=tuple(texts), _read=lambda: iter(texts.items())), tuple(nodes)
    arrangement = arrangement_of(source, nodes)
    manifests = _Manifests.none() if nodes else _Manifests.of(texts, arrangement)
    return tuple(_Looked(texts, arrangement, manifests).each())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifests:
    """Whether the texts are manifests that a sketch is made of, and what is wrong with them."""

    are_all: bool
    wrong: tuple[str, ...] = ()

    @classmethod
    def none(cls) -> _Manifests:
        """Return that they are none: they complete something that was recorded."""
        return cls(are_all=False)

    @classmethod
    def of(cls, texts: Mapping[str, bytes], arrangement: Arrangement) -> _Manifests:
        """Return what *texts* are."""
        try:
            return cls(are_all=sketch_of(texts, arrangement, USUAL_NODES) is not None)
        except UploadError as error:
            return cls(are_all=True, wrong=tuple(error.problems[1:]))

    def said_of(self, path: str, named: str, counts: Mapping[str, int]) -> Recognised:
        """Return what is said of the manifests in the text at *path*, which mistakes call *named*."""
        mine = tuple(one.removeprefix(f"{named}:") for one in self.wrong if one.startswith(f"{named}:"))
        if mine:
            more = (f"and {len(mine) - _FAULTS_SAID:,} more",) if len(mine) > _FAULTS_SAID else ()
            faults = (*(f"line {one}" if one[:1].isdigit() else one.strip() for one in mine[:_FAULTS_SAID]), *more)
            return Recognised(path=path, state=State.UNREAD, sentence="manifests that the API server would refuse", faults=faults)
        return Recognised(path=path, state=State.USED, sentence=f"manifests, for a sketch of a cluster: {counted(counts)}")


class _Looked:
    """Texts with the places that they have together."""

    def __init__(self, texts: Mapping[str, bytes], arrangement: Arrangement, manifests: _Manifests) -> None:
        self._texts, self._arrangement, self._manifests = texts, arrangement, manifests
        self._snapshot = Snapshot.from_files(ArrangedFiles(texts, arrangement))
        self._nodes = {path: (node, name) for node, files in self._snapshot.node_files.items() for name, path in files.items()}
        self._unplaced = {one.path: one for one in arrangement.unplaced}

    def each(self) -> Iterator[Recognised]:
        for text, whole in self._texts.items():
            lines = {piece.path: f"{piece.said.removeprefix(f'{text}, ')}: " for piece in self._arrangement.pieces.get(text, ())}
            for path, content in self._arrangement.parted(text, whole):
                found = self._one(path, content)
                yield replace(found, sentence=f"{lines.get(path, '')}{found.sentence}")

    def _one(self, path: str, content: bytes) -> Recognised:
        name = self._arrangement.name(path)
        if (one := self._unplaced.get(path)) is not None:
            return Recognised(path=path, state=State.WAITING, sentence=_waiting(one.what, one.belongs))
        held = self._nodes.get(name)
        is_piece = path not in self._texts
        if self._manifests.are_all and held is None and (counts := _counts(name, content)):
            return self._manifests.said_of(path, self._arrangement.origins.get(name, name), counts)
        return _objects(path, name, content, is_piece=is_piece) if held is None else self._of_node(path, *held)

    def _of_node(self, path: str, node: str, file: str) -> Recognised:
        faults = file_faults(self._snapshot, node, BY_NAME[file])
        assumed = self._arrangement.assumed.get(f"nodes/{node}/{file}")
        why = "" if assumed is None else ", the only one" if ONE_NODE in assumed else ", as its prompt says"
        own = self._arrangement.name(path).rpartition("/")[2]
        sentence = f"{what_of(own if own in BY_NAME else file)}, of node {node}{why}"
        return Recognised(path=path, state=State.PARTLY if faults else State.USED, sentence=sentence, faults=_said(faults))


def _waiting(what: str, belongs: str) -> str:
    if belongs.startswith("nodes/NODE/"):
        return f"{what}. Name the node that it is of below"
    return f"{what}. It belongs {to_place(belongs)}"


def _objects(path: str, name: str, content: bytes, *, is_piece: bool) -> Recognised:
    if (form := wrong_form(name, content)) is not None:
        return Recognised(path=path, state=State.UNREAD, sentence=form.sentence)
    stored = Redaction([name]).stored(name, content)
    if not stored.is_known or stored.content is None:
        is_remark = is_piece and len(content) < _REMARKS_LENGTH
        return Recognised(path=path, state=State.REMARK if is_remark else State.UNREAD, sentence=_REMARK if is_remark else _NOTHING)
    objects = Snapshot.from_files({name: stored.content}).objects
    try:
        counts = objects.check_all()
    except TracerError as error:
        return Recognised(path=path, state=State.UNREAD, sentence="API objects that cannot be read", faults=(str(error),))
    faults = stored.faults or objects.faults
    if not counts:
        what = "API objects that cannot be read" if faults else "API objects of no kind that a trace needs; they are not stored"
        return Recognised(path=path, state=State.UNREAD, sentence=what, faults=_said(faults))
    return Recognised(path=path, state=State.PARTLY if faults else State.USED, sentence=counted(counts), faults=_said(faults))


def _counts(name: str, content: bytes) -> Mapping[str, int]:
    """How many objects of which kind the text holds, none where it cannot be read."""
    if wrong_form(name, content) is not None:
        return {}
    try:
        return Snapshot.from_files({name: content}).objects.check_all()
    except TracerError:
        return {}


def _said(faults: tuple[Fault, ...]) -> tuple[str, ...]:
    more = len(faults) - _FAULTS_SAID
    said = [f"line {fault.line}: {fault.message}" if fault.line else fault.message for fault in faults[:_FAULTS_SAID]]
    return (*said, *([f"and {more:,} more"] if more > 0 else ()))
