"""Finished answers on disk, for the other processes and for whoever asks again: a bounded cache, nothing that cannot be made anew.

A file holds one document, under the snapshot's digest and that of the question, of the code that answered it and of what it might cost. It
is written whole or not at all. The oldest ones go when all together pass ``HOPLINE_ANSWERS_MAX_MB``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from webapp import __version__, zstd
from webapp.http.failures import log_seldom
from webapp.storing.storage import delete_unless
from webapp.work import place
from webapp.work.lanes import Lane
from webapp.work.place import Elsewhere

_PART = ".part-"
LARGE = 200_000
"""Packed bytes of an answer that takes so long to unpack that one at a time is enough for a process."""
_LEFT_AFTER_SWEEP = 0.8
_SWEPT_EVERY = 16
_large = threading.Lock()
_puts = 0


def get(digest: str, question: str) -> dict[str, Any] | None:
    """Return the stored document, None where there is none that can be read."""
    path = _path(digest, question)
    try:
        document = json.loads(zstd.unpacked(path.read_bytes()))
    except (OSError, ValueError, zstd.Damaged):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return document if isinstance(document, dict) else None


def put(digest: str, question: str, document: dict[str, Any]) -> bool:
    """Store *document*. Returns False where it could not be: that costs time later, nothing else."""
    global _puts
    path = _path(digest, question)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _whole(path) as file:
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
            file.write(zstd.packed(text.encode(), level=1, checksum=True))
        _puts += 1
        if _puts % _SWEPT_EVERY == 1:
            sweep(settings.ANSWERS_MAX_BYTES)
    except OSError as error:
        log_seldom("answers are not kept", error)
        return False
    return True


def forget(digest: str) -> None:
    """Delete all answers from the snapshot with that digest."""
    shutil.rmtree(_folder() / digest, ignore_errors=True)


def sweep(most: int) -> None:
    """Delete the answers that were used longest ago when all together take more than *most* bytes."""
    found = []
    for path in _folder().glob("*/*"):
        with contextlib.suppress(OSError):
            about = path.stat()
            found.append((about.st_mtime, about.st_size, path))
    total = sum(size for _, size, _ in found)
    if total <= most:
        return
    for _, size, path in sorted(found):
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
        if total <= most * _LEFT_AFTER_SWEEP:
            return


def clean_up() -> None:
    """Delete what killed writers left."""
    for path in _folder().glob(f"*/{_PART}*"):
        delete_unless(path, lambda _: False)


@contextlib.contextmanager
def one_large_at_a_time(packed: int) -> Iterator[None]:
    """Let one large document at a time (*packed* bytes) be unpacked: among the pages, one more is work for the heavy lane.

    :raises Elsewhere: (on entering) it is.
    """
    if packed <= LARGE:
        yield
        return
    if not _large.acquire(blocking=place.here() is not Lane.PAGES):
        raise Elsewhere(Lane.HEAVY)
    try:
        yield
    finally:
        _large.release()


def size(digest: str, question: str) -> int:
    """Return the packed bytes of a stored document, 0 where there is none."""
    try:
        return _path(digest, question).stat().st_size
    except OSError:
        return 0


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Any]:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_PART)
    try:
        with os.fdopen(descriptor, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "answers"


def _path(digest: str, question: str) -> Path:
    return _folder() / digest / hashlib.sha256(f"{code_digest()}:{settings.QUESTION_LIMITS}:{question}".encode()).hexdigest()


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return what tells the code that answers from any other: the version, and the sources themselves."""
    found = hashlib.sha256(__version__.encode())
    for package in ("tracer", "webapp"):
        for path in sorted((settings.BASE_DIR / package).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:16]
