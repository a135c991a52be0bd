"""manage.py trace: arguments that contradict each other, and texts that no terminal can print."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.conftest import PROJECT
from tests.live_server import of_an_operator
from tests.made_cluster import MadeCluster


def run(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "trace", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, env=of_an_operator(), input=stdin, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cluster = MadeCluster()
    cluster.service("web", [cluster.pod("web-1", 1)])
    folder = tmp_path_factory.mktemp("snapshot")
    for path, data in cluster.files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_a_batch_and_a_question_at_once_are_refused(snapshot: Path) -> None:
    done = run(snapshot, "--batch", "/dev/null", "--from", "pod:default/web-1", "--to", "10.96.0.10:80")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not both" in done.stderr


def test_any_id_comes_back_as_it_was_given(snapshot: Path) -> None:
    """Each is asked what can be answered and what cannot: a line of the batch for either."""
    names = ["\ud800", "\udc00x", "é", "\x00", "\u2028"]
    ask = {"from": "pod:default/web-1", "to": {"host": "10.96.0.10", "port": 80}}
    questions = [ask | {"id": name} | more for name in names for more in ({}, {"from": "pod:default/nobody"})]
    done = run(snapshot, "--batch", "-", stdin="\n".join(map(json.dumps, [*questions, ask | {"id": "next"}])))
    answers = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert [answer["id"] for answer in answers] == [*(name for name in names for _ in range(2)), "next"]
    assert ["error" in answer for answer in answers] == [False, True] * len(names) + [False]
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_name_that_no_terminal_prints_is_escaped(snapshot: Path, tmp_path: Path, form: str) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    node = {"kind": "Node", "metadata": {"name": "n\ud800"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}
    (folder / "nodes.json").write_text(json.dumps({"kind": "List", "items": [node]}))
    (folder / "services.json").write_text('{"kind": "List", "items": []}')
    done = run(folder, "--from", "external:203.0.113.10", "--to", "192.0.2.1:80", "--format", form)
    assert done.returncode == 0
    assert done.stderr.startswith("Cannot be read: nodes.json, line 1: Node n\\ud800: metadata.name: holds half of a surrogate pair")
    assert "ud800: metadata.name: holds half of a surrogate pair" in done.stdout


def test_an_ipv6_address_without_a_port_is_told_of_the_brackets(snapshot: Path) -> None:
    done = run(snapshot, "--from", "pod:default/web-1", "--to", "fd00::1:80")
    assert (done.returncode, "[IPv6]:PORT" in done.stderr) == (1, True)


RULES = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
TABLE = "NAMESPACE NAME TYPE AGE\nshop web ClusterIP 4d\n"
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
NODES = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("a", "b")]


@pytest.mark.parametrize(
    ("objects", "files", "said"),
    [
        (NODES, {"rules.txt": RULES}, "Not used: rules.txt is rules of iptables; it belongs to nodes/NODE/iptables-save.txt."),
        (NODES, {"b/rules": RULES}, "Taken for nodes/b/iptables-save.txt: b/rules."),
        (NODES[:1], {"rules": RULES}, "Assumed: rules is taken to be a's, as there is one node."),
        (NODES, {"notes.md": "x", "more.md": "y"}, "Not used, as nothing tells what they are: more.md, notes.md."),
        (NODES, {"services.txt": TABLE}, "Not usable: services.txt: a table as kubectl get"),
        (NODES, {"link": ""}, "Not read: link: a symbolic link, which is not followed."),
        (NODES, {"pods.json": '{"kind": "PodList", "apiVersion": "v1", "items": [{"met'}, "Cannot be read: pods.json, line 1: not JSON"),
        ([SERVICE], {}, "A sketch: nothing of this cluster was recorded."),
        (NODES, {"nodes/a/iptables-save.txt": RULES, "services.json": '{"kind": "List", "items": []}'}, ""),
    ],
)
def test_what_of_the_files_is_not_used_goes_to_standard_error(
    tmp_path: Path, objects: list[object], files: dict[str, str], said: str
) -> None:
    for name, text in {"cluster.json": json.dumps({"kind": "List", "items": objects}), **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name == "link":
            (tmp_path / name).symlink_to("/etc/passwd")
        else:
            (tmp_path / name).write_text(text)
    out, err = io.StringIO(), io.StringIO()
    call_command("trace", str(tmp_path), "--from", "external:203.0.113.10", "--to", "192.0.2.1:80", stdout=out, stderr=err)
    assert out.getvalue().startswith("external:203.0.113.10 -> 192.0.2.1:80")
    assert err.getvalue().startswith(said) if said else not err.getvalue()
