"""The entries of a zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from webapp.uploads.entry import Entry
from webapp.uploads.limits import Budget, UploadError

_CHUNK = 1 << 16


class _CappedFile(io.FileIO):
    """A file that refuses one huge read: zipfile takes a zip's whole directory in one, whatever size the zip claims it has."""

    cap = 8 << 20

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to *size* bytes. :raises UploadError: more are asked for than an archive within the limits needs."""
        if size is not None and size > self.cap:
            raise UploadError("The zip's directory is larger than that of any archive within the limits.")
        return super().read(size)


def zip_entries(path: Path, budget: Budget) -> Iterator[Entry]:
    """Yield the entries of the zip in *path*; reading one counts its bytes. :raises UploadError: a limit is passed."""
    with _CappedFile(path) as file, zipfile.ZipFile(file) as archive:
        # zipfile never reads more of an entry than the size that the directory declares.
        budget.foresee(sum(info.file_size for info in archive.infolist()))
        packed, there = sum(info.compress_size for info in archive.infolist()), path.stat().st_size
        if packed > there:
            raise UploadError(f"The zip is damaged: its entries claim {packed:,} packed bytes, and it has {there:,}.")
        for info in archive.infolist():
            # Windows' own archiver writes backslashes.
            name = info.filename.replace("\\", "/")
            yield Entry(
                name=name,
                is_folder=name.endswith("/"),
                kind_problem=_zip_kind_problem(info),
                read=partial(_read, archive, info, budget),
            )


def _zip_kind_problem(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 0x1:
        return "it is encrypted"
    # The high half holds Unix' st_mode where the archive was made on Unix; 0 elsewhere.
    kind = (info.external_attr >> 16) & 0o170000
    if kind == 0o120000:
        return "a symbolic link"
    if kind not in (0, 0o100000, 0o040000):
        return "a device or another special file"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "packed with a method other than store and deflate"
    return ""


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> bytes:
    budget.current = info.filename
    parts = []
    with archive.open(info) as file:
        while chunk := file.read(_CHUNK):
            budget.spend(len(chunk))
            parts.append(chunk)
    return b"".join(parts)
