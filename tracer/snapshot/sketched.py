"""Files of manifests alone as the snapshot of a sketch, and how a snapshot says that it is one.

Owns when files count as manifests that a sketch is made of: no node's file, no object that a cluster wrote into (``form``), and not more
text than the limit. Each file of the sketch is one that the documented layout has, so whatever reads snapshots reads sketches. That it is
one stands in ``snapshot.json`` and on every object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from tracer.errors import Fault, ParseError
from tracer.kube.kinds import BY_NAME
from tracer.kube.object_file import ObjectFile, RawObject
from tracer.limits import SKETCH_BYTES
from tracer.sketch import Manifest, Sketch, sketch
from tracer.snapshot.form import Form, Forms
from tracer.snapshot.snapshot import SKETCHED, Snapshot, read_objects

_ABOUT = "snapshot.json"
_MOST_FILES = 5


def sketched_files(snapshot: Snapshot, nodes: int, called: Mapping[str, str] | None = None) -> Mapping[str, bytes] | None:
    """Return the files of the sketch with so many *nodes* that is made of *snapshot*; None where it holds no manifests, or others too.

    *called* is path → what the file was called when it was handed in, where that differs: mistakes name it.
    :raises ParseError: every mistake in the manifests.
    """
    found = _manifests(snapshot, called or {})
    if found is None:
        return None
    manifests, faults = found
    try:
        made = sketch(manifests, nodes)
    except ParseError as error:
        raise ParseError(*faults, *error.faults) from None
    if faults:
        raise ParseError(*faults)
    return _files(made, sorted({manifest.file for manifest in manifests}))


def _manifests(snapshot: Snapshot, called: Mapping[str, str]) -> tuple[list[Manifest], tuple[Fault, ...]] | None:
    """The manifests, and what could not be read as objects; None where anything else was recorded, or they are too large."""
    if snapshot.node_files or snapshot.pod_stacks or snapshot.layout.recording or snapshot.layout.unplaced:
        return None
    forms, manifests, faults, size = Forms(), list[Manifest](), list[Fault](), 0
    for place in snapshot.layout.objects:
        content = snapshot.files[place.path]
        size += len(content)
        if size > SKETCH_BYTES:
            return None
        name = called.get(place.path, place.path)
        if (form := snapshot.wrong_form(place.path)) is not None:
            if form.is_masked:
                return None
            faults.append(Fault(file=name, line=None, column=None, message=form.sentence))
            continue
        file = ObjectFile(place.path, partial(read_objects, content, place.path), kind=place.kind)
        for line, raw in _objects(file, name, faults):
            forms.look(raw, counts=True)
            if forms.has_records:
                return None
            manifests.append(Manifest(kind=raw.kind, value=raw.value, file=name, line=line))
    return (manifests, tuple(faults)) if forms.of_all(has_node_files=False) is Form.MANIFESTS else None


def _objects(file: ObjectFile, name: str, faults: list[Fault]) -> Iterator[tuple[int, RawObject]]:
    """Yield each object with its line. What is none is a fault of the file *name*."""
    try:
        count = len(file)
        faults += [_renamed(fault, name) for fault in file.spans.unread]
        if file.spans.fault is not None:
            faults.append(_renamed(file.spans.fault, name))
    except ParseError as error:
        faults += [_renamed(fault, name) for fault in error.faults]
        return
    for item in range(count):
        try:
            for raw in file.objects(item):
                yield file.line_of(item), raw
        except ParseError as error:
            faults += [_renamed(fault, name) for fault in error.faults]


def _renamed(fault: Fault, name: str) -> Fault:
    """The fault as one of the file that was handed in. NB: without the line's text, which may be a Secret's."""
    return Fault(file=name, line=fault.line, column=None, message=fault.message)


def _files(made: Sketch, of: Sequence[str]) -> Mapping[str, bytes]:
    by_kind: dict[str, list[Mapping[str, object]]] = {}
    for one in made.objects:
        by_kind.setdefault(str(one["kind"]), []).append(one)
    about = {"collector": "hopline sketch", SKETCHED: [f"Made of {_few(of)}.", *made.remarks]}
    files = {
        _ABOUT: about,
        **{f"{BY_NAME[kind].plural}.json": {"kind": "List", "apiVersion": "v1", "items": items} for kind, items in by_kind.items()},
    }
    return {name: f"{json.dumps(value, indent=1)}\n".encode() for name, value in files.items()}


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_FILES} more files" if len(names) > _MOST_FILES else ""
    return f"{', '.join(names[:_MOST_FILES])}{more}"
