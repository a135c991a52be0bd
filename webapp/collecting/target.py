"""Where a collected snapshot goes: a folder or an archive, written aside and moved into place whole. Nothing is overwritten."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from tracer.values import dataclass

_ARCHIVES: Mapping[str, Literal["w:gz", "w"]] = {".tar.gz": "w:gz", ".tgz": "w:gz", ".tar": "w"}


class BadTarget(ValueError):
    """The target cannot be written; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """*path* is what will be written; *folder* is where its files are put meanwhile (its name is the archive's top folder)."""

    path: Path
    folder: Path

    def second(self) -> Target:
        """Return a target for the same path with another, empty folder beside the first."""
        folder = self.folder.parent / "second" / self.folder.name
        folder.mkdir(parents=True, mode=0o700)
        return replace(self, folder=folder)

    def finish(self) -> None:
        """Move the folder, or the archive of it, into place. :raises OSError: it cannot be written."""
        suffix = suffix_of(self.path)
        if suffix is None:
            self.folder.rename(self.path)
            return
        packed = self.folder.with_name("archive")
        with tarfile.open(packed, _ARCHIVES[suffix]) as archive:
            archive.add(self.folder, arcname=self.folder.name)
        packed.chmod(0o600)
        packed.rename(self.path)


@contextlib.contextmanager
def target_at(path: Path) -> Iterator[Target]:
    """Give the target at *path*; what was put aside and not finished is gone when the context ends.

    :raises BadTarget: something is there already, or nothing can be written there.
    """
    if path.exists() or path.is_symlink():
        raise BadTarget(f"{path} exists already")
    if not path.parent.is_dir():
        raise BadTarget(f"there is no folder {path.parent}")
    if suffix_of(path) is None and path.suffix in (".zip", ".gz", ".xz", ".zst"):
        raise BadTarget(f"collect writes .tar.gz, .tar or a folder, not {path}")
    try:
        aside = Path(tempfile.mkdtemp(prefix=".collect-", dir=path.parent))
    except OSError as error:
        raise BadTarget(f"{path.parent} cannot be written to: {error.strerror}") from error
    try:
        folder = aside / (path.name.removesuffix(suffix_of(path) or "") or "snapshot")
        folder.mkdir(mode=0o700)
        yield Target(path=path, folder=folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def suffix_of(path: Path) -> str | None:
    """Return the suffix that makes *path* an archive, None for a folder."""
    return next((suffix for suffix in _ARCHIVES if path.name.endswith(suffix)), None)
