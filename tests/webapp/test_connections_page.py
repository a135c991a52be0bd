"""The list of recorded connections, and the trace of one of them."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.live_rows import KeptCluster
from webapp.models import Snapshot
from webapp.storing import stored_snapshots

pytestmark = pytest.mark.django_db
LIST = "/c/shop/connections"


@pytest.fixture(autouse=True)
def shop(demo: Path) -> None:
    """Store the recorded shop as a demonstration cluster."""
    stored_snapshots.load_demo(demo / "shop-iptables", "shop", "shop")


def links(client: Client, path: str) -> list[str]:
    return [html.unescape(m) for m in re.findall(r'href="(/c/shop/trace\?connection=[^"]*)"', client.get(path).content.decode())]


def test_it_works(client: Client, demo: Path) -> None:
    recorded = (demo / "shop-iptables/nodes/shop-worker/conntrack.txt").read_text().splitlines()
    found = links(client, f"{LIST}?node=shop-worker")
    assert found == [f"/c/shop/trace?connection=shop-worker:{line}" for line, text in enumerate(recorded, start=1) if " src=" in text]


def test_every_connection_of_a_node_traces(client: Client) -> None:
    for link in links(client, f"{LIST}?node=shop-worker"):
        response = client.get(link)
        assert response.status_code == 200, link
        text = response.content.decode()
        assert 'name="connection" value="shop-worker:' in text
        assert 'id="from_name"' not in text


def test_a_search_narrows_it_down(client: Client) -> None:
    text = client.get(f"{LIST}?node=shop-worker&find=ESTABLISHED").content.decode()
    assert "TIME_WAIT</td>" not in text
    assert "ESTABLISHED</td>" in text
    assert "Nothing matches “nobody”" in client.get(f"{LIST}?node=shop-worker&find=nobody").content.decode()


def test_without_a_node_the_first_one_is_shown(client: Client) -> None:
    assert "connections of shop-control-plane</h2>" in client.get(LIST).content.decode()


def test_it_says_when_they_were_read(client: Client, demo: Path) -> None:
    taken = Snapshot.objects.get(id="shop").taken_at
    assert taken is not None
    assert f'read <time datetime="{taken:%Y-%m-%dT%H:%M:%S}' in client.get(f"{LIST}?node=shop-worker").content.decode()


def test_it_says_when_those_of_a_followed_cluster_were_read(client: Client, demo: Path) -> None:
    live, path = KeptCluster(), "nodes/shop-worker/conntrack.txt"
    live.put_file("shop-worker", "conntrack.txt", (demo / "shop-iptables" / path).read_bytes())
    live.set(nodes={"shop-worker": {"files": {"conntrack.txt": {"read_at": 1795203561.5, "bytes": 10, "error": ""}}}})
    text = client.get(f"/c/{live.row.id}/connections?node=shop-worker").content.decode()
    assert f"{datetime.fromtimestamp(1795203561, UTC):%H:%M:%S} UTC</time>" in text


def test_it_404s_for_an_unknown_node(client: Client) -> None:
    response = client.get(f"{LIST}?node=shop-worker9")
    assert response.status_code == 404
    assert f"{LIST}?node=shop-worker" in response.content.decode()


@pytest.mark.parametrize(("connection", "status"), [("shop-worker:9999", 404), ("nobody:1", 404), ("shop-worker", 422)])
def test_what_is_no_connection_is_said_beside_it(client: Client, connection: str, status: int) -> None:
    response = client.get(f"/c/shop/trace?connection={connection}")
    assert response.status_code == status
    assert '<a href="#connection">' in response.content.decode()


def test_a_snapshot_without_recordings_says_so(client: Client, small: Path) -> None:
    stored_snapshots.load_demo(small, "small", "small")
    assert "No connections were recorded" in client.get("/c/small/connections").content.decode()


def test_a_connection_can_be_frozen(client: Client) -> None:
    response = client.post("/c/shop/trace/freeze", {"query": "connection=shop-worker:1&step=2", "expires": ""})
    assert re.fullmatch(r"/t/\w{26}\?step=2", response["Location"])
    assert "connection=shop-worker:1" in html.unescape(client.get(response["Location"]).content.decode())


# --- who keeps its clients ---------------------------------------------------------------------------------------------


def test_a_returning_client_is_offered_where_a_service_keeps_them(client: Client) -> None:
    asked = "from=external:203.0.113.10&to=198.51.100.10:443"
    assert 'id="state"' not in client.get(f"/c/shop/trace?{asked}").content.decode()
    asked = "from=node:shop-worker&to=svc:production/backend-api:80"
    text = client.get(f"/c/shop/trace?{asked}").content.decode()
    assert 'id="state"' in text
    assert "production/backend-api keeps a client at one endpoint for 3 hours" in text


def test_a_returning_client_stays_where_it_was(client: Client) -> None:
    asked = "from=node:shop-worker&to=svc:production/backend-api:80"
    answers = (client.get(f"/c/shop/trace.json?{asked}{more}") for more in ("", "&state=returning"))
    first, again = (json.loads(b"".join(answer))["outcomes"] for answer in answers)
    assert {outcome["destination"]["name"] for outcome in first} == {outcome["destination"]["name"] for outcome in again}
    assert all("recent" in str(outcome["hops"]) for outcome in again)


def test_the_resolver_is_offered_for_names_only(client: Client) -> None:
    assert 'id="resolver"' not in client.get("/c/shop/trace?from=node:shop-worker&to=10.96.0.10:53").content.decode()
    assert 'id="resolver"' in client.get("/c/shop/trace?from=node:shop-worker&to=public-api.production:443").content.decode()
