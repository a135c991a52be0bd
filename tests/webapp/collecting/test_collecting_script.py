"""collect.sh: what it calls, what it writes, what it says of what it could not take. Always with a stub kubectl; shellcheck reads it too."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.sizes import every
from tests.webapp.collecting.stub_cluster import SCRIPT, Ran, collect, has, make_kubectl
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import ALSO, ALSO_CONNECTIONS, CONNTRACK, READ
from tracer.snapshot.summary import summarise
from tracer.topology.cluster import Cluster
from webapp import uploads
from webapp.cluster.kinds import FOLLOWED_KINDS
from webapp.reading.stored_parts import kept

NODE = {"kind": "Node", "metadata": {}, "status": {"nodeInfo": {"operatingSystem": "linux"}}}
SERVICE = {"kind": "Service", "metadata": {"name": "a<b", "namespace": "d"}, "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 80}]}}
POD = {
    "kind": "Pod",
    "metadata": {
        "name": "p",
        "namespace": "d",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"env": "hunter2"}', "z": '"args": [', "a": "x,"},
        "labels": {"env": "prod"},
    },
    "spec": {
        "containers": [
            {"name": "c", "command": ["sh", "-c", "hunter2 ]"], "args": [], "env": [{"name": "A", "value": "hunter2"}]},
            {
                "name": "d",
                "env": [{"name": "B", "valueFrom": {"secretKeyRef": {"key": "k", "name": "s"}}}],
                "image": "x",
                "args": ["hunter2"],
            },
            {"env": [{"name": "B", "value": "hunter2"}]},
        ]
    },
}


def written(folder: Path, **lists: Any) -> Path:
    """Write a recording of two nodes, on which only some programs are."""
    for name, content in lists.items():
        (folder / f"{name}.json").write_text(json.dumps({"kind": "List", "items": content}))
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    folder = tmp_path / "recording"
    for node in ("node-a", "node-b.example"):
        (folder / "nodes" / node).mkdir(parents=True)
        for name in ("iptables-save.txt", "ip-addr.json", "sysctl.txt", "conntrack.txt", "ip6tables-save.txt"):
            text = (
                "kernel.hostname = secret\nnet.ipv4.ip_forward = 1\n"
                if name == "sysctl.txt"
                else f"[]\n# {node}\n"
                if name.endswith("save.txt")
                else "[]\n"
            )
            (folder / "nodes" / node / name).write_text("" if name == "ip6tables-save.txt" else text)
    (folder / "version.json").write_text('{\n  "gitVersion": "v1.36.2"\n}')
    nodes = [NODE | {"metadata": {"name": name}} for name in ("node-a", "node-b.example")]
    maps = [
        {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "kube-system"}, "data": {"x": "y"}}
        for name in ("coredns", "kube-proxy")
    ]
    return written(folder, services=[SERVICE], pods=[POD], nodes=nodes, configmaps=maps, endpointslices=[])


def about(target: Path) -> dict[str, Any]:
    return json.loads((target / "snapshot.json").read_text())


def listed(target: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((target / name).read_text())["items"]


# --- the script itself ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not has("shellcheck"), reason="needs shellcheck: apt-get install shellcheck")
def test_shellcheck_has_nothing_to_say() -> None:
    done = subprocess.run(["shellcheck", "--shell=sh", "--severity=style", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_reads_the_same_files_by_the_same_commands_as_the_rest_of_hopline() -> None:
    text = SCRIPT.read_text()
    table = re.search(r"^node_commands='(.*?)'$", text, re.DOTALL | re.MULTILINE)
    conntrack = re.search(r"^conntrack_command='(.*?)'$", text, re.MULTILINE)
    assert table
    assert conntrack
    found = [shlex.split(line) for line in (*table[1].splitlines(), conntrack[1])]
    assert found == [[file.name, *file.argv] for file in (*READ, CONNTRACK)]


def test_it_asks_for_the_kinds_that_are_followed(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--readings", "none", "out")
    asked = {call[1].partition(".")[0] for call in ran.calls if call[0] == "get" and call[1] != "--raw"}
    assert asked == {kind.plural for kind in FOLLOWED_KINDS}
    names = {call[call.index("--field-selector") + 1] for call in ran.calls if "--field-selector" in call}
    assert names == {kind.field_selector for kind in FOLLOWED_KINDS if kind.name}


def test_it_only_reads_and_never_asks_for_secrets(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--conntrack", "out")
    assert {call[0] for call in ran.calls} == {"api-resources", "get", "exec"}
    assert not any("secret" in word.lower() for call in ran.calls for word in call)
    programs = {tuple(call[call.index("--") + 1 :]) for call in ran.calls if call[0] == "exec"}
    more = {also.argv for also in (*ALSO, *ALSO_CONNECTIONS)}
    assert {file.argv for file in (*READ, CONNTRACK)} <= programs <= {file.argv for file in (*READ, CONNTRACK)} | more
    assert not any(word in ("-i", "-t", "-it", "--stdin", "--tty") for call in ran.calls for word in call)


# --- arguments -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--readings", "ssh"], "exec, daemonset, debug, auto or none"),
        (["--readings=ssh"], "exec, daemonset, debug, auto or none"),
        (["--timeout", "0"], "whole number of seconds"),
        (["--timeout", "1s"], "whole number of seconds"),
        (["--parallel", "999999"], "whole number"),
        (["--context"], "needs a value"),
        (["--context", ""], "needs a value"),
        (["--node", "../etc"], "no name of a node"),
        (["--allow-debug"], "--allow-debug goes with --readings auto"),
        (["--frobnicate"], "no option --frobnicate"),
        (["one", "two"], "one target only"),
        (["x.zip"], "not x.zip"),
        (["nowhere/x"], "no folder nowhere"),
        (["recording"], "exists already"),
    ],
)
def test_arguments_that_cannot_be_used_end_with_2(small: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    ran = collect(tmp_path, small, *arguments)
    assert (ran.code, ran.out, ran.calls) == (2, "", [])
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_help_says_what_is_in_it(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--help")
    assert (ran.code, ran.calls) == (0, [])
    assert "Secrets" in ran.out
    assert "manage.py redact" in ran.out


def test_a_kubectl_that_is_not_there_ends_with_3(small: Path, tmp_path: Path) -> None:
    done = subprocess.run(["dash", str(SCRIPT), "--kubectl", "./nowhere"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "no program ./nowhere" in done.stderr


def test_names_with_blanks_reach_kubectl_as_one_word(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--context", "my cluster; x", "--kubeconfig=my config", "--readings", "none", "a folder")
    assert ran.out == "a folder\n"
    assert {tuple(call[:2]) for call in ran.calls} == {("--kubeconfig=my config", "--context=my cluster; x")}


# --- what is written -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tar.gz", "tar", "folder"])
def test_it_writes_archives_and_folders_that_open(small: Path, tmp_path: Path, form: str) -> None:
    target = tmp_path / ("out" if form == "folder" else f"out.{form}")
    ran = collect(tmp_path, small, target.name)
    assert (ran.code, ran.out) == (0, f"{target.name}\n"), ran.err
    files = uploads.read(target)
    assert {"services.json", "snapshot.json", "nodes/node-a/iptables-save.txt"} <= set(files)
    summary = summarise(Snapshot.from_files(files))
    assert (summary.collector, summary.kubernetes, summary.unknown_files) == ("collect.sh 1", "v1.36.2", ())
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert target.stat().st_mode & 0o077 == 0


def test_without_a_target_it_names_one(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--readings", "none")
    assert re.fullmatch(r"snapshot-[0-9]{8}-[0-9]{6}\.tar\.gz\n", ran.out)
    assert (tmp_path / ran.out.strip()).is_file()


def test_nothing_is_overwritten(small: Path, tmp_path: Path) -> None:
    (tmp_path / "out.tar.gz").write_text("mine")
    assert collect(tmp_path, small, "out.tar.gz").code == 2
    assert (tmp_path / "out.tar.gz").read_text() == "mine"


def test_objects_are_kept_as_hopline_keeps_them(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--readings", "none", "out")
    assert ran.code == 0, ran.err
    target = tmp_path / "out"
    assert listed(target, "pods.json") == [kept(POD, "Pod")]
    assert "hunter2" not in (target / "pods.json").read_text()
    assert listed(target, "services.json") == [SERVICE]
    assert [item["metadata"]["name"] for item in listed(target, "configmaps.json")] == ["kube-proxy", "coredns"]
    assert not (target / "nodes").exists()


def test_node_files_are_what_the_programs_printed(small: Path, tmp_path: Path) -> None:
    collect(tmp_path, small, "out")
    node = tmp_path / "out/nodes/node-b.example"
    assert (node / "iptables-save.txt").read_text() == "[]\n# node-b.example\n"
    assert (node / "ip6tables-save.txt").read_text() == ""
    assert (node / "sysctl.txt").read_text() == "net.ipv4.ip_forward = 1\n"
    assert not (node / "conntrack.txt").exists()


def test_conntrack_is_read_when_it_is_asked_for(small: Path, tmp_path: Path) -> None:
    collect(tmp_path, small, "--node", "node-a", "--conntrack", "out")
    assert (tmp_path / "out/nodes/node-a/conntrack.txt").exists()


def test_one_node_can_be_read_alone(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--node", "node-b.example", "--node", "node-c", "out")
    assert [path.name for path in (tmp_path / "out/nodes").iterdir()] == ["node-b.example"]
    assert (ran.code, about(tmp_path / "out")["files"]["nodes/node-c"]["error"]) == (1, "There is no such node.")


def test_snapshot_json_says_of_each_file_when_or_why_not(small: Path, tmp_path: Path) -> None:
    collect(tmp_path, small, "out")
    said = about(tmp_path / "out")
    assert (said["kubernetes"], said["redacted"]) == ("v1.36.2", False)
    files = said["files"]
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", files["services.json"]["read_at"])
    assert "error" not in files["nodes/node-a/iptables-save.txt"]
    assert files["nodes/node-a/nft-ruleset.json"]["error"] == "The container has no program nft."
    present = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert present - {"snapshot.json"} == {path for path, entry in files.items() if "error" not in entry}


SHELLS = [
    pytest.param(("dash",), False, marks=pytest.mark.skipif(not has("dash"), reason="needs dash")),
    pytest.param(("bash", "--posix"), False, marks=pytest.mark.skipif(not has("bash"), reason="needs bash")),
    pytest.param(("busybox", "sh"), False, marks=pytest.mark.skipif(not has("busybox"), reason="needs busybox: apt-get install busybox")),
    pytest.param(("busybox", "sh"), True, marks=pytest.mark.skipif(not has("busybox"), reason="needs busybox: apt-get install busybox")),
]


@pytest.mark.parametrize(("shell", "only_busybox"), every(SHELLS, 2))
def test_every_shell_writes_the_same(small: Path, tmp_path: Path, shell: tuple[str, ...], only_busybox: bool) -> None:
    """With busybox alone on the PATH awk, sed, sort, tar and the rest are busybox's as well."""
    path = None
    if only_busybox:
        (tmp_path / "bin").mkdir()
        subprocess.run(["busybox", "--install", "-s", str(tmp_path / "bin")], check=True)
        path = str(tmp_path / "bin")
        shell = (str(shutil.which("busybox")), "sh")
    ran = collect(tmp_path, small, "out.tar.gz", shell=shell, path=path, lacks=["ipset"])
    assert (ran.code, ran.out) == (0, "out.tar.gz\n"), ran.err
    files = dict(uploads.read(tmp_path / "out.tar.gz"))
    said = json.loads(files.pop("snapshot.json"))
    assert said["files"]["nodes/node-a/ipset-save.txt"]["error"] == "The container has no program ipset."
    assert json.loads(files["pods.json"])["items"] == [kept(POD, "Pod")]
    assert len(files) == 17
    assert files["nodes/node-a/sysctl.txt"] == b"net.ipv4.ip_forward = 1\n"


