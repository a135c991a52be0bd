"""A Service with more endpoints than Python's own number conversion has digits for: the engine, the page and the command stay exact."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from tests.conftest import PROJECT
from tests.made_cluster import MadeCluster
from tracer.probability import from_text
from webapp import services

ENDPOINTS = 500  # 31 bits a draw: about 470 draws have more than 4300 digits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod(f"web-{n}", n % 2 + 1) for n in range(ENDPOINTS)])
    root = tmp_path_factory.mktemp("many")
    for path, content in cluster.files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def test_the_odds_are_exact_and_sum_to_one(folder: Path) -> None:
    command = [sys.executable, "manage.py", "trace", str(folder), "--from", "pod:default/client", "--to", "10.96.0.10:80"]
    answer = json.loads(subprocess.run([*command, "--format", "json"], cwd=PROJECT, capture_output=True, check=True, timeout=120).stdout)
    assert max(len(outcome["probability"]) for outcome in answer["outcomes"]) > 2 * 4300
    assert len(answer["outcomes"]) == ENDPOINTS
    assert sum(from_text(outcome["probability"]) for outcome in answer["outcomes"]) == 1
    text = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True, timeout=120, text=True).stdout
    assert text.count("= delivered") == ENDPOINTS
    assert max(map(len, text.splitlines())) < 1000


@pytest.mark.django_db
@pytest.mark.parametrize("more", ["", "&step=6&paths=one&seed=3"])
def test_the_page_draws_them(client: Client, folder: Path, more: str) -> None:
    row = services.store_snapshot(folder)
    page = client.get(f"/c/{row.id}/trace?from=pod:default/client&to=10.96.0.10:80{more}")
    assert page.status_code == 200
    assert max(map(len, page.content.decode().split())) < 1000
