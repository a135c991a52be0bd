"""The present moment of a followed cluster as an ordinary snapshot."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from webapp import __version__, services
from webapp.live.journal import unpacked
from webapp.live.present import snapshot_files
from webapp.models import LiveItem, LiveSource, Snapshot


def files_of(row: LiveSource) -> dict[str, bytes]:
    """Return the files of a snapshot of this moment. One statement reads all parts: none is of another generation than the rest."""
    parts = LiveItem.objects.filter(source=row.id, body_zstd__isnull=False).values_list("path", "body_zstd")
    return snapshot_files({path: unpacked(body) for path, body in parts}, about(row))


def save(row: LiveSource, *, owner: str, name: str) -> Snapshot:
    """Store the present moment of *row* as a snapshot of *owner*. :raises UploadError: nothing was stored, and why."""
    called = name.strip() or f"{row.name}, {timezone.now():%Y-%m-%d %H:%M:%S}"
    folder = settings.DATA_DIR / "incoming"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        for path, content in files_of(row).items():
            file = Path(made) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return services.store_snapshot(Path(made), name=called, owner=owner)


def about(row: LiveSource) -> dict[str, Any]:
    """Return ``snapshot.json``: when, by what, and when each node's file was read or why it was not."""
    return {
        "collected_at": timezone.now().isoformat(timespec="seconds"),
        "collector": f"hopline {__version__} (live)",
        "redacted": False,
        "files": {f"nodes/{node}/{name}": _said(file) for node, told in row.nodes.items() for name, file in told.get("files", {}).items()},
    }


def _said(file: Mapping[str, Any]) -> dict[str, str]:
    read_at = file.get("read_at")
    said = {"read_at": datetime.fromtimestamp(read_at, UTC).isoformat(timespec="milliseconds")} if read_at else {}
    return said | ({"error": str(file["error"])} if file.get("error") else {})
