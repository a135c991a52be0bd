"""An upload that holds manifests and nothing else, as the sketch of a cluster that is made of them.

Strategy: what names alone show to be a recording is not read. Of the rest as much is read as a sketch may be made of, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracer.errors import ParseError
from tracer.limits import SKETCH_BYTES
from tracer.snapshot import Snapshot
from tracer.snapshot.arranging import Arrangement
from tracer.snapshot.contents import glance
from tracer.snapshot.form import Form, form_of
from tracer.snapshot.layout import recognise
from tracer.snapshot.sketched import sketched_files
from webapp.uploads.arranged import ArrangedFiles, arrangement_in
from webapp.uploads.entry import LeftOut
from webapp.uploads.limits import UploadError
from webapp.uploads.source import Source

_PUT_TOGETHER = frozenset(("kustomization.yaml", "kustomization.yml", "Kustomization", "Chart.yaml"))
"""What says that the files beside it are parts, which a program puts together before they are objects."""
_NO_MANIFEST = "it holds no manifest, and nothing else was uploaded that was recorded"


def sketched(source: Source, nodes: int) -> Source:
    """Return the files of the sketch with so many *nodes* that *source* is the manifests of; *source* itself where it is anything else.

    :raises UploadError: it is manifests, and the API server would refuse some: every mistake, with its place and field.
    """
    layout = recognise(dict.fromkeys(source.names, b""))
    if any(name.rpartition("/")[2] in _PUT_TOGETHER for name in source.names):
        return source
    if layout.node_files or layout.pod_files or layout.pod_stacks or layout.unplaced or layout.recording:
        return source
    files: dict[str, bytes] = {}
    rest: list[LeftOut] = []
    size = 0
    for name, content in source.files():
        if len(content) <= SKETCH_BYTES and (one := glance(name, content)).objects is None:
            if one.file is not None or layout.about == name:
                return source
            rest.append(LeftOut(path=name, why=_NO_MANIFEST))
            continue
        size += len(content)
        if size > SKETCH_BYTES:
            return source
        files[name] = content
    made = sketch_of(files, arrangement_in(files), nodes)
    if made is None:
        return source
    return Source(names=tuple(made), _read=lambda: iter(made.items()), left_out=(*source.left_out, *rest))


def sketch_of(files: Mapping[str, bytes], arrangement: Arrangement, nodes: int) -> Mapping[str, bytes] | None:
    """Return the files of the sketch that is made of *files*, where they are manifests that are not too large; else None.

    :raises UploadError: the API server would refuse some of them.
    """
    snapshot = Snapshot.from_files(ArrangedFiles(files, arrangement))
    if form_of(snapshot) is not Form.MANIFESTS:
        return None
    try:
        return sketched_files(snapshot, nodes, arrangement.origins)
    except ParseError as error:
        count = len(error.faults)
        wrong = "one thing in them is" if count == 1 else f"{count} things in them are"
        raise UploadError(f"These are manifests, and {wrong} wrong; nothing was made of them:", *map(str, error.faults)) from error
