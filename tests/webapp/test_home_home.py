"""/"""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import DEMO
from tests.webapp.made_rows import MINE, OTHER, client_of, made_link, made_snapshot
from webapp.storing import stored_snapshots

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_works(client):
    stored_snapshots.load_demo(DEMO / "shop-iptables", "shop-iptables", "shop-iptables")
    page = client.get("/").content.decode()
    sample = "/c/shop-iptables/trace?from=external:203.0.113.10&amp;to=198.51.100.10:443"
    assert page.count(f'href="{sample}"') == 2, "the button and the first thing to try"
    assert "<b>26</b> Services" in page
    assert page.count('class="try"') == 9


def test_every_link_to_try_answers(client):
    stored_snapshots.load_demo(DEMO / "shop-iptables", "shop-iptables", "shop-iptables")
    page = client.get("/").content.decode()
    links = [part.partition('"')[0].replace("&amp;", "&") for part in page.split('class="try" href="')[1:]]
    assert [client.get(link).status_code for link in links] == [200] * 9


@pytest.mark.parametrize("name", ["shop-nftables", "shop-ipvs", "shop-userspace-v1.20"])
def test_every_mode_that_is_modelled_has_traces_to_try(client, name):
    stored_snapshots.load_demo(DEMO / name, name, name)
    page = client.get("/").content.decode()
    assert "not modelled yet" not in page
    link = page.partition('class="try" href="')[2].partition('"')[0].replace("&amp;", "&")
    answer = client.get(link)
    assert answer.status_code == 200
    assert ">Delivered" in answer.content.decode()


def test_a_mode_that_is_not_modelled_is_said(client, tmp_path):
    folder = tmp_path / "windows"
    shutil.copytree(DEMO / "shop-iptables", folder)
    for file in folder.glob("nodes/*/kube-proxy-mode.txt"):
        file.write_text("kernelspace\n")
    stored_snapshots.load_demo(folder, "windows", "windows")
    page = client.get("/").content.decode()
    assert "kernelspace: not modelled yet" in page
    assert 'class="try"' not in page


def test_it_works_without_any_cluster(client):
    page = client.get("/").content.decode()
    assert "Three ways in" in page
    assert "Connect a cluster" in page
    assert "Open the sample trace" not in page


def test_recent_things_are_this_sessions_own():
    mine, theirs = made_snapshot(MINE, name="mine-1"), made_snapshot(OTHER, name="theirs-1")
    my_link, their_link = made_link(MINE), made_link(OTHER)
    page = client_of(MINE).get("/").content.decode()
    assert mine.id in page
    assert my_link.token in page
    assert theirs.id not in page
    assert their_link.token not in page
