"""Traces to try: found once and kept with their source; no page of any kind reads the objects for them again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import DatabaseError
from django.db.models import QuerySet
from django.test import Client

import tracer.kube.kept_objects as kept_objects
import tracer.kube.objects as recorded_objects
from tests.webapp.live_rows import KeptCluster
from tests.webapp.made_rows import MINE, client_of
from webapp.live.replica import replicas
from webapp.models import LiveSource, Snapshot
from webapp.questions import examples
from webapp.storing import stored_snapshots
from webapp.storing.open_snapshots import opened

pytestmark = pytest.mark.django_db
SHOP = "shop-iptables"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the kinds of all objects that are read from here on, by either model."""
    kinds: list[str] = []

    def counted(read: Callable[..., object]) -> Callable[..., object]:
        def reading(raw: object, *rest: object, **named: object) -> object:
            kinds.append(str(getattr(raw, "kind", "")))
            return read(raw, *rest, **named)

        return reading

    for module in (recorded_objects, kept_objects):
        monkeypatch.setattr(module, "read_object", counted(module.read_object))
    return kinds


@pytest.fixture
def shop(demo: Path) -> Snapshot:
    """Return the recorded shop as a session's own snapshot, which no process has opened."""
    return stored_snapshots.store_snapshot(demo / SHOP, name="shop", owner=MINE)


def close_everything() -> None:
    """Forget every opened snapshot and followed cluster, as a process that has just started has none."""
    for digest in opened.sizes():
        opened.forget(digest)
    for row in LiveSource.objects.all():
        replicas.forget(row.id)


def examples_on(page: str) -> int:
    return len(re.findall(r'class="(?:try|card)" href="[^"]*/trace\?from=', page))


def pages_of(row: Snapshot) -> list[str]:
    return ["/", "/snapshots", f"/snapshots/{row.id}", f"/snapshots/{row.id}/examples", f"/c/{row.id}/trace"]


def test_no_page_of_a_stored_snapshot_reads_an_object(shop: Snapshot, decoded: list[str]) -> None:
    close_everything()
    client, shown = client_of(MINE), 0
    for path in pages_of(shop):
        response = client.get(path)
        assert (path, response.status_code, decoded) == (path, 200, [])
        shown += examples_on(response.content.decode())
    assert shown > 8
    assert opened.sizes() == {}


def test_a_demonstration_brings_its_examples(demo: Path, decoded: list[str]) -> None:
    stored_snapshots.load_demo(demo / SHOP, SHOP, SHOP)
    decoded.clear()
    assert examples_on(Client().get("/").content.decode()) > 4
    assert decoded == []


def test_a_snapshot_of_an_earlier_version_is_looked_through_once(shop: Snapshot, decoded: list[str]) -> None:
    for older in ({}, {"examples": {"engine": "0.0.1", "found": []}}):
        shop.summary = {word: value for word, value in shop.summary.items() if word != "examples"} | older
        shop.save()
        close_everything()
        decoded.clear()
        assert examples_on(client_of(MINE).get(f"/snapshots/{shop.id}").content.decode()) > 4
        assert decoded != []
        decoded.clear()
        close_everything()
        for path in pages_of(shop):
            client_of(MINE).get(path)
        assert decoded == []


def test_what_is_kept_is_what_would_be_found(shop: Snapshot) -> None:
    kept = examples.example_links(shop)
    del shop.summary["examples"]
    assert examples.example_links(shop) == kept
    assert len(kept) == 9


def test_a_database_that_takes_no_writes_still_shows_them(shop: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    del shop.summary["examples"]
    shop.save()

    def refuse(*_: object, **__: object) -> None:
        raise DatabaseError("attempt to write a readonly database")

    monkeypatch.setattr(QuerySet, "update", refuse)
    assert len(examples.example_links(shop)) == 9


# --- followed clusters -------------------------------------------------------------------------------------------------


@pytest.fixture
def followed() -> KeptCluster:
    """Return a followed cluster whose examples have been shown once."""
    kept = KeptCluster()
    assert examples_on(Client().get(f"/c/{kept.row.id}/trace").content.decode()) == 4
    return kept


def test_no_page_of_a_followed_cluster_reads_an_object_for_them(followed: KeptCluster, decoded: list[str]) -> None:
    close_everything()
    row = LiveSource.objects.get()
    assert [examples.is_quick(row), len(examples.example_links(row)) > 4, decoded] == [True, True, []]
    assert examples_on(Client().get(f"/c/{row.id}/trace").content.decode()) == 4
    assert decoded == []


def test_they_are_looked_for_again_when_a_pod_that_asks_is_gone(followed: KeptCluster, decoded: list[str]) -> None:
    row = LiveSource.objects.get()
    _, _, source, _ = next(one for one in row.examples["found"] if one[2].startswith("pod:"))
    namespace, name = source.removeprefix("pod:").split("/")
    followed.put("pods", "DELETED", followed.object("pods", namespace, name))
    questions = [link.question for link in examples.example_links(LiveSource.objects.get())]
    assert questions
    assert not any(question.startswith(f"{source} ") for question in questions)
    assert source not in str(LiveSource.objects.get().examples)


def test_they_are_looked_for_again_after_an_hour(followed: KeptCluster, decoded: list[str]) -> None:
    row = LiveSource.objects.get()
    row.examples["at"] = time.time() - 3601
    row.save()
    close_everything()
    examples.example_links(LiveSource.objects.get())
    assert decoded != []
    assert time.time() - LiveSource.objects.get().examples["at"] < 60


def test_of_a_cluster_that_is_not_known_yet_nothing_is_kept() -> None:
    row = LiveSource.objects.create(name="new", kind=LiveSource.Kind.CONTEXT, context="new")
    assert examples.example_links(row) == ()
    assert LiveSource.objects.get().examples == {}
