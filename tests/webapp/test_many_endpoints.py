"""A Service with more endpoints than Python's own number conversion has digits for: the engine, the page and the command stay exact."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from tests.conftest import PROJECT
from tests.made_cluster import MadeCluster
from tests.sizes import every
from tracer.told_odds import read_odds
from webapp.storing import stored_snapshots

ENDPOINTS = 500  # 31 bits a draw: about 470 draws have more than 4300 digits


def written(cluster: MadeCluster, root: Path) -> Path:
    for path, content in cluster.files().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod(f"web-{n}", n % 2 + 1) for n in range(ENDPOINTS)])
    return written(cluster, tmp_path_factory.mktemp("many"))


def test_the_odds_are_exact_and_sum_to_one(folder: Path) -> None:
    command = [sys.executable, "manage.py", "trace", str(folder), "--from", "pod:default/client", "--to", "10.96.0.10:80"]
    answer = json.loads(subprocess.run([*command, "--format", "json"], cwd=PROJECT, capture_output=True, check=True, timeout=120).stdout)
    assert max(len(outcome["probability"]) for outcome in answer["outcomes"]) < 200
    assert len(answer["outcomes"]) == ENDPOINTS
    odds = read_odds(answer["outcomes"])
    assert max(share.denominator.bit_length() for share in odds) > 31 * ENDPOINTS // 2
    assert sum(odds) == 1
    text = subprocess.run([*command, "--expand"], cwd=PROJECT, capture_output=True, check=True, timeout=120, text=True).stdout
    assert text.count("= delivered") == ENDPOINTS
    assert max(map(len, text.splitlines())) < 1000
    text = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True, timeout=120, text=True).stdout
    assert text.count("= delivered") == len(answer["classes"]) == 2
    assert text.count("just so, with their own addresses: ") == 2


@pytest.mark.django_db
@pytest.mark.parametrize("more", every(["", "&step=6&paths=one&seed=3"], 2))
def test_the_page_draws_them(client: Client, folder: Path, more: str) -> None:
    row = stored_snapshots.store_snapshot(folder)
    page = client.get(f"/c/{row.id}/trace?from=pod:default/client&to=10.96.0.10:80{more}")
    assert page.status_code == 200
    assert max(map(len, page.content.decode().split())) < 1000


@pytest.mark.django_db
def test_behind_a_load_balancer_and_three_nodes_it_stays_small(client: Client, tmp_path: Path) -> None:
    cluster = MadeCluster(nodes=3)
    pods = [cluster.pod(f"web-{n}", n % 3 + 1) for n in range(ENDPOINTS)]
    cluster.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    row = stored_snapshots.store_snapshot(written(cluster, tmp_path))
    page = client.get(f"/c/{row.id}/trace?from=external:203.0.113.10&to=198.51.100.7:80")
    text = page.content.decode()
    boxes = re.findall(r'<a class="n k-(?!way)', text)
    assert 10 < len(boxes) <= 60
    assert len(gzip.compress(page.content)) <= 60_000
