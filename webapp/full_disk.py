"""A full disk: how it is recognised in what fails, whoever was writing, and what is said of it (507)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError

from webapp.refusals import Refusal
from webapp.uploads import UploadError

STATUS = 507
HEADING = "There is no room left on this server"
WORDS = "The disk of this server is full: nothing was stored, and what was stored before is still there. Whoever runs it can make room."
REFUSAL = Refusal(status=STATUS, why="there is no room left on the disk", heading=HEADING, words=WORDS)
# EFBIG: the limit of one file, the file system's or the process's.
_NUMBERS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SQLITE_SAYS = "disk is full"
_POSTGRES_DISK_FULL = "53100"
_CAUSES = 10


def is_full(error: BaseException | None) -> bool:
    """Return whether *error*, or what caused it, is a disk without room: the file system's word, SQLite's or PostgreSQL's."""
    for _ in range(_CAUSES):
        if error is None:
            return False
        if isinstance(error, OSError) and error.errno in _NUMBERS:
            return True
        if isinstance(error, DatabaseError) and _SQLITE_SAYS in str(error):
            return True
        if getattr(error, "sqlstate", None) == _POSTGRES_DISK_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def said_when_full() -> Iterator[None]:
    """Turn what fails for want of room into what the user is told. :raises UploadError: 507, there is no room."""
    try:
        yield
    except UploadError:
        raise
    except Exception as error:
        if is_full(error):
            raise UploadError(WORDS, status=STATUS) from error
        raise
