"""``manage.py redact`` and ``collect --redact``: archives under other names, and what their owner keeps."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.webapp.conftest import SECRET, SERVICE, write_cluster
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.summary import summarise
from tracer.topology.cluster import Cluster
from webapp import uploads
from webapp.recorded_api import RecordedApi, Timeline, serve

PAYROLL = SERVICE | {"metadata": {"namespace": "acme", "name": "payroll"}}


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    return write_cluster(tmp_path / "acme", PAYROLL, SECRET, nodes=("acme-1",))


def redact(*arguments: object) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("redact", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def text_of(path: Path) -> str:
    files = uploads.read(path)
    return "\n".join([*files, *(files[name].decode() for name in files)])


def test_it_writes_an_archive_in_which_nobody_is_named(acme: Path, tmp_path: Path) -> None:
    out, err = redact(acme, tmp_path / "out.tar.gz")
    assert out == f"{tmp_path}/out.tar.gz\n"
    assert "Look at what you hand out" in err
    text = text_of(tmp_path / "out.tar.gz")
    for word in ("acme", "payroll", "10.96.0.10", "10.244.1.2", "aHVudGVy"):
        assert word not in text
    summary = summarise(Snapshot.from_files(uploads.read(tmp_path / "out.tar.gz")))
    assert (summary.objects, summary.unknown_files, summary.collector) == ({"Service": 2}, (), "hopline redact")


def test_the_same_key_gives_the_same_names(acme: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    for target in ("one", "two"):
        redact(acme, tmp_path / target, "--key", key)
    redact(acme, tmp_path / "three")
    one, two, three = (text_of(tmp_path / target) for target in ("one", "two", "three"))
    assert one == two != three
    assert key.stat().st_mode & 0o077 == 0


def test_the_owner_can_keep_what_became_what(acme: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.json"
    redact(acme, tmp_path / "out", "--names", names)
    said = json.loads(names.read_text())
    services = json.loads((tmp_path / "out/services.json").read_text())["items"]
    assert said["words"]["payroll"] in [item["metadata"]["name"] for item in services]
    assert said["addresses"]["10.96.0.10"] == services[0]["spec"]["clusterIP"]
    assert names.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere", "out"), "nowhere"),
        (("acme", "acme"), "exists already"),
        (("acme", "out", "--key", "bad"), "hex"),
        (("acme", "out", "--names", "bad"), "File exists"),
        (("empty", "out"), "no Services"),
    ],
)
def test_what_cannot_be_done_ends_with_2(
    acme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad").write_text("no key")
    Path("empty").mkdir()
    Path("empty/pods.json").write_text('{"kind": "List", "items": []}')
    with pytest.raises(CommandError, match=said) as caught:
        redact(*arguments)
    assert caught.value.returncode == 2
    assert not Path("out").exists()


def test_what_is_left_out_is_said(acme: Path, tmp_path: Path) -> None:
    (acme / "nodes/acme-1/hnsdiag.txt").write_text("payroll")
    (acme / "notes.txt").write_text("payroll")
    _, err = redact(acme, tmp_path / "out")
    assert "Left out: nodes/acme-1/hnsdiag.txt" in err
    assert "Left out: notes.txt" in err


def test_collect_redacts_what_it_writes(demo: Path, tmp_path: Path) -> None:
    with serve(RecordedApi(Timeline.open(uploads.read(demo / "shop-iptables")))) as server:
        (tmp_path / "config").write_text(server.kubeconfig())
        out = io.StringIO()
        arguments = ("--kubeconfig", str(tmp_path / "config"), "--redact", "--names", str(tmp_path / "names"))
        call_command("collect", str(tmp_path / "out.tar.gz"), *arguments, stdout=out, stderr=io.StringIO())
    said = json.loads((tmp_path / "names").read_text())["words"]
    files = uploads.read(tmp_path / "out.tar.gz")
    assert json.loads(files["snapshot.json"])["redacted"] is True
    assert "shop-worker" not in text_of(tmp_path / "out.tar.gz")
    source, target = parse_source(f"node:{said['shop-worker']}"), parse_destination(f"svc:default/{said['api']}")
    renamed = trace(Cluster.from_snapshot(Snapshot.from_files(files)), Query(source=source, destination=target)).to_dict()
    query = Query(source=parse_source("node:shop-worker"), destination=parse_destination("svc:default/api"))
    recorded = trace(Cluster.from_snapshot(Snapshot.from_files(uploads.read(demo / "shop-iptables"))), query).to_dict()
    ours, theirs = (sorted((o["disposition"], o["probability"]) for o in answer["outcomes"]) for answer in (renamed, recorded))
    assert ours == theirs


def test_a_key_without_redaction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="go with --redact"):
        call_command("collect", str(tmp_path / "out"), "--key", "k", stdout=io.StringIO())
