"""The files below a folder, which are read when they are asked for. Links are not followed: they may lead out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from webapp.uploads.entry import Entry, LeftOut, Read
from webapp.uploads.limits import MB, SLIM, Limits, UploadError


class FolderFiles(Mapping[str, bytes]):
    """The files below a folder, each read when asked for and not kept; *left_out* are the links and special files among them."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._paths, self.left_out = _walk(folder, limits)

    def __getitem__(self, name: str) -> bytes:
        return self._paths[name].read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def entries(self) -> Iterator[Entry]:
        """Yield the files as an archive of the folder would have them."""
        for name, path in self._paths.items():
            yield Entry(name=name, is_folder=False, size=path.stat().st_size, why_not="", open=partial(_open, path))

    def starts(self, size: int) -> Iterator[bytes]:
        """Yield the first *size* bytes of each file."""
        for path in self._paths.values():
            with path.open("rb", buffering=0) as file:
                yield file.read(size)


def _open(path: Path) -> Read:
    at = 0

    def read(size: int) -> bytes:
        nonlocal at
        with path.open("rb") as file:
            file.seek(at)
            content = file.read(size)
        at += len(content)
        return content

    return read


def _walk(folder: Path, limits: Limits) -> tuple[dict[str, Path], tuple[LeftOut, ...]]:
    paths: dict[str, Path] = {}
    left_out: list[LeftOut] = []
    total = 0
    for root, folders, files in os.walk(folder):
        folders.sort()
        depth = len(Path(root).relative_to(folder).parts)
        if depth >= limits.levels and (folders or files):
            raise UploadError(f"{root} is deeper than {limits.levels} levels.")
        for file in (*sorted(files), *(name for name in folders if Path(root, name).is_symlink())):
            path = Path(root, file)
            name, status = path.relative_to(folder).as_posix(), path.lstat()
            if why_not := _why_not(status.st_mode):
                left_out.append(LeftOut(path=name, why=why_not))
                continue
            total += status.st_size
            paths[name] = path
    if len(paths) > limits.entries:
        raise UploadError(f"{folder} has more than {limits.entries:,} files, the limit. {SLIM}")
    if total > limits.unpacked_bytes:
        raise UploadError(f"{folder} has more than the limit of {limits.unpacked_bytes / MB:,.0f} MB. {SLIM}", status=413)
    if not paths:
        raise UploadError(f"{folder} holds no files.")
    return paths, tuple(left_out)


def _why_not(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link, which is not followed"
    return "" if stat.S_ISREG(mode) else "a device, a pipe or a socket, which is not read"
