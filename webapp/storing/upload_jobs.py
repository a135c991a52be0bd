"""Uploads are read in the background; their rows, and the sockets that follow them, say how far they are."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from webapp.http import socket_loop
from webapp.http.failures import FAILURES, cause_of
from webapp.http.refusals import one_line
from webapp.models import Snapshot, UploadJob
from webapp.storing import handed_in
from webapp.storing.handed_in import HandedIn
from webapp.storing.patience import patiently
from webapp.storing.storage import delete_unless, sweep_folders
from webapp.uploads import UploadError
from webapp.work import place
from webapp.work.lanes import Lane

logger = logging.getLogger(__name__)
Teller = Callable[[str, int, int], None]
"""Told what is being done in words, how far it is, and of how much."""

Store = Callable[[Path, str, Teller, Callable[[Snapshot], None]], Snapshot]
"""Stores the snapshot in a file that the user called so, telling its progress, and calls the last one in the transaction that stores it."""

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


def start(parts: Sequence[HandedIn], job: UploadJob, store: Store) -> None:
    """Keep what was handed in beyond its request and store it in the background; *job* is a new row.

    :raises OSError: it cannot be kept. :raises DatabaseError: its row cannot be written. Nothing is kept then.
    """
    kept = _keep(parts, job)
    try:
        job.save(force_insert=True)
    except BaseException:
        _drop(kept)
        raise
    work = partial(_run, job, kept, handed_in.called(parts), store)
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
    error = UploadError(_LOST[why] if why in _LOST else _LOST["died"], status=422 if why in ("seconds", "memory") else 503)
    row = patiently(lambda: UploadJob.objects.filter(id=job_id).first())
    if row is not None:
        patiently(lambda: _fail(row, error))
    _path(job_id).unlink(missing_ok=True)


def find(job: str, owner: str) -> UploadJob | None:
    """Return *owner*'s upload with that id, or None. One that nobody reads any more is told to have failed."""
    row = UploadJob.objects.filter(id=job, owner=owner).first() if owner else None
    if row and not row.is_finished:
        _end_if_dead(row)
    return row


def reading(owner: str) -> list[UploadJob]:
    """Return *owner*'s uploads that are being read."""
    rows = list(UploadJob.objects.filter(owner=owner, state=UploadJob.State.READING)) if owner else []
    for row in rows:
        _end_if_dead(row)
    return [row for row in rows if not row.is_finished]


def clean_up() -> None:
    """Fail the uploads whose server was killed, delete what it had kept of them, and forget old ones."""
    for row in UploadJob.objects.filter(state=UploadJob.State.READING):
        _end_if_dead(row)
    for path in sorted(_folder().glob(f"*{_KEPT}")):
        delete_unless(path, lambda _: False)
    sweep_folders(_folder())
    UploadJob.objects.filter(created_at__lt=timezone.now() - _KEPT_FOR).delete()


def _end_if_dead(row: UploadJob) -> None:
    """Say that the upload has failed if nobody reads it: who does holds its file, which goes when the row says what came of it.

    NB: no clock tells it: one that is set forward would end what is alive. Only where the file is not here (processes that share
    a database and no folder) silence has to do.
    """
    path = _path(row.id)

    def said(_: str) -> bool:
        _fail(row, UploadError(_RESTARTED, status=503))
        return False

    if path.exists():
        delete_unless(path, said)
    elif row.updated_at < timezone.now() - _SILENT_FOR:
        said("")


def _folder() -> Path:
    folder = settings.DATA_DIR / "incoming"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(folder)


def _path(job_id: str) -> Path:
    return _folder() / f"{job_id}{_KEPT}"


def _keep(parts: Sequence[HandedIn], job: UploadJob) -> BinaryIO:
    """Return the upload as a file of our own, locked for as long as it is open. :raises OSError: it cannot be."""
    kept = _path(job.id).open("xb+")
    try:
        fcntl.flock(kept, fcntl.LOCK_EX)
        handed_in.write(parts, kept)
        kept.flush()
    except BaseException:
        _drop(kept)
        raise
    return kept


