"""manage.py trace: one question or a batch, text or JSON, and the exit codes of the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.live_server import of_an_operator
from tests.made_cluster import MadeCluster


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)], node_port=30080)
    folder = tmp_path_factory.mktemp("snapshot")
    for path, data in cluster.files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def run(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "trace", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, env=of_an_operator(), input=stdin, capture_output=True, text=True, timeout=120, check=False)


ASK = ("--from", "pod:default/client", "--to", "10.96.0.10:80")


def test_text(snapshot: Path) -> None:
    done = run(snapshot, *ASK)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("pod:default/client -> 10.96.0.10:80 tcp: 2 paths\n")
    assert done.stdout.count("= delivered") == 2


def test_json_with_and_without_steps(snapshot: Path) -> None:
    with_steps = json.loads(run(snapshot, *ASK, "--steps", "--format", "json").stdout)
    without = json.loads(run(snapshot, *ASK, "--format", "json").stdout)
    assert any(h["steps"] for o in with_steps["outcomes"] for h in o["hops"])
    assert not any("steps" in h for o in without["outcomes"] for h in o["hops"])


def test_an_archive_is_a_snapshot_too(snapshot: Path, tmp_path: Path) -> None:
    archive = tmp_path / "s.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", snapshot.parent, snapshot.name], check=True)
    assert run(archive, *ASK).returncode == 0


def test_batch_answers_each_line_in_order_and_goes_on_after_an_error(snapshot: Path, tmp_path: Path) -> None:
    pod = {"kind": "pod", "namespace": "default", "name": "client"}
    good = {"id": "1", "from": pod, "to": {"host": "10.96.0.10", "port": 80}}
    lines = [
        json.dumps(good),
        "not json",
        json.dumps(good | {"id": "3", "from": pod | {"name": "clent"}}),
        "",
        json.dumps(good | {"id": "4"}),
    ]
    queries = tmp_path / "q.jsonl"
    queries.write_text("\n".join(lines))
    for done in (run(snapshot, "--batch", queries), run(snapshot, "--batch", "-", stdin="\n".join(lines))):
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert [a["id"] for a in answers] == ["1", "", "3", "4"]
        assert [a.get("error", {}).get("code") for a in answers] == [None, "BAD_QUERY", "SOURCE_NOT_FOUND", None]
        assert "default/client" in answers[2]["error"]["message"]
        assert done.returncode == 1


UNUSABLE = [
    (("--from", "pod:default/client"), "--from and --to"),
    (("--from", "robot:x", "--to", "10.0.0.1:80"), "robot:x"),
    (("--from", "pod:a/b", "--to", "10.0.0.1:99999"), "not a port"),
    (("--from", "pod:a/b", "--to", "10.0.0.1:80", "--protocol", "gre"), "gre"),
    (("--from", "pod:a/b", "--to", "10.0.0.1:80", "--source-port", "0"), "not a port"),
    (("--batch", "/nonexistent/file"), "/nonexistent/file"),
    (("--nonsense",), "nonsense"),
]


@pytest.mark.parametrize(("arguments", "message"), UNUSABLE)
def test_unusable_arguments(snapshot: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(snapshot, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_no_snapshot_there() -> None:
    done = run("/nonexistent", *ASK)
    assert (done.returncode, "no such file" in done.stderr) == (2, True)


def test_a_broken_archive(tmp_path: Path) -> None:
    (tmp_path / "s.tar.gz").write_bytes(b"\x1f\x8b\x08\x00garbage")
    done = run(tmp_path / "s.tar.gz", *ASK)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_question_that_cannot_be_answered(snapshot: Path, form: str) -> None:
    done = run(snapshot, "--from", "pod:default/clent", "--to", "10.96.0.10:80", "--format", form)
    assert done.returncode == 1
    assert "default/client" in (done.stdout if form == "json" else done.stderr)
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away(snapshot: Path) -> None:
    command = f"{sys.executable} manage.py trace {snapshot} {' '.join(ASK)} --steps | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)
