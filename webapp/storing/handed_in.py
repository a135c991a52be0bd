"""What one request or command hands in: one file as it is, or several - files, a folder's, pasted texts - as one archive of them.

Strategy: several files become a tar, so that whatever reads an upload (webapp.uploads) reads them with the bounds of any archive, and an
archive among them as an archive in an archive. Nothing is written under a name that a user chose.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from tracer.values import dataclass

ARCHIVE = "files.tar"
"""What several files are called together."""
_LONGEST_PATH = 1_000


class _Chunked(Protocol):
    """What Django's uploaded files are here."""

    @property
    def size(self) -> int | None: ...

    def chunks(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """One file: its *path* in what was handed in (a folder's files have their folders in it), and its content."""

    path: str
    content: _Chunked | bytes

    @property
    def size(self) -> int:
        """Return how many bytes it has."""
        return len(self.content) if isinstance(self.content, bytes) else int(self.content.size or 0)

    def chunks(self) -> Iterable[bytes]:
        """Return its bytes in pieces."""
        return (self.content,) if isinstance(self.content, bytes) else self.content.chunks()


def called(parts: Sequence[HandedIn]) -> str:
    """Return what the upload is called as a file: what it is read as."""
    return PurePosixPath(parts[0].path).name if _is_one_file(parts) else ARCHIVE


def titled(parts: Sequence[HandedIn]) -> str:
    """Return what the upload is called in lists, unless somebody names it."""
    first = PurePosixPath(parts[0].path)
    if len(parts) == 1:
        return first.name
    tops = {PurePosixPath(part.path).parts[0] for part in parts}
    return tops.pop() if len(tops) == 1 else f"{first.name} and {len(parts) - 1} more"


def write(parts: Sequence[HandedIn], file: IO[bytes]) -> None:
    """Write what is handed in to *file*. :raises OSError: it cannot be written."""
    if _is_one_file(parts):
        for chunk in parts[0].chunks():
            file.write(chunk)
        return
    taken: set[str] = set()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for part in parts:
            entry = tarfile.TarInfo(_free(_cleaned(part.path), taken))
            entry.size = part.size
            tar.addfile(entry, _Chunks(part.chunks()))


def files_at(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield every file at *paths*, those below folders too, with the path it has among them.

    Links in a folder may lead out of it: none is followed.
    """
    for path in paths:
        if path.is_dir():
            for below in sorted(path.rglob("*")):
                if below.is_file() and not below.is_symlink():
                    yield f"{path.resolve().name}/{below.relative_to(path).as_posix()}", below
        else:
            yield path.name, path


def _is_one_file(parts: Sequence[HandedIn]) -> bool:
    return len(parts) == 1 and "/" not in parts[0].path


def _cleaned(path: str) -> str:
    """Return a path that leads nowhere but down: a browser's is what its user's system made of it."""
    printed = "".join(c if c.isprintable() else "?" for c in path.replace("\\", "/")[:_LONGEST_PATH])
    return "/".join(part for part in printed.split("/") if part not in ("", ".", "..")) or "file"


def _free(path: str, taken: set[str]) -> str:
    """Return *path*, or one beside it where another file has it: two files chosen in two folders may have one name."""
    name, number = path, 1
    while name in taken:
        number += 1
        one = PurePosixPath(path)
        name = str(one.with_name(f"{one.stem}-{number}{one.suffix}"))
    taken.add(name)
    return name


class _Chunks(io.RawIOBase):
    """Pieces read as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._rest = iter(chunks), b""

    def read(self, size: int = -1, /) -> bytes:
        """Return *size* bytes, fewer at the end only."""
        parts = [self._rest]
        have = len(self._rest)
        while (size < 0 or have < size) and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            have += len(chunk)
        content = b"".join(parts)
        cut = have if size < 0 else size
        self._rest = content[cut:]
        return content[:cut]
