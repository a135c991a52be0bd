"""The page that holds a node's recorded rules against what kube-proxy would program."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.made_rows import MINE, client_of
from webapp.models import Snapshot
from webapp.storing import stored_snapshots
from webapp.work import place
from webapp.work.lanes import Lane
from webapp.work.place import ELSEWHERE

pytestmark = pytest.mark.django_db
PAGE = "/c/shop/drift"


def load(folder: Path, demo: Path, change: dict[str, tuple[str, str]] | None = None, *, without: str = "\0") -> None:
    """Store the recorded shop, with texts of its files changed or files left away, as a demonstration cluster."""
    for path in (demo / "shop-iptables").rglob("*"):
        inside = str(path.relative_to(demo / "shop-iptables"))
        if path.is_file() and without not in inside:
            text = path.read_text()
            for before, after in [(change or {}).get(inside, ("", ""))]:
                assert before in text
                text = text.replace(before, after, 1)
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            (folder / inside).write_text(text)
    stored_snapshots.load_demo(folder, "shop", "shop")


def test_no_drift_is_a_result(client: Client, demo: Path, tmp_path: Path) -> None:
    load(tmp_path, demo)
    text = client.get(f"{PAGE}?node=shop-worker").content.decode()
    assert "No drift between objects and rules on node shop-worker</h2>" in text
    assert "nodes/shop-worker/iptables-save.txt" in text
    assert f'href="{PAGE}"' in client.get(f"/snapshots/{Snapshot.objects.get(id='shop').id}").content.decode()


def test_a_rule_that_differs_stands_beside_what_was_expected(client: Client, demo: Path, tmp_path: Path) -> None:
    file = "nodes/shop-worker/iptables-save.txt"
    load(tmp_path, demo, {file: ("-A KUBE-FORWARD ", "-A KUBE-FORWARD -s 192.0.2.7/32 -j DROP\n-A KUBE-FORWARD ")})
    text = client.get(f"{PAGE}?node=shop-worker").content.decode()
    assert "rule of node shop-worker is not as kube-proxy would write it</h2>" in text
    assert "<b>foreign</b>" in text
    assert "-s 192.0.2.7/32 -j DROP</del>" in text
    assert "No drift between" in client.get(f"{PAGE}?node=shop-worker2").content.decode()


def test_a_node_without_rules_cannot_be_compared_and_the_first_with_rules_is_shown(client: Client, demo: Path, tmp_path: Path) -> None:
    load(tmp_path, demo, without="shop-control-plane/ip")
    assert "on node shop-worker</h2>" in client.get(PAGE).content.decode()
    text = client.get(f"{PAGE}?node=shop-control-plane").content.decode()
    assert "No rules of node shop-control-plane were recorded: there is nothing to compare</h2>" in text


@pytest.mark.parametrize("node", ["shop-wroker", "<script>", "../etc"])
def test_a_node_that_does_not_exist_is_named_with_those_near(client: Client, demo: Path, tmp_path: Path, node: str) -> None:
    load(tmp_path, demo)
    answer = client.get(PAGE, {"node": node})
    assert answer.status_code == 404
    assert "<script>" not in answer.content.decode()
    assert node != "shop-wroker" or f"{PAGE}?node=shop-worker" in answer.content.decode()


def test_another_owners_snapshot_is_not_shown(client: Client, demo: Path, tmp_path: Path) -> None:
    load(tmp_path, demo)
    Snapshot.objects.filter(id="shop").update(is_demo=False, owner=MINE)
    assert client.get(PAGE).status_code == 404
    assert client_of(MINE).get(PAGE).status_code == 200


def test_it_is_work_of_the_heavy_lane(client: Client, demo: Path, tmp_path: Path) -> None:
    from webapp.work.lanes import lane_of

    load(tmp_path, demo)
    assert lane_of("drift", "GET") is Lane.HEAVY
    place.enter(Lane.HEAVY, lambda _message: None)
    try:
        assert ELSEWHERE not in client.get(PAGE).headers
    finally:
        place.enter(None, None)
