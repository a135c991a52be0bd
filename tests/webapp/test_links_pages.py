"""/links and /links/<token>/revoke"""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.webapp.made_rows import MINE, OTHER, client_of, made_link, made_snapshot

pytestmark = pytest.mark.django_db


def test_it_works():
    link = made_link(snapshot=made_snapshot(name="prod <1>"))
    page = client_of(MINE).get("/links").content.decode()
    assert f'href="/t/{link.token}"' in page
    assert "external:203.0.113.10 → 198.51.100.10:443 over tcp" in page
    assert "prod &lt;1&gt;" in page
    assert f'href="/links/{link.token}/revoke"' in page


def test_the_navigation_leads_there(client):
    assert client.get("/").content.decode().count('<a href="/links"') == 2
    assert '<a href="/links" aria-current="page">Links</a>' in client.get("/links").content.decode()


def test_it_is_empty_for_a_new_session(client):
    made_link()
    page = client.get("/links").content.decode()
    assert "No link yet" in page


def test_another_session_neither_lists_nor_revokes():
    link = made_link(OTHER)
    mine = client_of(MINE)
    assert link.token not in mine.get("/links").content.decode()
    assert mine.get(f"/links/{link.token}/revoke").status_code == 404
    assert mine.post(f"/links/{link.token}/revoke").status_code == 404
    link.refresh_from_db()
    assert link.is_open


def test_it_404s_for_unknown_token():
    response = client_of(MINE).get("/links/nope/revoke")
    assert response.status_code == 404
    assert 'href="/links"' in response.content.decode()


def test_it_asks_before_it_revokes():
    link = made_link()
    mine = client_of(MINE)
    assert "Revoke this link?" in mine.get(f"/links/{link.token}/revoke").content.decode()
    link.refresh_from_db()
    assert link.is_open
    response = mine.post(f"/links/{link.token}/revoke", follow=True)
    link.refresh_from_db()
    assert not link.is_open
    page = response.content.decode()
    assert "The link is closed" in page
    assert "revoked</span>" in page
    assert f'href="/t/{link.token}"' not in page


def test_an_expired_link_says_so():
    link = made_link(expires_at=timezone.now() - timedelta(hours=1))
    page = client_of(MINE).get("/links").content.decode()
    assert "expired</span>" in page
    assert f"/links/{link.token}/revoke" not in page


def test_a_link_outlives_its_snapshot():
    snapshot = made_snapshot()
    made_link(snapshot=snapshot)
    snapshot.delete()
    assert "deleted; the link still opens" in client_of(MINE).get("/links").content.decode()


def test_a_question_of_an_earlier_version_is_listed():
    made_link(query={"odd": 1})
    assert "A question of an earlier version" in client_of(MINE).get("/links").content.decode()
