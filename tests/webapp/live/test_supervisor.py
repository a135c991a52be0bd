"""Which sources a process follows, and timelines as they play."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import DatabaseError
from django.utils import timezone

from tests.webapp.live.following import DEMO, recorded, until
from tests.webapp.made_rows import MINE, OTHER
from webapp.live import lease, live_sources
from webapp.live.follower import Follower
from webapp.live.replica import replicas
from webapp.live.supervisor import Supervisor
from webapp.models import LiveItem, LiveSource, Snapshot
from webapp.recorded_api import RecordedApi, serve
from webapp.storing import stored_snapshots as snapshots

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def timeline() -> Snapshot:
    return snapshots.store_snapshot(DEMO / "shop-timeline", owner="")


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor()
    made.start()
    yield made
    made.stop()


def row_of(source: LiveSource) -> LiveSource:
    return LiveSource.objects.get(id=source.id)


def pods_of(source: LiveSource) -> int:
    return LiveItem.objects.filter(source=source.id, body_zstd__isnull=False, path__startswith="objects/pods/default/api-").count()


def rules_of(source: LiveSource) -> str:
    with live_sources.using(source) as view:
        return view.cluster.snapshot.node_file("shop-worker", "iptables-save.txt") or ""


def test_a_timeline_plays_and_its_pods_appear(timeline: Snapshot, supervisor: Supervisor) -> None:
    source = live_sources.play(timeline, MINE)
    live_sources.control(source, playing=False, position=0.0)
    until(lambda: row_of(source).state == "live", "it is followed")
    until(lambda: pods_of(source) == 3, "as it begins")
    live_sources.control(source, speed=10.0, playing=True)
    until(lambda: pods_of(source) == 5, "two pods appear")
    until(lambda: live_sources.messages(source)[1]["playing"] is False, "it ends")
    until(lambda: row_of(source).playback["playing"] is False, "and that is written")
    wanted = recorded().node_file("shop-worker", "iptables-save.txt", 1e9, lag=0.0)
    until(lambda: rules_of(source).encode() == wanted, "the last rules are read")


def test_it_goes_back_when_it_is_steered_back(timeline: Snapshot, supervisor: Supervisor) -> None:
    source = live_sources.play(timeline, MINE)
    live_sources.control(source, position=20.0, playing=False)
    until(lambda: pods_of(source) == 5, "the moment after the scaling")
    live_sources.control(source, position=0.0)
    until(lambda: pods_of(source) == 3, "the moment before")
    wanted = recorded().node_file("shop-worker", "iptables-save.txt", 0.0, lag=0.0)
    until(lambda: rules_of(source).encode() == wanted, "with its rules")


def test_a_timeline_that_nobody_watches_is_put_to_sleep_and_comes_back(timeline: Snapshot, supervisor: Supervisor) -> None:
    source = live_sources.play(timeline, MINE)
    until(lambda: row_of(source).state == "live", "it is followed")
    LiveSource.objects.update(watched_at=timezone.now() - timedelta(minutes=31))
    until(lambda: row_of(source).state == "stopped", "it sleeps")
    until(lambda: row_of(source).lease_holder == "", "nobody follows it")
    asleep = row_of(source)
    assert (asleep.wanted, asleep.playback["playing"], supervisor.following) == (False, False, ())
    assert 0.0 < asleep.playback["position"] < 20.0
    live_sources.get(source.id, MINE)
    until(lambda: row_of(source).state == "live", "it is followed again")


@pytest.mark.parametrize("hours", [5, -5])
def test_a_clock_that_is_set_moves_no_timeline_and_puts_none_to_sleep(
    timeline: Snapshot, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    source = live_sources.play(timeline, MINE)
    live_sources.control(source, position=5.0, playing=True)
    until(lambda: row_of(source).state == "live", "it is followed")
    real, real_now = time.time, timezone.now
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    monkeypatch.setattr(timezone, "now", lambda: real_now() + timedelta(hours=hours))
    until(lambda: abs(row_of(source).playback["set_at"] - time.time()) < 30, "its position counts from the new clock")
    at = live_sources.messages(row_of(source))[1]["position"]
    until(lambda: live_sources.messages(row_of(source))[1]["position"] > at, "it goes on")
    assert 5.0 <= at < 20.0
    time.sleep(1.5)
    assert (row_of(source).wanted, supervisor.following) == (True, (source.id,))


def test_a_timeline_that_nobody_comes_back_to_is_forgotten(timeline: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has just started, too: its monotonic clock begins at 0."""
    begun, clock = time.monotonic(), time.monotonic
    monkeypatch.setattr("webapp.live.supervisor.time", SimpleNamespace(monotonic=lambda: clock() - begun, time=time.time))
    old, young = live_sources.play(timeline, MINE), live_sources.play(timeline, OTHER)
    LiveSource.objects.update(wanted=False, watched_at=timezone.now() - timedelta(days=6))
    LiveSource.objects.filter(id=old.id).update(watched_at=timezone.now() - timedelta(days=8))
    supervisor = Supervisor()
    supervisor.start()
    try:
        until(lambda: not LiveSource.objects.filter(id=old.id).exists(), "it is deleted")
    finally:
        supervisor.stop()  # or it goes on beside every later test
    assert LiveSource.objects.filter(id=young.id).exists()


