"""The pages of a followed cluster: the same as a snapshot's, with what a browser needs to follow on."""

from __future__ import annotations

import html
import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from tests.webapp.live_rows import ASKED, KeptCluster
from webapp.live import live_sources as live
from webapp.models import LiveSource

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> KeptCluster:
    return KeptCluster()


def page(client: Client, shop: KeptCluster, query: str = ASKED, **headers: str) -> str:
    response = client.get(f"/c/{shop.row.id}/trace?{query}", headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert response.status_code == 200, response.content[:2000]
    return response.content.decode()


def attribute(text: str, name: str) -> str:
    found = re.search(rf'<div id="trace"[^>]*? {name}="([^"]*)"', text)
    assert found, name
    return html.unescape(found[1])


def answered(text: str) -> str:
    """Return the generation of the page's answer."""
    return attribute(text, "data-answer").partition(".")[0]


def test_it_works(client: Client, shop: KeptCluster) -> None:
    text = page(client, shop)
    assert "Delivered" in text
    assert attribute(text, "data-gen") == "1"
    assert answered(text) == "1"
    assert "svc/default/api" in attribute(text, "data-depends").split()
    assert f'data-socket="/live/{shop.row.id}"' in text
    assert "js/live.js" in text


@pytest.mark.parametrize(
    "path", ["trace", "dns", "connections", f"trace.json?{ASKED}", f"trace.svg?{ASKED}", "names?to=api", f"trace.dot?{ASKED}"]
)
def test_every_page_of_a_snapshot_is_there(client: Client, shop: KeptCluster, path: str) -> None:
    assert client.get(f"/c/{shop.row.id}/{path}").status_code == 200


def test_a_snapshot_has_nothing_of_it(client: Client, demo) -> None:
    from webapp.storing import stored_snapshots

    stored_snapshots.load_demo(demo / "shop-iptables", "still", "still")
    text = client.get("/c/still/trace").content.decode()
    assert "live.js" not in text
    assert "data-depends" not in text


def test_an_answer_is_kept_until_something_touches_it(client: Client, shop: KeptCluster) -> None:
    page(client, shop)
    other = shop.object("services", "staging", "demo-app")
    other["metadata"]["annotations"] = {"a": "b"}
    shop.put("services", "MODIFIED", other)
    text = page(client, shop)
    assert (attribute(text, "data-gen"), answered(text)) == ("2", "1")
    api = next(s for s in (shop.object("endpointslices", "default", name) for name in slices(shop, "api")) if s["addressType"] == "IPv4")
    api["endpoints"] = api["endpoints"][:2]
    shop.put("endpointslices", "MODIFIED", api)
    assert answered(page(client, shop)) == "3"


def slices(shop: KeptCluster, service: str) -> list[str]:
    paths = [path for path in shop.store if path.startswith(f"objects/endpointslices/default/{service}-")]
    return [path.rpartition("/")[2].removesuffix(".json") for path in paths if re.fullmatch(rf".*/{service}-[a-z0-9]{{5}}\.json", path)]


def test_who_has_the_answer_gets_no_other(client: Client, shop: KeptCluster) -> None:
    text = page(client, shop)
    had = {"HX-Request": "true", "HX-Target": "trace", "Hopline-Had": attribute(text, "data-answer")}
    assert client.get(f"/c/{shop.row.id}/trace?{ASKED}", headers=had).status_code == 204
    assert client.get(f"/c/{shop.row.id}/trace?{ASKED}", headers=had | {"Hopline-Had": "0"}).status_code == 200
    assert client.get(f"/c/{shop.row.id}/trace?{ASKED}", headers=had | {"Hopline-Had": answered(text)}).status_code == 200


def test_a_watched_page_waits_while_a_change_is_under_way(client: Client, shop: KeptCluster) -> None:
    """Its nodes were read before the change: an answer now would be of two moments."""

    def read(at: float) -> dict[str, Any]:
        return {node: {"files": {"iptables-save.txt": {"read_at": at}}} for node in shop.row.nodes}

    shop.set(nodes=read(time.time()))
    had = {"HX-Request": "true", "HX-Target": "trace", "Hopline-Had": attribute(page(client, shop), "data-answer")}
    api = next(s for s in (shop.object("endpointslices", "default", name) for name in slices(shop, "api")) if s["addressType"] == "IPv4")
    api["endpoints"] = api["endpoints"][:2]
    shop.put("endpointslices", "MODIFIED", api)
    address = f"/c/{shop.row.id}/trace?{ASKED}"
    waits = client.get(address, headers=had)
    assert (waits.status_code, waits.headers["Hopline-Settling"]) == (204, str(settings.SETTLE_SECONDS))
    # A generation that no database holds is none.
    connection = had["Hopline-Had"].partition(".")[2]
    assert client.get(address, headers=had | {"Hopline-Had": f"{'9' * 5000}.{connection}"}).status_code == 200
    # Who opens it, or says Update, sees what there is.
    assert client.get(address).status_code == 200
    assert client.get(address, headers=had | {"Hopline-Now": "1"}).status_code == 200
    shop.set(nodes=read(time.time() + 1))
    assert client.get(address, headers=had).status_code == 200


def test_a_cluster_waits_for_the_first_reading_of_each_node(client: Client) -> None:
    """The rules of some nodes and not of others are no answer that anybody asked for."""
    shop = KeptCluster()
    shop.set(heads={"nodes": {"count": len(shop.row.nodes) + 1}})
    assert 'aria-label="Reading"' in page(client, shop)
    shop.set(created_at=timezone.now() - timedelta(seconds=31))
    assert "Delivered" in page(client, shop)


def test_the_same_generation_of_a_cluster_connected_anew_is_another_answer(client: Client, shop: KeptCluster) -> None:
    text, source = page(client, shop), shop.row.id
    had = {"HX-Request": "true", "HX-Target": "trace", "Hopline-Had": attribute(text, "data-answer")}
    shown = {"HX-Request": "true", "HX-Target": "inspector", "Hopline-Answer": attribute(text, "data-answer")}
    live.disconnect(shop.row)
    again = KeptCluster(id=source)
    assert again.row.generation == shop.row.generation
    response = client.get(f"/c/{source}/trace?{ASKED}", headers=had)
    assert (response.status_code, answered(response.content.decode())) == (200, "1")
    assert attribute(response.content.decode(), "data-answer") != had["Hopline-Had"]
    assert client.get(f"/c/{source}/trace?{ASKED}&step=3", headers=shown).status_code == 200


def test_a_step_belongs_to_the_answer_that_is_shown(client: Client, shop: KeptCluster) -> None:
    before = page(client, shop)
    rules = shop.store["nodes/shop-worker2/iptables-save.txt"]
    shop.put_file("shop-worker2", "iptables-save.txt", rules.replace(b"--probability 0.33333333349", b"--probability 0.25000000000"))
    shown = {"HX-Request": "true", "HX-Target": "inspector", "Hopline-Answer": attribute(before, "data-answer")}
    old = client.get(f"/c/{shop.row.id}/trace?{ASKED}&step=3", headers=shown).content.decode()
    new = client.get(f"/c/{shop.row.id}/trace?{ASKED}&step=3").content.decode()
    assert "0.33333333349" in old
    assert "0.25000000000" in new


def test_the_followed_path_and_step_stay(client: Client, shop: KeptCluster) -> None:
    text = page(client, shop, f"{ASKED}&detail=chains")
    other = re.search(r"[?&]follow=([0-9a-f]{10})", html.unescape(page(client, shop)))[1]
    followed = attribute(page(client, shop, f"{ASKED}&follow={other}"), "data-follow")
    kept = page(client, shop, ASKED, Hopline_Follow=followed, Hopline_Step="5")
    assert attribute(kept, "data-follow") == followed != attribute(text, "data-follow")
    assert 'id="inspector" aria-labelledby="pt" data-step="5"' in kept
    # Another id, the same end: its rules are others by now.
    kept = page(client, shop, f"{ASKED}&follow={'0' * 10}", Hopline_Follow=f"{'0' * 10}.{followed.split('.')[1]}")
    assert attribute(kept, "data-follow") == followed
    assert "is not among the answer’s paths" not in kept


@pytest.mark.parametrize("nonsense", ["x", "0123456789", "0123456789.x", "é.é", "../../etc"])
def test_a_followed_path_that_makes_no_sense_is_nothing(client: Client, shop: KeptCluster, nonsense: str) -> None:
    assert attribute(page(client, shop, ASKED, Hopline_Follow=nonsense, Hopline_Step="-1"), "data-follow")


def test_a_cluster_that_is_being_read_says_so(client: Client) -> None:
    row = LiveSource.objects.create(name="new", kind="context", context="new", state="connecting", state_text="Reading pods: 500 of 9,000")
    response = client.get(f"/c/{row.id}/trace?{ASKED}")
    text = response.content.decode()
    assert response.status_code == 200
    assert "Reading new" in text
    assert "Reading pods: 500 of 9,000" in text
    assert 'data-depends="*"' in text


def test_what_does_not_exist_is_404_once_it_is_read(client: Client, shop: KeptCluster) -> None:
    assert client.get(f"/c/{shop.row.id}/trace?from=pod:default/nobody&to=svc:default/api:80").status_code == 404


def test_what_cannot_be_asked_is_422_also_while_it_is_read(client: Client) -> None:
    row = LiveSource.objects.create(name="new", kind="context", context="new", state="connecting")
    assert client.get(f"/c/{row.id}/trace?from=a+b&to=c").status_code == 422


def test_an_answer_can_be_frozen_and_outlives_the_cluster(client: Client, shop: KeptCluster) -> None:
    made = client.post(f"/c/{shop.row.id}/trace/freeze", {"query": ASKED, "expires": ""})
    assert f"/c/{shop.row.id}/trace?" in html.unescape(client.get(made["Location"]).content.decode())
    client.post(f"/clusters/{shop.row.id}/disconnect")
    text = client.get(made["Location"]).content.decode()
    assert "Delivered" in text
    assert "live.js" not in text
    assert "Open in" not in text


def test_it_404s_for_an_unknown_source_with_near_names(client: Client, shop: KeptCluster) -> None:
    response = client.get("/c/nobody/trace")
    assert response.status_code == 404


def test_the_switcher_asks_the_same_elsewhere(client: Client, shop: KeptCluster, demo) -> None:
    from webapp.storing import stored_snapshots

    stored_snapshots.load_demo(demo / "shop-iptables", "still", "still")
    assert f"/c/still/trace?{ASKED}" in html.unescape(page(client, shop))


def test_objects_without_rules_are_not_judged_in_the_first_moment(client: Client) -> None:
    early = KeptCluster(node_files=False)
    early.set(nodes={})
    assert "Reading shop" in page(client, early)
    early.set(readings="none")
    assert "were recorded: what is shown is what kube-proxy" in page(client, early)


WHAT_IF = f"{ASKED}&set=svc/default/api.spec.sessionAffinity=ClientIP"


@pytest.mark.parametrize("where", ["trace", "compare"])
def test_a_what_if_question_follows_the_cluster(client: Client, shop: KeptCluster, where: str) -> None:
    """The change is put over whatever the cluster is by then; who has the answer of that generation gets no other."""

    def shown() -> str:
        response = client.get(f"/c/{shop.row.id}/{where}?{WHAT_IF}")
        assert response.status_code == 200, response.content[:2000]
        return response.content.decode()

    before = shown()
    assert answered(before) == "1"
    assert attribute(before, "data-depends") != ""
    had = {"HX-Request": "true", "HX-Target": "trace", "Hopline-Had": attribute(before, "data-answer")}
    assert client.get(f"/c/{shop.row.id}/{where}?{WHAT_IF}", headers=had).status_code == 204
    api = next(s for s in (shop.object("endpointslices", "default", name) for name in slices(shop, "api")) if s["addressType"] == "IPv4")
    gone = api["endpoints"].pop()["addresses"][0]
    shop.put("endpointslices", "MODIFIED", api)
    after = shown()
    assert answered(after) == "2"
    assert gone in before and gone not in attribute(after, "data-facts")
    shop.put("services", "DELETED", shop.object("services", "default", "api"))
    assert client.get(f"/c/{shop.row.id}/{where}?{WHAT_IF}").status_code in (404, 422)
