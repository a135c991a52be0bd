"""The page that says what another mode of kube-proxy changes, and its files."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from django.test import Client

from tests.made_cluster import MadeCluster
from webapp.storing import stored_snapshots
from webapp.work.lanes import Lane, lane_of

pytestmark = pytest.mark.django_db
PAGE = "/c/made/migrate"


@pytest.fixture(autouse=True)
def made(tmp_path: Path) -> None:
    """A cluster of two nodes with two Services."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    web = cluster.pod("web", 2)
    for number in (0, 1):
        cluster.service(f"web-{number}", [web], type="NodePort", node_port=30080 + number)
    for path, content in cluster.files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    stored_snapshots.load_demo(tmp_path, "made", "made")


def page(client: Client, query: str = "") -> str:
    return unescape(client.get(f"{PAGE}{query}").content.decode())


def test_without_a_mode_each_is_offered(client: Client) -> None:
    text = page(client)
    assert re.findall(r'href="(/c/made/migrate\?to=\w+)"', text) == [f"{PAGE}?to={mode}" for mode in ("iptables", "nftables", "ipvs")]


def test_it_works(client: Client) -> None:
    text = page(client, "?to=nftables")
    assert "are answered otherwise, each for a known reason.</h2>" in text
    assert "no-node-port-on-loopback" in text
    assert "<b>To keep what was:</b> Nothing sets it." in text
    link = re.search(r'href="(/c/made/compare\?from=node[^"]+127\.0\.0\.1[^"]+)"', text)
    assert link is not None
    beside = client.get(link[1])
    assert beside.status_code == 200
    assert "127.0.0.1" in beside.content.decode()


def test_the_mode_that_is_there_changes_nothing(client: Client) -> None:
    assert "Nothing changes: " in page(client, "?to=iptables")


def test_it_goes_on_where_a_page_ends(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.views.migrating.MIGRATED_ON_PAGE", 50)
    text = page(client, "?to=nftables")
    assert "1 Services are not on this page." in text
    further = re.search(r'href="(/c/made/migrate\?[^"]+)">The next ones', text)
    assert further is not None
    rest = unescape(client.get(further[1]).content.decode())
    assert "<td>default/web-1</td>" in rest and "<td>default/web-0</td>" not in rest
    assert "are not on this page" not in rest


def test_files_hold_the_same(client: Client) -> None:
    told = json.loads(client.get(f"{PAGE}.json?to=nftables").content)
    assert (told["from"], told["to"], told["unexplained"]) == (["iptables"], "nftables", 0)
    answer = client.get(f"{PAGE}.md?to=nftables")
    assert answer["Content-Disposition"] == 'attachment; filename="migrate-nftables.md"'
    assert answer.content.decode().startswith("# From iptables to nftables: made\n")


@pytest.mark.parametrize("path", [f"{PAGE}?to=<script>", f"{PAGE}.pdf?to=nftables", f"{PAGE}.json?to=x", "/c/nowhere/migrate"])
def test_it_404s_for_what_is_not_there(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "<script>" not in answer.content.decode().partition("<main")[2]


def test_the_snapshots_page_leads_there(client: Client) -> None:
    assert f'href="{PAGE}"' in client.get("/snapshots/made").content.decode()


@pytest.mark.parametrize("name", ["migrate", "migrate-export"])
def test_it_is_made_where_it_may_take_long(name: str) -> None:
    assert lane_of(name, "GET") is Lane.HEAVY
