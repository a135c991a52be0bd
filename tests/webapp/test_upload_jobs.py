"""Uploads in the background: every state they pass, for their owner only, and what a restart makes of them."""

from __future__ import annotations

import errno
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import OperationalError
from django.utils import timezone

from webapp.models import Snapshot, UploadJob
from webapp.storing import stored_snapshots, upload_jobs
from webapp.storing.handed_in import HandedIn

pytestmark = pytest.mark.django_db(transaction=True)


def wait_for(job: UploadJob) -> UploadJob:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        row = UploadJob.objects.get(id=job.id)
        if row.is_finished:
            return row
        time.sleep(0.02)
    raise TimeoutError(row.to_dict())


def is_soon_empty(folder: Path) -> bool:
    """Return whether nothing is kept: a file goes when its row has said what came of it."""
    deadline = time.monotonic() + 10
    while list(folder.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not list(folder.iterdir())


def upload(content: bytes, name: str = "cluster.json", owner: str = "me") -> UploadJob:
    return stored_snapshots.start_upload((HandedIn(path=name, content=content),), name="", owner=owner)


def test_an_upload_becomes_its_owners_snapshot(small: Path, settings) -> None:
    row = wait_for(upload((small / "services.json").read_bytes()))
    assert (row.state, row.status, row.text, row.problems) == ("done", 200, "Stored", [])
    snapshot = Snapshot.objects.get(id=row.snapshot_id)
    assert (snapshot.owner, snapshot.name) == ("me", "cluster")
    assert is_soon_empty(settings.DATA_DIR / "incoming")


@pytest.mark.parametrize(
    ("content", "status", "problem"), [(b"PK\x05\x06 not a zip", 422, "damaged"), (b"x" * 2_000, 413, "limit is 0 MB")]
)
def test_a_refused_upload_lists_its_problems(settings, content: bytes, status: int, problem: str) -> None:
    settings.UPLOAD_MAX_BYTES = 1_000
    row = wait_for(upload(content))
    assert (row.state, row.status, row.snapshot_id) == ("failed", status, None)
    assert problem in row.problems[0]
    assert is_soon_empty(settings.DATA_DIR / "incoming")


def test_an_error_of_ours_is_logged_and_said_without_its_details(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("an internal detail")

    monkeypatch.setattr(stored_snapshots, "store_snapshot", fail)
    row = wait_for(upload(b"{}"))
    assert (row.state, row.status) == ("failed", 500)
    assert "internal detail" not in row.problems[0]
    assert row.id in row.problems[0]
    assert "internal detail" in caplog.text
    assert is_soon_empty(settings.DATA_DIR / "incoming")


def test_only_the_owner_finds_the_upload(small: Path) -> None:
    job = upload((small / "services.json").read_bytes())
    assert stored_snapshots.find_upload(job.id, "me")
    assert stored_snapshots.find_upload(job.id, "you") is None
    assert stored_snapshots.find_upload(job.id, "") is None
    wait_for(job)


def test_an_upload_whose_server_was_killed_is_told_to_have_failed(settings) -> None:
    dead, old = UploadJob.objects.create(owner="me", name="x"), UploadJob.objects.create(owner="me", name="y")
    UploadJob.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(days=8))
    incoming = settings.DATA_DIR / "incoming"
    incoming.mkdir(parents=True)
    (incoming / f"{dead.id}.kept").write_bytes(b"half")
    stored_snapshots.clean_up()
    row = UploadJob.objects.get()
    assert (row.id, row.state, row.status) == (dead.id, "failed", 503)
    assert "Upload it again" in row.problems[0]
    assert list(incoming.iterdir()) == []


def test_a_folder_that_a_killed_process_left_keeps_no_server_from_starting(settings) -> None:
    left = settings.DATA_DIR / "incoming" / "tmp-of-a-killed-process"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    (left / "services.json").write_bytes(b"{}")
    stored_snapshots.clean_up()
    assert list((settings.DATA_DIR / "incoming").iterdir()) == []


def test_clean_up_leaves_a_running_upload_alone(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stored_snapshots.store_snapshot

    def store(path: Path, **more: object) -> Snapshot:
        stored_snapshots.clean_up()
        return whole(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(stored_snapshots, "store_snapshot", store)
    assert wait_for(upload((small / "services.json").read_bytes())).state == "done"


def test_an_upload_whose_file_is_elsewhere_and_that_has_been_silent_for_long_has_failed() -> None:
    job = UploadJob.objects.create(owner="me", name="x")
    UploadJob.objects.update(updated_at=timezone.now() - timedelta(minutes=14))
    assert stored_snapshots.find_upload(job.id, "me").state == "reading"
    UploadJob.objects.update(updated_at=timezone.now() - timedelta(minutes=16))
    assert stored_snapshots.find_upload(job.id, "me").state == "failed"


def test_an_upload_that_somebody_reads_goes_on_whatever_the_clock_says(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, states = stored_snapshots.store_snapshot, []

    def store(path: Path, **more: object) -> Snapshot:
        UploadJob.objects.update(updated_at=timezone.now() - timedelta(hours=5))
        states.extend([stored_snapshots.find_upload(path.stem, "me").state, *[row.state for row in stored_snapshots.reading_uploads("me")]])
        return whole(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(stored_snapshots, "store_snapshot", store)
    assert wait_for(upload((small / "services.json").read_bytes())).state == "done"
    assert states == ["reading", "reading"]


def test_an_upload_that_nobody_reads_any_more_says_so_to_whoever_looks(settings) -> None:
    incoming = settings.DATA_DIR / "incoming"
    incoming.mkdir(parents=True)
    for look in (
        lambda job: stored_snapshots.find_upload(job.id, "me").state,
        lambda _: stored_snapshots.reading_uploads("me") or "failed",
    ):
        job = UploadJob.objects.create(owner="me", name="x")
        (incoming / f"{job.id}.kept").write_bytes(b"half")
        assert look(job) == "failed"
        assert UploadJob.objects.get(id=job.id).state == "failed"
        assert list(incoming.iterdir()) == []


def test_what_was_said_to_have_failed_is_not_stored_after_all(small: Path, monkeypatch: pytest.MonkeyPatch, settings) -> None:
    whole = stored_snapshots.store_snapshot

    def store(path: Path, **more: object) -> Snapshot:
        UploadJob.objects.filter(id=path.stem).update(state="failed", problems=["It was given up."])
        return whole(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(stored_snapshots, "store_snapshot", store)
    row = wait_for(upload((small / "services.json").read_bytes()))
    assert is_soon_empty(settings.DATA_DIR / "incoming")
    assert (row.problems, Snapshot.objects.count()) == (["It was given up."], 0)
    assert not list((settings.DATA_DIR / "snapshots").iterdir())


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 507, "no room left on this server"),
        (OperationalError("connection refused"), 503, "database does not answer"),
    ],
)
def test_a_disk_or_database_that_is_away_is_said_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, status: int, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(stored_snapshots, "store_snapshot", fail)
    row = wait_for(upload(b"{}"))
    assert (row.state, row.status) == ("failed", status)
    assert said in row.problems[0]
    assert "nothing was stored" in row.problems[0]
    assert "Traceback" not in caplog.text


def test_what_could_not_be_said_is_said_when_the_database_is_back(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(upload_jobs, "patiently", away)
    job = upload(b"{}")
    incoming = settings.DATA_DIR / "incoming"
    deadline = time.monotonic() + 10
    while stored_snapshots.find_upload(job.id, "me").state != "failed":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "nothing was stored" in UploadJob.objects.get(id=job.id).problems[0]
    assert list(incoming.iterdir()) == []


def test_progress_is_written_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []
    monkeypatch.setattr(upload_jobs, "_update", lambda row, **columns: saved.append(columns["text"]))
    teller = upload_jobs._Teller(UploadJob(owner="me", name="x"))
    for n in range(1_000):
        teller(f"{n}", n, 1_000)
    assert saved[0] == "0"
    assert len(saved) < 50
