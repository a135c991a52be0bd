"""What is kept: snapshots (immutable bytes elsewhere, a summary here), uploads under way, share links with their frozen answers."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.db import models
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from webapp import zstd

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
        document: dict[str, Any] = json.loads(zstd.unpacked(bytes(self.document_zstd)))
        return document

    @document.setter
    def document(self, value: dict[str, Any]) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        self.document_zstd = zstd.packed(text.encode(), level=10)


class Manifest(models.Model):
    """A manifest that a browser session handed in, to ask what it would change: *digest* tells its content, *text* is JSON objects."""

    id = models.BigAutoField(primary_key=True)
    owner = models.CharField(max_length=64)
    digest = models.CharField(max_length=32)
    name = models.CharField(max_length=200, blank=True, default="")
    used_at = models.DateTimeField(default=timezone.now, db_index=True)
    text_zstd = models.BinaryField()

    class Meta:
        """A session has each once."""

        constraints = (models.UniqueConstraint(fields=("owner", "digest"), name="manifest_of_owner"),)

    def __str__(self) -> str:
        return self.name or self.digest

    @property
    def text(self) -> str:
        """Return the manifest's canonical JSON."""
        return zstd.unpacked(bytes(self.text_zstd)).decode()


class LiveSource(models.Model):
    """A cluster that is followed, or may be: a context of the server's kubeconfig, the cluster Hopline runs in, or a timeline being played.

    What it knows is in its LiveItems; this row says how far that is (*generation*), and who of several web processes follows (*lease*).
    No credentials: *context* is a name in the server's kubeconfig. *owner* is empty for what everybody sees. *asked*: what people want of
    the follower once (a node's conntrack). *examples*: questions to try (example_questions.py). Before the generation *told_from*, what is
    gone has been pruned, or the cluster was connected anew. The generation is 0 until something is known, then counts up from *told_from*.
    """

    class Kind(models.TextChoices):
        """Where the API server is."""

        CONTEXT = "context"
        IN_CLUSTER = "in-cluster"
        TIMELINE = "timeline"

    class Readings(models.TextChoices):
        """How the rules of nodes are read."""

        EXEC = "exec"
        DAEMONSET = "daemonset"
        NONE = "none"

    class State(models.TextChoices):
        """How fresh the picture is: ``stale`` means the connection is lost and the last picture is shown."""

        CONNECTING = "connecting"
        LIVE = "live"
        STALE = "stale"
        STOPPED = "stopped"

    id = models.CharField(primary_key=True, max_length=63, default=new_slug)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=16, choices=Kind)
    context = models.CharField(max_length=253, blank=True, default="")
    timeline = models.ForeignKey(Snapshot, null=True, on_delete=models.CASCADE, related_name="played")
    owner = models.CharField(max_length=64, blank=True, default="", db_index=True)
    readings = models.CharField(max_length=16, choices=Readings, default=Readings.EXEC)
    wanted = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    watched_at = models.DateTimeField(default=timezone.now)
    generation = models.BigIntegerField(default=0)
    changed_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=16, choices=State, default=State.CONNECTING)
    state_text = models.CharField(max_length=500, blank=True, default="")
    state_since = models.DateTimeField(default=timezone.now)
    heads = models.JSONField(default=dict)
    nodes = models.JSONField(default=dict)
    playback = models.JSONField(default=dict)
    recording = models.JSONField(default=dict)
    asked = models.JSONField(default=dict)
    examples = models.JSONField(default=dict)
    told_from = models.BigIntegerField(default=0)
    lease_holder = models.CharField(max_length=64, blank=True, default="")
    lease_until = models.DateTimeField(null=True)

    class Meta:
        """Oldest first."""

        ordering = ("created_at", "id")

    def __str__(self) -> str:
        return self.name

    def is_visible_to(self, owner: str) -> bool:
        """Return whether the session *owner* may open this source: its own, or everybody's."""
        return self.owner in ("", owner)


class LiveItem(models.Model):
    """One object or node file of a followed cluster, as it is now: the path is that of a snapshot (``objects/services/NS/NAME.json``,
    ``nodes/NODE/iptables-save.txt``), *generation* when it last changed, *refs* what pages call it, with spaces between.
    Without a body it is gone; such rows are pruned after a while.
    """

    id = models.BigAutoField(primary_key=True)
    source = models.ForeignKey(LiveSource, on_delete=models.CASCADE, related_name="items")
    path = models.CharField(max_length=600)
    generation = models.BigIntegerField()
    seen_at = models.FloatField()
    refs = models.TextField(blank=True, default="")
    body_zstd = models.BinaryField(null=True)

    class Meta:
        """A replica asks for everything after the generation it has."""

        constraints = (models.UniqueConstraint(fields=("source", "path"), name="live_item_path"),)
        indexes = (models.Index(fields=("source", "generation"), name="live_item_generation"),)

    def __str__(self) -> str:
        return self.path


def _snapshot_url(slug: str | None) -> str | None:
    if slug is None:
        return None
    try:
        return reverse("snapshot", args=[slug])
    except NoReverseMatch:
        return None
