"""The assumptions of an answer: on the page with its switch, in the address, in files, frozen links, the terminal and the store of answers."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from tests.conftest import PROJECT
from tests.live_server import of_an_operator
from tests.made_cluster import MadeCluster
from webapp.answering import trace_answers
from webapp.models import Snapshot
from webapp.questions.trace_query import parse
from webapp.storing import stored_answers, stored_snapshots

pytestmark = pytest.mark.django_db
LB = "from=external:203.0.113.9&to=203.0.113.100:80"


def made() -> MadeCluster:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 2)], type="LoadBalancer", node_port=30080, lb_ip="203.0.113.100")
    return cluster


def folder_of(cluster: MadeCluster, folder: Path) -> Path:
    for path, content in cluster.files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"/c/{stored_snapshots.store_snapshot(folder_of(made(), tmp_path)).id}/trace"


def panel(page: str) -> str:
    return page.partition('<ul class="assumed"')[2].partition("</ul>")[0]


def words(text: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def links(text: str) -> dict[str, str]:
    return {name: html.unescape(url) for url, name in re.findall(r'href="([^"]+)"[^>]*>([^<]+)</a>', text)}


def test_the_page_lists_what_is_assumed_with_a_switch(client: Client, path: str) -> None:
    shown = panel(client.get(f"{path}?{LB}&detail=rules").content.decode())
    assert "front:node-port The load balancer of default/web is taken to hand over to a node's address" in words(shown)
    assert "Another setting changes the answer:" in shown
    urls = links(shown)
    assert urls == {w: f"{path}?{LB}&assume={w}&detail=rules" for w in ("front:kept", "front:pod")}
    other = client.get(urls["front:kept"]).content.decode()
    assert "front:kept The load balancer of default/web is taken to hand over to a node, with the balancer's own address" in words(
        panel(other)
    )
    assert links(panel(other))["front:node-port"] == f"{path}?{LB}&assume=front:node-port&detail=rules"
    assert "203.0.113.100" in other and "30080" not in other.partition('id="steps"')[2]


def test_the_form_keeps_what_is_assumed(client: Client, path: str) -> None:
    page = client.get(f"{path}?{LB}&assume=front:kept&assume=enters:n2").content.decode()
    form = page.partition('id="trace-form"')[2].partition("</form>")[0]
    for word in ("front:kept", "enters:n2"):
        assert f'<input type="hidden" name="assume" value="{word}">' in form
    typed = f"{path}?from_kind=external&from_name=203.0.113.9&to=203.0.113.100:80&assume=enters:n2&assume=front:kept"
    assert client.get(typed)["Location"] == f"{path}?{LB}&assume=front:kept&assume=enters:n2"


def test_nothing_is_shown_where_nothing_is_assumed(client: Client, path: str) -> None:
    assert 'class="assumed"' not in client.get(f"{path}?from=pod:default/client&to=10.96.0.10:80").content.decode()


def test_what_was_set_and_not_met_is_said(client: Client, path: str) -> None:
    shown = panel(client.get(f"{path}?from=pod:default/client&to=10.96.0.10:80&assume=front:kept").content.decode())
    assert "front:kept Nothing on the way asks for it." in words(shown)
    assert links(shown) == {"without it": f"{path}?from=pod:default/client&to=10.96.0.10:80"}


@pytest.mark.parametrize(
    ("word", "said"), [("front:x", "front:node-port, front:kept, front:pod"), ("x:y", "enters:NODE"), ("<b>", "network:drops-pods")]
)
def test_a_word_that_does_not_exist_is_refused_with_those_that_do(client: Client, path: str, word: str, said: str) -> None:
    response = client.get(path, {"from": "external:203.0.113.9", "to": "203.0.113.100:80", "assume": word})
    page = response.content.decode()
    assert response.status_code == 422 and said in page and "<b> is" not in page


def test_a_node_that_does_not_exist_is_named_with_those_that_are_near(client: Client, path: str) -> None:
    response = client.get(f"{path}?{LB}&assume=front:kept&assume=enters:n22")
    assert response.status_code == 404
    near = links(re.sub("</?b>", "", response.content.decode()))
    assert near["enters:n2"] == f"{path}?{LB}&assume=front:kept&assume=enters:n2"


@pytest.mark.parametrize("suffix", ["dot", "mmd", "json", "svg"])
def test_files_say_what_is_assumed(client: Client, path: str, suffix: str) -> None:
    content = b"".join(client.get(f"{path}.{suffix}?{LB}&assume=front:kept")).decode()
    if suffix == "json":
        found = json.loads(content)
        assert [a["code"] for a in found["assumptions"]] == ["front:kept"] and found["query"]["assume"] == ["front:kept"]
        assert {tuple(o["assumes"]) for o in found["outcomes"]} == {("front:kept",)}
    else:
        plain = html.unescape(content).replace("#58;", ":").replace("#39;", "'")
        assert "Assumed: the load balancer of default/web is taken to hand over to a node" in plain and "front:kept" in plain
    plain = b"".join(client.get(f"{path}.{suffix}?from=pod:default/client&to=10.96.0.10:80")).decode()
    assert "Assumed" not in plain


def test_one_sampled_path_as_a_sequence_says_it_too(client: Client, path: str) -> None:
    assert "Assumed: the load balancer" in b"".join(client.get(f"{path}.mmd?{LB}&paths=one&seed=1")).decode()


def test_a_picture_with_assumptions_is_as_much_taller(client: Client, path: str) -> None:
    content = b"".join(client.get(f"{path}.svg?{LB}")).decode()
    _, top, _, height = map(float, re.search(r'viewBox="([^"]+)"', content)[1].split())  # type: ignore[index]
    at = float(re.search(r'y="([0-9.]+)">Assumed', content)[1])  # type: ignore[index]
    assert top < at < top + height


def test_a_frozen_link_keeps_them_and_asks_nothing(client: Client, path: str) -> None:
    made_link = client.post(f"{path}/freeze", {"query": f"{LB}&assume=front:pod", "expires": ""})
    page = client.get(made_link["Location"]).content.decode()
    assert "assume" not in made_link["Location"]
    assert "front:pod The load balancer of default/web" in words(panel(page)) and "front:kept" in panel(page)
    assert links(panel(page)) == {}


def test_answers_are_kept_apart_by_what_they_assume(client: Client, path: str) -> None:
    row = Snapshot.objects.get(id=path.split("/")[2])
    asked = [parse(f"{LB}{assume}") for assume in ("", "&assume=front:kept", "&assume=front:pod")]
    assert len({str(query.question()) for query in asked}) == 3
    answers = [trace_answers.answer(row, query) for query in asked]
    assert [[a["code"] for a in found.answer["assumptions"]] for found in answers] == [["front:node-port"], ["front:kept"], ["front:pod"]]
    for query, found in zip(asked, answers, strict=True):
        assert trace_answers.answer(row, query).answer is found.answer
        assert stored_answers.put(row.digest, str(query.question()), found.document)
    for query, found in zip(asked, answers, strict=True):
        kept = stored_answers.get(row.digest, str(query.question()))
        assert kept is not None and kept["answer"]["assumptions"] == found.answer["assumptions"]


def run(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "trace", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, env=of_an_operator(), input=stdin, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_sets_says_and_refuses(tmp_path: Path) -> None:
    folder = folder_of(made(), tmp_path)
    ask = (folder, "--from", "external:203.0.113.9", "--to", "203.0.113.100:80")
    plain = run(*ask).stdout
    line = (
        "assumed: the load balancer of default/web is taken to hand over to a node's address and the Service's node port [front:node-port]"
    )
    assert f"{line}; --assume front:kept or --assume front:pod changes the answer" in plain
    found = json.loads(run(*ask, "--assume", "front:kept", "--assume", "enters:n2", "--format", "json").stdout)
    assert found["query"]["assume"] == ["front:kept", "enters:n2"]
    assert [a["code"] for a in found["assumptions"]] == ["front:kept", "enters:n2"]
    refused = run(*ask, "--assume", "front:x")
    assert (refused.returncode, refused.stdout) == (2, "") and "front:node-port, front:kept, front:pod" in refused.stderr
    lines = [json.dumps({"from": "external:203.0.113.9", "to": "203.0.113.100:80", "assume": words}) for words in (["front:pod"], ["x"])]
    good, bad = map(json.loads, run(folder, "--batch", "-", stdin="\n".join(lines)).stdout.splitlines())
    assert good["assumptions"][0]["code"] == "front:pod" and bad["error"]["code"] == "BAD_ASSUMPTION"


def two_back_ends() -> MadeCluster:
    """n1 has a rule of each back end for the pod: one refuses, one drops, and which the kernel asks first is in no file."""
    cluster = made()
    rule = "-A FORWARD -d 10.1.2.2/32 -p tcp -j {}"
    cluster.node(1).rules.append(("filter", rule.format("REJECT")))
    chains = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    cluster.node(1).texts["iptables-legacy-save.txt"] = f"*filter\n{chains}{rule.format('DROP')}\nCOMMIT\n"
    return cluster


TO_POD = "from=pod:default/client&to=10.1.2.2:8080"


def test_what_is_told_both_ways_has_its_switch_too(client: Client, tmp_path: Path) -> None:
    path = f"/c/{stored_snapshots.store_snapshot(folder_of(two_back_ends(), tmp_path)).id}/trace"
    shown = panel(client.get(f"{path}?{TO_POD}").content.decode())
    assert "hooks Which back end is asked first where both have chains of equal priority. Not assumed: each way is told" in words(shown)
    urls = links(shown)
    assert urls == {w: f"{path}?{TO_POD}&assume={w}" for w in ("hooks:nft-first", "hooks:legacy-first")}
    heads = set()
    for word, url in urls.items():
        page = client.get(url).content.decode()
        assert f"{word} Node n1 is taken to ask" in words(panel(page))
        assert "Another setting changes the answer:" in panel(page)
        heads.add(page.partition('<h1 id="vt">')[2].partition("</h1>")[0])
    assert len(heads) == 2


def test_where_the_order_makes_no_difference_there_is_no_switch(client: Client, tmp_path: Path) -> None:
    cluster = two_back_ends()
    legacy = cluster.node(1).texts["iptables-legacy-save.txt"]
    cluster.node(1).texts["iptables-legacy-save.txt"] = legacy.replace("-j DROP", "-j REJECT")
    path = f"/c/{stored_snapshots.store_snapshot(folder_of(cluster, tmp_path)).id}/trace"
    assert panel(client.get(f"{path}?{TO_POD}").content.decode()) == ""


def test_the_terminal_says_what_could_be_assumed(tmp_path: Path) -> None:
    folder = folder_of(two_back_ends(), tmp_path)
    argv = [sys.executable, "manage.py", "trace", str(folder), "--from", "pod:default/client", "--to", "10.1.2.2:8080"]
    text = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert "not assumed, each way is told: --assume hooks:nft-first or --assume hooks:legacy-first picks one" in text.splitlines()
    document = json.loads(subprocess.run([*argv, "--format", "json"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout)
    assert [u["at"]["assume"] for u in document["unknowns"]] == [["hooks:nft-first", "hooks:legacy-first"]]
