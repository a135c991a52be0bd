"""The trace page, its parts, frozen links and the theme, over HTTP and without JavaScript."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone

from tests.frozen_links import made_document
from tests.made_traces import dropped_trace, lb_trace, unknown_trace
from webapp.models import Snapshot, TraceLink
from webapp.storing import stored_snapshots

pytestmark = pytest.mark.django_db
ASKED = "from=external:203.0.113.10&to=198.51.100.10:443"


@pytest.fixture
def shop(demo: Path) -> Snapshot:
    """Return the recorded shop as a demonstration cluster."""
    stored_snapshots.load_demo(demo / "shop-iptables", "shop", "shop")
    return Snapshot.objects.get(id="shop")


def frozen(document: dict, **columns: object) -> str:
    link = TraceLink(owner="someone", query={"text": "", "query": {}}, snapshot_digest="0", engine_version="made", **columns)
    link.document = document
    link.save(force_insert=True)
    return f"/t/{link.token}"


def headline(response: object) -> str:
    found = re.search(r'<h1 id="vt">(.*?)</h1>', response.content.decode(), re.DOTALL)
    return re.sub(r"<[^>]+>", "", found[1]) if found else ""


# --- the live page -----------------------------------------------------------------------------------------------------


def test_ways_are_counted_as_endpoints_by_nodes_where_each_node_may_choose_each(client: Client, shop: Snapshot) -> None:
    assert '<h2 id="gh">3 endpoints × 3 nodes = 9 paths</h2>' in client.get(f"/c/shop/trace?{ASKED}").content.decode()
    local = client.get(f"/c/shop/trace?{ASKED}&set=svc/production/public-api.spec.externalTrafficPolicy=Local").content.decode()
    assert '<h2 id="gh">3 paths</h2>' in local


def test_an_endpoint_outside_is_not_counted_as_a_pod(client: Client, shop: Snapshot) -> None:
    asked = "from=pod:default/client-5b59cb7b48-4p52n&to=svc:legacy/mainframe:8080"
    page = client.get(f"/c/shop/trace?{asked}").content.decode()
    assert ">1 endpoint<" in page
    assert ">1 pod<" not in page


def test_it_works(client: Client, shop: Snapshot) -> None:
    response = client.get(f"/c/shop/trace?{ASKED}")
    assert response.status_code == 200
    assert headline(response) == "Delivered, but the client IP is lost at step 9"
    assert 'aria-current="step"' in response.content.decode()
    assert "from dump-of-" not in response.content.decode()
    shop.summary["from"] = {f"nodes/{node['name']}/iptables-save.txt": f"dump-of-{node['name']}" for node in shop.summary["nodes"]}
    shop.save()
    assert '<span class="mut">from dump-of-shop-' in client.get(f"/c/shop/trace?{ASKED}").content.decode()


def test_without_a_question_it_offers_examples_of_this_cluster(client: Client, shop: Snapshot) -> None:
    text = client.get("/c/shop/trace").content.decode()
    assert text.count('class="card" href="/c/shop/trace?from=') == 4
    assert "production/public-api" in text


def test_the_form_leads_to_the_canonical_address(client: Client, shop: Snapshot) -> None:
    response = client.get(
        "/c/shop/trace?from_kind=external&from_name=203.0.113.10&to=production/public-api:443&protocol=tcp&source_port=&paths=all&seed=7"
    )
    assert (response.status_code, response["Location"]) == (
        302,
        "/c/shop/trace?from=external:203.0.113.10&to=svc:production/public-api:443",
    )


def test_a_ping_can_be_asked(client: Client, shop: Snapshot) -> None:
    """The form offers it, and the page tells of no port that it does not have."""
    node = "shop-worker"
    response = client.get(f"/c/shop/trace?from=node:{node}&to=10.96.0.10&protocol=icmp")
    text = response.content.decode()
    assert response.status_code == 200
    assert '<option value="icmp" selected>ICMP</option>' in text
    assert "10.96.0.10:None" not in text
    assert "port None" not in text
    assert "SERVICE_TAKES_NO_ECHO" in text or "A Service takes packets by protocol and port" in text


def test_it_404s_for_an_unknown_snapshot(client: Client, shop: Snapshot) -> None:
    response = client.get(f"/c/shup/trace?{ASKED}")
    assert response.status_code == 404
    assert "/c/shop/trace" in response.content.decode()


def test_it_404s_with_near_names(client: Client, shop: Snapshot) -> None:
    response = client.get("/c/shop/trace?from=external:203.0.113.10&to=svc:production/public-apo:443")
    assert response.status_code == 404
    assert 'href="/c/shop/trace?from=external:203.0.113.10&amp;to=svc:production/public-api:443"' in response.content.decode()


def test_it_422s_with_every_error_beside_its_field(client: Client, shop: Snapshot) -> None:
    response = client.get("/c/shop/trace?from_kind=pod&from_name=x&to=a b&protocol=xyz&source_port=0")
    text = response.content.decode()
    assert response.status_code == 422
    for anchor in ("from_name", "to", "source_port", "protocol"):
        assert f'<li><a href="#{anchor}">' in text
    assert text.count('aria-invalid="true"') >= 3
    assert 'id="errors" tabindex="-1"' in text


@pytest.mark.parametrize(("target", "root"), [("inspector", "inspector"), ("graph-box", "graph-box"), ("trace", "trace")])
def test_htmx_gets_the_partial_only(client: Client, shop: Snapshot, target: str, root: str) -> None:
    response = client.get(f"/c/shop/trace?{ASKED}&step=3", headers={"HX-Request": "true", "HX-Target": target})
    text = response.content.decode().strip()
    assert re.match(rf'<\w+ [^>]*id="{root}"', text), text[:200]
    assert "<html" not in text
    assert {"HX-Request", "HX-Target"} <= {name.strip() for name in response["Vary"].split(",")}


def test_the_whole_page_varies_too(client: Client, shop: Snapshot) -> None:
    response = client.get(f"/c/shop/trace?{ASKED}")
    assert {"HX-Request", "HX-Target"} <= {name.strip() for name in response["Vary"].split(",")}


def test_one_sample_shows_one_path(client: Client, shop: Snapshot) -> None:
    text = client.get(f"/c/shop/trace?{ASKED}&paths=one&seed=7").content.decode()
    assert "One sample, seed 7" in text


@pytest.mark.parametrize("suffix", ["svg", "dot", "mmd", "json"])
def test_exports_are_files(client: Client, shop: Snapshot, suffix: str) -> None:
    response = client.get(f"/c/shop/trace.{suffix}?{ASKED}")
    assert response.status_code == 200
    assert response["Content-Disposition"] == f'attachment; filename="trace.{suffix}"'


@pytest.mark.parametrize(
    ("path", "status"),
    [("trace.svg?from=x", 422), ("trace.svg", 422), ("trace.exe?" + ASKED, 404), ("trace.json?from=node:nobody&to=10.0.0.1:80", 404)],
)
def test_exports_say_why_not(client: Client, shop: Snapshot, path: str, status: int) -> None:
    assert client.get(f"/c/shop/{path}").status_code == status


def test_strangers_do_not_see_it(client: Client, shop: Snapshot) -> None:
    Snapshot.objects.filter(id="shop").update(is_demo=False, owner="somebody")
    assert client.get(f"/c/shop/trace?{ASKED}").status_code == 404
    assert client.get(f"/c/shop/trace.json?{ASKED}").status_code == 404
    assert client.post("/c/shop/trace/freeze", {"query": ASKED}).status_code == 404


def test_nothing_inline(client: Client, shop: Snapshot) -> None:
    text = client.get(f"/c/shop/trace?{ASKED}&expand=all,nodes&detail=rules").content.decode()
    assert not re.findall(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*src=)", text)


# --- frozen links ------------------------------------------------------------------------------------------------------


def test_freezing_makes_a_link_that_outlives_the_snapshot(client: Client, shop: Snapshot) -> None:
    response = client.post("/c/shop/trace/freeze", {"query": f"{ASKED}&step=7", "expires": "7"})
    assert response.status_code == 302
    path, _, query = response["Location"].partition("?")
    assert re.fullmatch(r"/t/[1-9A-HJ-NP-Za-km-z]{26}", path)
    assert query == "step=7"
    link = TraceLink.objects.get()
    assert timedelta(days=6) < link.expires_at - timezone.now() < timedelta(days=8)
    stranger = Client()
    before = stranger.get(f"{path}?step=7").content.decode()
    Snapshot.objects.all().delete()
    after = stranger.get(f"{path}?step=7").content.decode()
    drawn = re.compile(r"<main.*</main>", re.DOTALL)
    assert drawn.search(after)[0] == drawn.search(before)[0]
    assert "Open in" not in after


def test_a_frozen_page_is_read_only(client: Client) -> None:
    text = client.get(frozen(made_document(lb_trace()))).content.decode()
    assert "The stored answer of" in text
    assert "trace-form" not in text
    assert "freeze" not in text.lower().replace("freeze-menu", "")


@pytest.mark.parametrize("suffix", ["svg", "dot", "mmd", "json"])
def test_a_frozen_answer_exports(client: Client, suffix: str) -> None:
    assert client.get(f"{frozen(made_document(dropped_trace()))}/trace.{suffix}").status_code == 200


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
def test_it_410s_for_a_closed_link(client: Client, column: str) -> None:
    path = frozen(made_document(lb_trace()), **{column: timezone.now() - timedelta(seconds=1)})
    assert client.get(path).status_code == 410
    assert client.get(f"{path}/trace.json").status_code == 410


def test_it_404s_for_unknown_token(client: Client) -> None:
    assert client.get("/t/abc").status_code == 404


@pytest.mark.parametrize("posted", [{"query": "from=x"}, {"query": ""}, {"query": ASKED, "expires": "999"}])
def test_only_questions_are_frozen(client: Client, shop: Snapshot, posted: dict[str, str]) -> None:
    assert client.post("/c/shop/trace/freeze", posted).status_code == 400
    assert not TraceLink.objects.exists()


def test_unknown_names_the_missing_input(client: Client) -> None:
    response = client.get(frozen(made_document(unknown_trace())))
    assert headline(response) == "Unknown: the snapshot lacks what is needed"
    assert "No rules recorded for node shop-worker9" in response.content.decode()


def test_dropped_names_the_step_and_the_reason(client: Client) -> None:
    response = client.get(frozen(made_document(dropped_trace())))
    assert headline(response).startswith("Dropped at step 3")
    assert "/reasons/ETP_LOCAL_NO_LOCAL_ENDPOINT" in response.content.decode()


# --- the theme ---------------------------------------------------------------------------------------------------------


def test_the_theme_is_a_cookie(client: Client) -> None:
    response = client.post("/theme", {"theme": "dark", "next": "/reasons"})
    assert (response.status_code, response["Location"], client.cookies["theme"].value) == (302, "/reasons", "dark")
    assert '<html lang="en" data-theme="dark">' in client.get("/reasons").content.decode()


@pytest.mark.parametrize("back", ["https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)"])
def test_the_theme_leads_nowhere_else(client: Client, back: str) -> None:
    assert client.post("/theme", {"theme": "light", "next": back})["Location"] == "/"


def test_there_are_two_themes(client: Client) -> None:
    assert client.post("/theme", {"theme": "pink"}).status_code == 400
    assert client.get("/theme").status_code == 405


# --- names -------------------------------------------------------------------------------------------------------------


def test_a_name_is_asked_before_the_packet_is_sent(client: Client, demo: Path, shop: Snapshot) -> None:
    pods = re.findall(r'"name": "(client-[a-z0-9-]+)"', (demo / "shop-iptables/pods.json").read_text())
    text = client.get(f"/c/shop/trace?from=pod:default/{pods[0]}&to=public-api.production:443&step=2").content.decode()
    assert 'class="n k-dns on"' in text
    assert "2 of 4 questions of this look-up were in vain." in text
    assert f'href="/c/shop/trace?from=pod:default/{pods[0]}&amp;to=10.96.0.10:53&amp;protocol=udp"' in text


def test_a_name_that_does_not_exist_is_the_verdict(client: Client, demo: Path, shop: Snapshot) -> None:
    pods = re.findall(r'"name": "(client-[a-z0-9-]+)"', (demo / "shop-iptables/pods.json").read_text())
    response = client.get(f"/c/shop/trace?from=pod:default/{pods[0]}&to=nosuch.production:443")
    assert headline(response) == "Name does not resolve"