# --- what cannot be taken ------------------------------------------------------------------------------------------------


def test_a_kind_that_is_refused_is_said_and_the_rest_is_taken(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--readings", "none", "out", forbids=["ingresses.networking.k8s.io", "pods"])
    assert ran.code == 1
    errors = {path: entry["error"] for path, entry in about(tmp_path / "out")["files"].items() if "error" in entry}
    assert set(errors) == {"ingresses.json", "pods.json"}
    assert errors["pods.json"].startswith("Not allowed: Error from server (Forbidden)")
    assert "Refused or failed: 2 files" in ran.err
    assert '\\"pods\\"' in (tmp_path / "out/snapshot.json").read_text()


def test_exec_that_is_refused_is_tried_once_a_node(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "out", forbids=["pods/exec"])
    assert ran.code == 1
    assert sum(call[0] == "exec" for call in ran.calls) == 2
    assert not (tmp_path / "out/nodes/node-a").exists()
    assert about(tmp_path / "out")["files"]["nodes/node-a/sysctl.txt"]["error"].startswith("Not allowed: ")


@pytest.mark.parametrize("fault", [{"forbids": ["services"]}, {"gone": True}])
def test_without_services_nothing_is_written(small: Path, tmp_path: Path, fault: dict[str, Any]) -> None:
    ran = collect(tmp_path, small, "out", **fault)
    assert (ran.code, ran.out) == (3, "")
    assert "without them there is no snapshot" in ran.err
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".collect")] == []


