"""Uploads are read in the background; their rows, and the sockets that follow them, say how far they are."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import connection
from django.utils import timezone

from webapp import socket_loop
from webapp.models import Snapshot, UploadJob
from webapp.storage import delete_unless
from webapp.uploads import UploadError
from webapp.work import place
from webapp.work.lanes import Lane

logger = logging.getLogger(__name__)
Teller = Callable[[str, int, int], None]
"""Told what is being done in words, how far it is, and of how much."""

Store = Callable[[Path, str, Teller], Snapshot]
"""Stores the snapshot in a file that the user called so, telling its progress."""

_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="upload")
"""Where uploads are read when this process is no worker: in commands and tests."""
_KEPT = ".kept"
_TOLD_EVERY = 0.2
_SILENT_FOR = timedelta(minutes=15)
_KEPT_FOR = timedelta(days=7)
_LOST = {
    "seconds": "Reading it took longer than this server allows; nothing was stored.",
    "memory": "Reading it needed more memory than this server allows; nothing was stored.",
    "died": "The process that read this upload was ended; nothing was stored. Upload it again.",
}
_RESTARTED = "The server stopped while it was reading this upload; nothing was stored. Upload it again."


def group_of(job: str) -> str:
    """Return the channel group that is told about the upload's changes."""
    return f"upload.{job}"


def start(file: UploadedFile[bytes], job: UploadJob, store: Store) -> None:
    """Keep the uploaded file beyond its request and store it in the background."""
    kept = _keep(file, job)
    work = partial(_run, job.id, kept, Path(file.name or "upload").name, store)
    if place.here() is Lane.UPLOADS:
        place.afterwards(partial(_in_worker, job.id, work))
    else:
        _THREADS.submit(work)


def _in_worker(job_id: str, work: Callable[[], None]) -> bool:
    place.send({"type": "doing", "what": {"upload": job_id}})
    work()
    return False


def lost(job_id: str, why: str) -> None:
    """Say that the process which read the upload has ended, and keep nothing of it."""
    for row in UploadJob.objects.filter(id=job_id, state=UploadJob.State.READING):
        _fail(row, UploadError(_LOST[why] if why in _LOST else _LOST["died"], status=422 if why in ("seconds", "memory") else 500))
    with contextlib.suppress(OSError):
        (_folder() / f"{job_id}{_KEPT}").unlink()


def find(job: str, owner: str) -> UploadJob | None:
    """Return *owner*'s upload with that id, or None. One that has been silent for long is told to have failed."""
    row = UploadJob.objects.filter(id=job, owner=owner).first() if owner else None
    if row and not row.is_finished and row.updated_at < timezone.now() - _SILENT_FOR:
        _fail(row, UploadError(_RESTARTED, status=500))
    return row


def clean_up() -> None:
    """Fail the uploads whose server was killed, delete what it had kept of them, and forget old ones."""
    for path in sorted(_folder().glob(f"*{_KEPT}")):
        if delete_unless(path, lambda _: False):
            for row in UploadJob.objects.filter(id=path.stem, state=UploadJob.State.READING):
                _fail(row, UploadError(_RESTARTED, status=500))
    # What Django had received of requests that were cut off; nobody holds these, so only old ones are surely dead.
    for path in sorted(_folder().glob("tmp*")):
        if path.stat().st_mtime < time.time() - _SILENT_FOR.total_seconds():
            path.unlink(missing_ok=True)
    UploadJob.objects.filter(created_at__lt=timezone.now() - _KEPT_FOR).delete()


def _folder() -> Path:
    folder = settings.DATA_DIR / "incoming"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(folder)


def _keep(file: UploadedFile[bytes], job: UploadJob) -> BinaryIO:
    """Return the upload as a file of our own, locked for as long as it is open. :raises OSError: it cannot be kept; nothing is left."""
    kept = (_folder() / f"{job.id}{_KEPT}").open("xb+")
    try:
        fcntl.flock(kept, fcntl.LOCK_EX)
        for chunk in file.chunks():
            kept.write(chunk)
        kept.flush()
    except BaseException:
        Path(kept.name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            kept.close()
        job.delete()
        raise
    return kept


def _run(job_id: str, kept: BinaryIO, filename: str, store: Store) -> None:
    try:
        row = UploadJob.objects.get(id=job_id)
        _finish(row, lambda: _stored(kept, filename, store, _Teller(row)))
    except Exception:
        logger.exception("upload %s was lost", job_id)
    finally:
        connection.close()


def _stored(kept: BinaryIO, filename: str, store: Store, teller: Teller) -> Snapshot:
    """Store the kept file, and keep it no longer, whatever comes of it."""
    path = Path(kept.name)
    with kept:
        try:
            return store(path, filename, teller)
        finally:
            path.unlink(missing_ok=True)


def _finish(row: UploadJob, work: Callable[[], Snapshot]) -> None:
    try:
        row.snapshot = work()
    except UploadError as error:
        _fail(row, error)
    except Exception:
        logger.exception("upload %s could not be stored", row.id)
        _fail(row, UploadError(f"Something went wrong here; the server's log says what, under {row.id}.", status=500))
    else:
        row.state, row.status, row.text, row.done = row.State.DONE, 200, "Stored", row.total
        _save(row)


class _Teller:
    """Writes progress to the row and the sockets, a few times a second at most."""

    def __init__(self, row: UploadJob) -> None:
        self._row, self._told_at = row, 0.0

    def __call__(self, text: str, done: int, total: int) -> None:
        now = time.monotonic()
        self._row.text, self._row.done, self._row.total = text[:200], done, total
        if now - self._told_at >= _TOLD_EVERY:
            self._told_at = now
            _save(self._row)


def _fail(row: UploadJob, error: UploadError) -> None:
    row.state, row.status, row.text, row.problems = row.State.FAILED, error.status, "Not stored", list(error.problems)
    _save(row)


def _save(row: UploadJob) -> None:
    row.updated_at = timezone.now()
    row.save()
    _tell_sockets(row)


def _tell_sockets(row: UploadJob) -> None:
    socket_loop.tell(group_of(row.id), {"type": "upload.changed", "job": row.to_dict()})
