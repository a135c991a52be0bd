"""``manage.py collect`` against the recorded API server; and collect.sh with a real kubectl against the same, which must write the same."""

from __future__ import annotations

import functools
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.webapp.collecting.stub_cluster import SCRIPT
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.summary import summarise
from tracer.topology.cluster import Cluster
from webapp import uploads
from webapp.cluster.connection import Connection
from webapp.cluster.errors import Denied
from webapp.cluster.permissions import Permission, permissions
from webapp.reading.stored_parts import kept
from webapp.recorded_api import RecordedApi, RunningServer, Timeline, serve

Serve = Callable[..., RunningServer]


@functools.cache
def why_no_kubectl() -> str | None:
    """Return why kubectl cannot be used here, None if it can: exec over WebSocket came with 1.31 (KEP-4006)."""
    program = shutil.which("kubectl")
    if program is None:
        return "needs kubectl 1.31 or newer"
    done = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, text=True, check=False)
    found = re.search(r'"gitVersion": "v1\.([0-9]+)', done.stdout)
    if found is None or int(found[1]) < 31:
        return f"needs kubectl 1.31 or newer, this is {found[0] if found else done.stderr.strip()[:100]}"
    return None


@pytest.fixture
def serving(demo: Path) -> Iterator[Serve]:
    """Return a function that serves a recording, all kube-proxy's programs but nft, ipset and ipvsadm in its containers."""
    running: list[RunningServer] = []

    def start(may: Callable[[Permission], bool] = lambda _: True) -> RunningServer:
        running.append(serve(RecordedApi(Timeline.open(uploads.read(demo / "shop-iptables"))), may=may))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def kubeconfig(folder: Path, server: RunningServer) -> str:
    path = folder / "kube config"
    path.write_text(server.kubeconfig())
    return str(path)