def test_a_program_that_ends_at_once_is_never_called_late(tmp_path: Path) -> None:
    # A signal to a subshell that has just begun may be lost: seven times in a thousand here, as it was found.
    text = SCRIPT.read_text()
    functions = text[text.index("\nask() {") : text.index("\n# is_missing LABEL")]
    times = len(every(range(2400), 4))
    script = f"""set -u; state=$1 kubectl=true kubeconfig='' context='' seconds=3 child=''
{functions}
trap 'kill $child; exit 143' TERM
tried=0
while [ "$tried" -lt {times} ]; do ask x || exit 1; [ ! -e "$state/x.late" ] || exit 2; tried=$((tried + 1)); done"""
    done = subprocess.run(["dash", "-c", script, "x", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_never_ends_is_given_up(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--node", "node-a", "--timeout", "5", "out", sleeps=["iptables-save"])
    files = about(tmp_path / "out")["files"]
    assert (ran.code, files["nodes/node-a/iptables-save.txt"]["error"]) == (1, "iptables-save did not end within 5 s.")
    assert (tmp_path / "out/nodes/node-a/ip-addr.json").exists()
    assert not (tmp_path / "out/nodes/node-a/iptables-save.txt").exists()


def test_a_node_that_answers_nothing_does_not_hold_the_others_for_long(small: Path, tmp_path: Path) -> None:
    programs = sorted({file.argv[0] for file in READ})
    ran = collect(tmp_path, small, "--node", "node-a", "--timeout", "5", "out", sleeps=programs)
    assert sum(call[0] == "exec" for call in ran.calls) == 2
    assert about(tmp_path / "out")["files"]["nodes/node-a/sysctl.txt"]["error"] == "Not tried: two programs before did not end."


def test_half_of_a_dump_is_not_taken_for_one(small: Path, tmp_path: Path) -> None:
    ran = collect(tmp_path, small, "--node", "node-a", "out", fails={"iptables-save": [4, 'x\t"lock" \\ held']})
    error = about(tmp_path / "out")["files"]["nodes/node-a/iptables-save.txt"]["error"]
    assert (ran.code, error) == (1, 'iptables-save ended with 4: x "lock" \\ held')
    assert not (tmp_path / "out/nodes/node-a/iptables-save.txt").exists()


@pytest.mark.parametrize(("name", "content"), [("iptables-save.txt", "*nat\n-A KUBE-SVC"), ("ip-addr.json", '[{"ifname": "eth')])
def test_an_output_without_its_end_is_not_taken(small: Path, tmp_path: Path, name: str, content: str) -> None:
    """Kubectl may lose the end of a large output and still end with 0."""
    (small / "nodes/node-a" / name).write_text(content)
    ran = collect(tmp_path, small, "--node", "node-a", "out")
    assert (ran.code, about(tmp_path / "out")["files"][f"nodes/node-a/{name}"]["error"]) == (1, "The end of the output is missing.")
    assert not (tmp_path / "out/nodes/node-a" / name).exists()


def test_an_output_that_was_lost_is_not_taken_for_none(small: Path, tmp_path: Path) -> None:
    """Kubectl may lose all of it, and how the program ended, and still end with 0."""
    ran = collect(tmp_path, small, "--node", "node-a", "out", loses=["iptables-save", "ip6tables-save"])
    assert ran.code == 0, ran.err
    for name in ("iptables-save.txt", "ip6tables-save.txt"):
        assert (tmp_path / "out/nodes/node-a" / name).read_bytes() == (small / "nodes/node-a" / name).read_bytes()


def test_errors_with_quotes_are_still_json(small: Path, tmp_path: Path) -> None:
    written(small, pods=[])
    collect(tmp_path, small, "--readings", "none", "out", forbids=["pods", "nodes", 'a"b'])
    assert 'list resource "pods"' in about(tmp_path / "out")["files"]["pods.json"]["error"]


@pytest.mark.parametrize("state", [{"phase": "Pending"}, {"deleted": "2026-11-20T10:00:00Z"}])
def test_nodes_that_cannot_be_read_are_said(small: Path, tmp_path: Path, state: dict[str, str]) -> None:
    pods = {"node-a": {"name": "kube-proxy-x", **state}}
    ran = collect(tmp_path, small, "out", pods=pods, systems={"node-b.example": "windows"})
    files = about(tmp_path / "out")["files"]
    assert files["nodes/node-a/iptables-save.txt"]["error"].startswith("No kube-proxy pod runs there")
    assert files["nodes/node-b.example/hns-endpoints.json"]["error"].startswith("A Windows node")
    assert "A Windows node" in ran.err
    assert not (tmp_path / "out/nodes").exists()


def test_without_the_list_of_nodes_those_with_pods_are_read(small: Path, tmp_path: Path) -> None:
    pods = {"node-a": {"name": "kube-proxy-node-a", "containers": "sidecar kube-proxy"}}
    ran = collect(tmp_path, small, "out", forbids=["nodes"], pods=pods)
    assert ran.code == 1
    assert sorted(path.name for path in (tmp_path / "out/nodes").iterdir()) == ["node-a", "node-b.example"]
    containers = {call[call.index("-c") + 1] for call in ran.calls if call[0] == "exec"}
    assert containers == {"kube-proxy"}


def test_the_node_reader_brings_all_files_at_once(small: Path, tmp_path: Path) -> None:
    how = ("--readings", "daemonset", "--reader-namespace", "readers", "--conntrack")
    ran = collect(tmp_path, small, *how, "out", readers=["node-a"])
    calls = [call[call.index("--") + 1 :] for call in ran.calls if call[0] == "exec"]
    assert calls == [["hopline-node-reader", "--conntrack"]]
    node, files = tmp_path / "out/nodes/node-a", about(tmp_path / "out")["files"]
    assert {path.name for path in node.iterdir()} == {path.name for path in (small / "nodes/node-a").iterdir()}
    assert (node / "iptables-save.txt").read_bytes() == (small / "nodes/node-a/iptables-save.txt").read_bytes()
    assert files["nodes/node-a/nft-ruleset.json"]["error"] == "The container has no program nft."
    assert files["nodes/node-a/ipset-save.txt"]["error"] == 'ipset ended with 1: "x" \\ y'
    assert files["nodes/node-b.example/iptables-save.txt"]["error"] == "No pod of the node reader runs there."
    assert ran.code == 1
    assert list(tmp_path.rglob("evil")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_behind(small: Path, tmp_path: Path, number: signal.Signals) -> None:
    kubectl = make_kubectl(tmp_path)
    environment = os.environ | {
        "STUB_RECORDING": str(small),
        "STUB_LOG": str(tmp_path / "log"),
        "STUB_FAULTS": '{"sleeps": ["iptables-save"]}',
        "STUB_COMMANDS": '[["iptables-save.txt", ["iptables-save"]]]',
    }
    with subprocess.Popen(
        ["dash", str(SCRIPT), "--kubectl", str(kubectl), "out"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as running:
        deadline = time.monotonic() + 30
        while "iptables-save" not in ((tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(number)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "nothing was written" in err
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".collect")] == []
    assert _sleepers(tmp_path) == []


def _sleepers(folder: Path) -> list[str]:
    """Return the command lines of processes that were started from *folder* and still run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            at = (process / "cwd").readlink()
        except OSError:
            continue
        if at == folder:
            found.append(text)
    return found


# --- the whole -----------------------------------------------------------------------------------------------------------


def answer(files: Any, query: Query) -> dict[str, object]:
    return trace(Cluster.from_snapshot(Snapshot.from_files(files)), query).to_dict(with_steps=True)


def test_what_it_collects_traces_like_the_cluster(demo: Path, tmp_path: Path) -> None:
    ran: Ran = collect(tmp_path, demo / "shop-iptables", "--conntrack", "--parallel", "2", "out.tar.gz")
    assert ran.code == 0, ran.err
    files = uploads.read(tmp_path / "out.tar.gz")
    query = Query(source=parse_source("node:shop-worker"), destination=parse_destination("svc:default/api"))
    assert answer(files, query) == answer(uploads.read(demo / "shop-iptables"), query)
