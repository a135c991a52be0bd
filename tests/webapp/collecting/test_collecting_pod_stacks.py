"""Pods' own stacks by both collectors: which are read, in each way of reading, the same archives, and what is said of those that were not."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.sizes import every
from tests.webapp.collecting.stub_cluster import SCRIPT, collect, debug_pods, has, started
from tests.webapp.collecting.test_collecting_platforms import comparable, last_words, ours
from tests.webapp.collecting.test_collecting_ways import called
from tests.webapp.recorded_api.test_server_kubectl import why_not
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import ALSO, ALSO_CONNECTIONS, CONNTRACK, OF_A_POD, READ
from tracer.snapshot.summary import summarise
from tracer.topology.cluster import Cluster
from webapp import uploads
from webapp.collecting import own_stacks
from webapp.reading import pod_stacks
from webapp.reading.pod_network import ENTER
from webapp.recorded_api import RecordedApi, RunningServer, Timeline, serve

TEXT = SCRIPT.read_text()
NODES = ("node-a", "node-b.example")
RULES = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"
SIDECAR = "*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n"
OWN = {"iptables-save.txt": SIDECAR, "ip6tables-save.txt": "", "ss.txt": "Netid State\n",
       "sysctl.txt": "net.ipv4.ip_forward = 0\n"}  # fmt: skip
UIDS = {"web-1": "0a1b2c3d-0000-4000-8000-000000000001", "gate-1": "0a1b2c3d-0000-4000-8000-000000000002"}
ADMIN = {"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}


def pod(name: str, node: str, *containers: dict[str, Any], phase: str = "Running", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": UIDS.get(name, f"uid-{name}"), "labels": {"app": name.partition("-")[0]}}
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": node, "containers": list(containers) or [{"name": "app"}], **spec},
        "status": {"phase": phase},
    }


def proxy(node: str) -> dict[str, Any]:
    metadata = {"name": f"kube-proxy-{node}", "namespace": "kube-system", "uid": f"uid-{node}", "labels": {"k8s-app": "kube-proxy"}}
    spec = {"nodeName": node, "hostNetwork": True, "containers": [{"name": "kube-proxy"}]}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


def cluster(folder: Path, files: dict[str, str] | None = None) -> Path:
    """Write a recording of two nodes and their pods, two of which have a stack of their own with *files*."""
    recording = folder / "recording"
    for node, name in zip(NODES, ("shop_web-1", "shop_gate-1"), strict=True):
        (recording / "nodes" / node / "pods" / name).mkdir(parents=True)
        (recording / "nodes" / node / "iptables-save.txt").write_text(RULES)
        (recording / "nodes" / node / "sysctl.txt").write_text("net.ipv4.ip_forward = 1\n")
        for file, text in (OWN if files is None else files).items():
            (recording / "nodes" / node / "pods" / name / file).write_text(text)
    slices = {
        "kind": "EndpointSlice",
        "metadata": {"name": "web-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"targetRef": {"kind": "Pod", "name": name}} for name in ("web-1", "gate-1")] + [{"addresses": ["192.0.2.1"]}],
    }
    objects: dict[str, list[dict[str, Any]]] = {
        "services": [{"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}}],
        "nodes": [{"kind": "Node", "metadata": {"name": n}, "status": {"nodeInfo": {"operatingSystem": "linux"}}} for n in NODES],
        "pods": [
            *(proxy(node) for node in NODES),
            pod("gate-1", "node-b.example", {"name": "app"}, {"name": "gate", **ADMIN}, {"name": "third", **ADMIN}),
            pod("host-1", "node-a", hostNetwork=True),
            pod("old-1", "node-a", phase="Succeeded"),
            pod("web-1", "node-a", {"name": "app"}, {"name": "log"}),
        ],
        "endpointslices": [slices],
    }
    for plural in ("services", "nodes", "pods", "endpointslices", "namespaces", "configmaps", "ingresses", "networkpolicies"):
        items = [{"apiVersion": "v1", **one} for one in objects.get(plural, [])]
        (recording / f"{plural}.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    (recording / "version.json").write_text('{"gitVersion": "v1.36.2"}')
    return recording


@contextmanager
def served(recording: Path, folder: Path, **more: Any) -> Iterator[RunningServer]:
    with serve(RecordedApi(Timeline.open(uploads.read(recording)), takes_pods=True, **more)) as server:
        (folder / "config").write_text(server.kubeconfig())
        yield server


def stacks(target: Path) -> dict[str, set[str]]:
    """Return what of each pod's own stack is in the archive."""
    found: dict[str, set[str]] = {}
    for path in uploads.read(target):
        if "/pods/" in path:
            found.setdefault(path.split("/")[3], set()).add(path.rpartition("/")[2])
    return found


