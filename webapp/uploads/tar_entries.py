"""The entries of a tar, read as a stream."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from webapp.uploads.compression import CountedReader, Unpack
from webapp.uploads.entry import Entry
from webapp.uploads.limits import Budget, UploadError

_HEADER_MAX = 1 << 20
_HEADER_TYPES = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
# typeshed knows only their base, which the mark of the archive's end has, too.
_DAMAGED = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)  # type: ignore[attr-defined]


class _BoundedTarInfo(tarfile.TarInfo):
    """Refuses a header record (a long name, pax attributes) that would be read into memory whatever its size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedTarInfo:
        """Return the entry of one header block. :raises UploadError: an impossible or unreasonable size."""
        try:
            info = super().frombuf(buf, encoding, errors)
        except _DAMAGED as error:
            # tarfile itself would take this for the archive's end, and the rest would be missing without a word.
            raise UploadError(f"The archive is damaged: {error}.") from error
        if info.size < 0 or (info.type in _HEADER_TYPES and info.size > _HEADER_MAX):
            raise UploadError(f"{info.name!r}: a header record of {info.size:,} bytes.")
        return info


def is_tar(start: bytes) -> bool:
    """Return whether *start* is a tar header: its checksum says so (old tars have no magic)."""
    field = start[148:156].strip(b" \x00")
    if len(start) < 512 or not re.fullmatch(rb"[0-7]+", field):
        return False
    return int(field, 8) == sum(start[:148]) + 8 * 32 + sum(start[156:512])


def tar_entries(path: Path, unpack: Unpack, budget: Budget) -> Iterator[Entry]:
    """Yield the entries of the tar in *path*; every byte that passes is counted. :raises UploadError: a limit is passed."""
    with path.open("rb") as file:
        reader = CountedReader(unpack(file), budget)
        with tarfile.open(fileobj=reader, mode="r|", tarinfo=_BoundedTarInfo) as archive:
            for info in archive:
                budget.current = info.name
                yield Entry(
                    name=info.name,
                    is_folder=info.isdir(),
                    kind_problem=_tar_kind_problem(info),
                    read=partial(_read_member, archive, info),
                )


def _tar_kind_problem(info: tarfile.TarInfo) -> str:
    if info.issym():
        return "a symbolic link"
    if info.islnk():
        return "a hard link"
    if info.isdev():
        return "a device or a pipe"
    if info.issparse() or not (info.isreg() or info.isdir()):
        return "neither a file nor a folder"
    return ""


def _read_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    content = b"" if file is None else file.read()
    if len(content) != info.size:
        raise EOFError(f"{info.name!r} ends after {len(content):,} of {info.size:,} bytes")
    return content