def _drop(kept: BinaryIO) -> None:
    """Delete the kept file, and only then let go of it."""
    Path(kept.name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        # What was written last, and cannot be, is tried once more when the file is closed.
        kept.close()


def _run(row: UploadJob, kept: BinaryIO, filename: str, store: Store) -> None:
    """Store the kept file. It goes when the row says what came of it; where that cannot be said, it stays for find() and clean_up()."""
    try:
        error = _problem(row, Path(kept.name), filename, store)
        if error is not None:
            # A row needs room, too.
            kept.truncate(0)
            patiently(lambda: _fail(row, error))
        _drop(kept)
    except Exception as failure:
        logger.error("upload %s failed, and its row could not be told: %s", row.id, one_line(str(failure)))
        kept.close()
    finally:
        connection.close()


def _problem(row: UploadJob, path: Path, filename: str, store: Store) -> UploadError | None:
    """Store the file at *path*; return why it could not be, None when its row says that it was."""
    try:
        row.snapshot = store(path, filename, _Teller(row), lambda snapshot: _note_stored(row, snapshot))
    except UploadError as error:
        return error
    except Exception as error:
        if cause := cause_of(error):
            known = FAILURES[cause]
            logger.warning("upload %s could not be stored: %s", row.id, one_line(str(error)))
            return UploadError(f"{known.heading}; nothing was stored. Upload it again later.", status=known.status)
        logger.exception("upload %s could not be stored", row.id)
        return UploadError(f"Something went wrong here, and nothing was stored; the server's log says what, under {row.id}.", status=500)
    row.state, row.status, row.text, row.done = row.State.DONE, 200, "Stored", row.total
    _tell_sockets(row)
    return None


def _note_stored(row: UploadJob, snapshot: Snapshot) -> None:
    """Say in the row that *snapshot* is stored, in the transaction that stores it: neither is there without the other.

    :raises UploadError: somebody was told meanwhile that the upload has failed.
    """
    if not _update(row, state=row.State.DONE, status=200, text="Stored", done=row.total, total=row.total, snapshot=snapshot):
        raise UploadError(_RESTARTED, status=503)


class _Teller:
    """Writes progress to the row and the sockets, a few times a second at most. A database that is away misses some of it."""

    def __init__(self, row: UploadJob) -> None:
        self._row, self._told_at = row, 0.0

    def __call__(self, text: str, done: int, total: int) -> None:
        now = time.monotonic()
        self._row.text, self._row.done, self._row.total = text[:200], done, total
        if now - self._told_at < _TOLD_EVERY:
            return
        self._told_at = now
        try:
            _update(self._row, text=self._row.text, done=done, total=total)
        except (DatabaseError, InterfaceError) as error:
            if cause_of(error) is None:
                raise
            connection.close()
        else:
            _tell_sockets(self._row)


def _fail(row: UploadJob, error: UploadError) -> None:
    """Say that the upload has failed, unless it has ended already: then *row* is what was said before."""
    row.state, row.status, row.text, row.problems = row.State.FAILED, error.status, "Not stored", list(error.problems)
    if not _update(row, state=row.state, status=row.status, text=row.text, problems=row.problems):
        row.refresh_from_db()
    _tell_sockets(row)


def _update(row: UploadJob, **columns: Any) -> bool:
    """Write *columns* of an upload that is being read; returns whether it still was."""
    row.updated_at = timezone.now()
    rows = UploadJob.objects.filter(id=row.id, state=UploadJob.State.READING)
    return rows.update(updated_at=row.updated_at, **columns) == 1


def _tell_sockets(row: UploadJob) -> None:
    socket_loop.tell(group_of(row.id), {"type": "upload.changed", "job": row.to_dict()})