WAYS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    # the arguments, and the pods whose rules came
    "exec": ((), {"shop_gate-1"}),
    "debug": (("--readings", "debug", "--debug-namespace", "tmp"), {"shop_web-1", "shop_gate-1"}),
    "auto": (("--readings", "auto", "--allow-debug", "--debug-namespace", "tmp"), {"shop_web-1", "shop_gate-1"}),
    "daemonset": (("--readings", "daemonset"), {"shop_web-1", "shop_gate-1"}),
}


@pytest.mark.parametrize("way", every(WAYS, 2))
def test_both_collectors_take_the_same(way: str, tmp_path: Path) -> None:
    recording = cluster(tmp_path)
    arguments, with_rules = WAYS[way]
    arguments = (*arguments, "--pod-stacks", "svc:shop/web")
    readers = {"readers": list(NODES)} if way == "daemonset" else {}
    theirs = collect(tmp_path, recording, *arguments, *(("--reader-namespace", "readers") if readers else ()), "theirs", **readers)
    with served(recording, tmp_path, readers=way == "daemonset") as server:
        code, said = ours(tmp_path, *arguments)
        made = [one for one in server.api.objects("pods") if one["metadata"]["namespace"] == "tmp"]  # type: ignore[index]
    assert (debug_pods(tmp_path), made) == ([], [])
    first, second = comparable(tmp_path / "ours"), comparable(tmp_path / "theirs")
    if way == "daemonset":
        # The two scripted readers say different things of the nodes themselves.
        first, second = ({path: text for path, text in found.items() if "/pods/" in path} for found in (first, second))
    else:
        assert last_words(said, "manage.py collect") == last_words(theirs.err, "sh collect.sh")
        assert code == theirs.code == (1 if way == "exec" else 0)
    assert {path: (first.get(path), second.get(path)) for path in {*first, *second} if first.get(path) != second.get(path)} == {}
    found = stacks(tmp_path / "theirs")
    assert {name for name, files in found.items() if "iptables-save.txt" in files} == with_rules
    assert all(set(OWN) <= files for name, files in found.items() if name in with_rules)
    assert list(tmp_path.rglob("evil")) == []


def test_what_it_takes_is_walked(tmp_path: Path) -> None:
    collect(tmp_path, cluster(tmp_path), *WAYS["debug"][0], "--pod-stacks", "pod:shop/web-1", "out")
    snapshot = Snapshot.from_files(uploads.read(tmp_path / "out"))
    summary = summarise(snapshot)
    assert (summary.unknown_files, summary.faults) == ((), ())
    web = snapshot.objects.pod("shop", "web-1")
    assert web
    assert Cluster.from_snapshot(snapshot).pod_stack(web)
    assert set(stacks(tmp_path / "out")) == {"shop_web-1"}


