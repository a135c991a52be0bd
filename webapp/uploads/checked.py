"""Checks a folder, an archive or one file, and gives its files: what takes knowing every kind of archive.

Strategy: an archive is gone through twice. The first pass looks at every entry, and says what is read and what is left out, or refuses the
whole; the second yields one file at a time. What a file is is told from its first bytes, never from its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tracer.patterns import pattern
from webapp.uploads.compression import FIRST, ZIP_STARTS, CountedReader, Unpack, decompressor, plain
from webapp.uploads.damage import readable
from webapp.uploads.entry import CHUNK, Entry, LeftOut, Looked
from webapp.uploads.folder import FolderFiles
from webapp.uploads.forms import UTF16_MARKS, closed_form
from webapp.uploads.limits import MB, SLIM, Budget, Limits, UploadError
from webapp.uploads.plan import Plan
from webapp.uploads.source import Source
from webapp.uploads.tar_entries import is_tar, tar_entries
from webapp.uploads.walk import Walk
from webapp.uploads.zip_entries import zip_entries

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_COMPRESSED = pattern(r"\.(gz|bz2|xz|zst)$", re.ASCII | re.IGNORECASE)
_READ_AS_IT_IS = pattern(r"\.(json|ya?ml|txt)$", re.ASCII | re.IGNORECASE)
_MOST_PROBLEMS = 50
_UNPACKINGS = 2
"""How often one file may be compressed."""


def checked(path: Path, filename: str, limits: Limits) -> Source:
    """Return the source in *path* after looking at all of it; *filename* is what the user called it.

    :raises UploadError: refused, with every reason; nothing was unpacked.
    """
    if path.is_dir():
        folder = FolderFiles(path, limits)
        return _planned(filename, limits.unpacked_bytes, limits, lambda _: folder.entries(), may_strip=False, left_out=folder.left_out)
    try:
        size, start = path.stat().st_size, _first_bytes(path)
    except OSError as error:
        raise UploadError(f"{filename}: {error.strerror or error}") from error
    if size > limits.upload_bytes:
        told = f"{filename} has {size / MB:,.1f} MB; the limit is {limits.upload_bytes / MB:,.0f} MB. {SLIM}"
        raise UploadError(told, status=413)
    if start.startswith(ZIP_STARTS):
        return _planned(filename, size, limits, lambda budget: _zip(path, size, budget))
    unpack, inside = _unpacking(path, filename, start)
    if is_tar(inside):
        return _planned(filename, size, limits, lambda budget: _tar(path, unpack, size, budget))
    if closed := closed_form(filename, inside):
        raise UploadError(f"{filename} is {closed}.")
    if inside.startswith(ZIP_STARTS):
        raise UploadError(f"{filename} is a zip that is compressed once more. Unpack it once.")
    if filename.lower().endswith(_ARCHIVES) and not _begins_like_objects(inside):
        raise UploadError(f"{filename} is not the archive that its name says: it holds neither a zip nor a tar.")
    return _single(path, filename, limits, unpack, inside)


def _planned(
    filename: str,
    packed: int,
    limits: Limits,
    entries: Callable[[Budget], Iterator[Entry]],
    *,
    may_strip: bool = True,
    left_out: tuple[LeftOut, ...] = (),
) -> Source:
    plan = Plan(left_out)
    with readable(filename):
        budget = Budget(packed, limits)
        for item in Walk(budget).items(entries(budget)):
            plan.add(item)
    named = plan.names(may_strip=may_strip)
    if not named:
        said = [f"{left}." for left in plan.left_out[:_MOST_PROBLEMS]]
        raise UploadError(f"{filename} holds no files{' that are read' if said else ''}.", *said)

    def contents() -> Iterator[tuple[str, bytes]]:
        with readable(filename):
            budget = Budget(packed, limits)
            for item in Walk(budget, plan.is_closed).items(entries(budget)):
                if name := named.get((item.place, item.number)):
                    yield name, item.whole()

    return Source(names=tuple(named.values()), _read=contents, left_out=plan.left_out)


def _tar(path: Path, unpack: Unpack, size: int, budget: Budget) -> Iterator[Entry]:
    with path.open("rb") as file:
        yield from tar_entries(CountedReader(unpack(file), budget).read, budget, size if unpack is plain else None)


def _zip(path: Path, size: int, budget: Budget) -> Iterator[Entry]:
    with path.open("rb") as file:
        yield from zip_entries(file, size, budget)


def _unpacking(path: Path, filename: str, start: bytes) -> tuple[Unpack, bytes]:
    """Return what unpacks the file, compressed as often as it may be, and the first bytes of what is in it."""
    unpack: Unpack = plain
    inside = start
    for _ in range(_UNPACKINGS):
        if (step := decompressor(inside)) is None:
            return unpack, inside
        unpack = step if unpack is plain else _both(unpack, step)
        with readable(filename), path.open("rb") as file:
            inside = Looked(unpack(file)).start(FIRST)
    if decompressor(inside):
        raise UploadError(f"{filename} is neither text nor an archive: it is compressed more than {_UNPACKINGS} times.")
    return unpack, inside


def _both(outer: Unpack, inner: Unpack) -> Unpack:
    return lambda file: inner(Looked(outer(file)))


def _single(path: Path, filename: str, limits: Limits, unpack: Unpack, start: bytes) -> Source:
    if not start.strip():
        raise UploadError(f"{filename} is empty.")
    # PowerShell's ">" writes UTF-16, every other byte of which is NUL; the engine reads it.
    if b"\x00" in start and start[:2] not in UTF16_MARKS:
        raise UploadError(f"{filename} is neither text nor an archive that Hopline knows (.zip, .tar[.gz|.bz2|.xz|.zst]).")
    name = _COMPRESSED.sub("", _COMPRESSED.sub("", filename))
    if not _READ_AS_IT_IS.search(name) and _begins_like_objects(start):
        name = "cluster" + _suffix(start)

    def contents() -> Iterator[tuple[str, bytes]]:
        with readable(filename), path.open("rb") as file:
            reader = CountedReader(unpack(file), Budget(path.stat().st_size, limits))
            yield name, b"".join(iter(lambda: reader.read(CHUNK), b""))

    for _ in contents():
        pass
    return Source(names=(name,), _read=contents)


def _suffix(start: bytes) -> str:
    return ".json" if start.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")[:1] in (b"{", b"[") else ".yaml"


def _begins_like_objects(start: bytes) -> bool:
    return _suffix(start) == ".json" or b"apiVersion" in start or b"kind:" in start


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(FIRST)
