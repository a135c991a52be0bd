"""Generations in the database: whole batches, only by the holder, and forgotten after a while."""

from __future__ import annotations

import time

import pytest

from webapp.live import journal, live_sources
from webapp.models import LiveItem, LiveSource
from webapp.reading.changes import StoredChange

pytestmark = pytest.mark.django_db


@pytest.fixture
def source() -> LiveSource:
    return LiveSource.objects.create(name="c", kind="context", context="c", lease_holder="me")


def change(name: str, after: bytes | None, before: bytes | None = None, seen_at: float = 5.0) -> StoredChange:
    return StoredChange(path=f"objects/services/shop/{name}.json", refs=(f"svc/shop/{name}",), before=before, after=after, seen_at=seen_at)


def test_a_batch_is_one_generation(source: LiveSource) -> None:
    assert journal.write(source.id, "me", [change("a", b"1"), change("b", b"2")]) == 1
    assert journal.write(source.id, "me", [change("a", b"3"), change("c", None)]) == 2
    source.refresh_from_db()
    assert source.generation == 2
    assert source.changed_at is not None
    rows = {row.path.rpartition("/")[2]: row for row in LiveItem.objects.all()}
    assert {name: row.generation for name, row in rows.items()} == {"a.json": 2, "b.json": 1, "c.json": 2}
    assert journal.unpacked(rows["a.json"].body_zstd) == b"3"
    assert rows["c.json"].body_zstd is None
    assert rows["a.json"].refs == "svc/shop/a"


def test_columns_alone_are_no_generation(source: LiveSource) -> None:
    assert journal.write(source.id, "me", [], state="live", heads={"pods": {}}) == 0
    source.refresh_from_db()
    assert (source.generation, source.state, source.heads, source.changed_at) == (0, "live", {"pods": {}}, None)


def test_only_the_holder_writes(source: LiveSource) -> None:
    with pytest.raises(journal.LeaseLost):
        journal.write(source.id, "another", [change("a", b"1")])
    with pytest.raises(journal.LeaseLost):
        journal.write("nobody", "me", [])
    assert not LiveItem.objects.exists()


def test_more_changes_than_one_statement_takes(source: LiveSource) -> None:
    journal.write(source.id, "me", [change(f"s{n}", b"x") for n in range(2_345)])
    journal.write(source.id, "me", [change(f"s{n}", b"y") for n in range(0, 2_345, 2)])
    assert LiveItem.objects.count() == 2_345
    assert LiveItem.objects.filter(generation=2).count() == 1_173


def test_of_several_changes_of_one_path_the_last_counts() -> None:
    merged = journal.latest([change("a", b"1"), change("b", b"x"), change("a", b"2", b"1"), change("a", None, b"2")])
    assert [(c.path[-6:], c.before, c.after) for c in merged] == [("b.json", None, b"x"), ("a.json", None, None)]


def test_changes_since_names_what_changed_once(source: LiveSource) -> None:
    journal.write(source.id, "me", [change("a", b"1"), change("b", b"1")])
    journal.write(source.id, "me", [change("b", b"2")])
    journal.write(source.id, "me", [change("a", None)])
    source.refresh_from_db()
    assert live_sources.changes_since(source, 1) == ("svc/shop/b", "svc/shop/a")
    assert live_sources.changes_since(source, 2) == ("svc/shop/a",)
    assert live_sources.changes_since(source, 3) == ()
    assert live_sources.changes_since(source, 99) == ("*",)


def test_who_knows_the_cluster_before_it_was_connected_anew_is_told_everything() -> None:
    row = live_sources.connect("prod")
    LiveSource.objects.update(lease_holder="me")
    first = journal.write(row.id, "me", [change("a", b"1")])
    LiveSource.objects.all().delete()
    row = live_sources.connect("prod")
    assert row.generation == 0, "nothing is known yet"
    LiveSource.objects.update(lease_holder="me")
    then = journal.write(row.id, "me", [change("b", b"1")])
    assert then > first
    row.refresh_from_db()
    assert live_sources.messages(row, since=first)[-1] == {"type": "generation", "gen": then, "changed": ["*"]}
    assert live_sources.messages(row, since=0)[-1]["changed"] == ["*"]


def test_too_many_changes_are_everything(source: LiveSource) -> None:
    journal.write(source.id, "me", [change(f"s{n}", b"x") for n in range(301)])
    source.refresh_from_db()
    assert live_sources.changes_since(source, 0) == ("*",)


def test_what_is_gone_is_forgotten_after_an_hour_and_that_is_known(source: LiveSource) -> None:
    journal.write(source.id, "me", [change("a", b"1"), change("b", b"1")])
    journal.write(source.id, "me", [change("a", None, seen_at=time.time() - 7200)])
    journal.write(source.id, "me", [change("b", None, seen_at=time.time())])
    assert journal.prune(source.id) == 1
    assert [row.path for row in LiveItem.objects.all()] == ["objects/services/shop/b.json"]
    source.refresh_from_db()
    assert source.told_from == 2
    assert live_sources.changes_since(source, 1) == ("*",)
    assert live_sources.changes_since(source, 2) == ("svc/shop/b",)
    assert journal.prune(source.id) == 0
