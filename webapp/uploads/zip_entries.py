"""The entries of a zip."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import partial
from typing import IO

from webapp.uploads.entry import Entry, Read
from webapp.uploads.limits import Budget, UploadError

_DIRECTORY_MAX = 8 << 20


class _Capped:
    """A file that refuses one huge read: zipfile takes a zip's whole directory in one, whatever size the zip claims it has."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, lambda: True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to *size* bytes. :raises UploadError: more are asked for than an archive within the limits needs."""
        if size is not None and size > _DIRECTORY_MAX:
            raise UploadError("The zip's directory is larger than that of any archive within the limits.")
        return self._file.read(-1 if size is None else size)


def zip_entries(file: IO[bytes], there: int, budget: Budget) -> Iterator[Entry]:
    """Yield the entries of the zip in *file*, which has *there* bytes; reading one counts its bytes.

    :raises UploadError: a limit is passed.
    """
    with zipfile.ZipFile(_Capped(file)) as archive:
        # zipfile never reads more of an entry than the size that the directory declares.
        budget.foresee(sum(info.file_size for info in archive.infolist()))
        packed = sum(info.compress_size for info in archive.infolist())
        if packed > there:
            raise UploadError(f"The zip is damaged: its entries claim {packed:,} packed bytes, and it has {there:,}.")
        for info in archive.infolist():
            # Windows' own archiver writes backslashes.
            name = info.filename.replace("\\", "/")
            yield Entry(
                name=name,
                is_folder=name.endswith("/"),
                size=info.file_size,
                why_not=_why_not(info),
                open=partial(_open, archive, info, budget),
            )


def _open(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> Read:
    content = archive.open(info)

    def read(size: int) -> bytes:
        budget.current = info.filename
        found = content.read(size)
        budget.spend(len(found))
        return found

    return read


def _why_not(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 0x1:
        return "it is encrypted. Unpack it with its password, and pack it without one"
    # The high half holds Unix' st_mode where the archive was made on Unix; 0 elsewhere.
    kind = (info.external_attr >> 16) & 0o170000
    if kind == 0o120000:
        return "a symbolic link, which is not followed"
    if kind not in (0, 0o100000, 0o040000):
        return "a device or another special file, which is not read"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "packed with a method other than store and deflate. Unpack it, and pack it with tar czf"
    return ""
