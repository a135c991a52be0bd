"""How to collect a snapshot: the script to download, and the page that offers it first."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

pytestmark = pytest.mark.django_db
PROJECT = Path(__file__).resolve().parents[2]


def test_the_script_is_the_projects_own(client: Client) -> None:
    response = client.get(reverse("collect-script"))
    assert response.status_code == 200
    assert response["Content-Disposition"] == 'attachment; filename="collect.sh"'
    assert response.getvalue() == (PROJECT / "collect.sh").read_bytes()
    assert response["Content-Type"].startswith("text/x-shellscript")


def test_it_cannot_be_posted_to(client: Client) -> None:
    assert client.post(reverse("collect-script")).status_code == 405


@pytest.mark.parametrize("name", ["snapshots", "snapshot-new"])
def test_the_page_offers_the_script_before_the_commands_by_hand(client: Client, name: str) -> None:
    text = client.get(reverse(name)).content.decode()
    assert text.index(f'href="{reverse("collect-script")}"') < text.index("<summary>By hand</summary>") < text.index("iptables-save -c")


def test_the_image_has_the_script() -> None:
    assert "collect.sh" in (PROJECT / "Dockerfile").read_text()
