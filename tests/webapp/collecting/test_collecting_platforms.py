"""Both collectors on a cluster of each platform: the same archives and the same last words, and no debug pod left behind.

collect.sh asks a scripted kubectl, ``manage.py collect`` the recorded API server. No real cluster of these platforms was tried.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.sizes import every
from tests.webapp.collecting.platform_clusters import PLATFORMS, PlatformCluster
from tests.webapp.collecting.stub_cluster import Ran, collect, debug_pods, started
from tests.webapp.collecting.test_collecting_ways import called
from webapp import uploads
from webapp.cluster.permissions import Permission
from webapp.collecting import debug_pods as made_pods
from webapp.collecting import platforms
from webapp.recorded_api import Fault, Faults, RecordedApi, RunningServer, Timeline, What, serve

OURS, THEIRS = "manage.py collect", "sh collect.sh"
BY_NAME = {cluster.name: cluster for cluster in PLATFORMS}
READ_BY_EXEC = {cluster.name for cluster in PLATFORMS if cluster.pod and not cluster.is_refused}


@contextmanager
def served(
    cluster: PlatformCluster, recording: Path, folder: Path, faults: Faults | None = None, refused: str = ""
) -> Iterator[RunningServer]:
    def may(asked: Permission) -> bool:
        in_system = asked.namespace == "kube-system"
        return not (asked.verb == refused and asked.resource == "pods") and not (cluster.is_refused and asked.subresource and in_system)

    api = RecordedApi(Timeline.open(uploads.read(recording)), takes_pods=True, read_in={cluster.container} if cluster.pod else ())
    server = serve(api, faults, may=may)
    try:
        (folder / "config").write_text(server.kubeconfig())
        yield server
    finally:
        server.stop()


def ours(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it said."""
    err, code = io.StringIO(), 0
    try:
        call_command("collect", str(folder / "ours"), "--kubeconfig", str(folder / "config"), *arguments, stdout=io.StringIO(), stderr=err)
    except SystemExit as ended:
        code = int(str(ended.code))
    return code, err.getvalue()


def error_kind(error: str | None) -> str | None:
    """Return an error without the words that kubectl and the API server each have of their own."""
    return None if error is None else re.sub(r"(Not allowed: |No debug pod runs there: ).*", r"\1", error)


def comparable(target: Path) -> dict[str, Any]:
    """Return the files by name; of snapshot.json what does not depend on time and collector."""
    files = dict(uploads.read(target))
    said = json.loads(files.pop("snapshot.json"))
    found: dict[str, Any] = {name: json.loads(content) if "/" not in name else content for name, content in files.items()}
    for name, value in found.items():
        if isinstance(value, dict) and "items" in value:
            found[name] = [{key: part for key, part in item.items() if key != "apiVersion"} for item in value["items"]]
            for item in found[name]:
                item["metadata"].pop("resourceVersion", None)
    return found | {"snapshot.json": {path: error_kind(entry.get("error")) for path, entry in said["files"].items()}}


def last_words(said: str, program: str) -> list[str]:
    """Return what was said at the end, without what each collector says of itself."""
    lines = said[said.index("Taken: ") :].replace(program, "COLLECT").splitlines()
    kept = [line for line in lines if line.startswith(("Taken", "Not there", "Refused", "  ", "The cluster", "Without", "No node"))]
    advice = [line for line in lines if "COLLECT --readings" in line or "--debug-namespace" in line or "--readings none" in line]
    return [error_kind(line) or "" for line in kept + advice]


def is_held(theirs: Ran, target: Path, said: str) -> None:
    """Both archives and both last words are the same."""
    first, second = comparable(target / "ours"), comparable(target / "theirs")
    assert first.keys() == second.keys()
    assert {name: (first[name], second[name]) for name in first if first[name] != second[name]} == {}
    assert last_words(said, OURS) == last_words(theirs.err, THEIRS)


def test_the_table_is_the_documents_and_the_programs() -> None:
    text = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    rows = {name for line in text.splitlines() if line.startswith("| ") for name in line.split(" | ")[0].removeprefix("| ").split(", ")}
    assert {cluster.name for cluster in PLATFORMS} == {one.name for one in platforms.PLATFORMS}
    assert {cluster.name for cluster in PLATFORMS} <= rows


@pytest.mark.parametrize("cluster", PLATFORMS, ids=lambda one: one.name)
def test_a_platform_is_told_by_its_nodes(cluster: PlatformCluster, tmp_path: Path) -> None:
    nodes = json.dumps(json.loads((cluster.write(tmp_path) / "nodes.json").read_text()), indent=4, sort_keys=True)
    found = platforms.platform_of(nodes)
    assert found
    assert found.name == cluster.name


