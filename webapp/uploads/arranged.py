"""An upload's files under the names of the documented layout: what is asked of their contents before any of them is used.

Where every name is documented, no content is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tracer.snapshot.arranging import Arrangement, is_documented
from webapp.uploads.source import Source

if TYPE_CHECKING:
    from tracer.snapshot.contents import KnownNode


class ArrangedFiles(Mapping[str, bytes]):
    """*files* under the names that *arrangement* gives them; each is read when asked for."""

    def __init__(self, files: Mapping[str, bytes], arrangement: Arrangement) -> None:
        self._files = files
        self._paths = {arrangement.name(part): path for path in files for part in arrangement.paths(path)}
        self._pieces = {arrangement.name(piece.path): piece for pieces in arrangement.pieces.values() for piece in pieces}

    def __getitem__(self, name: str) -> bytes:
        content = self._files[self._paths[name]]
        return self._pieces[name].content(content) if name in self._pieces else content

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, name: object) -> bool:
        return name in self._paths


def arranged(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return *files* under the names of the documented layout. :raises UploadError: they are two snapshots."""
    return ArrangedFiles(files, arrangement_in(files))


def arrangement_in(files: Mapping[str, bytes]) -> Arrangement:
    """Return where each of *files* belongs. :raises UploadError: they are two snapshots."""
    return arrangement_of(Source(names=tuple(files), _read=lambda: iter(files.items())))


def nodes_of(summary: Mapping[str, Any]) -> tuple[KnownNode, ...]:
    """Return the nodes that a stored snapshot's *summary* knows."""
    from tracer.snapshot.contents import KnownNode

    return tuple(KnownNode(name=node["name"], is_object=bool(node["has_object"])) for node in summary.get("nodes", ()))


def arrangement_of(source: Source, known: Iterable[KnownNode] = ()) -> Arrangement:
    """Return where each file of *source* belongs. *known*: nodes there are besides those it names.

    :raises UploadError: it is two snapshots.
    """
    if is_documented(source.names):
        return Arrangement()
    from webapp.uploads.looked_through import looked_through

    return looked_through(source, known)
