"""The what-if panel: what it offers of what is on the way, the words that are asked about, and what a word that is wrong is told."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from django.test import Client

from tests.made_cluster import MadeCluster
from webapp.answering import trace_answers
from webapp.models import Snapshot
from webapp.presenters.what_if import typed
from webapp.questions.trace_query import parse
from webapp.storing import stored_snapshots

pytestmark = pytest.mark.django_db
NODE_PORT = "from=external:203.0.113.9&to=192.168.0.11:30080"
CLUSTER_IP = "from=pod:default/client&to=10.96.0.10:80"
LOCAL = "svc/default/web.spec.externalTrafficPolicy=Local"
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"namespace": "default", "name": "web-only"},
    "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{}]},
}


def made() -> MadeCluster:
    """A cluster whose rules are modelled: a made kube-proxy does not write what a real one would change."""
    cluster = MadeCluster()
    for node in cluster.nodes:
        node.without = {"iptables-save.txt", "ip6tables-save.txt"}
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)], type="NodePort", node_port=30080)
    cluster.extra["networkpolicies.json"] = json.dumps({"apiVersion": "v1", "kind": "List", "items": [POLICY]}).encode()
    return cluster


def folder_of(cluster: MadeCluster, folder: Path) -> Path:
    for path, content in cluster.files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content or b"")
    return folder


@pytest.fixture
def path(tmp_path: Path) -> str:
    return f"/c/{stored_snapshots.store_snapshot(folder_of(made(), tmp_path)).id}/trace"


def panel(page: str) -> str:
    return page.partition('id="what-if"')[2].partition("</section>")[0]


def words(text: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def offers(page: str) -> dict[str, str]:
    """Return label → word of each offered change."""
    found = re.findall(r'<a class="btn sm" href="[^"]+" data-part="trace" title="([^"]+)">([^<]+)<', panel(page))
    return {label: html.unescape(word) for word, label in found}


def test_it_offers_what_is_on_the_way(client: Client, path: str) -> None:
    page = client.get(f"{path}?{NODE_PORT}").content.decode()
    found = offers(page)
    assert found["externalTrafficPolicy: Local"] == LOCAL
    assert found["internalTrafficPolicy: Local"] == "svc/default/web.spec.internalTrafficPolicy=Local"
    assert found["session affinity"] == "svc/default/web.spec.sessionAffinity=ClientIP"
    assert found["type: ClusterIP"] == "svc/default/web.spec.type=ClusterIP"
    assert found["nftables"] == "mode=nftables" and found["IPVS"] == "mode=ipvs" and "iptables" not in found
    assert found["without default/web-only"] == "networkpolicy/default/web-only=deleted"
    assert found["this node cordoned"].startswith("node/n")
    assert "without source ranges" not in found
    assert "Nothing is changed" in words(panel(page))
    assert f'href="{path}?{NODE_PORT}&set={LOCAL}"' in html.unescape(page)


def test_a_cluster_ip_offers_no_less_than_it_has(client: Client, path: str) -> None:
    found = offers(client.get(f"{path}?{CLUSTER_IP}").content.decode())
    assert found["this pod gone"] in ("pod/default/web-1=deleted", "pod/default/web-2=deleted")
    assert found["this Service gone"] == "svc/default/web=deleted"
    assert "externalTrafficPolicy: Local" in found


def test_the_other_traffic_policy_is_compared_with_beside_the_verdict(client: Client, path: str) -> None:
    there = path.removesuffix("/trace") + "/compare"
    outside = client.get(f"{path}?{NODE_PORT}").content.decode()
    assert f'<a class="btn" href="{there}?{NODE_PORT}&set={LOCAL}">Compare with Local</a>' in html.unescape(outside)
    inside = client.get(f"{path}?{CLUSTER_IP}").content.decode()
    assert f"{there}?{CLUSTER_IP}&set=svc/default/web.spec.internalTrafficPolicy=Local" in html.unescape(inside)
    plain = client.get(f"{path}?from=pod:default/client&to=10.1.2.2:8080").content.decode()
    assert "Compare with" not in plain


def test_words_that_are_wrong_are_told_where_they_were_typed(client: Client, path: str) -> None:
    response = client.get(f"{path}?{NODE_PORT}&set=mode=ebpf&set={LOCAL}&set=svc/default=deleted")
    page = response.content.decode()
    assert response.status_code == 422
    fields = re.findall(r'name="set" value="([^"]*)"[^>]*?( aria-invalid="true")?(?: aria-describedby="[^"]+")?>', panel(page))
    assert fields == [("mode=ebpf", ' aria-invalid="true"'), (LOCAL, ""), ("svc/default=deleted", ' aria-invalid="true"')]
    assert "ebpf is no mode" in words(panel(page))
    assert '<a href="#set">' in page


def test_what_is_wrong_with_several_words_stands_at_the_last() -> None:
    query = parse(f"{NODE_PORT}&set=mode=ipvs&set=mode=nftables&set=pod/a/b=deleted")
    rows = typed(query, query.errors)
    assert [row.word for row in rows] == ["mode=ipvs", "mode=nftables", "pod/a/b=deleted"]
    assert [bool(row.errors) for row in rows].count(True) == 1


def test_nothing_is_compared_without_a_change(client: Client, path: str) -> None:
    there = path.removesuffix("/trace") + "/compare"
    assert client.get(f"{there}?{NODE_PORT}")["Location"] == f"{path}?{NODE_PORT}"
    assert client.get(there)["Location"] == path
    assert client.get(f"{there}.json?{NODE_PORT}").status_code == 422
    assert client.get(f"{there}?{NODE_PORT}&set=mode=ebpf").status_code == 422
    assert client.get("/c/nothing/compare").status_code == 404


def test_a_change_is_a_chip_that_takes_it_back(client: Client, path: str) -> None:
    page = client.get(f"{path}?{NODE_PORT}&set={LOCAL}&detail=rules").content.decode()
    assert re.findall(r'<li class="chip"><span class="m">([^<]+)</span><a href="([^"]+)"', html.unescape(page)) == [
        (LOCAL, f"{path}?{NODE_PORT}&detail=rules")
    ]
    assert "externalTrafficPolicy" in words(panel(page).partition('class="wi-said"')[2].partition("</ul>")[0])
    assert not any(label.startswith("externalTrafficPolicy") for label in offers(page)), "the chip takes it back"
    there = path.removesuffix("/trace") + "/compare"
    assert f'href="{there}?{NODE_PORT}&set={LOCAL}&detail=rules">Compare with as it is' in html.unescape(page)


def test_the_form_and_the_own_word_keep_what_is_changed(client: Client, path: str) -> None:
    page = client.get(f"{path}?{NODE_PORT}&set={LOCAL}").content.decode()
    form = page.partition('id="trace-form"')[2].partition("</form>")[0]
    assert f'<input type="hidden" name="set" value="{LOCAL}">' in form
    assert f'<input type="hidden" name="set" value="{LOCAL}">' in panel(page)
    typed_too = client.get(f"{path}?{NODE_PORT}&set={LOCAL}&set=mode=nftables&set=").content.decode()
    assert len(re.findall(r'<li class="chip">', typed_too)) == 2


def test_what_changes_nothing_says_so(client: Client, path: str) -> None:
    same = LOCAL.replace("Local", "Cluster")
    page = client.get(f"{path}?{NODE_PORT}&set={same}").content.decode()
    assert "Nothing is changed by that" in words(panel(page))
    compared = client.get(f"{path.removesuffix('/trace')}/compare?{NODE_PORT}&set={same}").content.decode()
    assert "Nothing changes for these packets: they meet the same rules" in words(compared)


def test_what_is_not_there_is_told_with_the_nearest_name(client: Client, path: str) -> None:
    wrong = LOCAL.replace("web", "wbe")
    response = client.get(f"{path}?{NODE_PORT}&set={wrong}")
    page = html.unescape(response.content.decode())
    assert response.status_code == 422
    assert f"{wrong}: there is no Service default/wbe" in page
    assert f'<a href="{path}?{NODE_PORT}&set={LOCAL}"><b>default/web</b></a>' in page
    two = client.get(f"{path}?{NODE_PORT}&set={wrong}&set=node/n9=removed").content.decode()
    rows = re.findall(r'name="set" value="([^"]*)"[^>]*?( aria-invalid="true")?(?: aria-describedby="[^"]+")?>', panel(two))
    assert rows == [(wrong, ' aria-invalid="true"'), ("node/n9=removed", ' aria-invalid="true"')]


def test_the_comparison_has_both_answers(client: Client, path: str) -> None:
    there = path.removesuffix("/trace") + "/compare"
    asked = f"{NODE_PORT}&set={LOCAL}"
    page = client.get(f"{there}?{asked}").content.decode()
    assert "Packets end otherwise." in page
    assert "Source that pod default/web-1 sees: 203.0.113.9, before 10.1.1.1." in words(page)
    assert f'href="{path}?{NODE_PORT}">Open this answer' in html.unescape(page)
    assert f'href="{path}?{asked}">Open this answer' in html.unescape(page)
    part = client.get(f"{there}?{asked}", headers={"HX-Request": "true", "HX-Target": "trace"}).content.decode()
    assert part.startswith('<div id="trace"') and "<html" not in part
    told = json.loads(client.get(f"{there}.json?{asked}").content)
    assert told["same"] is False
    assert told["after"]["what_if"]["words"] == [LOCAL] and "what_if" not in told["before"]
    assert [o["source_seen"] for o in told["before"]["outcomes"]] == [
        o["source_seen"] for o in json.loads(b"".join(client.get(f"{path}.json?{NODE_PORT}")))["outcomes"]
    ]
    text = client.get(f"{there}.md?{asked}").content.decode()
    assert f"- `{LOCAL}`" in text and "Source that pod default/web-1 sees" in text
    assert client.get(f"{there}.svg?{asked}").status_code == 404


@pytest.mark.parametrize("suffix", ["json", "dot", "mmd", "svg"])
def test_files_say_what_is_changed(client: Client, path: str, suffix: str) -> None:
    response = client.get(f"{path}.{suffix}?{NODE_PORT}&set={LOCAL}")
    content = b"".join(response).decode()
    if suffix == "json":
        assert json.loads(content)["query"]["overrides"] == [LOCAL]
    elif suffix == "mmd":
        assert "What if" in content and "externalTrafficPolicy" in content
    else:
        assert f"What if: {LOCAL}" in html.unescape(content)


def test_a_frozen_answer_and_a_frozen_comparison_stay_as_they_were(client: Client, path: str) -> None:
    asked = f"{NODE_PORT}&set={LOCAL}"
    frozen = client.post(f"{path}/freeze", {"query": asked, "expires": ""})["Location"]
    both = client.post(f"{path}/freeze", {"query": asked, "expires": "", "compare": "1"})["Location"]
    assert "set=" not in frozen + both
    Snapshot.objects.all().delete()
    page = client.get(frozen).content.decode()
    assert LOCAL in panel(page) and 'class="wi-more"' not in page
    compared = client.get(both).content.decode()
    assert "Packets end otherwise." in compared and LOCAL in compared
    assert json.loads(client.get(f"{both}/compare.json").content)["same"] is False
    listed = words(client.get("/links").content.decode())
    assert f"what if {LOCAL}" in listed


def test_answers_are_kept_apart_by_what_they_change(path: str) -> None:
    row = Snapshot.objects.get()
    asked = [parse(f"{NODE_PORT}{words_}") for words_ in ("", f"&set={LOCAL}", "&set=mode=nftables")]
    answers = [trace_answers.answer(row, query) for query in asked]
    assert len({json.dumps(found.answer) for found in answers}) == 3
    for query, found in zip(asked, answers, strict=True):
        assert trace_answers.answer(row, query).answer is found.answer
    compared = trace_answers.answer(row, asked[1], compares=True)
    assert compared.is_comparison and not trace_answers.answer(row, asked[1]).is_comparison
    assert trace_answers.answer(row, asked[1], compares=True).answer is compared.answer
    assert compared.answer["outcomes"] == answers[1].answer["outcomes"]
    assert compared.before.answer["outcomes"] == answers[0].answer["outcomes"]


def test_a_manifest_is_asked_about_from_the_page(client: Client, path: str) -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {externalTrafficPolicy: Local}\n"
    there = client.post(f"{path}/apply", {"query": NODE_PORT, "text": text})["Location"]
    page = client.get(there).content.decode()
    assert re.search(r"manifest [0-9a-f]{8} applied", panel(page))
    assert "externalTrafficPolicy" in words(panel(page))
    told = json.loads(b"".join(client.get(there.replace("/trace?", "/trace.json?"))))
    assert {outcome["source_seen"]["ip"] for outcome in told["outcomes"]} == {"203.0.113.9"}
    stranger = Client().get(there)
    assert stranger.status_code == 422 and "has no manifest" in stranger.content.decode()


def test_values_that_the_api_would_refuse_are_told_at_their_words(client: Client, path: str) -> None:
    kind, port = "svc/default/web.spec.type=Nodeport", "svc/default/web.spec.ports[0].port=99999"
    page = client.get(f"{path}?{NODE_PORT}&set={kind}&set=mode=ipvs&set={port}")
    assert page.status_code == 422
    shown = panel(page.content.decode())
    rows = re.findall(r'name="set" value="([^"]*)"[^>]*?(aria-invalid="true")?(?: aria-describedby="[^"]+")?>', shown)
    assert rows == [(kind, 'aria-invalid="true"'), ("mode=ipvs", ""), (port, 'aria-invalid="true"')]
    assert "99999" in words(shown.partition(port)[2])
