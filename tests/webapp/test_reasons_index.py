"""/reasons"""

from __future__ import annotations

import pytest

from tracer.explain.catalogue import CATALOGUE


def test_it_works(client):
    response = client.get("/reasons")
    page = response.content.decode()
    assert response.status_code == 200
    assert all(f'href="/reasons/{code}"' in page for code in CATALOGUE)


def test_it_searches_without_javascript(client):
    page = client.get("/reasons", {"q": "hairpin bridge"}).content.decode()
    assert 'href="/reasons/HAIRPIN_OFF"' in page
    assert 'href="/reasons/NO_ROUTE"' not in page
    assert 'value="hairpin bridge"' in page


def test_it_says_when_nothing_matches(client):
    page = client.get("/reasons", {"q": "no-such-word"}).content.decode()
    assert "Nothing matches" in page


@pytest.mark.parametrize("text", ['"><script>alert(1)</script>', "</text>"])
def test_a_search_is_shown_as_text(client, text):
    page = client.get("/reasons", {"q": text}).content.decode()
    assert text not in page


def test_htmx_gets_the_partial_only(client):
    response = client.get("/reasons", {"q": "route"}, headers={"HX-Request": "true", "HX-Target": "reasons"})
    page = response.content.decode()
    assert page.lstrip().startswith('<div id="reasons"')
    assert "<html" not in page
    assert "HX-Target" in response.headers["Vary"]