def test_other_readings_start_the_follower_anew(tmp_path: Path, settings, supervisor: Supervisor) -> None:
    with serve(RecordedApi(recorded())) as server:
        (tmp_path / "kubeconfig").write_text(server.kubeconfig())
        settings.KUBECONFIG = str(tmp_path / "kubeconfig")
        source = live_sources.connect("recorded", readings="none")
        until(lambda: row_of(source).state == "live", "it is followed")
        assert row_of(source).nodes == {}
        live_sources.connect("recorded", readings="exec")
        until(lambda: len(row_of(source).nodes) == 4, "nodes are read")
        live_sources.disconnect(source)
        until(lambda: supervisor.following == (), "it is not followed any more")


def test_what_was_connected_anew_has_another_follower(db: None) -> None:
    follower = Follower(live_sources.connect("c"), "me")
    assert not follower.is_of_another(live_sources.connect("c"))
    assert follower.is_of_another(live_sources.connect("c", readings="none"))
    LiveSource.objects.all().delete()
    assert follower.is_of_another(live_sources.connect("c"))


def test_the_picture_of_a_cluster_follows_before_anybody_looks(tmp_path: Path, settings, supervisor: Supervisor) -> None:
    with serve(RecordedApi(recorded())) as server:
        (tmp_path / "kubeconfig").write_text(server.kubeconfig())
        settings.KUBECONFIG = str(tmp_path / "kubeconfig")
        source = live_sources.connect("recorded", readings="none")
        until(lambda: 0 < row_of(source).generation == replicas.of(source.id).generation, "this process's picture is current")


def test_credentials_that_cannot_be_used_are_said(settings, supervisor: Supervisor) -> None:
    settings.KUBECONFIG = "/nowhere"
    source = live_sources.connect("recorded")
    until(lambda: row_of(source).state == "stale", "it is stale")
    assert "no kubeconfig" in row_of(source).state_text


def test_a_database_that_fails_for_a_while_is_survived(timeline: Snapshot, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that was learnt meanwhile is lost."""
    from webapp.live import journal

    source = live_sources.play(timeline, MINE)
    live_sources.control(source, playing=False, position=0.0)
    until(lambda: row_of(source).state == "live", "it is followed")
    until(lambda: pods_of(source) == 3, "as it begins")
    real: Callable[..., int] = journal.write

    def failing(*arguments: object, **columns: object) -> int:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(journal, "write", failing)
    live_sources.control(source, position=12.0)
    time.sleep(0.7)
    assert pods_of(source) == 3
    monkeypatch.setattr(journal, "write", real)
    until(lambda: pods_of(source) == 5, "what was learnt meanwhile is written")


def test_a_follower_that_lost_its_lease_writes_nothing_more(timeline: Snapshot) -> None:
    source = live_sources.play(timeline, MINE)
    assert lease.take(source.id, "one")
    follower = Follower(row_of(source), "one")
    follower.start()
    until(lambda: row_of(source).state == "live", "it is followed")
    live_sources.control(source, playing=False, position=0.0)
    LiveSource.objects.update(lease_holder="another")
    generation = row_of(source).generation
    live_sources.control(source, position=20.0)
    follower.look(row_of(source))
    until(follower.is_over.is_set, "it ends by itself")
    until(lambda: not follower.is_writing, "it writes no more")
    assert row_of(source).generation in (generation, generation + 1)
    assert row_of(source).lease_holder == "another"