@pytest.mark.parametrize("cluster", every(PLATFORMS, 6), ids=lambda one: one.name)
def test_both_take_the_same_by_exec(cluster: PlatformCluster, tmp_path: Path) -> None:
    recording = cluster.write(tmp_path)
    theirs = collect(tmp_path, recording, "theirs", **cluster.stub())
    with served(cluster, recording, tmp_path):
        code, said = ours(tmp_path)
    is_held(theirs, tmp_path, said)
    files = comparable(tmp_path / "ours")
    is_read = cluster.name in READ_BY_EXEC
    assert code == theirs.code == (0 if is_read else 1)
    assert {path for path in files if path.startswith("nodes/")} == {
        f"nodes/{node}/{name}" for node in cluster.nodes for name in cluster.programs if is_read
    }
    assert {(m["metadata"]["namespace"], m["metadata"]["name"]) for m in files["configmaps.json"]} == {
        ("kube-system", "coredns"),
        *cluster.maps,
    }
    assert {f"{resource.partition('.')[0]}.json" for resource in cluster.kinds} <= files.keys()
    assert f"The cluster looks like {cluster.name}." in said
    assert ("Without rules: " in said) is not is_read
    assert sum(line.startswith("  ") for line in said[said.index("Taken: ") :].splitlines()) <= 1, "one line for each reason"
    assert debug_pods(tmp_path) == [] == called(theirs, "debug")


DEBUG = ("--readings", "debug", "--debug-namespace", "tmp")


def left(server: RunningServer) -> list[str]:
    return [str(pod["metadata"]["name"]) for pod in server.api.objects("pods") if pod["metadata"]["namespace"] == "tmp"]  # type: ignore[index]


@pytest.mark.parametrize("cluster", every(PLATFORMS[7:] + PLATFORMS[:7], 13), ids=lambda one: one.name)
def test_both_take_the_same_by_debug_pods_and_leave_none(cluster: PlatformCluster, tmp_path: Path) -> None:
    recording = cluster.write(tmp_path)
    theirs = collect(tmp_path, recording, *DEBUG, "theirs", **cluster.stub() | {"forbids": []})
    with served(cluster, recording, tmp_path) as server:
        code, said = ours(tmp_path, *DEBUG)
        assert left(server) == []
    is_held(theirs, tmp_path, said)
    assert code == theirs.code == 0
    assert {path for path in comparable(tmp_path / "ours") if path.startswith("nodes/")} == {
        f"nodes/{node}/{name}" for node in cluster.nodes for name in cluster.programs
    }
    assert "A pod is made on each node" in said
    assert debug_pods(tmp_path) == []
    assert len(called(theirs, "debug")) == len(called(theirs, "delete")) == len(cluster.nodes)


@pytest.mark.parametrize("cluster", every(PLATFORMS[2:] + PLATFORMS[:2], 13), ids=lambda one: one.name)
def test_debug_pods_that_are_refused_are_one_line(cluster: PlatformCluster, tmp_path: Path) -> None:
    recording = cluster.write(tmp_path)
    theirs = collect(tmp_path, recording, *DEBUG, "theirs", **cluster.stub() | {"debug": "forbidden"})
    with served(cluster, recording, tmp_path, refused="create") as server:
        code, said = ours(tmp_path, *DEBUG)
        assert left(server) == []
    is_held(theirs, tmp_path, said)
    assert code == theirs.code == 1
    assert debug_pods(tmp_path) == []


AUTO = ("--readings", "auto", "--debug-namespace", "tmp")


@pytest.mark.parametrize("cluster", every(PLATFORMS[8:] + PLATFORMS[:8], 13), ids=lambda one: one.name)
def test_auto_makes_pods_only_where_they_are_needed_and_allowed(cluster: PlatformCluster, tmp_path: Path) -> None:
    recording = cluster.write(tmp_path)
    theirs = collect(tmp_path, recording, *AUTO, "--allow-debug", "theirs", **cluster.stub())
    with served(cluster, recording, tmp_path) as server:
        code, said = ours(tmp_path, *AUTO, "--allow-debug")
        made = [entry for entry in server.faults.log if entry[:2] == ("create", "pods")]
        assert left(server) == []
    is_needed = cluster.name not in READ_BY_EXEC
    assert len(made) == len(called(theirs, "debug")) == (len(cluster.nodes) if is_needed else 0)
    assert debug_pods(tmp_path) == []
    if not cluster.is_refused:
        # The scripted kubectl refuses pods/exec in all namespaces, the recorded API server in kube-system only.
        is_held(theirs, tmp_path, said)
        assert code == theirs.code == 0


def test_auto_alone_makes_none_and_says_what_would_help(tmp_path: Path) -> None:
    cluster = BY_NAME["k3s"]
    recording = cluster.write(tmp_path)
    theirs = collect(tmp_path, recording, *AUTO, "theirs", **cluster.stub())
    with served(cluster, recording, tmp_path) as server:
        code, said = ours(tmp_path, *AUTO)
        assert not [entry for entry in server.faults.log if entry[0] == "create"]
    is_held(theirs, tmp_path, said)
    assert (code, theirs.code, called(theirs, "debug")) == (1, 1, [])
    assert "COLLECT --readings debug makes a pod on each node" in "\n".join(last_words(said, OURS))
    assert "COLLECT --readings auto --allow-debug makes pods on these nodes only, and removes them." in last_words(said, OURS)


