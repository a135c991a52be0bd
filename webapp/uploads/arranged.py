"""An upload's files under the names of the documented layout: what is asked of their contents before any of them is used.

Where every name is documented, no content is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tracer.errors import TracerError
from tracer.snapshot.arranging import Arrangement, arrange, is_documented, wants_nodes
from tracer.snapshot.contents import Glance, KnownNode, glance, known_nodes
from webapp.uploads.limits import UploadError
from webapp.uploads.source import Source

_IN_NODES = re.compile(r"nodes/(?P<node>[a-z0-9][a-z0-9.-]{0,252})/", re.ASCII)
"""A folder of the documented layout, which says whose the files in it are, whatever they are called."""


class ArrangedFiles(Mapping[str, bytes]):
    """*files* under the names that *arrangement* gives them; each is read when asked for."""

    def __init__(self, files: Mapping[str, bytes], arrangement: Arrangement) -> None:
        self._files = files
        self._paths = {arrangement.name(path): path for path in files}

    def __getitem__(self, name: str) -> bytes:
        return self._files[self._paths[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, name: object) -> bool:
        return name in self._paths


def arranged(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return *files* under the names of the documented layout. :raises UploadError: they are two snapshots."""
    arrangement = arrangement_of(Source(names=tuple(files), _read=lambda: iter(files.items())))
    return ArrangedFiles(files, arrangement) if arrangement.names else files


def nodes_of(summary: Mapping[str, Any]) -> tuple[KnownNode, ...]:
    """Return the nodes that a stored snapshot's *summary* knows."""
    return tuple(KnownNode(name=node["name"], is_object=bool(node["has_object"])) for node in summary.get("nodes", ()))


def arrangement_of(source: Source, known: Iterable[KnownNode] = ()) -> Arrangement:
    """Return where each file of *source* belongs. *known*: nodes there are besides those it names.

    :raises UploadError: it is two snapshots.
    """
    if is_documented(source.names):
        return Arrangement()
    glances = [glance(path, content) for path, content in source.files()]
    nodes = tuple(_nodes(source.files(), glances)) if wants_nodes(glances) else ()
    said = (KnownNode(name=match["node"]) for match in map(_IN_NODES.match, source.names) if match)
    by_name: dict[str, KnownNode] = {}
    for node in (*nodes, *known, *said):
        by_name.setdefault(node.name, node)
    try:
        return arrange(glances, tuple(by_name.values()))
    except TracerError as error:
        raise UploadError(str(error)) from error


def _nodes(files: Iterable[tuple[str, bytes]], glances: Iterable[Glance]) -> Iterator[KnownNode]:
    objects = {one.path for one in glances if one.objects is not None}
    found: dict[str, KnownNode] = {}
    for path, content in files:
        if path in objects:
            for node in known_nodes(content):
                if node.is_object or node.name not in found:
                    found[node.name] = node
    yield from found.values()
