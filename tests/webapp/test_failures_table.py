"""What errors of the disk, the database and Redis are taken for; and the pages, sockets and starts that say so."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import DatabaseError, InternalError, OperationalError, ProgrammingError, connection
from django.test import Client
from redis.exceptions import ConnectionError as RedisAway

from tests.conftest import PROJECT
from tests.live_server import environment, free_port
from webapp.http import failures
from webapp.http.failures import FAILURES, cause_of
from webapp.storing.patience import patiently


def sqlite(name: str) -> Exception:
    error = sqlite3.OperationalError(name)
    error.sqlite_errorcode = getattr(sqlite3, name)
    return error


def postgres(state: str | None) -> Exception:
    error = Exception("said by the server")
    error.sqlstate = state  # type: ignore[attr-defined]
    return error


def made(kind: type[Exception], cause: Exception) -> Exception:
    error = kind(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(errno.ENOSPC, "full"), "disk"),
        (OSError(errno.EDQUOT, "quota"), "disk"),
        (OSError(errno.EROFS, "read-only"), "read-only"),
        (OSError(errno.ENOENT, "no such file"), None),
        (ZeroDivisionError(), None),
        (RedisAway(), "redis"),
        (made(OperationalError, sqlite("SQLITE_FULL")), "disk"),
        (made(OperationalError, sqlite("SQLITE_IOERR_SHMSIZE")), "disk"),
        (made(OperationalError, sqlite("SQLITE_READONLY_DIRECTORY")), "read-only"),
        (made(OperationalError, sqlite("SQLITE_CANTOPEN")), "database"),
        (made(OperationalError, sqlite("SQLITE_BUSY")), "database"),
        (made(OperationalError, sqlite("SQLITE_IOERR_WRITE")), "database"),
        # "no such table": nobody is away, that is a fault of ours.
        (made(OperationalError, sqlite("SQLITE_ERROR")), None),
        (made(OperationalError, postgres(None)), "database"),
        (made(OperationalError, postgres("57P01")), "database"),
        (made(OperationalError, postgres("53300")), "database"),
        (made(OperationalError, postgres("53100")), "disk"),
        (made(InternalError, postgres("25006")), "read-only"),
        (made(InternalError, postgres("25P02")), None),
        (made(ProgrammingError, postgres("42P01")), None),
    ],
    ids=repr,
)
def test_an_error_has_the_cause(error: Exception, cause: str | None) -> None:
    assert cause_of(error) == cause
    assert cause is None or cause in FAILURES


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OperationalError("connection refused"), 503, "The database does not answer"),
        (made(InternalError, postgres("25006")), 503, "Nothing can be stored at the moment"),
        (made(OperationalError, sqlite("SQLITE_FULL")), 507, "The disk of this server is full"),
    ],
    ids=["away", "read-only", "full"],
)
def test_a_page_that_needs_it_says_so(client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, words: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("webapp.storing.stored_snapshots.visible_snapshots", fail)
    answer = client.get("/snapshots")
    assert answer.status_code == status
    assert words in answer.content.decode()
    assert ("Retry-After" in answer) == (status == 503)
    assert "default-src 'none'" in answer["Content-Security-Policy"]


def test_what_is_away_for_everybody_is_one_line(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_said_at", {})
    for _ in range(100):
        failures.log_seldom("requests are refused", OperationalError("connection refused\nthe second line"))
    assert [record.getMessage() for record in caplog.records] == ["requests are refused: connection refused\\nthe second line"]


def failing(times: int, error: Exception) -> Callable[[], int]:
    left = [times]

    def work() -> int:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return 1

    return work


@pytest.mark.django_db(transaction=True)
def test_patience_outlasts_a_database_that_is_away() -> None:
    assert patiently(failing(2, OperationalError("connection refused")), 5.0) == 1
    with pytest.raises(OperationalError):
        patiently(failing(99, OperationalError("connection refused")), 0.1)
    with pytest.raises(ProgrammingError):
        patiently(failing(1, ProgrammingError("no such table")), 5.0)


@pytest.mark.django_db
def test_patience_asks_nothing_again_inside_a_transaction() -> None:
    """What came before in it is gone when its connection is made anew."""
    assert connection.in_atomic_block
    with pytest.raises(DatabaseError):
        patiently(failing(1, OperationalError("connection refused")), 5.0)


def test_a_server_whose_database_is_away_says_so_and_does_not_start(tmp_path: Path) -> None:
    address = f"postgres://somebody:a-password@127.0.0.1:{free_port()}/nothing"
    command = [sys.executable, "manage.py", "serve", "--port", str(free_port())]
    env = environment(tmp_path, DATABASE_URL=address)
    result = subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith("CommandError: The database does not answer: ")
    assert "Traceback" not in result.stderr
    assert "a-password" not in result.stderr
