"""Recording a followed cluster as a timeline: what the writer learns goes to the recorder; the end is stored as a snapshot.

``begin``, ``note`` and ``tick`` are called in the writer's thread only; ``look`` in the supervisor's.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from webapp.live.paths import FilePath, ObjectPath, parse_path
from webapp.live.present import snapshot_files
from webapp.live.recording import Recorder, RecordingFull
from webapp.live.store import Store, StoredChange
from webapp.models import LiveSource

logger = logging.getLogger(__name__)
_CLOCKS_DIFFER_BY = 5.0
_ABANDONED_SECONDS = 86_400.0


class Taping:
    """The recording of one source, if somebody wants one."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._wanted: dict[str, Any] = {}
        self._recorder: Recorder | None = None
        self._error = ""
        self._made_at = time.time()

    def look(self, recording: dict[str, Any]) -> None:
        """Take what the source's row says of its recording."""
        self._wanted = recording

    def tick(self, store: Store, versions: Mapping[str, str]) -> None:
        """Begin, go on or end as wanted. *versions* are the lists' resourceVersions by kind."""
        state = self._wanted.get("state")
        if state == "recording" and self._recorder is None and not self._error:
            self._begin_or_give_up(store, versions)
        elif state == "storing":
            self._finish()
        elif self._recorder is not None:
            self._attempt(lambda recorder: recorder.tick(time.time()))

    def note(self, changes: Sequence[StoredChange]) -> None:
        """Record what changed."""
        if self._recorder is not None:
            for change in changes:
                self._attempt(lambda recorder, change=change: _record(recorder, change))

    def _attempt(self, work: Any) -> None:
        if self._recorder is None or self._error:
            return
        try:
            work(self._recorder)
        except (RecordingFull, OSError) as error:
            self._error = str(error)
            logger.warning("the recording of source %s ends: %s", self._source, error)

    def close(self) -> None:
        """The follower ends: store what was recorded so far."""
        if self._recorder is not None and self._wanted.get("state") == "recording":
            _store(self._source, self._recorder, self._wanted, self._error or "It ended early: the follower was stopped.")
            self._recorder = None

    def _begin_or_give_up(self, store: Store, versions: Mapping[str, str]) -> None:
        if float(self._wanted.get("since") or 0.0) >= self._made_at - _CLOCKS_DIFFER_BY:
            self._begin(store, versions)
        else:
            self._wanted = {}
            _say(self._source, {"state": "failed", "error": "The process that recorded it has ended."})

    def _begin(self, store: Store, versions: Mapping[str, str]) -> None:
        folder = settings.DATA_DIR / "recordings"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(folder)
        try:
            self._recorder = Recorder(Path(tempfile.mkdtemp(dir=folder)) / "timeline")
        except OSError as error:
            self._error = str(error)
            return
        base = snapshot_files({path: store[path] for path in store})
        self._attempt(lambda recorder: recorder.begin(base, versions, time.time()))

    def _finish(self) -> None:
        recorder, self._recorder = self._recorder, None
        wanted, self._wanted = self._wanted, {}
        error, self._error = self._error, ""
        threading.Thread(target=lambda: _store(self._source, recorder, wanted, error), name="recording", daemon=True).start()


def _sweep(folder: Path) -> None:
    """Delete what killed processes left of their recordings: nothing has been written there for a day."""
    for left in folder.iterdir():
        if max((path.stat().st_mtime for path in (left, *left.rglob("*"))), default=0.0) < time.time() - _ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _record(recorder: Recorder, change: StoredChange) -> None:
    match parse_path(change.path):
        case ObjectPath(kind=kind):
            event = "ADDED" if change.before is None else "DELETED" if change.after is None else "MODIFIED"
            body = change.before if change.after is None else change.after
            recorder.event(event, kind, json.loads(body or b"{}"), change.seen_at)
        case FilePath(node=node, name=name) if change.after is not None and change.after != change.before:
            recorder.file(node, name, change.after, change.seen_at)


def _store(source: str, recorder: Recorder | None, wanted: dict[str, Any], error: str) -> None:
    """Store the recording as a snapshot and say so in the source's row."""
    said: dict[str, Any] = {"state": "failed", "error": error or "Nothing was recorded: the follower changed meanwhile."}
    try:
        if recorder is not None:
            said = {"state": "stored", "snapshot": _stored(recorder, wanted), "error": error}
    except Exception as failure:
        logger.exception("the recording of source %s was not stored", source)
        said = {"state": "failed", "error": str(failure)[:300]}
    finally:
        if recorder is not None:
            shutil.rmtree(recorder.folder.parent, ignore_errors=True)
        _say(source, said)
        connection.close()


def _stored(recorder: Recorder, wanted: dict[str, Any]) -> str:
    from webapp import services

    folder = recorder.finish(time.time())
    return services.store_snapshot(folder, name=str(wanted.get("name") or "Recording"), owner=str(wanted.get("owner") or "")).id


def _say(source: str, said: dict[str, Any]) -> None:
    with transaction.atomic():
        row = LiveSource.objects.select_for_update().filter(id=source).first()
        if row is not None:
            row.recording = row.recording | said
            row.save(update_fields=["recording"])