@pytest.mark.parametrize(
    ("which", "found"),
    every(
        [
            ("label:shop/app=gate", {"shop_gate-1"}),
            ("pod:shop/web-1", {"shop_web-1"}),
            ("svc:shop/web", {"shop_web-1", "shop_gate-1"}),
            ("svc:other/web", "svc:other/web: No pod is found by it."),
            ("pod:shop/none", "pod:shop/none: No pod is found by it."),
            ("pod:shop/host-1", "node-a/pods/shop_host-1: It has the network of its node, and no stack of its own."),
            ("pod:shop/old-1", "node-a/pods/shop_old-1: It does not run."),
        ],
        3,
    ),
)
def test_which_pods_are_found(which: str, found: set[str] | str, tmp_path: Path) -> None:
    recording = cluster(tmp_path)
    theirs = collect(tmp_path, recording, "--pod-stacks", which, "theirs")
    with served(recording, tmp_path):
        code, said = ours(tmp_path, "--pod-stacks", which)
    assert comparable(tmp_path / "ours") == comparable(tmp_path / "theirs")
    assert last_words(said, "manage.py collect") == last_words(theirs.err, "sh collect.sh")
    if isinstance(found, str):
        assert f"  {found}" in theirs.err.splitlines()
        assert code == theirs.code == (0 if "no stack" in found else 1)
    else:
        assert set(stacks(tmp_path / "theirs")) == found


@pytest.mark.parametrize("only_busybox", every((True, False), 2))
def test_other_shells_write_the_same(only_busybox: bool, tmp_path: Path) -> None:
    """With busybox alone on the PATH awk, sed, sort and tar are busybox's as well."""
    shell: tuple[str, ...] = ("bash", "--posix")
    path = None
    if only_busybox:
        if not has("busybox"):
            pytest.skip("needs busybox: apt-get install busybox")
        (tmp_path / "bin").mkdir()
        subprocess.run(["busybox", "--install", "-s", str(tmp_path / "bin")], check=True)
        path, shell = str(tmp_path / "bin"), (str(shutil.which("busybox")), "sh")
    how = (*WAYS["auto"][0], "--pod-stacks", "svc:shop/web", "out.tar.gz")
    ran = collect(tmp_path, cluster(tmp_path), *how, shell=shell, path=path, floods=["ss"])
    found = stacks(tmp_path / "out.tar.gz")
    assert {name: set(OWN) - files for name, files in found.items()} == {"shop_gate-1": {"ss.txt"}, "shop_web-1": {"ss.txt"}}, ran.err
    assert debug_pods(tmp_path) == []


def test_rules_that_a_container_may_not_print_are_one_line_a_kind_with_the_next_step(tmp_path: Path) -> None:
    ran = collect(tmp_path, cluster(tmp_path), "--pod-stacks", "pod:shop/web-1", "out")
    assert ran.code == 1
    end = ran.err[ran.err.index("Taken: ") :].splitlines()
    assert "files of the own stacks of 1 pods." in end[0]
    refused = [line for line in end if "must be root" in line or "not permitted" in line]
    assert len(refused) == 1
    assert "Without rules of their own: pods shop/web-1. A sidecar or a firewall in them is not known." in end
    assert any("--readings auto --allow-debug --pod-stacks WHICH" in line for line in end)
    assert "iptables-save.txt" not in stacks(tmp_path / "out")["shop_web-1"]


def test_no_debug_pod_is_made_without_the_word_for_it(tmp_path: Path) -> None:
    ran = collect(tmp_path, cluster(tmp_path), "--readings", "auto", "--pod-stacks", "svc:shop/web", "out")
    assert called(ran, "debug") == []
    assert not any(call[0] == "exec" and "nsenter" in " ".join(call) for call in ran.calls)


def test_auto_makes_pods_only_where_rules_of_pods_are_left(tmp_path: Path) -> None:
    recording = cluster(tmp_path)
    ran = collect(tmp_path, recording, *WAYS["auto"][0], "--pod-stacks", "svc:shop/web", "out")
    assert [call[1] for call in called(ran, "debug")] == ["node/node-a"]
    entered = [call for call in called(ran, "exec") if ENTER in call]
    assert {call[call.index("sh", call.index(ENTER)) + 1] for call in entered} == {UIDS["web-1"]}
    assert not any("chroot" in call and ENTER not in call for call in called(ran, "exec")), "the node was read before"


