"""A recording is stored once, under its own name, and says so in the row of its source whatever the row said when it was last read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.webapp.live.following import until
from tests.webapp.live_rows import KeptCluster
from tests.webapp.made_rows import MINE
from webapp.live import live_sources, taping
from webapp.live.present import snapshot_files
from webapp.live.recording import Recorder
from webapp.live.taping import Taping
from webapp.models import LiveSource, Snapshot
from webapp.reading.changes import StoredChange
from webapp.storing import stored_snapshots as snapshots

pytestmark = pytest.mark.django_db(transaction=True)
RULES = "nodes/shop-worker/iptables-save.txt"


class Taped:
    """A cluster that one follower may record; ``row`` is read anew."""

    def __init__(self) -> None:
        self.kept = KeptCluster()
        self.taping = Taping(self.kept.row.id)

    def begin(self) -> Taped:
        live_sources.start_recording(self.row, MINE, "one")
        self.tick(self.row.recording)
        return self

    @property
    def row(self) -> LiveSource:
        return LiveSource.objects.get(id=self.kept.row.id)

    @property
    def state(self) -> str:
        return str(self.row.recording["state"])

    def tick(self, recording: dict[str, Any], by: Taping | None = None) -> None:
        """Let the follower see its row as it is, or was, and go on."""
        (by or self.taping).look(recording)
        (by or self.taping).tick(self.kept.store, {})

    def until(self, state: str) -> dict[str, Any]:
        until(lambda: self.state == state, f"the recording is {state}")
        return self.row.recording

    def change_rules(self) -> None:
        before = self.kept.store[RULES]
        seen_at = time.time() - 3600
        self.taping.note([StoredChange(path=RULES, refs=(), before=before, after=before + b"# more\n", seen_at=seen_at)])


@pytest.fixture
def may_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Nothing is stored until this is set."""
    event, store = threading.Event(), snapshots.store_snapshot

    def waiting(*args: Any, **named: Any) -> Snapshot:
        assert event.wait(20)
        return store(*args, **named)

    monkeypatch.setattr(snapshots, "store_snapshot", waiting)
    yield event
    event.set()


def test_what_is_being_stored_is_not_ended_again(may_store: threading.Event) -> None:
    taped = Taped().begin()
    live_sources.stop_recording(taped.row)
    storing = taped.row.recording
    taped.tick(storing)
    taped.tick(storing)
    taped.tick(storing, by=Taping(taped.row.id))
    assert taped.row.recording | {"error": ""} == storing | {"error": ""}
    with pytest.raises(ValueError, match="being recorded"):
        live_sources.start_recording(taped.row, MINE, "two")
    may_store.set()
    stored = taped.until("stored")
    assert (stored["error"], Snapshot.objects.get(id=stored["snapshot"]).name) == ("", "one")
    taped.tick(storing)
    taped.tick(storing, by=Taping(taped.row.id))
    assert taped.row.recording == stored
    assert Snapshot.objects.count() == 1


def test_a_row_read_before_the_end_begins_nothing(may_store: threading.Event) -> None:
    taped = Taped().begin()
    recording = taped.row.recording
    live_sources.stop_recording(taped.row)
    taped.tick(taped.row.recording)
    taped.tick(recording)
    assert taped.taping._recorder is None
    may_store.set()
    taped.until("stored")


def test_what_was_stored_says_nothing_of_the_next_recording(may_store: threading.Event) -> None:
    taped = Taped().begin()
    live_sources.stop_recording(taped.row)
    taped.tick(taped.row.recording)
    other = taped.row.recording | {"id": "another", "state": "recording", "name": "two"}
    LiveSource.objects.filter(id=taped.row.id).update(recording=other)
    may_store.set()
    until(lambda: Snapshot.objects.filter(name="one").exists(), "the first is stored")
    until(lambda: not any(thread.name == "recording" for thread in threading.enumerate()), "and that was said")
    assert taped.row.recording == other


def test_stored_is_the_last_word_where_another_process_gave_up(may_store: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    taped = Taped().begin()
    live_sources.stop_recording(taped.row)
    taped.tick(taped.row.recording)
    monkeypatch.setattr(taping, "_ended", set())
    taped.tick(taped.row.recording, by=Taping(taped.row.id))
    assert taped.state == "failed"
    may_store.set()
    assert taped.until("stored")["error"] == ""


def test_a_full_recording_ends_at_once_and_is_stored(may_store: threading.Event, settings: Any, tmp_path: Path) -> None:
    taped, probe = Taped(), Recorder(tmp_path / "probe")
    probe.begin(snapshot_files({path: taped.kept.store[path] for path in taped.kept.store}), {}, at=0.0)
    settings.UPLOAD_MAX_ENTRIES = sum(path.is_file() for path in probe.folder.rglob("*"))
    taped.begin()
    recording = taped.row.recording
    taped.change_rules()
    taped.tick(recording)
    taped.tick(recording)
    assert "full" in taped.until("storing")["error"]
    taped.tick(recording)
    assert taped.taping._recorder is None
    may_store.set()
    stored = taped.until("stored")
    assert f"{settings.UPLOAD_MAX_ENTRIES:,} files" in stored["error"]
    assert len(live_sources.open_timeline(Snapshot.objects.get(id=stored["snapshot"])).steps) == 1


def test_a_cluster_that_is_too_large_to_be_recorded_is_said_so(settings: Any) -> None:
    taped = Taped()
    settings.UNPACKED_MAX_BYTES = 1_000
    taped.begin()
    taped.tick(taped.row.recording)
    assert "The recording is full" in taped.until("failed")["error"]
    assert not any((settings.DATA_DIR / "recordings").iterdir())
