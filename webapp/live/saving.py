"""The present moment of a followed cluster as an ordinary snapshot; of a stale one, the last moment of which something is known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

from webapp import __version__
from webapp.live import announce, lease
from webapp.live.journal import unpacked
from webapp.live.present import snapshot_files
from webapp.models import LiveItem, LiveSource, Snapshot
from webapp.storing import stored_snapshots
from webapp.storing.storage import held_folder


def files_of(row: LiveSource) -> dict[str, bytes]:
    """Return the files of a snapshot of this moment. One statement reads all parts: none is of another generation than the rest."""
    parts = LiveItem.objects.filter(source=row.id, body_zstd__isnull=False).values_list("path", "body_zstd")
    return snapshot_files({path: unpacked(body) for path, body in parts if body is not None}, about(row))


def save(row: LiveSource, *, owner: str, name: str) -> Snapshot:
    """Store the present moment of *row* as a snapshot of *owner*. :raises UploadError: nothing was stored, and why."""
    called = name.strip() or f"{row.name}, {collected_at(row):%Y-%m-%d %H:%M:%S}"
    folder = settings.DATA_DIR / "incoming"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with held_folder(folder) as made:
        for path, content in files_of(row).items():
            file = made / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return stored_snapshots.store_snapshot(made, name=called, owner=owner)


def about(row: LiveSource) -> dict[str, Any]:
    """Return ``snapshot.json``: when, by what, and when each node's file was read or why it was not.

    ``stale_since`` stands in that of a picture that nobody kept fresh any more.
    """
    since = _stale_since(row)
    return {
        "collected_at": collected_at(row).isoformat(timespec="seconds"),
        **({} if since is None else {"stale_since": since.isoformat(timespec="seconds")}),
        "collector": f"hopline {__version__} (live)",
        "redacted": False,
        "files": {f"nodes/{node}/{name}": _said(file) for node, told in row.nodes.items() for name, file in told.get("files", {}).items()},
    }


def collected_at(row: LiveSource) -> datetime:
    """Return the last moment of which the picture of *row* is known to be: now if it is live, else the last news before it went stale.

    NB: state_since of a stale row may be later than that: whoever cannot connect says so anew.
    """
    now = announce.standing(row)
    if now.state == LiveSource.State.LIVE:
        return timezone.now()
    if row.state == LiveSource.State.LIVE:
        # It was live for as long as somebody renewed the lease.
        renewed = row.lease_until - lease.LEASE if row.lease_until else row.state_since
        return max(row.state_since, renewed, *_news(row))
    return min(now.since, max(_news(row), default=now.since))


def _stale_since(row: LiveSource) -> datetime | None:
    if announce.standing(row).state != LiveSource.State.STALE:
        return None
    if row.state == LiveSource.State.LIVE:
        return row.lease_until or collected_at(row)
    return row.state_since


def _news(row: LiveSource) -> list[datetime]:
    """Return when something was last heard of the cluster: the last change that was written, and when each node was read."""
    read = [datetime.fromtimestamp(told["read_at"], UTC) for told in row.nodes.values() if told.get("read_at")]
    return [*([row.changed_at] if row.changed_at else []), *read]


def _said(file: Mapping[str, Any]) -> dict[str, str]:
    read_at = file.get("read_at")
    said = {"read_at": datetime.fromtimestamp(read_at, UTC).isoformat(timespec="milliseconds")} if read_at else {}
    return said | ({"error": str(file["error"])} if file.get("error") else {})
