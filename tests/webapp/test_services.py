"""Use cases against the real store: what is stored, what is not, who may, and what survives."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard
from django.core.files.base import ContentFile
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from tests.live_server import PROJECT
from tests.webapp.conftest import RULES, SECRET, write_cluster
from webapp.models import Snapshot, TraceLink
from webapp.storing import snapshot_store, stored_snapshots
from webapp.storing.open_snapshots import opened

pytestmark = pytest.mark.django_db


def stored_files(row: Snapshot) -> dict[str, bytes]:
    return dict(snapshot_store.open_container(row))


def test_a_folder_is_stored_as_it_is(small: Path, own_storage: Path) -> None:
    row = stored_snapshots.store_snapshot(small, name=" My cluster ", owner="me")
    assert (row.name, row.owner, row.is_demo) == ("My cluster", "me", False)
    assert stored_files(row) == {path.relative_to(small).as_posix(): path.read_bytes() for path in small.rglob("*") if path.is_file()}
    assert row.size == sum(len(content) for content in stored_files(row).values())
    assert [path.name for path in own_storage.iterdir()] == [row.storage_name]


def test_the_digest_depends_on_the_content_only(small: Path, tmp_path: Path) -> None:
    packed = tmp_path / "x.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        for path in sorted(small.rglob("*"), reverse=True):
            archive.add(path, f"top/{path.relative_to(small)}", recursive=False)
    rows = [stored_snapshots.store_snapshot(path, owner="me") for path in (small, packed)]
    assert rows[0].digest == rows[1].digest
    (small / "nodes/node-a/iptables-save.txt").write_text(RULES.replace("8080", "8081"))
    assert stored_snapshots.store_snapshot(small, owner="me").digest != rows[0].digest


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("prod.tar.gz", "prod"),
        ("prod.tgz", "prod"),
        ("prod.zip", "prod"),
        ("cluster.json", "cluster"),
        ("v1.20", "v1.20"),
        (".json", "Snapshot"),
    ],
)
def test_without_a_name_the_files_name_will_do(small: Path, filename: str, name: str) -> None:
    assert stored_snapshots.store_snapshot(small, filename=filename).name == name


def test_secrets_are_gone_before_anything_is_stored(tmp_path: Path, own_storage: Path) -> None:
    row = stored_snapshots.store_snapshot(write_cluster(tmp_path / "c", SECRET), owner="me")
    kept = json.loads(stored_files(row)["services.json"])
    assert [item["kind"] for item in kept["items"]] == ["Service"]
    assert "hunter" not in str(stored_files(row))
    assert row.summary["removed"] == ["services.json: removed 1 Secret"]


def test_progress_counts_the_nodes(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    folder = write_cluster(tmp_path / "c", nodes=("a", "b", "c"))
    stored_snapshots.store_snapshot(folder, progress=lambda *progress: told.append(progress))
    assert [text.split()[0] for text, _, _ in told[:4]] == ["Unpacking"] * 4
    assert [progress[1:] for progress in told[:4]] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert told[4:] == [("Reading objects", 0, 0), *((f"Reading rules: node {n} of 3", n - 1, 3) for n in (1, 2, 3))]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "No Service can be read"),
        (b'{"kind": "List", "items": [', "x.json"),
        (b'{"kind": "List", "apiVersion": "v1", "items": []}', "Service"),
    ],
)
def test_what_is_no_snapshot_is_refused_and_nothing_is_left(tmp_path: Path, own_storage: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(stored_snapshots.StoreError, match=reason) as caught:
        stored_snapshots.store_snapshot(tmp_path / "x.json", owner="me")
    assert caught.value.status == 422
    assert not Snapshot.objects.exists()
    assert not own_storage.exists() or not list(own_storage.iterdir())


def test_a_broken_dump_is_stored_and_named(small: Path) -> None:
    (small / "nodes/node-a/iptables-save.txt").write_text("*nat\n-A PREROUTING --no-such thing\nCOMMIT")
    row = stored_snapshots.store_snapshot(small, owner="me")
    [broken] = row.summary["faults"]
    assert broken["file"] == "nodes/node-a/iptables-save.txt"
    assert {fault["line"] for fault in broken["faults"]} == {2}
    assert "^" in broken["faults"][0]["printed"]


def test_a_failed_commit_leaves_no_file(small: Path, own_storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("database gone")

    monkeypatch.setattr(Snapshot, "save", fail)
    with pytest.raises(RuntimeError, match="database gone"):
        stored_snapshots.store_snapshot(small, owner="me")
    assert list(own_storage.iterdir()) == []


def test_lists_show_ones_own_and_nobodys(small: Path) -> None:
    mine, yours, nobodys = (stored_snapshots.store_snapshot(small, name=owner or "nobody", owner=owner) for owner in ("me", "you", ""))
    stored_snapshots.load_demo(small, "demo-a", "demo-a")
    assert [row.name for row in stored_snapshots.visible_snapshots("me")] == ["nobody", "me", "demo-a"]
    assert [row.name for row in stored_snapshots.visible_snapshots("")] == ["nobody", "demo-a"]
    assert stored_snapshots.get_snapshot(mine.id, "me") == mine
    assert stored_snapshots.get_snapshot(nobodys.id, "me") == nobodys
    for owner in ("me", ""):
        with pytest.raises(Snapshot.DoesNotExist):
            stored_snapshots.get_snapshot(yours.id, owner)


def test_only_the_owner_deletes(small: Path, own_storage: Path) -> None:
    row = stored_snapshots.store_snapshot(small, owner="me")
    stored_snapshots.load_demo(small, "demo-a", "demo-a")
    for who in ("you", ""):
        with pytest.raises(PermissionError):
            stored_snapshots.delete_snapshot(row, who)
    with pytest.raises(PermissionError):
        stored_snapshots.delete_snapshot(Snapshot.objects.get(id="demo-a"), "")
    stored_snapshots.delete_snapshot(Snapshot.objects.get(id=row.id), "me")
    assert [left.id for left in Snapshot.objects.all()] == ["demo-a"]
    assert len(list(own_storage.iterdir())) == 1


def test_a_demonstration_cluster_is_loaded_once_and_replaced_when_it_changed(small: Path, own_storage: Path) -> None:
    assert stored_snapshots.load_demo(small, "demo-a", "demo-a") is True
    first = Snapshot.objects.get(id="demo-a")
    assert stored_snapshots.load_demo(small, "demo-a", "demo-a") is False
    (small / "nodes/node-a/iptables-save.txt").write_text(RULES.replace("8080", "8081"))
    assert stored_snapshots.load_demo(small, "demo-a", "demo-a") is True
    second = Snapshot.objects.get(id="demo-a")
    assert second.digest != first.digest
    assert second.created_at == first.created_at
    assert [path.name for path in own_storage.iterdir()] == [second.storage_name]


def test_any_django_storage_will_do(small: Path, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without folders, locks and renames, as an S3-compatible one is."""
    settings.STORAGES = settings.STORAGES | {"snapshots": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}
    row = stored_snapshots.store_snapshot(small, owner="me")
    assert opened.snapshot(row).node_file("node-a", "iptables-save.txt") == RULES
    snapshot_store.storage().save("abandoned", ContentFile(b"half"))
    assert stored_snapshots.clean_up() == []
    monkeypatch.setattr(snapshot_store, "_ABANDONED_AFTER", timedelta(0))
    assert stored_snapshots.clean_up() == ["abandoned"]
    stored_snapshots.delete_snapshot(Snapshot.objects.get(id=row.id), "me")
    assert snapshot_store.storage().listdir("") == ([], [])


