"""Uploads in the background: every state they pass, for their owner only, and what a restart makes of them."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from webapp import services, upload_jobs
from webapp.models import Snapshot, UploadJob

pytestmark = pytest.mark.django_db(transaction=True)


def wait_for(job: UploadJob) -> UploadJob:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        row = UploadJob.objects.get(id=job.id)
        if row.is_finished:
            return row
        time.sleep(0.02)
    raise TimeoutError(row.to_dict())


def upload(content: bytes, name: str = "cluster.json", owner: str = "me") -> UploadJob:
    return services.start_upload(SimpleUploadedFile(name, content), name="", owner=owner)


def test_an_upload_becomes_its_owners_snapshot(small: Path, settings) -> None:
    row = wait_for(upload((small / "services.json").read_bytes()))
    assert (row.state, row.status, row.text, row.problems) == ("done", 200, "Stored", [])
    snapshot = Snapshot.objects.get(id=row.snapshot_id)
    assert (snapshot.owner, snapshot.name) == ("me", "cluster")
    assert list((settings.DATA_DIR / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "status", "problem"), [(b"PK\x05\x06 not a zip", 422, "damaged"), (b"x" * 2_000, 413, "limit is 0 MB")]
)
def test_a_refused_upload_lists_its_problems(settings, content: bytes, status: int, problem: str) -> None:
    settings.UPLOAD_MAX_BYTES = 1_000
    row = wait_for(upload(content))
    assert (row.state, row.status, row.snapshot_id) == ("failed", status, None)
    assert problem in row.problems[0]
    assert list((settings.DATA_DIR / "incoming").iterdir()) == []


def test_an_error_of_ours_is_logged_and_said_without_its_details(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, settings
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("an internal detail")

    monkeypatch.setattr(services, "store_snapshot", fail)
    row = wait_for(upload(b"{}"))
    assert (row.state, row.status) == ("failed", 500)
    assert "internal detail" not in row.problems[0]
    assert row.id in row.problems[0]
    assert "internal detail" in caplog.text
    assert list((settings.DATA_DIR / "incoming").iterdir()) == []


def test_only_the_owner_finds_the_upload(small: Path) -> None:
    job = upload((small / "services.json").read_bytes())
    assert services.find_upload(job.id, "me")
    assert services.find_upload(job.id, "you") is None
    assert services.find_upload(job.id, "") is None
    wait_for(job)


def test_an_upload_whose_server_was_killed_is_told_to_have_failed(settings) -> None:
    dead, old = UploadJob.objects.create(owner="me", name="x"), UploadJob.objects.create(owner="me", name="y")
    UploadJob.objects.filter(id=old.id).update(created_at=timezone.now() - timedelta(days=8))
    incoming = settings.DATA_DIR / "incoming"
    incoming.mkdir(parents=True)
    (incoming / f"{dead.id}.kept").write_bytes(b"half")
    services.clean_up()
    row = UploadJob.objects.get()
    assert (row.id, row.state, row.status) == (dead.id, "failed", 500)
    assert "Upload it again" in row.problems[0]
    assert list(incoming.iterdir()) == []


def test_clean_up_leaves_a_running_upload_alone(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = services.store_snapshot

    def store(path: Path, **more: object) -> Snapshot:
        services.clean_up()
        return whole(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(services, "store_snapshot", store)
    assert wait_for(upload((small / "services.json").read_bytes())).state == "done"


def test_an_upload_that_has_been_silent_for_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    job = UploadJob.objects.create(owner="me", name="x")
    UploadJob.objects.update(updated_at=timezone.now() - timedelta(minutes=14))
    assert services.find_upload(job.id, "me").state == "reading"
    UploadJob.objects.update(updated_at=timezone.now() - timedelta(minutes=16))
    assert services.find_upload(job.id, "me").state == "failed"


def test_progress_is_written_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[str] = []
    monkeypatch.setattr(upload_jobs, "_save", lambda row: saved.append(row.text))
    teller = upload_jobs._Teller(UploadJob(owner="me", name="x"))
    for n in range(1_000):
        teller(f"{n}", n, 1_000)
    assert saved[0] == "0"
    assert len(saved) < 50
