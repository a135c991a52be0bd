"""/snapshots/<slug>/delete"""

from __future__ import annotations

import pytest

from tests.webapp.made_rows import MINE, OTHER, client_of, made_link, made_snapshot
from webapp.models import Snapshot, TraceLink

pytestmark = pytest.mark.django_db


def test_it_works():
    row = made_snapshot(name="old one")
    link = made_link(snapshot=row)
    mine = client_of(MINE)
    page = mine.get(f"/snapshots/{row.id}/delete").content.decode()
    assert "Delete old one?" in page
    assert "1 frozen link" in page
    assert Snapshot.objects.filter(id=row.id).exists(), "asking deletes nothing"
    response = mine.post(f"/snapshots/{row.id}/delete", follow=True)
    assert "Deleted old one." in response.content.decode()
    assert not Snapshot.objects.filter(id=row.id).exists()
    assert TraceLink.objects.get(token=link.token).is_open


@pytest.mark.parametrize("method", ["get", "post"])
def test_another_session_cannot_delete(method):
    row = made_snapshot(OTHER)
    response = getattr(client_of(MINE), method)(f"/snapshots/{row.id}/delete")
    assert response.status_code == 404
    assert Snapshot.objects.filter(id=row.id).exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_demonstration_cluster_stays(method):
    made_snapshot("", id="demo-1", is_demo=True)
    response = getattr(client_of(MINE), method)("/snapshots/demo-1/delete")
    assert response.status_code == 403
    assert Snapshot.objects.filter(id="demo-1").exists()


def test_it_404s_for_unknown_snapshot_with_near_matches():
    made_snapshot("", id="shop-iptables", name="shop-iptables", is_demo=True)
    response = client_of(MINE).get("/snapshots/shop-iptable/delete")
    assert response.status_code == 404
    assert 'href="/snapshots/shop-iptables"' in response.content.decode()