@pytest.mark.parametrize("collector", ["script", "command"])
def test_where_no_debug_pod_runs_the_nodes_files_stay(collector: str, tmp_path: Path) -> None:
    recording = cluster(tmp_path)
    if collector == "script":
        collect(tmp_path, recording, *WAYS["auto"][0], "--pod-stacks", "pod:shop/web-1", "ours", debug="forbidden")
    else:
        with serve(RecordedApi(Timeline.open(uploads.read(recording)))) as server:
            (tmp_path / "config").write_text(server.kubeconfig())
            ours(tmp_path, *WAYS["auto"][0], "--pod-stacks", "pod:shop/web-1")
    said = json.loads((tmp_path / "ours/snapshot.json").read_text())["files"]
    assert "error" not in said["nodes/node-a/iptables-save.txt"]
    assert said["nodes/node-a/pods/shop_web-1/iptables-save.txt"]["error"].startswith("No debug pod runs there: ")


def test_a_pod_of_which_nothing_runs_is_said_once(tmp_path: Path) -> None:
    recording = cluster(tmp_path)
    shutil.rmtree(recording / "nodes/node-a/pods")
    theirs = collect(tmp_path, recording, *WAYS["debug"][0], "--pod-stacks", "pod:shop/web-1", "theirs")
    with served(recording, tmp_path):
        code, said = ours(tmp_path, *WAYS["debug"][0], "--pod-stacks", "pod:shop/web-1")
    assert comparable(tmp_path / "ours") == comparable(tmp_path / "theirs")
    assert last_words(said, "manage.py collect") == last_words(theirs.err, "sh collect.sh")
    assert (code, theirs.code) == (1, 1)
    assert theirs.err.count("No process of the pod runs there.") == 2
    assert len([call for call in called(theirs, "exec") if ENTER in call]) <= 2


def test_at_most_so_many_pods_are_read(tmp_path: Path) -> None:
    recording = cluster(tmp_path)
    listed = json.loads((recording / "pods.json").read_text())
    listed["items"] += [pod(f"many-{number:03}", "node-a") for number in range(pod_stacks.MOST_PODS + 7)]
    (recording / "pods.json").write_text(json.dumps(listed))
    theirs = collect(tmp_path, recording, *WAYS["daemonset"][0], "--reader-namespace", "readers", "--pod-stacks", "label:shop/app=many", "theirs",
                     readers=["node-a"])  # fmt: skip
    (call,) = [call for call in called(theirs, "exec") if "--pods" in call]
    assert len(call[-1].split(",")) == pod_stacks.MOST_PODS
    with served(recording, tmp_path, readers=True):
        _, said = ours(tmp_path, *WAYS["daemonset"][0], "--pod-stacks", "label:shop/app=many")
    for text in (said, theirs.err):
        assert "  Of 50 pods the own stacks are read: of 7 more they are not." in text.splitlines()
    paths = [set(json.loads((tmp_path / one / "snapshot.json").read_text())["files"]) for one in ("ours", "theirs")]
    assert [len([path for path in found if "/pods/" in path]) for found in paths] == [pod_stacks.MOST_PODS] * 2


def test_a_program_that_prints_without_end_costs_its_own_file(tmp_path: Path) -> None:
    ran = collect(tmp_path, cluster(tmp_path), "--pod-stacks", "pod:shop/gate-1", "out", floods=["ss"])
    said = json.loads((tmp_path / "out/snapshot.json").read_text())["files"]
    assert said["nodes/node-b.example/pods/shop_gate-1/ss.txt"]["error"] == "The program prints more than 16,777,216 bytes.", ran.err
    assert "ss.txt" not in stacks(tmp_path / "out")["shop_gate-1"]
    assert "iptables-save.txt" in stacks(tmp_path / "out")["shop_gate-1"]


