"""/reasons/<CODE>"""

from __future__ import annotations

from html import escape

import pytest

from tracer.explain.catalogue import CATALOGUE


@pytest.mark.parametrize("code", list(CATALOGUE))
def test_it_works(client, code):
    entry = CATALOGUE[code]
    response = client.get(f"/reasons/{code}")
    page = response.content.decode()
    assert response.status_code == 200
    for text in (
        entry.title,
        entry.sentence,
        *entry.meaning,
        *(c.command for c in entry.confirm if c.command),
        *(r.trade_off for r in entry.fix),
    ):
        assert escape(text) in page


def test_every_command_can_be_copied(client):
    page = client.get("/reasons/CLIENT_IP_LOST").content.decode()
    assert page.count("data-copy-box") == sum(1 for c in CATALOGUE["CLIENT_IP_LOST"].confirm if c.command) > 0


def test_it_404s_for_unknown_code_with_near_matches(client):
    response = client.get("/reasons/CLIENT_IP_LOTS")
    assert response.status_code == 404
    assert 'href="/reasons/CLIENT_IP_LOST"' in response.content.decode()


def test_it_404s_for_markup(client):
    response = client.get("/reasons/%22%3E%3Cscript%3E")
    assert response.status_code == 404
    assert "<script>" not in response.content.decode().replace('<script src="', "")


def test_another_spelling_is_sent_to_the_code(client):
    response = client.get("/reasons/client_ip_lost")
    assert (response.status_code, response["Location"]) == (302, "/reasons/CLIENT_IP_LOST")


def test_htmx_gets_the_partial_only(client):
    response = client.get("/reasons/NOPE_NOPE", headers={"HX-Request": "true"})
    assert response.status_code == 404
    assert "<html" not in response.content.decode()
