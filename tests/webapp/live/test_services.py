"""The use cases that pages and commands call."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from tests.webapp.live.following import DEMO, followed, recorded, until
from tests.webapp.made_rows import MINE, OTHER
from webapp.live import announce, live_sources
from webapp.live.journal import unpacked
from webapp.live.live_sources import TooManyTimelines
from webapp.live.supervisor import Supervisor
from webapp.models import LiveItem, LiveSource, Snapshot
from webapp.recorded_api import RecordedApi, serve
from webapp.storing import stored_snapshots as snapshots


@pytest.fixture
def timeline(db: None) -> Snapshot:
    return snapshots.store_snapshot(DEMO / "shop-timeline", owner="")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(announce, "send", lambda source, message: sent.append({"source": source} | message))
    return sent


# --- which there are ---------------------------------------------------------------------------------------------------------


def test_connect_makes_one_row_for_a_context(db: None) -> None:
    row = live_sources.connect("kind-shop")
    assert (row.id, row.name, row.kind, row.context, row.wanted, row.state, row.owner) == (
        "kind-shop",
        "kind-shop",
        "context",
        "kind-shop",
        True,
        "connecting",
        "",
    )
    again = live_sources.connect("kind-shop", readings="none")
    assert (again.id, again.readings) == (row.id, "none")
    inside = live_sources.connect(None)
    assert (inside.id, inside.kind, inside.context) == ("in-cluster", "in-cluster", "")
    assert LiveSource.objects.count() == 2


def test_connecting_what_is_followed_leaves_it_as_it_is(db: None) -> None:
    row = live_sources.connect("c")
    since = timezone.now() - timedelta(hours=1)
    LiveSource.objects.update(state="live", state_text="well", state_since=since)
    live_sources.connect("c")
    row.refresh_from_db()
    assert (row.state, row.state_text, row.state_since) == ("live", "well", since)
    assert live_sources.connect("c", readings="none").state == "connecting"


def test_connecting_writes_nothing_that_is_its_followers(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the follower writes between the look at the row and its saving stays."""
    live_sources.connect("c")
    real = LiveSource.save

    def late(row: LiveSource, **how: object) -> None:
        LiveSource.objects.update(generation=7, lease_holder="somebody", heads={"pods": {}}, nodes={"n1": {}})
        real(row, **how)

    monkeypatch.setattr(LiveSource, "save", late)
    live_sources.connect("c", readings="none")
    row = LiveSource.objects.get()
    assert (row.generation, row.lease_holder, row.heads, row.nodes) == (7, "somebody", {"pods": {}}, {"n1": {}})


