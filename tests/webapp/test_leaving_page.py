"""A packet that leaves the cluster, on the page and in its exports: neutral, with the source it leaves with and the node it left from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.test import Client

from tests.made_cluster import MadeCluster
from webapp.exports.trace_text import trace_text
from webapp.storing import stored_snapshots


def made(*, masquerade: bool = True) -> MadeCluster:
    cluster = MadeCluster(1)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1)])
    if masquerade:
        cluster.node(1).rules += [("nat", "-A POSTROUTING -o eth0 -j MASQUERADE")]
    return cluster


def address(folder: Path, cluster: MadeCluster, suffix: str = "") -> str:
    for path, content in cluster.files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return f"/c/{stored_snapshots.store_snapshot(folder).id}/trace{suffix}?from=pod:default/client&to=203.0.113.53:53"


@pytest.mark.django_db
def test_the_page_is_neutral(client: Client, tmp_path: Path) -> None:
    page = client.get(address(tmp_path, made())).content.decode()
    verdict = page.partition('id="verdict"')[2].partition("</section>")[0]
    assert '<h1 id="vt">Leaves the cluster</h1>' in verdict and 'class="vi out"' in verdict
    assert "Node n1 sends the packet out of eth0" in re.sub(r"<[^>]+>", "", verdict) and "up to the host outside" in verdict
    assert "k-outside" in page and "Outside the cluster" in page
    assert "k-drop" not in page.partition('id="legend"')[0]
    assert "The client sees the answer come from 203.0.113.53" in client.get(f"{address(tmp_path, made())}&step=99").content.decode()


@pytest.mark.django_db
def test_the_way_back_to_an_address_that_nobody_has_is_not_told(client: Client, tmp_path: Path) -> None:
    cluster = made(masquerade=False)
    cluster.node(1).rules += [("nat", "-A POSTROUTING -o eth0 -j SNAT --to-source 192.0.2.200")]
    page = client.get(address(tmp_path, cluster)).content.decode()
    assert "Whether an answer comes, and finds its way back, is not recorded." in page


@pytest.mark.django_db
def test_without_masquerade_the_way_back_is_an_assumption(client: Client, tmp_path: Path) -> None:
    page = client.get(address(tmp_path, made(masquerade=False))).content.decode()
    assert "network:routes-pods" in page and 'class="vi out"' in page
    dropped = client.get(address(tmp_path, made(masquerade=False)) + "&assume=network:drops-pods").content.decode()
    assert "No answer:" in dropped and "network:drops-pods" in dropped


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("suffix", "said"), [(".dot", "oval"), (".mmd", "203.0.113.53"), (".json", '"left_from": "n1"'), (".svg", "k-outside")]
)
def test_the_exports_say_it(client: Client, tmp_path: Path, suffix: str, said: str) -> None:
    content = b"".join(client.get(address(tmp_path, made(), suffix))).decode()
    assert said in content and "203.0.113.53" in content


def test_the_terminal_says_from_where() -> None:
    lines = trace_text(made().trace("pod:default/client", "203.0.113.53:53"), with_steps=False).splitlines()
    assert "= leaves: what is beyond the cluster is not recorded" in lines
    assert "  leaves the cluster from node n1" in lines and "  source seen: 192.168.0.11:any" in lines


@pytest.mark.django_db
def test_an_address_of_which_only_the_node_is_known_is_said_in_words(client: Client, tmp_path: Path) -> None:
    cluster = made()
    cluster.node(1).without |= {"ip-addr.json"}
    at = address(tmp_path, cluster)
    assert "from an address of node n1: what is beyond" in re.sub(r"<[^>]+>", "", client.get(at).content.decode())
    pages = [client.get(f"{at}&step={n}").content.decode() for n in range(1, 6)]
    assert any("puts an address of its own (which one is not recorded) into the source field" in page for page in pages)


@pytest.mark.django_db
def test_a_policy_that_denies_it_is_said_in_the_headline(client: Client, tmp_path: Path) -> None:
    cluster = made()
    spec = {"podSelector": {}, "policyTypes": ["Egress"]}
    item = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "default", "name": "p"}, "spec": spec}
    cluster.extra["networkpolicies.json"] = json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]}).encode()
    page = client.get(address(tmp_path, cluster)).content.decode()
    assert "Leaves the cluster, but" in page and "NetworkPolicy default/p would not let this connection leave pod default/client" in page
