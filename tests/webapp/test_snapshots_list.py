"""/snapshots"""

from __future__ import annotations

import pytest

from tests.webapp.made_rows import MINE, OTHER, client_of, made_snapshot

pytestmark = pytest.mark.django_db


def test_it_works():
    row = made_snapshot(name="eu-west")
    page = client_of(MINE).get("/snapshots").content.decode()
    assert f'href="/snapshots/{row.id}"' in page
    assert f'href="/snapshots/{row.id}/delete"' in page
    assert "eu-west" in page


def test_it_offers_the_form_and_the_commands(client):
    page = client.get("/snapshots").content.decode()
    assert 'enctype="multipart/form-data"' in page
    assert "up to 200 MB" in page
    assert "iptables-save -c &gt; iptables-save.txt" in page


def test_another_session_does_not_list_it():
    row = made_snapshot(OTHER)
    assert row.id not in client_of(MINE).get("/snapshots").content.decode()
    assert row.id not in client_of("").get("/snapshots").content.decode()


def test_demonstration_clusters_are_listed_for_everybody_and_cannot_be_deleted(client):
    made_snapshot("", name="shop", id="shop-demo", is_demo=True)
    page = client.get("/snapshots").content.decode()
    assert 'href="/snapshots/shop-demo"' in page
    assert "/snapshots/shop-demo/delete" not in page


@pytest.mark.parametrize("name", ['"><script>alert(1)</script>', "</title><b>", "{% now 'Y' %}"])
def test_names_are_shown_as_text(name):
    made_snapshot(name=name)
    page = client_of(MINE).get("/snapshots").content.decode()
    if "<" in name:
        assert name not in page
    assert name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;").replace("'", "&#x27;") in page
