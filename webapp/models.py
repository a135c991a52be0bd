"""What is kept: snapshots (immutable bytes elsewhere, a summary here), uploads under way, share links with their frozen answers."""

from __future__ import annotations

import json
import secrets
from typing import Any

import zstandard
from django.db import models
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def new_slug() -> str:
    """Return 16 random base58 characters (93 bits): a snapshot's or an upload's public name."""
    return "".join(secrets.choice(_BASE58) for _ in range(16))


def new_token() -> str:
    """Return 26 random base58 characters (152 bits): whoever knows it may read one frozen answer."""
    return "".join(secrets.choice(_BASE58) for _ in range(26))


class Snapshot(models.Model):
    """One recorded moment of a cluster. Its bytes never change.

    *owner* is a browser session's id. It is empty for what belongs to nobody and everybody sees: demonstration clusters, and what the
    operator imported from the command line.
    """

    id = models.CharField(primary_key=True, max_length=63, default=new_slug)
    name = models.CharField(max_length=200)
    owner = models.CharField(max_length=64, blank=True, default="", db_index=True)
    is_demo = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    taken_at = models.DateTimeField(null=True)
    digest = models.CharField(max_length=64)
    size = models.BigIntegerField()
    file_count = models.IntegerField()
    storage_name = models.CharField(max_length=200, unique=True)
    summary = models.JSONField(default=dict)

    class Meta:
        """Newest first."""

        ordering = ("-created_at", "id")

    def __str__(self) -> str:
        return self.name

    def is_visible_to(self, owner: str) -> bool:
        """Return whether the session *owner* may open this snapshot: its own, or nobody's."""
        return self.owner in ("", owner)

    def is_deletable_by(self, owner: str) -> bool:
        """Return whether the session *owner* may delete this snapshot from the web: only its own."""
        return bool(self.owner) and self.owner == owner


class UploadJob(models.Model):
    """One upload on its way to a snapshot: what it is doing, in words and numbers, and every problem found."""

    class State(models.TextChoices):
        """Where the upload stands."""

        READING = "reading"
        DONE = "done"
        FAILED = "failed"

    id = models.CharField(primary_key=True, max_length=32, default=new_slug)
    owner = models.CharField(max_length=64)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=16, choices=State, default=State.READING)
    text = models.CharField(max_length=200, default="Uploaded, waiting to be read")
    done = models.IntegerField(default=0)
    total = models.IntegerField(default=0)
    status = models.IntegerField(default=202)
    problems = models.JSONField(default=list)
    snapshot = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="jobs")

    @property
    def is_finished(self) -> bool:
        """Return whether nothing more will happen to this upload."""
        return self.state != self.State.READING

    def to_dict(self) -> dict[str, Any]:
        """Return what the socket and the polled page say: state, text, done, total, HTTP status, problems, snapshot id and page."""
        return {
            "type": "upload",
            "id": self.id,
            "state": self.state,
            "text": self.text,
            "done": self.done,
            "total": self.total,
            "status": self.status,
            "problems": self.problems,
            "snapshot": self.snapshot_id,
            "url": _snapshot_url(self.snapshot_id),
        }


class TraceLink(models.Model):
    """A frozen answer under an unguessable token. It opens the same after its snapshot is deleted or the engine has changed."""

    token = models.CharField(primary_key=True, max_length=40, default=new_token)
    owner = models.CharField(max_length=64, db_index=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    query = models.JSONField()
    document_zstd = models.BinaryField()
    snapshot = models.ForeignKey(Snapshot, null=True, on_delete=models.SET_NULL, related_name="links")
    snapshot_digest = models.CharField(max_length=64)
    engine_version = models.CharField(max_length=40)

    class Meta:
        """Newest first."""

        ordering = ("-created_at", "token")

    def __str__(self) -> str:
        return f"link made {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def is_open(self) -> bool:
        """Return whether the link can still be read: neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    @property
    def document(self) -> dict[str, Any]:
        """Return the frozen answer document."""
        document: dict[str, Any] = json.loads(zstandard.ZstdDecompressor().decompress(bytes(self.document_zstd)))
        return document

    @document.setter
    def document(self, value: dict[str, Any]) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        self.document_zstd = zstandard.ZstdCompressor(level=10).compress(text.encode())


def _snapshot_url(slug: str | None) -> str | None:
    if slug is None:
        return None
    try:
        return reverse("snapshot", args=[slug])
    except NoReverseMatch:
        return None