# --- opening -------------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_opened_once_and_read_by_the_engine(small: Path) -> None:
    row = stored_snapshots.store_snapshot(small, owner="me")
    recorded = opened.snapshot(row)
    assert recorded.node_file("node-a", "iptables-save.txt") == RULES
    assert opened.snapshot(Snapshot.objects.get(id=row.id)) is recorded
    assert opened.cluster(row) is opened.cluster(row)


def test_threads_that_ask_at_once_get_one_cluster(small: Path) -> None:
    row = stored_snapshots.store_snapshot(small, owner="me")
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(opened.cluster(row))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len(set(map(id, got))) == 1


def test_the_cache_is_bounded_by_recorded_bytes(tmp_path: Path, settings) -> None:
    rows = [
        stored_snapshots.store_snapshot(write_cluster(tmp_path / str(n), nodes=tuple(f"n{n}-{i}" for i in range(5))), owner="me")
        for n in range(4)
    ]
    settings.CACHE_MAX_BYTES = rows[0].size * 2
    for row in rows[:2]:
        opened.snapshot(row)
    opened.snapshot(rows[0])
    opened.snapshot(rows[2])
    assert list(opened.sizes()) == [rows[0].digest, rows[2].digest]
    settings.CACHE_MAX_BYTES = 1
    opened.snapshot(rows[3])
    assert list(opened.sizes()) == [rows[3].digest]


def test_a_deleted_snapshot_leaves_the_cache_unless_another_has_the_same_bytes(small: Path) -> None:
    rows = [stored_snapshots.store_snapshot(small, owner="me") for _ in range(2)]
    opened.snapshot(rows[0])
    stored_snapshots.delete_snapshot(Snapshot.objects.get(id=rows[0].id), "me")
    assert list(opened.sizes()) == [rows[1].digest]
    assert opened.snapshot(rows[1]).node_file("node-a", "iptables-save.txt") == RULES
    stored_snapshots.delete_snapshot(Snapshot.objects.get(id=rows[1].id), "me")
    assert opened.sizes() == {}