def test_ctrl_c_while_a_pods_stack_is_read_leaves_no_pod(tmp_path: Path) -> None:
    with started(tmp_path, cluster(tmp_path), *WAYS["debug"][0], "--pod-stacks", "pod:shop/web-1", "out", sleeps=["sh"]) as running:
        deadline = time.monotonic() + 30
        while "nsenter" not in (tmp_path / "log.jsonl").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert (running.returncode, debug_pods(tmp_path)) == (130, [])
    assert "nothing was written" in err
    assert not (tmp_path / "out").exists()


def test_where_no_reader_runs_it_is_said_of_the_pods_too(tmp_path: Path) -> None:
    recording = cluster(tmp_path)
    how = (*WAYS["daemonset"][0], "--node", "node-a", "--pod-stacks", "svc:shop/web")
    collect(tmp_path, recording, *how, "--reader-namespace", "readers", "theirs", readers=["node-b.example"])
    with served(recording, tmp_path):
        ours(tmp_path, *how)
    for one in ("ours", "theirs"):
        said = json.loads((tmp_path / one / "snapshot.json").read_text())["files"]
        found = {path: entry["error"] for path, entry in said.items() if path.startswith("nodes/")}
        text = "No pod of the node reader runs there."
        assert found == {"nodes/node-a/iptables-save.txt": text, "nodes/node-a/pods/shop_web-1/iptables-save.txt": text}


def test_a_pod_whose_node_nobody_lists_is_not_passed_over(tmp_path: Path) -> None:
    ran = collect(tmp_path, cluster(tmp_path), *WAYS["debug"][0], "--pod-stacks", "pod:shop/web-1", "out", forbids=["nodes"])
    said = json.loads((tmp_path / "out/snapshot.json").read_text())["files"]
    assert said["nodes/node-a/pods/shop_web-1/iptables-save.txt"]["error"] == "Its node was not read."
    assert ran.code == 1


@pytest.mark.parametrize("which", ["web", "pod:web", "pod:shop/", "pod:../x", "svc:shop/a b", "label:shop/app", "label:shop/=x", "label:shop/a=",
                                   "label:shop/a=b=c", "pod:shop/a=b", "label:shop/a=b,c=d", "pod:shop/-x", "node:a/b"])  # fmt: skip
def test_what_names_no_pods_is_refused(which: str, tmp_path: Path) -> None:
    recording = cluster(tmp_path)
    theirs = collect(tmp_path, recording, "--pod-stacks", which, "out")
    assert (theirs.code, theirs.calls) == (2, [])
    with pytest.raises(CommandError) as caught:
        call_command("collect", str(tmp_path / "out"), "--pod-stacks", which)
    assert caught.value.returncode == 2
    assert f"collect.sh: {caught.value}" in theirs.err


def test_without_readings_there_are_no_stacks(tmp_path: Path) -> None:
    ran = collect(tmp_path, cluster(tmp_path), "--readings", "none", "--pod-stacks", "pod:shop/web-1", "out")
    assert (ran.code, "does not go with --readings none" in ran.err) == (2, True)
    with pytest.raises(CommandError, match="does not go with --readings none"):
        call_command("collect", str(tmp_path / "out"), "--readings", "none", "--pod-stacks", "pod:shop/web-1", stderr=io.StringIO())


