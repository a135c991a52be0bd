"""Error pages look like the product, offer a way on, and the page for faults needs nothing from the application."""

from __future__ import annotations

import pytest
from django.template.loader import render_to_string
from django.test import Client

pytestmark = pytest.mark.django_db


def test_it_works(client):
    response = client.get("/no/such/page")
    page = response.content.decode()
    assert response.status_code == 404
    assert "Nobody owns this address" in page
    assert 'href="/snapshots"' in page


def test_the_address_is_not_repeated(client):
    page = client.get("/no/<b>such</b>").content.decode()
    assert "<b>such" not in page


def test_a_forged_form_is_refused_in_the_products_look():
    response = Client(enforce_csrf_checks=True).post("/snapshots/new")
    assert response.status_code == 403
    assert "The form was too old" in response.content.decode()


@pytest.mark.parametrize("name", ["404.html", "403.html", "403_csrf.html", "410.html", "413.html"])
def test_every_page_renders_with_a_request_only(name, rf):
    page = render_to_string(name, request=rf.get("/"))
    assert "<h1>" in page
    assert "css/errors.css" in page


def test_the_page_for_faults_needs_no_context():
    page = render_to_string("500.html")
    assert "Something broke" in page
    assert "{%" not in page
    assert "<script" not in page


@pytest.mark.parametrize("name", ["404.html", "403.html", "410.html", "413.html", "500.html"])
def test_no_style_attribute_is_emitted(name, rf):
    assert " style=" not in render_to_string(name, request=rf.get("/"))
