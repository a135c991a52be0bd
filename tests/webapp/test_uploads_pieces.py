"""One pasted text with a whole cluster in it opens as the folder does: by page, by import, by trace."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.made_cluster import MadeCluster
from webapp import uploads
from webapp.models import Snapshot
from webapp.storing.snapshot_store import open_container
from webapp.uploads.arranged import arranged

Files = Mapping[str, bytes]
ASKED = {
    "iptables-save.txt": "iptables-save", "ip6tables-save.txt": "ip6tables-save", "ip-addr.json": "ip -j addr", "ip-link.json": "ip -d -j link",
    "ip-rule.json": "ip -j rule", "ip6-rule.json": "ip -6 -j rule", "ip-route.json": "ip -j route show table all",
    "ip6-route.json": "ip -6 -j route show table all", "sysctl.txt": "sysctl -a",
}  # fmt: skip


@pytest.fixture(scope="module")
def files() -> Files:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)])
    return {path: content for path, content in cluster.files().items() if path.partition("/")[0] != "nodes" or path.split("/")[-1] in ASKED}


def terminal(path: str, name: str) -> str:
    node = path.split("/")[1:2]
    return f"root@{node[0]}:~# {ASKED[name]}" if node else f"me@laptop:~$ kubectl get {name.partition('.')[0]} -A -o json"


def wrapped(path: str, name: str) -> str:
    node = path.split("/")[1:2]
    return f"$ ssh {node[0]} sudo {ASKED[name]}" if node else f"$ kubectl get {name.partition('.')[0]} -A -o json"


def headed(path: str, _name: str) -> str:
    return f"=== {path} ==="


def shown_by_tail(path: str, _name: str) -> str:
    return f"\n==> {path} <=="


FORMS = (terminal, wrapped, headed, shown_by_tail)


def pasted(files: Files, form: object) -> bytes:
    assert callable(form)
    return "".join(f"{form(path, path.split('/')[-1])}\n{content.decode().rstrip()}\n" for path, content in files.items()).encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["paste.txt", "notes.md", "terminal"])
def test_it_is_read_as_the_files_themselves(files: Files, form: object, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pasted(files, form))
    found = arranged(uploads.read(tmp_path / name))
    wanted = {path: content.strip() for path, content in files.items()}
    nodes = {path: content.strip() for path, content in wanted.items() if path.startswith("nodes/")}
    typed = (b"root@", b"$ ssh")
    said = {path: found[path].partition(b"\n")[2] if found[path].startswith(typed) else found[path] for path in found}
    assert {path: content.strip() for path, content in said.items() if path.startswith("nodes/")} == nodes
    objects = b"".join(found[path] for path in found if path.startswith("objects/"))
    assert objects.split() == b" ".join(content for path, content in wanted.items() if path not in nodes).split()


@pytest.mark.django_db
def test_an_import_tells_which_lines_are_what(files: Files, tmp_path: Path) -> None:
    (tmp_path / "paste.txt").write_bytes(pasted(files, terminal) + b"root@n1:~# date\nMon Nov 30\n")
    out = io.StringIO()
    call_command("import_snapshot", str(tmp_path / "paste.txt"), stdout=out, stderr=io.StringIO())
    row = Snapshot.objects.get(id=out.getvalue().strip())
    assert {node["name"]: len(node["files"]) for node in row.summary["nodes"]} == {"n1": len(ASKED), "n2": len(ASKED)}
    assert row.summary["from"]["nodes/n1/ip-addr.json"].startswith("paste.txt, lines ")
    assert [path.rpartition("-")[2] for path in row.summary["unknown_files"]] == ["date"]
    with contextlib.closing(open_container(row)) as stored:
        assert {path for path in stored if path.startswith("nodes/")} == {path for path in files if path.startswith("nodes/")}
