"""Ways that were inferred, as a node's routes were not recorded: the page says so where the packet leaves the node."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from tests.made_cluster import MadeCluster
from webapp.storing import stored_snapshots

IP_FILES = {"ip-addr.json", "ip-link.json", "ip-route.json", "ip6-route.json", "ip-rule.json", "ip6-rule.json"}


def stored(folder: Path, *, without: set[str]) -> str:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 2)])
    cluster.node(1).without |= without
    files = cluster.files()
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return stored_snapshots.store_snapshot(folder).id


def steps_of(page: str) -> str:
    return page.partition('id="steps"')[2].partition('id="inspector"')[0]


@pytest.mark.django_db
@pytest.mark.parametrize(("without", "said"), [(set(), False), (IP_FILES, True)])
def test_the_steps_mark_a_way_that_was_inferred(client: Client, tmp_path: Path, without: set[str], said: bool) -> None:
    page = client.get(f"/c/{stored(tmp_path, without=without)}/trace?from=pod:default/client&to=10.96.0.10:80").content.decode()
    assert "Delivered" in page
    assert ("inferred" in steps_of(page)) is said


@pytest.mark.django_db
def test_why_says_by_which_route_the_packet_left(client: Client, tmp_path: Path) -> None:
    address = f"/c/{stored(tmp_path, without=set())}/trace?from=pod:default/client&to=10.96.0.10:80"
    pages = [client.get(f"{address}&step={n}").content.decode().partition('id="inspector"')[2] for n in range(1, 9)]
    assert any("Route: 10.1.2.0/24 via 192.168.0.12 dev eth0" in page for page in pages)
