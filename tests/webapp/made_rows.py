"""Rows for the pages' tests, without anything stored behind them, and clients of two browser sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.test import Client

from webapp.models import Snapshot, TraceLink, new_slug

MINE, OTHER = "a" * 32, "b" * 32
QUERY: dict[str, Any] = {
    "id": "",
    "from": {"kind": "external", "ip": "203.0.113.10"},
    "to": {"host": "198.51.100.10", "port": 443},
    "protocol": "tcp",
    "source_port": None,
}


def client_of(owner: str) -> Client:
    """Return a client whose signed session belongs to *owner*."""
    client = Client()
    session = client.session
    session["owner"] = owner
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


def made_snapshot(owner: str = MINE, name: str = "my cluster", **fields: Any) -> Snapshot:
    """Return a stored row of *owner* (its bytes are nowhere)."""
    slug = fields.pop("id", new_slug())
    return Snapshot.objects.create(
        id=slug, name=name, owner=owner, digest="0" * 64, size=1234, file_count=3, storage_name=f"{slug}.none", **fields
    )


def made_link(owner: str = MINE, *, expires_at: datetime | None = None, snapshot: Snapshot | None = None, query: Any = None) -> TraceLink:
    """Return a frozen link of *owner*."""
    link = TraceLink(
        owner=owner,
        query={"text": "", "query": QUERY} if query is None else query,
        snapshot=snapshot,
        expires_at=expires_at,
        snapshot_digest="0" * 64,
        engine_version="0",
    )
    link.document = {"answer": {}}
    link.save()
    return link
