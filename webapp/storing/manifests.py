"""Manifests that sessions handed in to ask what they would change. Each is kept once, under what its content is, for its session alone.

A session keeps the last ``MOST_OF_OWNER``, all together the last ``MOST``; those that were not asked about for longest go first. What was
frozen with one has its own copy.
"""

from __future__ import annotations

import hashlib

from django.utils import timezone

from webapp import zstd
from webapp.models import Manifest

MOST_OF_OWNER = 20
"""How many manifests a session keeps, and all sessions together."""
MOST = 2_000


def keep(text: str, *, owner: str, name: str) -> Manifest:
    """Keep the canonical JSON *text* for *owner*, and return its row. :raises ValueError: *owner* is empty."""
    if not owner:
        raise ValueError("a manifest needs an owner")
    fields = {"name": name[:200], "used_at": timezone.now(), "text_zstd": zstd.packed(text.encode(), level=10)}
    row, _ = Manifest.objects.update_or_create(owner=owner, digest=digest_of(text), defaults=fields)
    _forget_beyond(MOST_OF_OWNER, owner=owner)
    _forget_beyond(MOST)
    return row


def find(digest: str, owner: str) -> Manifest | None:
    """Return *owner*'s manifest with that digest, or None. It counts as used now."""
    row = Manifest.objects.filter(owner=owner, digest=digest).first() if owner else None
    if row is not None:
        Manifest.objects.filter(id=row.id).update(used_at=timezone.now())
    return row


def digest_of(text: str) -> str:
    """Return the id of a manifest: 128 bits of what its content is, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _forget_beyond(most: int, **whose: str) -> None:
    rows = Manifest.objects.filter(**whose).order_by("-used_at", "-id").values_list("id", flat=True)
    if old := list(rows[most : most + MOST]):
        Manifest.objects.filter(id__in=old).delete()
