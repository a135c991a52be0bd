"""Manifests that are handed in: kept for their session, once for each content, a bounded number of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from tests.made_cluster import MadeCluster
from webapp.models import Manifest
from webapp.questions.applied import with_manifest
from webapp.questions.trace_query import parse
from webapp.storing import manifests, stored_snapshots

pytestmark = pytest.mark.django_db
ASKED = "from=pod:default/client&to=10.96.0.10:80"
YAML = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {sessionAffinity: ClientIP}\n"


@pytest.fixture
def path(tmp_path: Path) -> str:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 2)])
    for name, content in cluster.files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return f"/c/{stored_snapshots.store_snapshot(tmp_path).id}/trace"


def test_one_content_is_kept_once_for_each_session() -> None:
    row = manifests.keep('[{"kind":"Service"}]', owner="a", name="web.yaml")
    assert manifests.keep('[{"kind":"Service"}]', owner="a", name="other.yaml").id == row.id
    assert manifests.keep('[{"kind":"Service"}]', owner="b", name="web.yaml").digest == row.digest
    assert Manifest.objects.count() == 2
    found = manifests.find(row.digest, "a")
    assert found is not None and (found.text, str(found)) == ('[{"kind":"Service"}]', "other.yaml")
    assert manifests.find(row.digest, "c") is None
    assert manifests.find(row.digest, "") is None
    with pytest.raises(ValueError, match="owner"):
        manifests.keep("[]", owner="", name="")


def test_what_was_not_asked_about_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MOST_OF_OWNER", 2)
    monkeypatch.setattr(manifests, "MOST", 3)
    rows = [manifests.keep(f"[{n}]", owner="a", name="") for n in range(2)]
    for days, row in zip((2, 1), rows, strict=True):
        Manifest.objects.filter(id=row.id).update(used_at=timezone.now() - timedelta(days=days))
    assert manifests.find(rows[0].digest, "a")
    manifests.keep("[2]", owner="a", name="")
    assert manifests.find(rows[0].digest, "a"), "it was asked about last"
    assert manifests.find(rows[1].digest, "a") is None
    for n in range(2):
        manifests.keep(f"[{n}]", owner=f"other-{n}", name="")
    assert Manifest.objects.count() == 3


def test_a_question_has_its_text_for_whoever_handed_it_in() -> None:
    row = manifests.keep("[]", owner="a", name="")
    query = parse(f"{ASKED}&apply={row.digest}")
    assert with_manifest(query, "a").manifest == "[]"
    assert not with_manifest(query, "a").errors
    assert [error.field for error in with_manifest(query, "b").errors] == ["apply"]
    assert with_manifest(parse(ASKED), "b") == parse(ASKED)


def test_a_pasted_manifest_becomes_part_of_the_question(client: Client, path: str) -> None:
    response = client.post(f"{path}/apply", {"query": f"{ASKED}&step=2&detail=rules", "text": YAML})
    row = Manifest.objects.get()
    assert (response.status_code, response["Location"]) == (302, f"{path}?{ASKED}&apply={row.digest}&detail=rules")
    file = SimpleUploadedFile("web.yaml", YAML.encode())
    again = client.post(f"{path}/apply", {"query": ASKED, "text": "", "manifest": file})
    assert again["Location"] == f"{path}?{ASKED}&apply={row.digest}"
    assert str(Manifest.objects.get()) == "web.yaml"


def test_every_mistake_is_told_and_nothing_is_kept(client: Client, path: str) -> None:
    text = "kind: Service\nmetadata: {name: a}\n---\napiVersion: v1\nmetadata: {name: b}\n---\n- 1\n"
    response = client.post(f"{path}/apply", {"query": ASKED, "text": text})
    page = response.content.decode()
    assert response.status_code == 422
    for said in ("document 1: Service a does not say its apiVersion", "document 2: b does not say its kind", "item 1 of document 3"):
        assert said in page
    assert not Manifest.objects.exists()
    assert client.post(f"{path}/apply", {"query": ASKED, "text": ""}).status_code == 422


def test_what_is_no_question_and_no_source_is_refused(client: Client, path: str) -> None:
    assert client.post(f"{path}/apply", {"query": "", "text": YAML}).status_code == 400
    assert client.post("/c/nothing/trace/apply", {"query": ASKED, "text": YAML}).status_code == 404
    assert client.get(f"{path}/apply").status_code == 405


def test_the_manifest_of_another_session_is_not_there(client: Client, path: str) -> None:
    row = manifests.keep("[]", owner="somebody", name="")
    for suffix in ("", ".json"):
        response = client.get(f"{path}{suffix}?{ASKED}&apply={row.digest}")
        assert response.status_code == 422
        assert f"has no manifest {row.digest}" in response.content.decode()
    assert client.post(f"{path}/freeze", {"query": f"{ASKED}&apply={row.digest}", "expires": ""}).status_code == 400


def test_a_huge_file_is_refused_before_it_is_read(client: Client, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.views.applying._BYTES", 10)
    response = client.post(f"{path}/apply", {"query": ASKED, "manifest": SimpleUploadedFile("big.yaml", YAML.encode())})
    assert response.status_code == 422 and "limit APPLIED" in response.content.decode()
