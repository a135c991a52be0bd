"""The DNS page and the names it completes, over HTTP and without JavaScript."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from django.test import Client

from webapp.models import Snapshot
from webapp.storing import stored_snapshots

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(demo: Path) -> Snapshot:
    """Return the recorded shop as a demonstration cluster."""
    stored_snapshots.load_demo(demo / "shop-iptables", "shop", "shop")
    return Snapshot.objects.get(id="shop")


@pytest.fixture
def pod(shop: Snapshot) -> str:
    """Return a pod of namespace production."""
    with stored_snapshots.using_cluster(shop) as cluster:
        return next(f"pod:{p.namespace}/{p.name}" for p in cluster.objects.pods if p.namespace == "production")


def text_of(client: Client, **params: str) -> str:
    response = client.get("/c/shop/dns", params)
    assert response.status_code == 200, response.content.decode()
    return html.unescape(response.content.decode())


def test_it_works(client: Client, pod: str) -> None:
    text = text_of(client, **{"from": pod, "name": "api.default"})
    asked = re.findall(r'<td class="m">(api[^<]*)</td><td>(A|AAAA)</td>', text)
    assert asked == [(n, t) for n in ("api.default.production.svc.cluster.local.", "api.default.svc.cluster.local.") for t in ("A", "AAAA")]
    assert "search domain 2 of 3: svc.cluster.local" in text
    assert "2 of 4 questions were in vain" in text
    assert ";; status: NOERROR, flags: qr aa rd; QUERY: 1, ANSWER: 1" in text
    assert "search production.svc.cluster.local svc.cluster.local cluster.local" in text
    assert "API_DEFAULT" not in text
    assert "PUBLIC_API_SERVICE_HOST=" in text
    assert 'aria-current="page">DNS' in text


def test_a_question_can_be_followed_and_the_answer_traced(client: Client, pod: str) -> None:
    text = text_of(client, **{"from": pod, "name": "public-api"})
    followed = re.search(r'href="(/c/shop/trace[^"]*:53[^"]*)">Follow', text)
    traced = re.search(r'href="(/c/shop/trace[^"]*)">Trace to the answer', text)
    assert followed
    assert traced
    assert client.get(followed[1]).status_code == 200
    assert client.get(traced[1]).status_code == 200


@pytest.mark.parametrize(
    ("name", "rdtype", "want"),
    [
        ("_http._tcp.api.default.svc.cluster.local", "SRV", "0 100 80 api.default.svc.cluster.local."),
        ("cluster.local", "SOA", "hostmaster.cluster.local."),
        ("nosuch.default.svc.cluster.local", "A", "status: NXDOMAIN"),
        ("10.96.0.10", "A", "kube-dns.kube-system.svc.cluster.local."),
        ("dns-version.cluster.local", "TXT", '"1.1.0"'),
    ],
)
def test_the_answer_as_dig_shows_it(client: Client, shop: Snapshot, name: str, rdtype: str, want: str) -> None:
    assert want in text_of(client, name=name, type=rdtype)


def test_without_a_name_it_offers_look_ups_of_this_cluster(client: Client, shop: Snapshot) -> None:
    text = text_of(client)
    found = re.findall(r'<li><a href="(/c/shop/dns\?from=pod[^"]*)"', text)
    assert len(found) == 4
    assert all(client.get(url).status_code == 200 for url in found)


@pytest.mark.parametrize(
    ("params", "status", "says"),
    [
        ({"from": "pod:default/nobody", "name": "api"}, 404, "no pod default/nobody"),
        ({"from": "somebody", "name": "api"}, 422, "is not pod:NAMESPACE/NAME"),
        ({"name": "a..b"}, 422, "not a name that DNS can carry"),
        ({"name": "x" * 400}, 422, "not a name that DNS can carry"),
    ],
)
def test_what_cannot_be_asked_is_said(client: Client, shop: Snapshot, params: dict[str, str], status: int, says: str) -> None:
    response = client.get("/c/shop/dns", params)
    assert response.status_code == status
    assert says in html.unescape(response.content.decode())


def test_it_404s_for_an_unknown_snapshot(client: Client) -> None:
    assert client.get("/c/nothing/dns").status_code == 404
    assert client.get("/c/nothing/names").status_code == 404


def test_htmx_gets_the_partial_only(client: Client, pod: str) -> None:
    response = client.get("/c/shop/dns", {"from": pod, "name": "api.default"}, headers={"HX-Request": "true", "HX-Target": "dns-answer"})
    assert response.content.decode().lstrip().startswith('<div id="dns-answer"')


@pytest.mark.parametrize(
    ("typed", "first"),
    [("api.d", "api.default"), ("redis-1", "redis-1.redis.data"), ("public-api.production.svc", "public-api.production.svc.cluster.local")],
)
def test_names_are_completed(client: Client, shop: Snapshot, typed: str, first: str) -> None:
    text = client.get("/c/shop/names", {"to": typed}).content.decode()
    assert re.findall(r'<option value="([^"]*)"', text)[0] == first


def test_the_trace_form_asks_for_names_and_traces_one(client: Client, pod: str) -> None:
    text = client.get("/c/shop/trace").content.decode()
    assert 'hx-get="/c/shop/names"' in text
    assert client.get("/c/shop/trace", {"from": pod, "to": "public-api:443"}).status_code == 200
