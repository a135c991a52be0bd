"""A checked source - a folder, an archive, one file - as names and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tracer.values import dataclass
from webapp.uploads.entry import LeftOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checked source: *names* are the files' names as a snapshot has them; files() yields each with its bytes, one at a time.

    *left_out* is what was not read, each with why.
    """

    names: tuple[str, ...]
    _read: Callable[[], Iterator[tuple[str, bytes]]]
    left_out: tuple[LeftOut, ...] = ()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield every file's name and content. :raises UploadError: the source changed, or is damaged, since it was checked."""
        return self._read()
