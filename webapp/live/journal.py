"""What a follower learnt, written so that every web process can catch up: rows and one generation for each batch, in one transaction.

Only who holds the lease writes (the row is locked and looked at first): a follower that slept too
long cannot overwrite another's work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from webapp import zstd
from webapp.models import LiveItem, LiveSource
from webapp.reading.changes import StoredChange

_LEVEL = 3
_KEPT_FOR = timedelta(hours=1)
_ROWS_AT_ONCE = 500


class LeaseLost(Exception):
    """Another process follows this source now, or nobody shall: what this one has learnt is not written."""


def packed(body: bytes) -> bytes:
    """Return *body* as it is stored."""
    return zstd.packed(body, level=_LEVEL)


def unpacked(body: bytes | memoryview) -> bytes:
    """Return the body that ``packed`` made this of."""
    return zstd.unpacked(bytes(body))


def write(source: str, holder: str, changes: Sequence[StoredChange], **columns: Any) -> int:
    """Store *changes* as the next generation, and *columns* of the source with them; return the generation.

    Without changes only the columns are written and the generation stays. Every path may occur once. The first generation follows
    *told_from*: 0 is that of a source of which nothing is known yet.
    :raises LeaseLost: *holder* does not follow the source any more.
    """
    rows = [_row(source, change) for change in changes]
    with transaction.atomic():
        row = _held(source, holder)
        if rows:
            row.generation = max(row.generation, row.told_from) + 1
            row.changed_at = timezone.now()
            for item in rows:
                item.generation = row.generation
            LiveItem.objects.bulk_create(
                rows,
                batch_size=_ROWS_AT_ONCE,
                update_conflicts=True,
                unique_fields=("source", "path"),
                update_fields=("generation", "seen_at", "refs", "body_zstd"),
            )
        for name, value in columns.items():
            setattr(row, name, value)
        row.save(update_fields=["generation", "changed_at", *columns])
    return row.generation


def latest(changes: Iterable[StoredChange]) -> tuple[StoredChange, ...]:
    """Return one change for each path: from its first *before* to its last *after*, with the refs of all."""
    found: dict[str, StoredChange] = {}
    for change in changes:
        earlier = found.pop(change.path, None)
        if earlier is not None:
            refs = tuple(dict.fromkeys((*earlier.refs, *change.refs)))
            change = StoredChange(path=change.path, refs=refs, before=earlier.before, after=change.after, seen_at=change.seen_at)
        found[change.path] = change
    return tuple(found.values())


def prune(source: str) -> int:
    """Forget rows of what has been gone for an hour; return how many. Pages that know less than that are told that everything changed."""
    before = timezone.now() - _KEPT_FOR
    with transaction.atomic():
        gone = LiveItem.objects.filter(source=source, body_zstd=None, seen_at__lt=before.timestamp())
        newest = gone.order_by("-generation").values_list("generation", flat=True).first()
        if newest is None:
            return 0
        count, _ = gone.filter(generation__lte=newest).delete()
        LiveSource.objects.filter(id=source).update(told_from=newest)
    return count


def _held(source: str, holder: str) -> LiveSource:
    row = LiveSource.objects.select_for_update().filter(id=source, lease_holder=holder).first()
    if row is None:
        raise LeaseLost(source)
    return row


def _row(source: str, change: StoredChange) -> LiveItem:
    body = None if change.after is None else packed(change.after)
    return LiveItem(source_id=source, path=change.path, seen_at=change.seen_at, refs=" ".join(change.refs), body_zstd=body, generation=0)