@pytest.mark.parametrize("arguments", [("--allow-debug",), ("--allow-debug", "--readings", "debug")])
def test_allow_debug_alone_is_no_way_to_read(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="goes with --readings auto") as caught:
        call_command("collect", str(tmp_path / "out"), *arguments)
    assert caught.value.returncode == 2


# --- Ctrl-C --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", every(PLATFORMS[3:] + PLATFORMS[:3], 13), ids=lambda one: one.name)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_leaves_no_pod_when_it_is_interrupted(cluster: PlatformCluster, tmp_path: Path, number: signal.Signals) -> None:
    faults = Faults()
    faults.add(Fault(what=What.SILENT, verb="exec", times=None, seconds=30))
    recording = cluster.write(tmp_path)
    with served(cluster, recording, tmp_path, faults) as server:

        def interrupt() -> None:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and sum(entry[0] == "exec" for entry in faults.log) < len(cluster.nodes):
                time.sleep(0.02)
            if is_running.is_set():
                os.kill(os.getpid(), number)

        is_running, waiting = threading.Event(), threading.Thread(target=interrupt)
        is_running.set()
        waiting.start()
        with pytest.raises(CommandError, match="nothing was written") as caught:
            try:
                ours(tmp_path, *DEBUG)
            finally:
                is_running.clear()
        waiting.join()
        assert caught.value.returncode == 130
        assert len([entry for entry in faults.log if entry[:2] == ("create", "pods")]) == len(cluster.nodes)
        assert left(server) == []
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("cluster", every(PLATFORMS[4:] + PLATFORMS[:4], 13), ids=lambda one: one.name)
def test_the_script_leaves_no_pod_when_it_is_interrupted(cluster: PlatformCluster, tmp_path: Path) -> None:
    with started(tmp_path, cluster.write(tmp_path), *DEBUG, "theirs", **cluster.stub() | {"sleeps": ["chroot"], "forbids": []}) as running:
        deadline = time.monotonic() + 30
        while (tmp_path / "log.jsonl").read_text().count('"chroot"') < len(cluster.nodes):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert (running.returncode, debug_pods(tmp_path)) == (130, [])
    assert "nothing was written" in err
    assert not (tmp_path / "theirs").exists()


# --- what a debug pod is -------------------------------------------------------------------------------------------------


class Maker:
    """Stands for the connection that makes pods: what it was asked, and a pod that comes to *states*."""

    def __init__(self, *states: Mapping[str, Any]) -> None:
        self.states, self.made, self.removed = list(states), list[dict[str, Any]](), list[str]()

    def make_pod(self, namespace: str, pod: dict[str, Any]) -> None:
        self.made.append(pod)

    def pod(self, namespace: str, name: str) -> dict[str, Any]:
        return {"status": self.states.pop(0) if len(self.states) > 1 else self.states[0]}

    def remove_pod(self, namespace: str, name: str) -> None:
        self.removed.append(name)


def pods_with(maker: Maker, **how: Any) -> made_pods.DebugPods:
    return made_pods.DebugPods(maker, made_pods.DebugHow(**how), lambda _: None, start_seconds=0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("profile", "rights"),
    [("sysadmin", {"privileged": True}), ("netadmin", {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}})],
)
def test_a_debug_pod_sees_the_node_and_ends_by_itself(profile: str, rights: dict[str, Any]) -> None:
    maker = Maker({"phase": "Running"})
    with pods_with(maker, profile=profile, image="registry.example/x:1", namespace="tmp") as pods:
        place = pods.make("node-a")
        assert maker.removed == []
    spec = maker.made[0]["spec"]
    assert (spec["nodeName"], spec["hostNetwork"], spec["activeDeadlineSeconds"]) == ("node-a", True, 900)
    assert (spec["containers"][0]["securityContext"], spec["containers"][0]["image"]) == (rights, "registry.example/x:1")
    assert (place.namespace, place.container) == ("tmp", "debugger")
    assert maker.removed == [place.pod]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]}, "ImagePullBackOff"),
        ({"phase": "Failed", "reason": "Evicted"}, "It ended \\(Evicted\\)"),
        ({}, "did not run within 0 s \\(Pending\\)"),
    ],
)
def test_a_pod_that_does_not_run_is_removed_and_said(status: dict[str, Any], said: str) -> None:
    maker = Maker(status)
    pods = pods_with(maker)
    pods.stop()
    with pods, pytest.raises(made_pods.NoPod, match=said):
        pods.make("node-a")
    assert maker.removed == [maker.made[0]["metadata"]["name"]]
