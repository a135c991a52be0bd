"""The files of a folder, an archive or one file, by name.

A folder's files are read as they are; whatever else it may be, and archives in a folder, ``checked`` knows, which is imported for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from webapp.uploads.compression import FIRST, ZIP_STARTS, decompressor
from webapp.uploads.entry import LeftOut
from webapp.uploads.folder import FolderFiles
from webapp.uploads.limits import Limits
from webapp.uploads.source import Source
from webapp.uploads.tar_entries import is_tar


def read(path: Path, *, filename: str | None = None, limits: Limits | None = None) -> Mapping[str, bytes]:
    """Return the files of a folder (lazily, unless there are archives in it), of an archive, or the one file itself, by name.

    :raises UploadError: refused, with every reason.
    """
    return read_and_left_out(path, filename=filename, limits=limits)[0]


def read_and_left_out(
    path: Path, *, filename: str | None = None, limits: Limits | None = None
) -> tuple[Mapping[str, bytes], tuple[LeftOut, ...]]:
    """Return what ``read`` does, and what of it was not read, each with why."""
    limits = limits or Limits.from_settings()
    if path.is_dir():
        folder = FolderFiles(path, limits)
        if not any(_is_packed(start) for start in folder.starts(FIRST)):
            return folder, folder.left_out
    source = check(path, filename=filename, limits=limits)
    return dict(source.files()), source.left_out


def check(path: Path, *, filename: str | None = None, limits: Limits | None = None) -> Source:
    """Return the source in *path* after looking at all of it; *filename* is what the user called it.

    :raises UploadError: refused, with every reason; nothing was unpacked.
    """
    from webapp.uploads.checked import checked

    return checked(path, Path(filename or path.name).name, limits or Limits.from_settings())


def _is_packed(start: bytes) -> bool:
    return decompressor(start) is not None or start.startswith(ZIP_STARTS) or is_tar(start)
