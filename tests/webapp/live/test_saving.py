"""What is saved of a followed cluster says of which moment it is: not of now, where nobody knows what is so now."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.webapp.live_rows import KeptCluster
from tests.webapp.made_rows import MINE
from webapp.live import live_sources, saving
from webapp.live.lease import LEASE
from webapp.models import LiveSource

CHANGED = datetime(2024, 1, 20, 10, 0, tzinfo=UTC)
READ = CHANGED + timedelta(minutes=5)
STALE = CHANGED + timedelta(minutes=6)


@pytest.fixture
def kept(db: None) -> KeptCluster:
    return KeptCluster()


def about(kept: KeptCluster, **columns: Any) -> tuple[datetime, datetime | None]:
    """Return when it was collected and since when it is stale, after *columns* were written."""
    LiveSource.objects.filter(id=kept.row.id).update(**columns)
    said = json.loads(saving.files_of(LiveSource.objects.get(id=kept.row.id))["snapshot.json"])
    since = said.get("stale_since")
    return datetime.fromisoformat(said["collected_at"]), datetime.fromisoformat(since) if since else None


def test_what_is_live_is_of_now(kept: KeptCluster) -> None:
    before = timezone.now().replace(microsecond=0)
    collected, stale = about(kept, state="live", changed_at=CHANGED)
    assert before <= collected <= timezone.now()
    assert stale is None


@pytest.mark.parametrize(
    ("nodes", "since", "collected"),
    [
        ({}, STALE, CHANGED),
        ({"n": {"read_at": READ.timestamp()}, "m": {"read_at": None}}, STALE, READ),
        # Nodes that can still be read do not make the rest any newer.
        ({"n": {"read_at": (STALE + timedelta(minutes=9)).timestamp()}}, STALE, STALE),
    ],
)
def test_what_is_stale_is_of_the_last_moment_known(kept: KeptCluster, nodes: dict[str, Any], since: datetime, collected: datetime) -> None:
    assert about(kept, state="stale", state_since=since, changed_at=CHANGED, nodes=nodes) == (collected, since)


def test_what_nobody_follows_any_more_is_of_the_last_renewal(kept: KeptCluster) -> None:
    found = about(kept, state="live", state_since=CHANGED, changed_at=CHANGED, lease_until=STALE)
    assert found == (STALE - LEASE, STALE)


def test_what_nobody_held_any_more_is_of_its_last_news(kept: KeptCluster) -> None:
    nodes = {"n": {"read_at": READ.timestamp()}}
    found = about(kept, state="live", state_since=CHANGED, changed_at=CHANGED, nodes=nodes, lease_holder="", lease_until=None)
    assert found == (READ, READ)


def test_what_is_being_connected_again_is_no_newer_than_its_news(kept: KeptCluster) -> None:
    assert about(kept, state="connecting", state_since=timezone.now(), changed_at=CHANGED) == (CHANGED, None)


@pytest.mark.django_db(transaction=True)
def test_the_saved_snapshot_is_called_after_that_moment() -> None:
    kept = KeptCluster()
    LiveSource.objects.filter(id=kept.row.id).update(state="stale", state_since=STALE, changed_at=CHANGED)
    row = live_sources.save_snapshot(kept.row, MINE)
    assert (row.taken_at, row.name) == (CHANGED, f"shop, {CHANGED:%Y-%m-%d %H:%M:%S}")
