"""Rows: who sees what, names that cannot be guessed, frozen documents."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from webapp.models import Snapshot, TraceLink, UploadJob, new_slug, new_token

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("make", "length"), [(new_slug, 16), (new_token, 26)])
def test_names_are_long_random_and_without_lookalikes(make, length: int) -> None:
    made = {make() for _ in range(500)}
    assert len(made) == 500
    assert {len(name) for name in made} == {length}
    assert not set("".join(made)) & set("0OIl")
    assert len(set("".join(made))) == 58


@pytest.mark.parametrize(
    ("owner", "viewer", "sees", "deletes"),
    [("me", "me", True, True), ("me", "you", False, False), ("me", "", False, False), ("", "me", True, False), ("", "", True, False)],
)
def test_a_snapshot_is_its_owners_or_everybodys(owner: str, viewer: str, sees: bool, deletes: bool) -> None:
    row = Snapshot(owner=owner)
    assert (row.is_visible_to(viewer), row.is_deletable_by(viewer)) == (sees, deletes)


@pytest.mark.parametrize(
    ("expires", "revoked", "is_open"),
    [(None, False, True), (timedelta(hours=1), False, True), (timedelta(seconds=-1), False, False), (None, True, False)],
)
def test_a_link_is_open_until_it_expires_or_is_revoked(expires: timedelta | None, revoked: bool, is_open: bool) -> None:
    now = timezone.now()
    link = TraceLink(expires_at=None if expires is None else now + expires, revoked_at=now if revoked else None)
    assert link.is_open is is_open


def test_a_document_comes_back_as_it_was_frozen() -> None:
    document = {
        "answer": {"outcomes": [{"probability": "715827883/2147483648"}]},
        "rules": {'"><script>': {"1": "é\u2028\x00 🚀"}},
        "n": [None, True, 1.5],
    }
    link = TraceLink(owner="me", query={"x": 1}, snapshot_digest="d", engine_version="1")
    link.document = document
    link.save()
    read = TraceLink.objects.get(token=link.token)
    assert read.document == document
    assert read.query == {"x": 1}


def test_an_upload_says_where_it_stands() -> None:
    job = UploadJob.objects.create(owner="me", name="x", text="Reading rules: node 3 of 12", done=5, total=30)
    assert job.to_dict() == {
        "type": "upload",
        "id": job.id,
        "state": "reading",
        "text": "Reading rules: node 3 of 12",
        "done": 5,
        "total": 30,
        "status": 202,
        "problems": [],
        "snapshot": None,
        "url": None,
    }
