"""Recording a followed cluster as a timeline: what the writer learns goes to the recorder; the end is stored as a snapshot.

``note``, ``tick`` and ``close`` are called in the writer's thread only; ``look`` in the supervisor's. What ``look`` brings may be older
than what has been said since: a recording that is being stored is not begun or ended again, and the row changes only where it still is
about the same recording, in a state that the new one may follow.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import Error, connection, transaction

from webapp.live.present import snapshot_files
from webapp.live.recording import MOST_BYTES, Recorder, RecordingFull
from webapp.live.store import Store
from webapp.models import LiveSource
from webapp.reading.changes import StoredChange
from webapp.reading.paths import FilePath, ObjectPath, parse_path
from webapp.storing.storage import HeldFolder
from webapp.uploads import Limits

logger = logging.getLogger(__name__)
_CLOCKS_DIFFER_BY = 5.0
_LONGEST_ERROR = 300
_SAID_AGAIN_AFTER = (0.5, 1.0, 2.0)
_FOLLOWS = {
    "storing": ("recording",),
    "failed": ("recording", "storing"),
    # Another process may have given up on a recording that this one was storing: what is stored is the truth.
    "stored": ("recording", "storing", "failed"),
}
_ended: set[str] = set()
"""The recordings that this process has begun to store, or to which nothing more can be added."""


class Taping:
    """The recording of one source, if somebody wants one."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._wanted: dict[str, Any] = {}
        self._recorder: Recorder | None = None
        self._recorded: dict[str, Any] = {}
        self._error = ""
        self._held: HeldFolder | None = None
        self._made_at = time.time()

    def look(self, recording: dict[str, Any]) -> None:
        """Take what the source's row says of its recording."""
        self._wanted = recording

    def tick(self, store: Store, versions: Mapping[str, str]) -> None:
        """Begin, go on or end as wanted. *versions* are the lists' resourceVersions by kind."""
        wanted = self._wanted
        state = wanted.get("state")
        if self._recorder is None:
            if state in ("recording", "storing") and _id_of(wanted) not in _ended:
                self._begin_or_give_up(wanted, store, versions)
        elif self._error or state == "storing":
            self._finish(self._recorder)
        else:
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
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            is_early = self._wanted.get("state") != "storing"
            _ended.add(_id_of(self._recorded))
            error = self._error or ("It ended early: the follower was stopped." if is_early else "")
            _store(self._source, recorder, self._held, self._recorded, error)

    def _begin_or_give_up(self, wanted: dict[str, Any], store: Store, versions: Mapping[str, str]) -> None:
        if wanted["state"] == "storing":
            _say(self._source, wanted, {"state": "failed", "error": "Nothing was recorded: the follower changed meanwhile."})
        elif float(wanted.get("since") or 0.0) >= self._made_at - _CLOCKS_DIFFER_BY:
            self._begin(wanted, store, versions)
        else:
            _say(self._source, wanted, {"state": "failed", "error": "The process that recorded it has ended."})

    def _begin(self, wanted: dict[str, Any], store: Store, versions: Mapping[str, str]) -> None:
        folder, limits = settings.DATA_DIR / "recordings", Limits.from_settings()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._held = None
            self._held = HeldFolder(folder)
            made = self._held.path / "timeline"
            recorder = Recorder(made, most_bytes=min(MOST_BYTES, limits.unpacked_bytes), most_files=limits.entries)
        except OSError as error:
            if self._held is not None:
                self._held.remove()
            _say(self._source, wanted, {"state": "failed", "error": str(error)[:_LONGEST_ERROR]})
            return
        self._recorder, self._recorded, self._error = recorder, wanted, ""
        base = snapshot_files({path: store[path] for path in store})
        self._attempt(lambda recorder: recorder.begin(base, versions, time.time()))

    def _finish(self, recorder: Recorder) -> None:
        self._recorder = None
        recorded, error = self._recorded, self._error
        # NB: before anything else: the next look may bring the row as it was.
        _ended.add(_id_of(recorded))
        held = self._held
        threading.Thread(target=lambda: _store(self._source, recorder, held, recorded, error), name="recording", daemon=True).start()


def _id_of(recording: Mapping[str, Any]) -> str:
    """Return what tells one recording from all others; those that were begun by an older Hopline have only their beginning."""
    return str(recording.get("id") or recording.get("since") or "")


def _record(recorder: Recorder, change: StoredChange) -> None:
    match parse_path(change.path):
        case ObjectPath(kind=kind):
            event = "ADDED" if change.before is None else "DELETED" if change.after is None else "MODIFIED"
            body = change.before if change.after is None else change.after
            recorder.event(event, kind, json.loads(body or b"{}"), change.seen_at)
        case FilePath(node=node, name=name) if change.after is not None and change.after != change.before:
            recorder.file(node, name, change.after, change.seen_at)


def _store(source: str, recorder: Recorder, held: HeldFolder | None, recorded: dict[str, Any], error: str) -> None:
    """Store the recording as a snapshot and say so in the source's row: at once that it has ended, and at last what came of it."""
    error = error[:_LONGEST_ERROR]
    try:
        _say(source, recorded, {"state": "storing", "error": error})
        said = {"state": "stored", "snapshot": _stored(recorder, recorded, error), "error": error}
    except Exception as failure:
        logger.exception("the recording of source %s was not stored", source)
        said = {"state": "failed", "error": str(failure)[:_LONGEST_ERROR]}
    if held is not None:
        held.remove()
    for seconds in (*_SAID_AGAIN_AFTER, 0.0):
        if _say(source, recorded, said):
            break
        time.sleep(seconds)
    connection.close()


def _stored(recorder: Recorder, recorded: dict[str, Any], error: str) -> str:
    from webapp.storing import stored_snapshots

    folder = recorder.finish(time.time())
    if not recorder.steps:
        raise RecordingFull(error or "Not even the cluster as it was could be recorded.")
    return stored_snapshots.store_snapshot(folder, name=str(recorded.get("name") or "Recording"), owner=str(recorded.get("owner") or "")).id


def _say(source: str, recorded: Mapping[str, Any], said: dict[str, Any]) -> bool:
    """Say it in the source's row if that is still about *recorded*, and *said* may follow; return whether the database could be asked."""
    try:
        with transaction.atomic():
            row = LiveSource.objects.select_for_update().filter(id=source).first()
            if row is not None and _id_of(row.recording) == _id_of(recorded) and row.recording.get("state") in _FOLLOWS[said["state"]]:
                row.recording = row.recording | said
                row.save(update_fields=["recording"])
    except Error as error:
        logger.warning("source %s could not be told of its recording: %s", source, error)
        connection.close()
        return False
    return True
