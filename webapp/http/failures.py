"""Why a request was not answered though nothing was wrong with it, in words: the one table. And which errors mean what of it."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from collections.abc import Iterator

from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpResponse

from webapp.http.refusals import Refusal, bare_response, one_line

logger = logging.getLogger(__name__)
RETRY_AFTER = 5
"""Seconds after which it is worth asking again, where it is."""

_SMALLER = "The server goes on without it. Ask about fewer endpoints or nodes, or where there is more time."
FAILURES: dict[str, Refusal] = {
    why: Refusal(status=status, why=why, heading=heading, words=words)
    for why, status, heading, words in (
        (
            "full",
            503,
            "Too much is being asked at the moment",
            "Hopline answers one question after the other, and too many are waiting. Try again in a moment.",
        ),
        ("late", 503, "This waited too long", "Too much was asked before it. Try again in a moment."),
        ("seconds", 503, "This took too long", f"The answer was not there when its time was over. {_SMALLER}"),
        ("memory", 503, "This needed more memory than there is for one question", _SMALLER),
        (
            "died",
            503,
            "What worked on this was ended",
            "The process that worked on it ended before it was done; nothing else was touched. Try again.",
        ),
        ("stopped", 503, "The server is being stopped", "Nothing more is worked on. Try again when it is back."),
        ("fault", 500, "Something broke in Hopline", "That is a fault of this server, not of your cluster. The server's log says more."),
        (
            "disk",
            507,
            "There is no room left on this server",
            "The disk of this server is full: nothing was stored, and what was stored before is still there. "
            "Whoever runs it can make room.",
        ),
        (
            "database",
            503,
            "The database does not answer",
            "Nothing of this was stored. Hopline goes on when the database is back: try again in a moment.",
        ),
        (
            "read-only",
            503,
            "Nothing can be stored at the moment",
            "The database, or the disk, can be read and not be written. Nothing of this was stored.",
        ),
        ("redis", 503, "Messages do not come through", "Redis, which this server tells its pages by, is away. Try again in a moment."),
        ("slow", 408, "The request was not finished in time", "Its rest did not come for half a minute. Send it again."),
    )
}

# EFBIG: the limit of one file, the file system's or the process's.
_DISK_ERRORS = {errno.ENOSPC: "disk", errno.EDQUOT: "disk", errno.EFBIG: "disk", errno.EROFS: "read-only"}
_SQLITE_SAYS_FULL = "disk is full"
_CAUSES = 10
_SQLITE = {
    sqlite3.SQLITE_FULL: "disk",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_BUSY: "database",
    sqlite3.SQLITE_LOCKED: "database",
    sqlite3.SQLITE_IOERR: "database",
    sqlite3.SQLITE_CANTOPEN: "database",
}
"""By the primary code. Source: sqlite.org/rescode.html."""
_SAID_EVERY = 10.0
_said_at: dict[str, float] = {}
_POSTGRES = {"53100": "disk", "25006": "read-only"}
_POSTGRES_CLASSES = {"08": "database", "53": "database", "57": "database", "58": "database"}
"""SQLSTATE, and its first two characters. Source: PostgreSQL, appendix A."""


def log_seldom(what: str, error: BaseException) -> None:
    """Write a line about *what* and *error*, and none for those that follow within ten seconds: what is away is away for everybody."""
    now = time.monotonic()
    if now - _said_at.get(what, float("-inf")) >= _SAID_EVERY:
        _said_at[what] = now
        logger.warning("%s: %s", what, one_line(str(error)))


def cause_of(error: BaseException) -> str | None:
    """Return the key of :data:`FAILURES` for what *error* says of the disk, the database or Redis; None where the fault is our own.

    A full disk is recognised through whatever was made of it: closing a file fails once more.
    """
    if cause := _said_by(error):
        return cause
    return "disk" if any(_said_by(earlier) == "disk" for earlier in _before(error)) else None


def answer(cause: str) -> HttpResponse:
    """Return the page that says *cause*."""
    page = bare_response(FAILURES[cause])
    if FAILURES[cause].status == 503:
        page["Retry-After"] = str(RETRY_AFTER)
    return page


def _before(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(_CAUSES):
        found = found and (found.__cause__ or found.__context__)
        if found is None:
            return
        yield found


def _said_by(error: BaseException) -> str | None:
    if isinstance(error, OSError):
        return _DISK_ERRORS.get(error.errno or 0)
    if _is_of_redis(error):
        return "redis"
    if not isinstance(error, (OperationalError, InterfaceError, InternalError)):
        return None
    driver = error.__cause__
    if _SQLITE_SAYS_FULL in str(error):
        return "disk"
    if isinstance(driver, sqlite3.Error):
        # NB: the last byte is the primary code; a full disk that WAL's index does not fit on is an I/O error with one of its own.
        code = getattr(driver, "sqlite_errorcode", 0)
        return "disk" if code == sqlite3.SQLITE_IOERR_SHMSIZE else _SQLITE.get(code & 0xFF)
    state = getattr(driver, "sqlstate", None)
    # Without a state it is the driver itself that has lost the connection, or never had one.
    return _POSTGRES.get(state) or _POSTGRES_CLASSES.get(state[:2]) if state else "database"


def _is_of_redis(error: BaseException) -> bool:
    """Whether Redis's client raised it: it is imported where Redis is used, so not by asking this."""
    if not any(kind.__module__.startswith("redis.") for kind in type(error).__mro__):
        return False
    from redis.exceptions import RedisError

    return isinstance(error, RedisError)
