"""Manifests uploaded by themselves are a sketch: stored, traced and marked so on every page; mistakes in them are refused, all at once."""

from __future__ import annotations

import contextlib
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client

from tests.made_manifests import SHOP, Json, service, workload
from tests.webapp.conftest import write_cluster
from tests.webapp.made_rows import MINE, client_of
from webapp.management.tracing import run_alone
from webapp.models import Snapshot, TraceLink, UploadJob
from webapp.storing import stored_snapshots
from webapp.storing.snapshot_store import open_container
from webapp.uploads import Source, UploadError
from webapp.uploads.recognised import State, look_at
from webapp.uploads.sketched import sketched

pytestmark = pytest.mark.django_db(transaction=True)


def _text(*values: Json) -> bytes:
    return yaml.safe_dump_all(values).encode()


def _wrong() -> bytes:
    return _text(
        service("web", ports=[{"port": 80_800}]),
        service("api", type="NodePort", ports=[{"port": 80, "nodePort": 8080}]),
        workload("Deployment", "api", replicas="2"),
    )


def _uploaded(client: Client, content: bytes, name: str = "shop.yaml", **fields: Any) -> Any:
    response = client.post("/snapshots/new", {"snapshot": SimpleUploadedFile(name, content), **fields})
    for _ in range(100):
        job = UploadJob.objects.get(id=response["Location"].rpartition("/")[2])
        if job.is_finished:
            return client.get(response["Location"])
        time.sleep(0.1)
    raise AssertionError("the upload did not end")


@pytest.fixture
def shop() -> Snapshot:
    return stored_snapshots.store_snapshot(SHOP, name="shop", owner=MINE)


def _traced(row: Snapshot, **asked: str) -> str:
    page = client_of(MINE).get(f"/c/{row.id}/trace", asked)
    assert page.status_code == 200
    return page.content.decode()


# --- uploading -------------------------------------------------------------------------------------------------------------------


def test_a_file_of_manifests_becomes_a_sketch(client: Client) -> None:
    done = _uploaded(client, SHOP.read_bytes())
    row = Snapshot.objects.get()
    assert done["Location"] == f"/snapshots/{row.id}"
    assert row.summary["form"] == "recorded"
    assert row.summary["sketched"][0] == "Made of shop.yaml."
    assert [node["name"] for node in row.summary["nodes"]] == ["sketch-node-1", "sketch-node-2", "sketch-node-3"]
    with contextlib.closing(open_container(row)) as files:
        assert not any(b"never-stored" in files[name] for name in files)


def test_as_many_nodes_as_the_form_says(client: Client) -> None:
    _uploaded(client, SHOP.read_bytes(), nodes="7")
    assert len(Snapshot.objects.get().summary["nodes"]) == 7


@pytest.mark.parametrize("nodes", ["0", "101", "many", "-1", "1" * 5_000])
def test_another_number_is_refused(client: Client, nodes: str) -> None:
    refused = client.post("/snapshots/new", {"snapshot": SimpleUploadedFile("shop.yaml", SHOP.read_bytes()), "nodes": nodes})
    assert refused.status_code == 422
    assert "A sketch has 1 to 100 nodes" in refused.content.decode()
    assert not UploadJob.objects.exists()


def test_the_form_offers_nodes_and_says_what_a_sketch_is(client: Client) -> None:
    page = client.get("/snapshots/new").content.decode()
    assert 'name="nodes" type="number" inputmode="numeric" min="1" max="100" value="3"' in page
    assert "are drawn out as a <b>sketch</b>" in page


def test_a_recording_is_stored_as_ever_whatever_number_the_form_gives(small: Path) -> None:
    row = stored_snapshots.store_snapshot(small, owner=MINE, nodes=9)
    assert row.summary["sketched"] is None
    assert [node["name"] for node in row.summary["nodes"]] == ["node-a", "node-b"]


def test_three_mistakes_are_told_at_once_each_with_its_place_and_field(client: Client) -> None:
    refused = _uploaded(client, _wrong())
    page = refused.content.decode()
    assert refused.status_code == 422
    assert UploadJob.objects.get().problems == [
        "These are manifests, and 3 things in them are wrong; nothing was made of them:",
        "shop.yaml:1: Service default/web: spec.ports[0].port: 80800 is no port: ports are 1 to 65535.",
        "shop.yaml:12: Service default/api: spec.ports[0].nodePort: 8080 is not from 30000 to 32767, as node ports are.",
        "shop.yaml:25: Deployment default/api: spec.replicas: is a text, not a whole number. Take its quotation marks away.",
    ]
    assert page.count("<li>") >= 4
    assert not Snapshot.objects.exists()


