"""Files of a snapshot that had no node, given to nodes: they are handed in once more, as those nodes' files.

Refuses to guess: two texts for one place are not one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from tracer.snapshot.layout import recognise
from webapp.storing.container import Container
from webapp.storing.handed_in import HandedIn
from webapp.uploads import UploadError


def placed(files: Container, nodes: Mapping[str, str]) -> tuple[HandedIn, ...]:
    """Return the files at the paths of *nodes* (path → node), each at the place that it has with its node.

    :raises UploadError: there is none of that path, or two have one place.
    """
    waiting = recognise(dict.fromkeys(files, b"")).unplaced
    if absent := [path for path in nodes if path not in waiting]:
        raise UploadError(*(f"{path}: there is no such file without a node." for path in absent))
    places = {path: f"nodes/{node}/{waiting[path]}" for path, node in nodes.items()}
    if twice := sorted(place for place, count in Counter(places.values()).items() if count > 1):
        raise UploadError(*(f"Only one of these files can be {place}: choose another node, or none, for the others." for place in twice))
    return tuple(HandedIn(path=place, content=_Kept(files, path)) for path, place in places.items())


class _Kept:
    """A stored file that is read when its turn comes."""

    def __init__(self, files: Container, path: str) -> None:
        self._files, self._path = files, path
        self.size: int | None = files.length(path)

    def chunks(self) -> Iterator[bytes]:
        yield self._files[self._path]