@pytest.mark.parametrize(
    ("form", "unpack"), [("tar.zst", lambda b: zstandard.ZstdDecompressor().decompressobj().decompress(b)), ("tar.gz", None)]
)
def test_a_download_is_the_snapshot_again(small: Path, tmp_path: Path, form: str, unpack) -> None:
    row = stored_snapshots.store_snapshot(small, owner="me")
    content = b"".join(stored_snapshots.download(row, form))
    with tarfile.open(fileobj=io.BytesIO(unpack(content) if unpack else content)) as archive:
        assert {name.split("/")[0] for name in archive.getnames()} == {row.id}
    (tmp_path / f"again.{form}").write_bytes(content)
    assert stored_snapshots.store_snapshot(tmp_path / f"again.{form}", owner="me").digest == row.digest


# --- frozen links --------------------------------------------------------------------------------------------------------

DOCUMENT = {"answer": {"version": 1}, "rules": {}, "engine_version": "9.9"}


def test_a_frozen_answer_opens_the_same_after_its_snapshot_is_gone(small: Path) -> None:
    row = stored_snapshots.store_snapshot(small, owner="me")
    link = stored_snapshots.create_link(document=DOCUMENT, query={"to": "x"}, owner="me", snapshot=row)
    stored_snapshots.delete_snapshot(Snapshot.objects.get(id=row.id), "me")
    read = stored_snapshots.read_link(link.token)
    assert (read.document, read.query, read.snapshot, read.snapshot_digest, read.engine_version) == (
        DOCUMENT,
        {"to": "x"},
        None,
        row.digest,
        "9.9",
    )


def test_links_are_listed_and_revoked_by_their_owner_only(small: Path) -> None:
    row = stored_snapshots.store_snapshot(small, owner="me")
    link = stored_snapshots.create_link(document=DOCUMENT, query={}, owner="me", snapshot=row)
    assert list(stored_snapshots.visible_links("me")) == [link]
    assert list(stored_snapshots.visible_links("you")) == list(stored_snapshots.visible_links("")) == []
    for who in ("you", ""):
        with pytest.raises(TraceLink.DoesNotExist):
            stored_snapshots.revoke_link(link.token, who)
    assert stored_snapshots.read_link(link.token).document == DOCUMENT
    stored_snapshots.revoke_link(link.token, "me")
    with pytest.raises(stored_snapshots.LinkGone, match="revoked"):
        stored_snapshots.read_link(link.token)
    assert bytes(TraceLink.objects.get(token=link.token).document_zstd) == b""


def test_an_expired_link_is_gone(small: Path) -> None:
    row = stored_snapshots.store_snapshot(small, owner="me")
    link = stored_snapshots.create_link(document=DOCUMENT, query={}, owner="me", snapshot=row, expires=timezone.now() + timedelta(hours=1))
    assert stored_snapshots.read_link(link.token)
    TraceLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(stored_snapshots.LinkGone, match="expired"):
        stored_snapshots.read_link(link.token)
    with pytest.raises(TraceLink.DoesNotExist):
        stored_snapshots.read_link("2" * 26)
    with pytest.raises(ValueError, match="expired already"):
        stored_snapshots.create_link(document=DOCUMENT, query={}, owner="me", snapshot=row, expires=timezone.now())


def test_clean_up_spares_a_store_that_another_process_is_at(small: Path, own_storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[list[str]] = []
    save = Snapshot.save

    def slow_save(row: Snapshot, *args: object, **kwargs: object) -> None:
        # The file is in place, the row is not: exactly when another server starts.
        script = "import django; django.setup(); from webapp.storing.storage import DurableFolderStorage as S; print(S(location=%r).sweep(lambda _: False))"
        swept = subprocess.run(
            [sys.executable, "-c", script % str(own_storage)],
            cwd=PROJECT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "webapp.settings"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        removed.append(json.loads(swept.stdout.replace("'", '"')))
        save(row, *args, **kwargs)

    monkeypatch.setattr(Snapshot, "save", slow_save)
    row = stored_snapshots.store_snapshot(small, owner="me")
    assert removed == [[]]
    assert stored_files(row)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_committed", [True, False])
def test_after_a_commit_that_breaks_off_the_file_is_where_its_row_is(
    small: Path, own_storage: Path, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    """The database may have committed without having been able to say so."""
    whole = BaseDatabaseWrapper._commit

    def commit(wrapper: BaseDatabaseWrapper) -> None:
        monkeypatch.undo()
        if is_committed:
            whole(wrapper)
        raise OperationalError("the connection was closed")

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", commit)
    with pytest.raises(OperationalError):
        stored_snapshots.store_snapshot(small)
    rows = set(Snapshot.objects.values_list("storage_name", flat=True))
    assert len(rows) == is_committed
    assert {path.name for path in own_storage.iterdir()} == rows
