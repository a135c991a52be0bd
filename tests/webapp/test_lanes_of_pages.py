"""Pages in the worker of a lane: what each answers there, and what it sends elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client

from tests.webapp.made_rows import MINE, OTHER, client_of
from webapp.answering import trace_answers
from webapp.answering.document import AnswerCache
from webapp.models import Snapshot
from webapp.storing import stored_snapshots
from webapp.work import place
from webapp.work.lanes import Lane
from webapp.work.place import ELSEWHERE

pytestmark = pytest.mark.django_db
QUESTION = "from=external:203.0.113.10&to=198.51.100.10:443"


@pytest.fixture(autouse=True)
def _nowhere() -> Iterator[None]:
    yield
    place.enter(None, None)
    place.take_afterwards()


@pytest.fixture
def demo(demo: Path) -> Snapshot:
    """Return the recorded shop as a demonstration cluster."""
    stored_snapshots.load_demo(demo / "shop-iptables", "shop", "shop")
    return Snapshot.objects.get(id="shop")


def in_lane(client: Client, lane: Lane, path: str) -> HttpResponse:
    """Return what a worker of *lane*, which has answered nothing yet, says to *path*."""
    place.enter(lane, lambda _message: None)
    with patch.object(trace_answers, "_kept", AnswerCache()):
        return client.get(path)  # type: ignore[return-value]


def lane_wanted(client: Client, lane: Lane, path: str) -> str:
    """Return where a request to *path* is sent by a worker of *lane*, "" where it is answered."""
    return str(in_lane(client, lane, path).headers.get(ELSEWHERE, ""))


def stored(client: Client, path: str) -> None:
    """Let a worker of the quick lane answer *path* and store it."""
    assert lane_wanted(client, Lane.QUICK, path) == ""
    assert [work() for work in place.take_afterwards()] == [True]


def test_pages_answer_what_is_stored_and_nothing_else(client: Client, demo: Snapshot) -> None:
    path = f"/c/{demo.id}/trace?{QUESTION}"
    assert lane_wanted(client, Lane.PAGES, path) == "quick"
    stored(client, path)
    assert in_lane(client, Lane.PAGES, path).status_code == 200
    assert lane_wanted(client, Lane.PAGES, path) == ""


def test_an_answer_of_a_snapshot_that_was_deleted_meanwhile_is_not_kept(client: Client, demo: Snapshot) -> None:
    assert lane_wanted(client, Lane.QUICK, f"/c/{demo.id}/trace?{QUESTION}") == ""
    stored_snapshots.remove_snapshot(demo)
    assert [work() for work in place.take_afterwards()] == [False]
    assert not list((settings.DATA_DIR / "answers").glob("*/*"))


def test_a_stored_answer_is_for_those_who_may_see_its_snapshot(client: Client, demo: Snapshot) -> None:
    """Whoever stored the same bytes finds the answer, under the name of their own snapshot."""
    stored(client, f"/c/{demo.id}/trace?{QUESTION}")
    for slug, owner, name in (("mine", MINE, "a name of mine"), ("theirs", OTHER, "a name of theirs")):
        Snapshot(
            id=slug, owner=owner, name=name, digest=demo.digest, size=demo.size, file_count=1, storage_name=slug, summary=demo.summary
        ).save()
    client = client_of(MINE)
    assert in_lane(client, Lane.PAGES, f"/c/theirs/trace?{QUESTION}").status_code == 404
    page = in_lane(client, Lane.PAGES, f"/c/mine/trace?{QUESTION}")
    assert page.status_code == 200
    assert "a name of mine" in page.content.decode()
    assert "a name of theirs" not in page.content.decode()


@pytest.mark.parametrize("suffix", ["svg", "png", "dot", "mmd", "json"])
def test_files_are_drawn_by_the_heavy_lane_even_of_a_stored_answer(client: Client, demo: Snapshot, suffix: str) -> None:
    stored(client, f"/c/{demo.id}/trace?{QUESTION}")
    for lane in (Lane.PAGES, Lane.QUICK):
        assert lane_wanted(client, lane, f"/c/{demo.id}/trace.{suffix}?{QUESTION}") == "heavy"