def test_who_connects_a_moment_later_overwrites_nothing(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = live_sources._free_slug

    def slow(name: str) -> str:
        monkeypatch.setattr(live_sources, "_free_slug", real)
        found = real(name)
        live_sources.connect(name)
        return found

    monkeypatch.setattr(live_sources, "_free_slug", slow)
    with pytest.raises(IntegrityError), transaction.atomic():
        live_sources._connected("c", LiveSource.Readings.NONE)


def test_who_connects_a_moment_later_gets_the_others_row(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = live_sources._connected, []

    def beaten(context: str | None, readings: LiveSource.Readings) -> LiveSource:
        tried.append(real(context, readings))
        if len(tried) == 1:
            raise IntegrityError
        return tried[-1]

    monkeypatch.setattr(live_sources, "_connected", beaten)
    assert live_sources.connect("c") == tried[0]


def test_a_slug_that_is_taken_is_not_taken_twice(timeline: Snapshot) -> None:
    Snapshot.objects.filter(id=timeline.id).update(id="prod")
    assert live_sources.connect("Prod").id not in ("prod", "")
    assert len(live_sources.connect("???").id) == 16


def test_clusters_are_everybodys_and_timelines_their_sessions(timeline: Snapshot) -> None:
    cluster, mine, theirs = live_sources.connect("c"), live_sources.play(timeline, MINE), live_sources.play(timeline, OTHER)
    assert [row.id for row in live_sources.sources(MINE)] == [cluster.id, mine.id]
    assert [row.id for row in live_sources.sources("")] == [cluster.id]
    assert live_sources.get(mine.id, MINE).id == mine.id
    with pytest.raises(LiveSource.DoesNotExist):
        live_sources.get(theirs.id, MINE)
    with pytest.raises(LiveSource.DoesNotExist):
        live_sources.get("nobody", MINE)


def test_who_looks_is_noted_and_wakes_a_timeline_that_was_put_to_sleep(timeline: Snapshot) -> None:
    row = live_sources.play(timeline, MINE)
    long_ago = timezone.now() - timedelta(hours=1)
    LiveSource.objects.update(wanted=False, watched_at=long_ago)
    assert row.id not in [r.id for r in live_sources.sources(MINE)]
    live_sources.get(row.id, MINE)
    row.refresh_from_db()
    assert row.wanted
    assert row.watched_at > long_ago


def test_a_sleeping_timeline_waits_for_room(timeline: Snapshot, settings) -> None:
    mine, theirs = live_sources.play(timeline, MINE), live_sources.play(timeline, OTHER)
    LiveSource.objects.filter(id=mine.id).update(wanted=False)
    settings.TIMELINES_MAX = 1
    assert live_sources.get(mine.id, MINE).wanted is False
    LiveSource.objects.filter(id=theirs.id).update(wanted=False)
    assert live_sources.get(mine.id, MINE).wanted is True


def test_disconnect_forgets_everything(timeline: Snapshot, told: list[dict[str, object]]) -> None:
    row = live_sources.play(timeline, MINE)
    LiveItem.objects.create(source=row, path="version.json", generation=1, seen_at=0.0)
    live_sources.disconnect(row)
    assert not LiveSource.objects.exists()
    assert not LiveItem.objects.exists()
    assert (told[0]["source"], told[0]["state"]) == (row.id, "stopped")
    with pytest.raises(LiveSource.DoesNotExist), live_sources.using(row):
        pass


# --- timelines ---------------------------------------------------------------------------------------------------------------


def test_a_timeline_is_played_once_for_a_session(timeline: Snapshot, settings) -> None:
    row = live_sources.play(timeline, MINE)
    assert live_sources.play(timeline, MINE).id == row.id
    assert row.playback["steps"][1]["title"] == "api scaled from 3 to 5"
    assert row.playback["playing"] is True
    settings.TIMELINES_MAX = 1
    live_sources.play(timeline, MINE)
    with pytest.raises(TooManyTimelines):
        live_sources.play(timeline, OTHER)
    with pytest.raises(ValueError, match="session"):
        live_sources.play(timeline, "")


def test_playing_again_writes_nothing_that_is_its_followers(timeline: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    live_sources.play(timeline, MINE)
    real = LiveSource.save

    def late(row: LiveSource, **how: object) -> None:
        LiveSource.objects.update(generation=7, lease_holder="somebody", state="live")
        real(row, **how)

    monkeypatch.setattr(LiveSource, "save", late)
    live_sources.play(timeline, MINE)
    row = LiveSource.objects.get()
    assert (row.generation, row.lease_holder, row.state) == (7, "somebody", "live")


def test_a_sleeping_timeline_is_not_woken_by_steering_beyond_the_limit(timeline: Snapshot, settings) -> None:
    mine = live_sources.play(timeline, MINE)
    live_sources.play(timeline, OTHER)
    LiveSource.objects.filter(id=mine.id).update(wanted=False)
    settings.TIMELINES_MAX = 1
    live_sources.control(mine, playing=True)
    assert LiveSource.objects.get(id=mine.id).wanted is False


def test_who_counts_timelines_waits_for_who_begins_one(timeline: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite lets one write at a time anyway; PostgreSQL is asked to."""
    real, locked = QuerySet.select_for_update, []

    def noted(rows: QuerySet[Any], **how: bool) -> QuerySet[Any]:
        locked.append((rows.model, how))
        return real(rows, **how)

    monkeypatch.setattr(QuerySet, "select_for_update", noted)
    row = live_sources.play(timeline, MINE)
    assert locked[0] == (Snapshot, {"no_key": True})
    LiveSource.objects.update(wanted=False)
    locked.clear()
    live_sources.get(row.id, MINE)
    assert locked == [(Snapshot, {"no_key": True})]


def test_an_ordinary_snapshot_is_a_timeline_of_one_moment(small: Path, db: None) -> None:
    row = live_sources.play(snapshots.store_snapshot(small, owner=""), MINE)
    assert [step["title"] for step in row.playback["steps"]] == ["as it was"]
    assert row.playback["duration"] == 0.0


def test_a_timeline_is_steered(timeline: Snapshot, told: list[dict[str, object]]) -> None:
    row = live_sources.play(timeline, MINE)
    message = live_sources.control(row, position=10.0, playing=False)
    assert (message["position"], message["playing"], message["step"], message["title"]) == (
        10.0,
        False,
        2,
        "one api pod fails its readiness probe",
    )
    message = live_sources.control(row, speed=10.0, playing=True)
    assert (message["playing"], message["speed"]) == (True, 10.0)
    time.sleep(0.05)
    assert live_sources.control(row)["position"] > 10.4
    assert live_sources.control(row, position=1e9, playing=False)["position"] == row.playback["duration"]
    assert [entry["type"] for entry in told] == ["playback"] * 4
    with pytest.raises(ValueError, match="only a timeline"):
        live_sources.control(live_sources.connect("c"), playing=True)


# --- what a browser is told ----------------------------------------------------------------------------------------------------


def test_messages_say_state_playback_and_what_changed(timeline: Snapshot) -> None:
    row = live_sources.play(timeline, MINE)
    LiveSource.objects.update(generation=7, state="live", lease_until=timezone.now() + timedelta(seconds=9))
    LiveItem.objects.create(source=row, path="objects/services/a/b.json", generation=7, seen_at=0.0, refs="svc/a/b")
    state, playback, generation = live_sources.messages(row, since=6)
    assert (state["type"], state["state"], state["gen"]) == ("source", "live", 7)
    assert playback["type"] == "playback"
    assert generation == {"type": "generation", "gen": 7, "changed": ["svc/a/b"]}
    assert [m["type"] for m in live_sources.messages(row, since=7)] == ["source", "playback"]
    assert [m["type"] for m in live_sources.messages(row)] == ["source", "playback"]
    json.dumps(live_sources.messages(row, since=0))


def test_a_picture_that_nobody_keeps_fresh_is_stale(db: None) -> None:
    row = live_sources.connect("c")
    LiveSource.objects.update(state="live", lease_until=timezone.now() - timedelta(seconds=1))
    row.refresh_from_db()
    assert live_sources.message(row)["state"] == "stale"
    assert "No server follows it" in live_sources.message(row)["text"]


# --- keeping -------------------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_present_moment_is_an_ordinary_snapshot() -> None:
    timeline = recorded()
    with followed(RecordedApi(timeline), readings="exec") as it:
        it.until_live()
        it.until_current()
        it.until(lambda: len(it.row.nodes) == 4, "all nodes are read")
        row = live_sources.save_snapshot(it.row, MINE, "now")
        assert (row.name, row.owner) == ("now", MINE)
        with snapshots.using_cluster(row) as cluster, live_sources.using(it.row) as view:
            assert [s.key for s in cluster.objects.services] == [s.key for s in view.cluster.objects.services]
            assert set(cluster.node_names) == set(view.cluster.node_names)
            text = cluster.snapshot.node_file("shop-worker", "iptables-save.txt")
            assert text == view.cluster.snapshot.node_file("shop-worker", "iptables-save.txt")
            about = json.loads(cluster.snapshot.text("snapshot.json"))
        assert about["collector"].startswith("hopline")
        assert "read_at" in about["files"]["nodes/shop-worker/iptables-save.txt"]
        assert about["files"]["nodes/shop-worker/nft-ruleset.json"]["error"] == "The container has no program nft."
        assert row.taken_at is not None


@pytest.mark.django_db(transaction=True)
def test_a_followed_cluster_is_recorded_into_a_timeline() -> None:
    timeline = recorded()
    api = RecordedApi(timeline)
    with followed(api, readings="exec") as it:
        it.until_live()
        it.until_current()
        it.until(lambda: len(it.row.nodes) == 4, "all nodes are read")
        live_sources.start_recording(it.row, MINE, "a recording")
        with pytest.raises(ValueError, match="being recorded"):
            live_sources.start_recording(it.row, MINE)
        it.follower.look(it.row)
        it.until(lambda: it.follower._taping._recorder is not None, "the recording begins")
        api.advance_to(timeline.steps[1].position)
        it.until_current()
        wanted = timeline.node_file("shop-worker", "iptables-save.txt", timeline.steps[1].position, lag=0.0)
        rules = LiveItem.objects.filter(source=it.source, path="nodes/shop-worker/iptables-save.txt")
        it.until(lambda: unpacked(rules.get().body_zstd) == wanted, "the rules are read")
        live_sources.stop_recording(it.row)
        it.follower.look(it.row)
        it.until(lambda: it.row.recording["state"] == "stored", "the recording is stored")
        stored = Snapshot.objects.get(id=it.row.recording["snapshot"])
        assert (stored.name, stored.owner) == ("a recording", MINE)
        played = RecordedApi(live_sources.open_timeline(stored))
        assert {o["metadata"]["name"] for o in played.objects("pods")} == {
            o["metadata"]["name"] for o in RecordedApi(timeline).objects("pods")
        }
        played.advance_to(played.timeline.length)
        assert {o["metadata"]["name"] for o in played.objects("pods")} == {o["metadata"]["name"] for o in api.objects("pods")}
        assert played.timeline.node_file("shop-worker", "iptables-save.txt", played.timeline.length, lag=0.0) == wanted
        with pytest.raises(ValueError, match="not being recorded"):
            live_sources.stop_recording(it.row)


@pytest.mark.django_db(transaction=True)
def test_a_recording_survives_the_end_of_its_follower_but_not_its_death() -> None:
    api = RecordedApi(recorded())
    with followed(api) as it:
        it.until_live()
        live_sources.start_recording(it.row, MINE, "cut short")
        it.follower.look(it.row)
        it.until(lambda: it.follower._taping._recorder is not None, "the recording begins")
        source = it.source
    found = LiveSource.objects.get(id=source).recording
    assert (found["state"], found["error"]) == ("stored", "It ended early: the follower was stopped.")
    assert Snapshot.objects.get(id=found["snapshot"]).name == "cut short"
    with followed(api) as it:
        it.until_live()
        long_ago = {"state": "recording", "name": "x", "owner": MINE, "since": time.time() - 3600}
        LiveSource.objects.filter(id=it.source).update(recording=long_ago)
        it.follower.look(it.row)
        it.until(lambda: it.row.recording["state"] == "failed", "nobody has its beginning")
        assert it.row.recording["error"] == "The process that recorded it has ended."


# --- what may be connected -------------------------------------------------------------------------------------------------------


@pytest.fixture
def kubeconfig(tmp_path: Path, settings) -> Iterator[tuple[RecordedApi, Path]]:
    api = RecordedApi(recorded())
    with serve(api, token="a-token-that-nobody-may-see", may=lambda p: p.resource != "nodes") as server:
        path = tmp_path / "kubeconfig"
        path.write_text(server.kubeconfig())
        settings.KUBECONFIG = str(path)
        yield api, path


def test_contexts_are_the_kubeconfigs(kubeconfig: tuple[RecordedApi, Path], settings) -> None:
    found = live_sources.contexts()
    assert (found.names, found.current, found.error) == (("recorded",), "recorded", "")
    settings.KUBECONFIG = "/nowhere"
    assert "no kubeconfig" in live_sources.contexts().error
    settings.KUBECONFIG = ""
    assert live_sources.contexts().error == "HOPLINE_KUBECONFIG is not set."


def test_check_says_permission_by_permission(kubeconfig: tuple[RecordedApi, Path]) -> None:
    found = live_sources.check("recorded")
    assert found.error == ""
    assert (found.version or {}).get("gitVersion", "").startswith("v1.")
    allowed = {permission.to_text(): verdict.allowed for permission, verdict in found.verdicts}
    assert allowed["list services"] is True
    assert allowed["watch nodes"] is False
    assert {"create pods/exec in kube-system", "create pods/exec in hopline"} <= allowed.keys()
    assert "has no context" in live_sources.check("other").error


@pytest.mark.django_db(transaction=True)
def test_a_context_is_followed_by_the_supervisor(kubeconfig: tuple[RecordedApi, Path]) -> None:
    row = live_sources.connect("recorded", readings="none")
    supervisor = Supervisor()
    supervisor.start()
    try:
        until(lambda: LiveSource.objects.get(id=row.id).state == "live", "the context is followed")
        found = LiveSource.objects.get(id=row.id)
        assert "nodes" in found.state_text
        assert found.lease_holder == supervisor.holder
    finally:
        supervisor.stop()
    found.refresh_from_db()
    assert (found.lease_holder, found.lease_until) == ("", None)
