"""/"""

from __future__ import annotations

import pytest

from tests.conftest import DEMO
from tests.webapp.made_rows import MINE, OTHER, client_of, made_link, made_snapshot
from webapp import services

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_works(client):
    services.load_demo(DEMO / "shop-iptables", "shop-iptables", "shop-iptables")
    page = client.get("/").content.decode()
    sample = "/c/shop-iptables/trace?from=external:203.0.113.10&amp;to=198.51.100.10:443"
    assert page.count(f'href="{sample}"') == 2, "the button and the first thing to try"
    assert "<b>26</b> Services" in page
    assert page.count('class="try"') == 9


def test_every_link_to_try_answers(client):
    services.load_demo(DEMO / "shop-iptables", "shop-iptables", "shop-iptables")
    page = client.get("/").content.decode()
    links = [part.partition('"')[0].replace("&amp;", "&") for part in page.split('class="try" href="')[1:]]
    assert [client.get(link).status_code for link in links] == [200] * 9


def test_a_mode_that_is_not_modelled_is_said(client):
    services.load_demo(DEMO / "shop-nftables", "shop-nftables", "shop-nftables")
    page = client.get("/").content.decode()
    assert "nftables: not modelled yet" in page
    assert 'class="try"' not in page


def test_it_works_without_any_cluster(client):
    page = client.get("/").content.decode()
    assert "Three ways in" in page
    assert "not built yet" in page
    assert "Open the sample trace" not in page


def test_recent_things_are_this_sessions_own():
    mine, theirs = made_snapshot(MINE, name="mine-1"), made_snapshot(OTHER, name="theirs-1")
    my_link, their_link = made_link(MINE), made_link(OTHER)
    page = client_of(MINE).get("/").content.decode()
    assert mine.id in page
    assert my_link.token in page
    assert theirs.id not in page
    assert their_link.token not in page
