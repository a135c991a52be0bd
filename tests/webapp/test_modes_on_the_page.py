"""Every part of the trace page works in every mode: the exact rule, the choice, the proxy process, and what tells the mode."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pytest
from django.test import Client

from tests.made_findings import Spoiled, shop
from tests.tracer.frontends.test_frontends import CILIUM, windows, without_kube_proxy
from webapp.storing import stored_snapshots

pytestmark = pytest.mark.django_db
ASKED = "from=external:203.0.113.10&to=198.51.100.10:443"


def page_at(client: Client, folder: Path, asked: str, title: str) -> str:
    """Return the page of a question to the snapshot in *folder*, at the step that *title* names."""
    stored_snapshots.load_demo(folder, "shop", "shop")
    listed = client.get(f"/c/shop/trace?{asked}").content.decode()
    step = re.search(rf'<span class="no">([0-9]+)</span><span class="ti">{title}', listed)
    assert step, re.findall(r'<span class="ti">([^<]*)', listed)
    return client.get(f"/c/shop/trace?{asked}&step={step[1]}").content.decode()


def page(client: Client, demo: Path, mode: str, title: str) -> str:
    """Return the page in the recording *mode* at the step that *title* names."""
    return page_at(client, demo / mode, ASKED, title)


def words(text: str, section: str) -> str:
    """Return a section of the inspector as its words."""
    found = re.search(rf'<section class="{section}".*?</section>', text, re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", found[0])))


def test_nftables_lights_the_element_that_was_taken(client: Client, demo: Path) -> None:
    text = page(client, demo, "shop-nftables", "Destination rewritten")
    lit = re.findall(r'<span class="tg el tk">([^<]*)</span>', text)
    rewritten = re.search(r"The destination becomes ([0-9.]+):([0-9]+)\.", words(text, "why"))
    assert [element.rstrip(",") for element in lit] == [f"{rewritten[1]} . {rewritten[2]}"]
    assert "nft-ruleset.txt" in words(text, "rulebox")


def test_nftables_draws_before_it_rewrites(client: Client, demo: Path) -> None:
    text = page(client, demo, "shop-nftables", "Endpoint 1 of 3 picked")
    assert "No header field changes at this step." in text
    assert words(text, "tupbox").count("1/3") == 3


def test_nftables_counts_the_elements_of_a_verdict_map(client: Client, demo: Path) -> None:
    stored_snapshots.load_demo(demo / "shop-nftables", "shop", "shop")
    text = client.get("/c/shop/trace?from=node:shop-worker&to=svc:production/backend-api:80").content.decode()
    assert re.search(r'<span class="ti">Endpoint [1-4] of 4 picked', text)


def test_json_alone_counts_them_too(client: Client, demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo / "shop-nftables", tmp_path / "shop", ignore=shutil.ignore_patterns("nft-ruleset.txt"))
    stored_snapshots.load_demo(tmp_path / "shop", "shop", "shop")
    text = client.get("/c/shop/trace?from=node:shop-worker&to=svc:production/backend-api:80").content.decode()
    assert re.search(r'<span class="ti">Endpoint [1-4] of 4 picked', text)


def listed_page(client: Client, made: Spoiled, tmp_path: Path) -> str:
    """Return the page of a made cluster at the step that rewrites the destination."""
    for name, content in made.files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return page_at(client, tmp_path, "from=pod:default/client-1&to=10.96.0.10:80", "Destination rewritten")


def test_windows_lights_the_endpoint_in_its_policy(client: Client, tmp_path: Path) -> None:
    text = listed_page(client, windows(), tmp_path)
    lit = [html.unescape(x) for x in re.findall(r'<span class="tg el tk">([^<]*)</span>', text)]
    assert lit in (['"/endpoints/e1aaa",'], ['"/endpoints/E2BBB"],'])
    assert "hns-policies.json" in words(text, "rulebox")
    assert "Node n1 is in kernelspace mode: " in words(text, "why")
    assert "A random draw" not in text
    assert "not checked against a kernel" in text


def test_cilium_lights_the_backend_in_its_entry(client: Client, tmp_path: Path) -> None:
    made = without_kube_proxy(shop())
    made.extra["nodes/n1/cilium-services.json"] = json.dumps(CILIUM, indent=1).encode()
    text = listed_page(client, made, tmp_path)
    lit = [html.unescape(x) for x in re.findall(r'<span class="tg el">([^<]*)</span>', text)]
    assert len(lit) == 1
    assert re.match(r'\{"ip": "10.1.[12].2", "(nodeName|port)"', lit[0])
    assert "Node n1 is in eBPF mode: " in words(text, "why")
    assert ">10.1.2.2:8080</text>" in text  # the box has the backend's name, not the frontend's


def test_nftables_shows_the_element_of_a_named_map(client: Client, demo: Path) -> None:
    rules = words(page(client, demo, "shop-nftables", "services"), "rulebox")
    assert re.search(r"vmap @service-nodeports element \S+ \. 32255 : goto external-\S+production/public-api/tcp/https", rules), rules
    assert "Service ." not in rules


def test_ipvs_shows_the_virtual_server_and_its_scheduler(client: Client, demo: Path) -> None:
    text = page(client, demo, "shop-ipvs", r"Endpoint \d of 3 picked")
    assert re.search(r"ipvsadm-save\.txt .*-A -t \S+:32255 -s rr", words(text, "rulebox"))
    assert "The scheduler picks" in words(text, "why")
    assert "Round robin: equal shares." in words(text, "why")


def test_ipvs_shows_the_real_server(client: Client, demo: Path) -> None:
    text = page(client, demo, "shop-ipvs", "Destination rewritten")
    server = re.search(r"The destination becomes ([0-9.:]+[0-9])\.", words(text, "why"))[1]
    assert f"-r {server}" in words(text, "rulebox")
    assert "not matched" not in words(text, "rulebox")
    assert f'text-anchor="start">{server}</text>' in text


def test_userspace_shows_the_hop_through_the_proxy(client: Client, demo: Path) -> None:
    text = page(client, demo, "shop-userspace-v1.20", "kube-proxy connects anew")
    assert "makes a new one, from" in words(text, "why")
    assert {"Source IP changed", "Destination IP changed"} <= set(re.findall(r"(?:Source|Destination) IP changed", words(text, "tupbox")))
    assert "1 of 3 nodes, same rules on each" in text


def test_a_proxy_without_an_endpoint_closes(client: Client, demo: Path) -> None:
    stored_snapshots.load_demo(demo / "shop-userspace-v1.20", "shop", "shop")
    text = client.get("/c/shop/trace?from=node:shop-worker&to=svc:default/typo:80").content.decode()
    assert "Closed at step" in text
    assert "makes a new one" not in text
    assert ">to the proxy</text>" in text


@pytest.mark.parametrize(("mode", "word"), [("shop-nftables", "nftables"), ("shop-ipvs", "ipvs"), ("shop-userspace-v1.20", "userspace")])
def test_the_node_says_its_mode_and_what_tells_it(client: Client, demo: Path, mode: str, word: str) -> None:
    text = page(client, demo, mode, "Destination rewritten")
    assert re.search(rf"Node shop-worker[0-9]? is in {word} mode: ", words(text, "why"))
    # A frame that is too narrow for it leaves the mode to the inspector.
    assert re.search(rf'<text class="rl"[^>]*>Node shop-worker[0-9]?(, {word})?</text>', text)


def test_a_frozen_answer_keeps_pods_and_modes(client: Client, demo: Path) -> None:
    page(client, demo, "shop-ipvs", "Pod receives")
    link = client.post("/c/shop/trace/freeze", {"query": ASKED, "expires": ""})["Location"]
    stored_snapshots.Snapshot.objects.all().delete()
    text = client.get(link).content.decode()
    assert text.count('class="dot"') == 3
    assert "is-ready" in text
    assert "Node shop-worker, ipvs" in text