def test_a_folder_of_manifests_and_other_files(tmp_path: Path) -> None:
    for name, content in (
        ("k8s/web.yaml", _text(workload(), service())),
        ("k8s/sub/api.json", json.dumps(service("api")).encode()),
        ("README.md", b"# shop\n"),
    ):
        (tmp_path / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shop" / name).write_bytes(content)
    row = stored_snapshots.store_snapshot(tmp_path / "shop", owner=MINE)
    assert row.summary["objects"]["Service"] == 3
    assert row.summary["sketched"][0].startswith("Made of ")
    assert [one["path"] for one in row.summary["left_out"]] == ["README.md"]


@pytest.mark.parametrize(
    "others",
    [
        {"nodes/n/iptables-save.txt": b"*nat\nCOMMIT\n"},
        {"rules.txt": b"# Generated by iptables-save v1.8.9\n*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"},
        {"snapshot.json": b"{}"},
        {"large.json": b'{"apiVersion": "v1", "kind": "List", "items": [' + b" " * 4_000_001 + b"]}"},
    ],
)
def test_beside_what_was_recorded_nothing_is_drawn(others: dict[str, bytes]) -> None:
    files = {"a.yaml": _text(service()), **others}
    source = Source(names=tuple(files), _read=lambda: iter(files.items()))
    assert sketched(source, 3) is source


def test_a_sketch_is_not_completed(client: Client, shop: Snapshot, tmp_path: Path) -> None:
    with pytest.raises(UploadError, match="shop is a sketch, made of manifests"):
        stored_snapshots.store_snapshot(write_cluster(tmp_path / "c"), parent=shop)


def test_a_download_uploaded_again_is_the_same_sketch(shop: Snapshot, tmp_path: Path) -> None:
    archive = tmp_path / "again.tar.gz"
    archive.write_bytes(b"".join(stored_snapshots.download(shop, "tar.gz")))
    again = stored_snapshots.store_snapshot(archive, owner=MINE, nodes=9)
    assert (again.digest, again.summary["sketched"]) == (shop.digest, shop.summary["sketched"])


# --- pages -----------------------------------------------------------------------------------------------------------------------


def test_its_page_says_that_it_is_a_sketch_and_of_what(shop: Snapshot) -> None:
    page = client_of(MINE).get(f"/snapshots/{shop.id}").content.decode()
    assert '<span class="tag warn">sketch</span>' in page
    assert "A sketch: what a cluster would make of these manifests." in page
    assert "never: it is made of manifests" in page
    for said in shop.summary["sketched"]:
        assert said.replace("'", "&#x27;") in page
    for absent in ("What would add most", "What is missing", "Recorded connections</a>", "iptables-save.txt"):
        assert absent not in page


def test_the_list_marks_it(shop: Snapshot) -> None:
    assert '<span class="tag warn">sketch</span>' in client_of(MINE).get("/snapshots").content.decode()


@pytest.mark.parametrize(
    ("source", "to"),
    [
        ("pod:shop/shell", "web:80"),
        ("pod:shop/shell", "web.shop.svc.cluster.local:80"),
        ("pod:shop/shell", "db-0.db:5432"),
        ("pod:shop/shell", "svc:shop/web"),
        ("node:sketch-node-2", "192.0.2.11:30080"),
        ("external:203.0.113.10", "192.0.2.11:30080"),
    ],
)
def test_a_trace_says_it_too(shop: Snapshot, source: str, to: str) -> None:
    page = _traced(shop, **{"from": source, "to": to})
    assert "<b>Sketch.</b> Nothing of this cluster was recorded" in page
    assert f'<a href="/snapshots/{shop.id}">What was made up</a>' in page
    assert 'class="vi unknown"' not in page


def test_a_frozen_answer_says_it(shop: Snapshot) -> None:
    client = client_of(MINE)
    made = client.post(f"/c/{shop.id}/trace/freeze", {"query": "from=pod:shop/shell&to=web:80"})
    assert made.status_code == 302
    page = client.get(f"/t/{TraceLink.objects.get().token}").content.decode()
    assert "<b>Sketch.</b> Nothing of this cluster was recorded" in page
    assert "What was made up" not in page  # whoever opens a link may not see the snapshot


def test_a_trace_of_a_recording_says_nothing_of_it(small: Path) -> None:
    row = stored_snapshots.store_snapshot(small, owner=MINE)
    assert "Sketch" not in _traced(row, **{"from": "external:203.0.113.10", "to": "10.96.0.10:80"})


# --- what pasted text is -----------------------------------------------------------------------------------------------------------


def test_pasted_manifests_are_recognised() -> None:
    (found,) = look_at({"pasted-1.yaml": _text(workload(), service(), service("api"))})
    assert (found.state, found.sentence) == (State.USED, "manifests, for a sketch of a cluster: 2 Services, 1 Deployment")


def test_mistakes_are_told_while_they_are_pasted() -> None:
    (found,) = look_at({"pasted-1.yaml": _wrong()})
    assert (found.state, found.sentence) == (State.UNREAD, "manifests that the API server would refuse")
    assert [one.partition(": ")[0] for one in found.faults] == ["line 1", "line 12", "line 25"]
    assert found.faults[0].endswith("spec.ports[0].port: 80800 is no port: ports are 1 to 65535.")


# --- commands --------------------------------------------------------------------------------------------------------------------


def _answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | None, str, str]:
    code = run_alone([str(SHOP), *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_traces_manifests(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = _answer(capsys, "--from", "pod:shop/shell", "--to", "web:80")
    assert code == 0
    assert out.splitlines()[1].startswith("sketched: nothing of this cluster was recorded")
    assert out.count("= delivered") == 3
    assert err.startswith("A sketch: nothing of this cluster was recorded.\nMade of shop.yaml.\nMade up: 3 nodes")


@pytest.mark.parametrize("batch", [[], ["--verdicts"]])
def test_its_json_says_origin(capsys: pytest.CaptureFixture[str], tmp_path: Path, batch: list[str]) -> None:
    query = {"id": "q", "from": {"kind": "pod", "namespace": "shop", "name": "shell"}, "to": {"host": "web", "port": 80}}
    (tmp_path / "q.jsonl").write_text(json.dumps(query))
    _, out, _ = _answer(capsys, "--batch", str(tmp_path / "q.jsonl"), *batch)
    assert json.loads(out)["origin"] == "sketched"


def test_every_mode_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ("iptables", "nftables", "ipvs"):
        _, out, _ = _answer(capsys, "--from", "pod:shop/shell", "--to", "web:80", "--assume", f"mode:{mode}", "--format", "json")
        answer = json.loads(out)
        assert {outcome["disposition"] for outcome in answer["outcomes"]} == {"delivered"}
        assert f"kube-proxy 1.36 {mode}" in out


def test_the_command_takes_a_number_of_nodes(capsys: pytest.CaptureFixture[str], small: Path) -> None:
    _, out, _ = _answer(capsys, "--from", "node:sketch-node-5", "--to", "svc:shop/web", "--nodes", "5")
    assert "delivered" in out
    code, _, err = _answer(capsys, "--from", "node:sketch-node-1", "--to", "svc:shop/web", "--nodes", "101")
    assert (code, err) == (2, "CommandError: --nodes: a sketch has 1 to 100 nodes, not 101\n")
    assert run_alone([str(small), "--from", "node:node-a", "--to", "10.96.0.10:80", "--nodes", "2"]) == 2
    assert "--nodes is for a sketch of manifests" in capsys.readouterr().err


def test_the_command_tells_every_mistake(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_bytes(_wrong())
    code = run_alone([str(tmp_path / "shop.yaml"), "--from", "node:a", "--to", "web:80"])
    err = capsys.readouterr().err
    assert code == 2
    assert [line.partition(": ")[0] for line in err.splitlines()[1:]] == ["shop.yaml:1", "shop.yaml:12", "shop.yaml:25"]


def test_import_takes_manifests_and_nodes(tmp_path: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    call_command("import_snapshot", str(SHOP), "--nodes", "4", stdout=out, stderr=err)
    row = Snapshot.objects.get(id=out.getvalue().strip())
    assert len(row.summary["nodes"]) == 4
    assert err.getvalue().startswith("A sketch: what a cluster would make of these manifests.")
    with pytest.raises(CommandError, match="1 to 100 nodes, not 0"):
        call_command("import_snapshot", str(SHOP), "--nodes", "0")
