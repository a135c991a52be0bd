"""A disk without room: whatever was being written, the user is told (507), nothing is left behind, and what was stored is still there."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from tests.live_server import PROJECT, environment
from webapp.http.failures import cause_of
from webapp.http.upload_handler import NamelessFileUploadHandler
from webapp.models import Snapshot, UploadJob
from webapp.storing import storage, stored_snapshots, upload_jobs
from webapp.storing.container import ContainerWriter
from webapp.storing.handed_in import HandedIn
from webapp.uploads import UploadError

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")
FULL_DATABASE = OperationalError("database or disk is full")


def fail(error: Exception) -> Any:
    """Return a function that fails with *error*."""

    def failing(*_: object, **__: object) -> Any:
        raise error

    return failing


MOMENTS: dict[str, tuple[Any, str, Exception]] = {
    "a file is written": (ContainerWriter, "add", NO_ROOM),
    "the container ends": (ContainerWriter, "finish", NO_ROOM),
    "the file is synced": (storage.os, "fsync", NO_ROOM),
    "the file gets its name": (storage.os, "link", NO_ROOM),
    "the folder is synced": (storage, "_sync_folder", NO_ROOM),
    "the row is written": (Snapshot, "save", FULL_DATABASE),
    "a limit of one file": (ContainerWriter, "add", OSError(errno.EFBIG, "File too large")),
    "a quota": (ContainerWriter, "add", OSError(errno.EDQUOT, "Disk quota exceeded")),
}


def left(data: Path) -> list[str]:
    """Return the names of the files in the data folder's folders."""
    return sorted(path.name for folder in ("incoming", "snapshots") for path in (data / folder).glob("*"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", MOMENTS)
def test_storing_says_it_and_leaves_nothing(small: Path, settings, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    first = stored_snapshots.store_snapshot(small)
    before = left(settings.DATA_DIR)
    owner, name, error = MOMENTS[moment]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail(error))
        with pytest.raises(UploadError, match="disk of this server is full") as caught:
            stored_snapshots.store_snapshot(small)
    assert caught.value.status == 507
    assert left(settings.DATA_DIR) == before
    assert [row.id for row in Snapshot.objects.all()] == [first.id]
    stored_snapshots.store_snapshot(small)


@pytest.mark.django_db(transaction=True)
def test_another_fault_is_not_called_a_full_disk(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContainerWriter, "add", fail(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        stored_snapshots.store_snapshot(small)


def test_it_is_recognised_through_what_was_made_of_it() -> None:
    try:
        try:
            raise NO_ROOM
        except OSError as error:
            raise RuntimeError("closing") from error
    except RuntimeError as error:
        assert cause_of(error) == "disk"
    assert cause_of(OperationalError("database is locked")) != "disk"


# --- the web's ways ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_upload_that_cannot_be_kept_is_told_and_gone(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_jobs.fcntl, "flock", fail(NO_ROOM))
    with pytest.raises(UploadError) as caught:
        stored_snapshots.start_upload((HandedIn(path="a.json", content=b"{}"),), name="", owner="me")
    assert (caught.value.status, UploadJob.objects.count(), left(settings.DATA_DIR)) == (507, 0, [])


@pytest.mark.django_db(transaction=True)
def test_a_body_that_does_not_fit_is_told(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's form parser writes the file while it reads the request: before any view."""
    monkeypatch.setattr(NamelessFileUploadHandler, "receive_data_chunk", fail(NO_ROOM))
    client = Client(raise_request_exception=False)
    answer = client.post("/snapshots/new", {"snapshot": io.BytesIO(b"x" * 100_000)})
    assert answer.status_code == 507
    assert "no room left" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert left(settings.DATA_DIR) == []


@pytest.mark.django_db(transaction=True)
def test_a_view_that_cannot_write_its_row_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UploadJob, "save", fail(FULL_DATABASE))
    answer = Client(raise_request_exception=False).post("/snapshots/new", {"snapshot": io.BytesIO(b"{}")})
    assert answer.status_code == 507


# --- a real disk ---------------------------------------------------------------------------------------------------------

_REAL = """
import os, sys, pathlib, django
django.setup()
from django.conf import settings
from webapp.storing import stored_snapshots
from webapp.uploads import UploadError
source, filler = pathlib.Path(sys.argv[1]), settings.DATA_DIR / "filler"
first = stored_snapshots.store_snapshot(source)
def left():
    return sorted(path.name for folder in ("incoming", "snapshots") for path in (settings.DATA_DIR / folder).glob("*"))
before = left()
with filler.open("wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass
for _ in range(3):
    try:
        stored_snapshots.store_snapshot(source)
    except UploadError as error:
        assert error.status == 507, error
    else:
        raise AssertionError("it was stored")
    assert left() == before, left()
filler.unlink()
stored_snapshots.store_snapshot(source)
print("held")
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare: it mounts a small file system")
def test_a_small_file_system_that_fills_up(small: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=6m", "none", str(data)], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    script = 'mount -t tmpfs -o size=6m none "$1" && "$2" manage.py migrate --verbosity 0 && exec "$2" -W ignore -c "$3" "$4"'
    command = ["unshare", "-m", "sh", "-c", script, "x", str(data), sys.executable, _REAL, str(small)]
    done = subprocess.run(command, cwd=PROJECT, env=environment(data), capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr[-2_000:]