def test_the_script_has_the_same_text_and_bounds() -> None:
    asked = [file.name for file in (*READ, CONNTRACK)] + [one.file.name for one in (*ALSO, *ALSO_CONNECTIONS)]
    for name, value in {
        "not_of_pods": f"'{' '.join(one for one in asked if one not in OF_A_POD)}'",
        "most_stacks": str(pod_stacks.MOST_PODS),
        "most_containers": str(own_stacks.MOST_CONTAINERS),
        "most_blocks": str(own_stacks.MOST_BYTES // 512),
        "enter_script": f"'{ENTER}'",
    }.items():
        assert f"\n{name}={value}\n" in TEXT


@pytest.mark.parametrize("way", every(("exec", "daemonset"), 2))
def test_the_real_kubectl_brings_the_same(way: str, tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    arguments = ("--node", "node-b.example", "--pod-stacks", "svc:shop/web", "--readings", way)
    with served(cluster(tmp_path), tmp_path, readers=way == "daemonset") as server:
        reader = ("--reader-namespace", "hopline")
        command = ["dash", str(SCRIPT), "--kubeconfig", str(tmp_path / "config"), *arguments, *reader, "theirs"]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=False)
        ours(tmp_path, *arguments)
        assert server.api.objects("pods")
    assert stacks(tmp_path / "theirs") == stacks(tmp_path / "ours"), done.stderr
    assert set(stacks(tmp_path / "theirs")) == {"shop_gate-1"}
    assert "iptables-save.txt" in stacks(tmp_path / "theirs")["shop_gate-1"]


# --- the text that enters a network ----------------------------------------------------------------------------------------


@pytest.mark.needs_root
@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")], ids=lambda shell: shell[0])
def test_it_enters_the_network_of_the_pods_oldest_process(shell: tuple[str, ...], tmp_path: Path) -> None:
    """With a stand-in for /proc, as no test makes cgroups: its processes are real ones, in networks of their own."""
    missing = [program for program in (shell[0], "unshare", "nsenter") if not shutil.which(program)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root, and {', '.join(missing)}")
    uid, other = UIDS["web-1"], UIDS["gate-1"]
    asleep = [subprocess.Popen(["unshare", "--net", "sleep", "60"]) for _ in range(3)] + [subprocess.Popen(["sleep", "60"])]
    try:
        time.sleep(0.3)
        # The first that began, one that made a network of its own later, another pod's, and one in the node's network.
        groups = [
            f"kubepods-burstable-pod{uid.replace('-', '_')}.slice",
            f"kubepods/besteffort/pod{uid}/x",
            f"kubepods/pod{other}/x",
            f"pod{uid}",
        ]
        for number, (process, group) in enumerate(zip(asleep, groups, strict=True)):
            there = tmp_path / "proc" / str(process.pid)
            (there / "ns").mkdir(parents=True)
            (there / "ns/net").symlink_to(f"/proc/{process.pid}/ns/net")
            (there / "cgroup").write_text(f"0::/../../{group}\n")
            began = {0: 100, 1: 2000, 2: 10, 3: 1}[number]
            (there / "stat").write_text(f"{process.pid} (a) b c) S {' '.join(map(str, range(4, 22)))} {began} 0\n")
        (tmp_path / "proc/1/ns").mkdir(parents=True)
        (tmp_path / "proc/1/ns/net").symlink_to(f"/proc/{asleep[3].pid}/ns/net")
        (tmp_path / "proc/1/cgroup").write_text("0::/init.scope\n")
        text = ENTER.replace("/proc/", f"{tmp_path}/proc/")

        def entered(wanted: str) -> subprocess.CompletedProcess[str]:
            command = [*shell, "-c", text, "sh", wanted, "readlink", "/proc/self/ns/net"]
            return subprocess.run(command, capture_output=True, text=True, check=False)

        # A name that is a link to a namespace is read as one: what is compared are the links' own targets.
        assert entered(uid).stdout.strip() == str(Path(f"/proc/{asleep[0].pid}/ns/net").readlink())
        assert entered(other).stdout.strip() == str(Path(f"/proc/{asleep[2].pid}/ns/net").readlink())
        nobody = entered("0a1b2c3d-0000-4000-8000-000000000009")
        assert (nobody.returncode, nobody.stdout, nobody.stderr) == (69, "", "No process of the pod runs there.\n")
        (tmp_path / "proc" / str(asleep[2].pid) / "cgroup").write_text("0::/\n")
        (tmp_path / "proc" / str(asleep[3].pid) / "cgroup").write_text(f"0::/pod{other}\n")
        assert (entered(other).returncode, entered(other).stderr) == (69, "No process of the pod has a network of its own.\n")
    finally:
        for process in asleep:
            process.kill()
            process.wait()
