"""Use cases: store a snapshot, follow its upload, open it for the engine, hand it out again, delete it; freeze, read and revoke answers.

Views, sockets and commands call these functions and nothing below them. Signatures first; bodies follow in this file's modules.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db.models import QuerySet

from webapp.models import Snapshot, TraceLink, UploadJob

Progress = Callable[[str, int, int], None]
"""Told what is being done in words, how far it is, and of how much."""


class StoreError(Exception):
    """The source cannot be stored; *problems* are sentences for people, *status* is the HTTP status that fits (413 or 422)."""

    def __init__(self, *problems: str, status: int = 422) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.status = status


class LinkGone(Exception):
    """The frozen link was revoked or has expired (410); *link* is its row."""

    def __init__(self, link: TraceLink) -> None:
        super().__init__("revoked" if link.revoked_at else "expired")
        self.link = link


def store_snapshot(
    path: Path,
    *,
    filename: str | None = None,
    name: str = "",
    owner: str = "",
    progress: Progress | None = None,
    demo_slug: str | None = None,
) -> Snapshot:
    """Store the snapshot in *path* (folder, archive or single file; *filename* is what the user called it) and return its row.

    :raises StoreError: nothing was stored, and why.
    """
    raise NotImplementedError


def start_upload(file: UploadedFile, *, name: str, owner: str) -> UploadJob:
    """Keep the uploaded file and store it in the background; returns the job to follow."""
    raise NotImplementedError


def find_upload(job: str, owner: str) -> UploadJob | None:
    """Return *owner*'s upload with that id, or None."""
    return UploadJob.objects.filter(id=job, owner=owner).first() if owner else None


def upload_group(job: str) -> str:
    """Return the channel group that is told about the upload's changes."""
    return f"upload.{job}"


def visible_snapshots(owner: str) -> QuerySet[Snapshot]:
    """Return the demonstration clusters and *owner*'s own snapshots, newest first, demonstrations last."""
    raise NotImplementedError


def get_snapshot(slug: str, owner: str) -> Snapshot:
    """Return the snapshot if *owner* may see it. :raises Snapshot.DoesNotExist: no such snapshot for this owner."""
    raise NotImplementedError


def open_snapshot(row: Snapshot) -> Any:
    """Return the engine's (lazy) tracer Snapshot, from a bounded cache."""
    raise NotImplementedError


def open_cluster(row: Snapshot) -> Any:
    """Return the engine's Cluster, from a bounded cache."""
    raise NotImplementedError


def delete_snapshot(row: Snapshot, owner: str) -> None:
    """Delete *owner*'s snapshot; links made from it keep opening. :raises PermissionError: not the owner's, or a demonstration cluster."""
    raise NotImplementedError


def download(row: Snapshot, form: str = "tar.zst") -> AsyncIterator[bytes]:
    """Return the snapshot as an archive in chunks; *form* is ``tar.zst`` or ``tar.gz``."""
    raise NotImplementedError


def create_link(
    *, document: dict[str, Any], query: dict[str, Any], owner: str, snapshot: Snapshot, expires: datetime | None = None
) -> TraceLink:
    """Freeze the answer document under a new token."""
    raise NotImplementedError


def read_link(token: str) -> TraceLink:
    """Return the link if it is open. :raises TraceLink.DoesNotExist: no such token. :raises LinkGone: revoked or expired (410)."""
    raise NotImplementedError


def visible_links(owner: str) -> QuerySet[TraceLink]:
    """Return *owner*'s links, newest first (without loading the documents)."""
    raise NotImplementedError


def revoke_link(token: str, owner: str) -> TraceLink:
    """Close *owner*'s link for good. :raises TraceLink.DoesNotExist: not the owner's."""
    raise NotImplementedError