def collect(folder: Path, server: RunningServer, target: str, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    try:
        call_command("collect", str(folder / target), "--kubeconfig", kubeconfig(folder, server), *arguments, stdout=out, stderr=err)
    except SystemExit as ended:
        code = ended.code
    return code, out.getvalue(), err.getvalue()


def about(target: Path) -> dict[str, Any]:
    return json.loads(uploads.read(target)["snapshot.json"])


def text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def test_it_writes_a_snapshot_that_traces_like_the_cluster(serving: Serve, demo: Path, tmp_path: Path) -> None:
    code, out, err = collect(tmp_path, serving(), "out.tar.gz", "--conntrack")
    assert (code, out) == (0, f"{tmp_path}/out.tar.gz\n"), err
    assert "Secrets" in err
    files = uploads.read(tmp_path / "out.tar.gz")
    summary = summarise(Snapshot.from_files(files))
    assert (summary.unknown_files, summary.faults, summary.kubernetes) == ((), (), "v1.36.2")
    query = Query(source=parse_source("node:shop-worker"), destination=parse_destination("svc:default/api"))
    ours, recorded = (
        trace(Cluster.from_snapshot(Snapshot.from_files(one)), query).to_dict(with_steps=True)
        for one in (files, uploads.read(demo / "shop-iptables"))
    )
    assert ours == recorded


def test_objects_are_the_api_servers_without_what_is_left_out(serving: Serve, demo: Path, tmp_path: Path) -> None:
    collect(tmp_path, serving(), "out", "--readings", "none")
    for name, kind in (("services", "Service"), ("nodes", "Node"), ("configmaps", "ConfigMap")):
        recorded = [kept(item, kind) for item in json.loads((demo / f"shop-iptables/{name}.json").read_text())["items"]]
        ours = json.loads((tmp_path / f"out/{name}.json").read_text())["items"]
        assert sorted(map(text, ours)) == sorted(map(text, recorded))
    assert not (tmp_path / "out/nodes").exists()


def test_what_no_container_has_is_no_failure(serving: Serve, tmp_path: Path) -> None:
    code, _, err = collect(tmp_path, serving(), "out")
    assert (code, about(tmp_path / "out")["files"]["nodes/shop-worker/nft-ruleset.json"]["error"]) == (
        0,
        "The container has no program nft.",
    )
    (line,) = re.findall(r"Not there to be read, on 4 nodes: .*\(The container has no program (.*)\.\)", err)
    assert "nft" in line.split(", ")


@pytest.mark.parametrize(("resource", "path"), [("ingresses", "ingresses.json"), ("configmaps", "configmaps.json")])
def test_a_kind_that_is_refused_is_said_and_the_rest_is_taken(serving: Serve, tmp_path: Path, resource: str, path: str) -> None:
    server = serving(lambda permission: permission.resource != resource)
    code, _, err = collect(tmp_path, server, "out", "--readings", "none")
    assert code == 1
    assert about(tmp_path / "out")["files"][path]["error"].partition("Not allowed: ")[1]
    assert "Refused or failed: 1 files" in err
    assert (tmp_path / "out/services.json").exists()
    assert not (tmp_path / "out" / path).exists()


def test_kinds_that_cannot_be_listed_are_said(serving: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: str) -> dict[str, object]:
        raise Denied("The API server does not allow it.", status=403)

    monkeypatch.setattr(Connection, "discovery", denied)
    code, _, err = collect(tmp_path, serving(), "out", "--readings", "none")
    assert code == 1
    assert "The kinds that the cluster has cannot be listed: Not allowed: The API server does not allow it." in err


def test_exec_that_is_refused_is_said_of_every_file(serving: Serve, tmp_path: Path) -> None:
    server = serving(lambda permission: permission.subresource != "exec")
    code, _, _ = collect(tmp_path, server, "out", "--node", "shop-worker")
    files = {path: entry for path, entry in about(tmp_path / "out")["files"].items() if path.startswith("nodes/")}
    assert (code, len(files)) == (1, 14)
    assert all("error" in entry for entry in files.values())


def test_nodes_that_cannot_be_read_are_said(serving: Serve, tmp_path: Path) -> None:
    server = serving()
    node = dict(next(one for one in server.api.objects("nodes") if one["metadata"]["name"] == "shop-worker"))  # type: ignore[index]
    server.api.change("MODIFIED", "nodes", node | {"status": {"nodeInfo": {"operatingSystem": "windows"}}})
    pod = server.api.get("pods", "kube-system", "kube-proxy-shop-worker2")
    assert pod
    server.api.change("DELETED", "pods", pod)
    chosen = ("--node", "shop-worker", "--node", "shop-worker2", "--node", "nowhere")
    code, _, err = collect(tmp_path, server, "out", *chosen)
    files = about(tmp_path / "out")["files"]
    assert code == 1
    assert files["nodes/shop-worker/hns-endpoints.json"]["error"].startswith("A Windows node")
    assert files["nodes/shop-worker2/iptables-save.txt"]["error"].startswith("No kube-proxy pod runs there")
    assert files["nodes/nowhere"]["error"] == "There is no such node."
    assert "A Windows node" in err


def test_without_services_nothing_is_written(serving: Serve, tmp_path: Path) -> None:
    server = serving(lambda permission: permission.resource != "services")
    with pytest.raises(CommandError, match="no snapshot: Not allowed") as caught:
        collect(tmp_path, server, "out.tar.gz")
    assert caught.value.returncode == 3
    assert [path.name for path in tmp_path.iterdir()] == ["kube config"]


@pytest.mark.parametrize(
    ("target", "arguments", "said"),
    [
        ("there", (), "exists already"),
        ("nowhere/x", (), "no folder"),
        ("x.zip", (), "not .*x.zip"),
        ("x", ("--parallel", "0"), "from 1 to 64"),
        ("x", ("--context", "production"), "production"),
    ],
)
def test_arguments_that_cannot_be_used_end_with_2(
    serving: Serve, tmp_path: Path, target: str, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(CommandError, match=said) as caught:
        collect(tmp_path, serving(), target, *arguments)
    assert caught.value.returncode == 2
    assert (tmp_path / "there").read_text() == "mine"


def test_nobody_else_may_read_what_it_writes(serving: Serve, tmp_path: Path) -> None:
    server = serving()
    for target in ("out.tar.gz", "folder"):
        collect(tmp_path, server, target, "--readings", "none")
        assert (tmp_path / target).stat().st_mode & 0o077 == 0


def granted(*also: Permission) -> Callable[[Permission], bool]:
    """Return the authorizer that grants what deploy/rbac-exec.yaml does, and *also*."""
    rights = (*permissions("exec"), *also)

    def may(asked: Permission) -> bool:
        return any(
            (right.verb, right.resource, right.group, right.subresource) == (asked.verb, asked.resource, asked.group, asked.subresource)
            and right.namespace in ("", asked.namespace)
            and right.name in ("", asked.name)
            for right in rights
        )

    return may


def test_the_documented_rights_are_enough(serving: Serve, tmp_path: Path) -> None:
    code, _, err = collect(tmp_path, serving(granted()), "out", "--node", "shop-worker")
    assert code == 0, err
    assert (tmp_path / "out/nodes/shop-worker/iptables-save.txt").exists()
    assert len(json.loads((tmp_path / "out/configmaps.json").read_text())["items"]) == 2


# --- and collect.sh ------------------------------------------------------------------------------------------------------


def comparable(target: Path) -> dict[str, Any]:
    """Return the files by name: objects as values, node files as bytes; of snapshot.json what does not depend on time and collector."""
    files = dict(uploads.read(target))
    said = json.loads(files.pop("snapshot.json"))
    found: dict[str, Any] = {name: json.loads(content) if "/" not in name else content for name, content in files.items()}
    found["configmaps.json"] = found["configmaps.json"]["items"]
    found["snapshot.json"] = {
        "kubernetes": said["kubernetes"],
        "redacted": said["redacted"],
        "files": {path: entry.get("error") for path, entry in said["files"].items()},
    }
    return found


@pytest.mark.skipif(bool(why_no_kubectl()), reason=why_no_kubectl() or "")
def test_collect_sh_writes_the_same_with_a_real_kubectl(serving: Serve, tmp_path: Path) -> None:
    server = serving()
    code, _, err = collect(tmp_path, server, "ours.tar.gz", "--conntrack")
    assert code == 0, err
    script = [str(SCRIPT), "--kubeconfig", kubeconfig(tmp_path, server), "--conntrack", "theirs.tar.gz"]
    for _ in range(3):
        done = subprocess.run(["sh", *script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
        if "closed all streams" not in done.stderr:  # kubectl's own race where an exec ends at once: it says so of a command that ran
            break
        (tmp_path / "theirs.tar.gz").unlink()
    assert (done.returncode, done.stdout) == (0, "theirs.tar.gz\n"), done.stderr
    ours, theirs = comparable(tmp_path / "ours.tar.gz"), comparable(tmp_path / "theirs.tar.gz")
    assert ours.keys() == theirs.keys()
    assert {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]} == {}


@pytest.mark.skipif(bool(why_no_kubectl()), reason=why_no_kubectl() or "")
def test_collect_sh_says_what_a_real_kubectl_is_refused(serving: Serve, tmp_path: Path) -> None:
    server = serving(lambda permission: permission.subresource != "exec" and permission.resource != "ingresses")
    script = [str(SCRIPT), "--kubeconfig", kubeconfig(tmp_path, server), "--node", "shop-worker", "out"]
    done = subprocess.run(["sh", *script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    files = about(tmp_path / "out")["files"]
    assert done.returncode == 1, done.stderr
    assert files["ingresses.json"]["error"].startswith("Not allowed: ")
    assert files["nodes/shop-worker/iptables-save.txt"]["error"].startswith("Not allowed: ")
    assert "error" not in files["services.json"]


@pytest.mark.skipif(bool(why_no_kubectl()), reason=why_no_kubectl() or "")
def test_the_documented_rights_are_enough_for_collect_sh(serving: Serve, tmp_path: Path) -> None:
    """Kubectl looks at the pod before it runs a program in it: "get pods" comes on top of what Hopline uses."""
    server = serving(granted(Permission(verb="get", resource="pods", namespace="kube-system")))
    script = [str(SCRIPT), "--kubeconfig", kubeconfig(tmp_path, server), "--node", "shop-worker", "out"]
    done = subprocess.run(["sh", *script], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/nodes/shop-worker/iptables-save.txt").exists()
    assert len(json.loads((tmp_path / "out/configmaps.json").read_text())["items"]) == 2
