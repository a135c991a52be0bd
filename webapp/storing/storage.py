"""Where snapshot bytes are kept by default: a folder in which a file is either whole or not there.

A file is written under a temporary name, synced, and renamed into place. It stays locked until its database row is committed,
so that sweep() can tell a file whose writer was killed from one whose writer is still at work.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible

_PART = ".part"


@deconstructible(path="webapp.storing.storage.DurableFolderStorage")
class DurableFolderStorage(FileSystemStorage):
    """A folder of immutable files. Names are flat and chosen by the caller; an existing name is never overwritten."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._locks: dict[str, BinaryIO] = {}

    def _save(self, name: str, content: File[bytes]) -> str:
        final = Path(self.path(name))
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = final.with_name(final.name + _PART)
        file = part.open("xb")
        is_linked = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            for chunk in content.chunks():
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            os.link(part, final)
            is_linked = True
            _sync_folder(final.parent)
        except BaseException:
            if is_linked:
                final.unlink(missing_ok=True)
            # NB: closing flushes what did not fit, and fails again.
            with contextlib.suppress(OSError):
                file.close()
            raise
        finally:
            part.unlink(missing_ok=True)
        self._locks[name] = file
        return name

    def release(self, name: str) -> None:
        """Let go of *name*: its row is committed, or its writer has given up."""
        if file := self._locks.pop(name, None):
            file.close()

    def sweep(self, is_known: Callable[[str], bool]) -> list[str]:
        """Delete what killed writers left: files that nobody holds and *is_known* denies. Returns their names."""
        folder = Path(self.location)
        return [path.name for path in sorted(folder.glob("*")) if delete_unless(path, is_known)]


def delete_unless(path: Path, is_known: Callable[[str], bool]) -> bool:
    """Delete *path* unless a living process holds it or *is_known* says that its name is in use. Returns whether it was deleted."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        # NB: asked only now. A writer commits its row before it lets go, so whoever gets the lock sees the row.
        if is_known(path.name):
            return False
        path.unlink()
        return True
    return False


@contextlib.contextmanager
def held_folder(parent: Path) -> Iterator[Path]:
    """Make a folder in *parent* that is gone when the context ends; sweep_folders() removes those whose process was killed."""
    made = HeldFolder(parent)
    try:
        yield made.path
    finally:
        made.remove()


class HeldFolder:
    """A new folder in *parent*, locked until ``remove()``."""

    def __init__(self, parent: Path) -> None:
        self.path = Path(tempfile.mkdtemp(dir=parent))
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._fd)


def sweep_folders(parent: Path) -> None:
    """Delete the folders in *parent* that no living process holds."""
    for path in sorted(parent.glob("*/")):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
