"""Pods' own stacks of a followed cluster: read by the node reader where somebody wants them, gone with their pod, recorded and played."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.urls import reverse

from tests.webapp.live.following import DEMO, HASTY, followed, until
from tracer.changes import FileChange
from tracer.snapshot import Snapshot
from tracer.snapshot.timeline import file_after_step
from webapp import uploads
from webapp.cluster.connection import Connection
from webapp.live import lease, live_sources, saving
from webapp.live.follower import Follower
from webapp.live.own_stacks import OwnStacks
from webapp.live.recording import Recorder
from webapp.live.step_titles import title_of
from webapp.models import LiveItem, LiveSource
from webapp.pods_wanted import parse_wanted
from webapp.reading.changes import StoredChange
from webapp.reading.paths import FilePath, parse_path
from webapp.recorded_api import RecordedApi, Timeline, serve

RULES = b"*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n"
LATER = RULES.replace(b"15001", b"15002")


def shop() -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the files of a recording in which one pod has a stack of its own, and that pod."""
    source = uploads.check(next(DEMO.glob("shop-iptables*")))
    files = dict(source.files())
    pods = json.loads(files["pods.json"])["items"]
    pod = next(one for one in pods if not one["spec"].get("hostNetwork") and one["status"]["phase"] == "Running")
    return files | {f"nodes/{stack_of(pod)}/iptables-save.txt": RULES}, pod


def stack_of(pod: dict[str, Any]) -> str:
    return f"{pod['spec']['nodeName']}/pods/{pod['metadata']['namespace']}_{pod['metadata']['name']}"


def kept(source: str) -> list[str]:
    return sorted(LiveItem.objects.filter(source=source, body_zstd__isnull=False, path__contains="/pods/").values_list("path", flat=True)
                  .filter(path__startswith="nodes/"))  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_a_followed_cluster_has_the_stacks_that_are_wanted(settings: Any, client: Any) -> None:
    files, pod = shop()
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    settings.POD_STACKS = (parse_wanted(f"pod:{namespace}/{name}"), parse_wanted(f"pod:{namespace}/nobody"))
    api = RecordedApi(Timeline.open(files), readers=True)
    with followed(api, readings="daemonset") as source:
        source.until_live()
        path = f"nodes/{stack_of(pod)}/iptables-save.txt"
        source.until(lambda: kept(source.source) == [path], "the pod's own rules are stored", seconds=40)
        with live_sources.using(source.row) as view:
            there = view.cluster.objects.pod(namespace, name)
            assert there
            stack = view.cluster.pod_stack(there)
            assert stack
            assert b"".join(view.cluster.snapshot.files[path].split()) == b"".join(RULES.split())
            assert stack.name not in view.cluster.node_names
        source.until(lambda: stack_of(pod) in source.row.nodes, "the row says how it went")
        text = client.get(reverse("cluster", args=[source.source])).content.decode()
        assert f"<b>{namespace}/{name} on {pod['spec']['nodeName']}</b>" in text
        assert f'id="node-{stack_of(pod)}"' not in text
        saved = saving.files_of(source.row)
        assert Snapshot.from_files(saved).pod_stacks == {stack_of(pod): {"iptables-save.txt": path}}
        assert "read_at" in json.loads(saved["snapshot.json"])["files"][path]
        api.change("DELETED", "pods", pod)
        source.until(lambda: not kept(source.source), "what a pod had goes with it")


@pytest.mark.django_db(transaction=True)
def test_without_the_setting_none_is_read() -> None:
    files, _ = shop()
    with followed(RecordedApi(Timeline.open(files), readers=True), readings="daemonset") as source:
        source.until_live()
        source.until(
            lambda: LiveItem.objects.filter(source=source.source, path__endswith="iptables-save.txt").exists(), "nodes are read", seconds=40
        )
        time.sleep(0.5)
        assert kept(source.source) == []


def change(kind: str, name: str, value: dict[str, Any] | None) -> StoredChange:
    body = None if value is None else json.dumps(value).encode()
    return StoredChange(path=f"objects/{kind}/d/{name}.json", refs=(), before=None, after=body, seen_at=0.0)


def pod_of(name: str, **metadata: Any) -> dict[str, Any]:
    spec = {"nodeName": "n", "containers": [{"name": "c"}]}
    return {"metadata": {"name": name, "namespace": "d", "uid": f"uid-{name}"} | metadata, "spec": spec, "status": {"phase": "Running"}}


def slice_of(*names: str) -> dict[str, Any]:
    metadata = {"name": "s-1", "namespace": "d", "labels": {"kubernetes.io/service-name": "s"}}
    return {"metadata": metadata, "endpoints": [{"targetRef": {"kind": "Pod", "name": name}} for name in names]}


def test_it_follows_pods_and_slices() -> None:
    own = OwnStacks((parse_wanted("svc:d/s"), parse_wanted("label:d/app=x")))
    own.note([change("pods", name, pod_of(name)) for name in ("a", "b")])
    assert own.of("n") == {}
    own.note([change("endpointslices", "s-1", slice_of("a", "c"))])
    assert own.of("n") == {"uid-a": "n/pods/d_a"}
    own.note([change("pods", "c", pod_of("c")), change("pods", "b", pod_of("b", labels={"app": "x"}))])
    assert own.of("n") == {"uid-a": "n/pods/d_a", "uid-b": "n/pods/d_b", "uid-c": "n/pods/d_c"}
    own.note([change("pods", "a", None), change("pods", "b", pod_of("b", deletionTimestamp="now"))])
    assert own.of("n") == {"uid-c": "n/pods/d_c"}
    own.note([change("endpointslices", "s-1", None)])
    assert own.of("n") == {}
    assert own.of("m") == {}


def test_what_nobody_wants_any_more_is_said_once() -> None:
    own = OwnStacks((parse_wanted("label:d/app=x"),), known=("n", "n/pods/d_a", "n/pods/d_b"))
    assert own.unwanted() == (), "nothing is known of the cluster yet"
    own.note([change("pods", name, pod_of(name, labels={"app": "x"})) for name in ("a", "c")])
    assert (own.unwanted(), own.unwanted()) == (("n/pods/d_b",), ())
    own.note([change("pods", "a", pod_of("a", labels={"app": "y"}))])
    assert (own.unwanted(), own.unwanted()) == (("n/pods/d_a",), ())


@pytest.mark.django_db(transaction=True)
def test_what_is_wanted_no_more_goes_with_the_next_follower(settings: Any) -> None:
    files, pod = shop()
    settings.POD_STACKS = (parse_wanted(f"pod:{pod['metadata']['namespace']}/{pod['metadata']['name']}"),)
    api = RecordedApi(Timeline.open(files), readers=True)
    with followed(api, readings="daemonset") as source:
        until(lambda: stack_of(pod) in source.row.nodes, "the pod's own stack is read", seconds=40)
    settings.POD_STACKS = ()
    with serve(api) as server:
        holder = lease.holder_name()
        LiveSource.objects.filter(id=source.source).update(lease_holder="", lease_until=None)
        assert lease.take(source.source, holder)
        follower = Follower(source.row, holder, connect=lambda: Connection.to_url(server.url, token=server.token), pace=HASTY)
        follower.start()
        try:
            until(lambda: not kept(source.source) and stack_of(pod) not in source.row.nodes, "its files are gone", seconds=40)
        finally:
            follower.stop()
            until(lambda: follower.is_over.is_set() and not follower.is_writing, "the follower ends")


def test_a_stack_is_named_where_its_files_are() -> None:
    path = FilePath(node="n/pods/d_a", name="iptables-save.txt")
    assert str(path) == "nodes/n/pods/d_a/iptables-save.txt"
    assert parse_path(str(path)) == path
    assert FileChange(node=path.node, name=path.name, before=None, after=None).refs == ("pod/d/a",)
    assert file_after_step("step-07/n.x/pods/d_a.b.iptables-save.txt", ["iptables-save.txt"]) == (7, "n.x/pods/d_a.b", "iptables-save.txt")
    assert file_after_step("step-07/n/other/d_a.iptables-save.txt", ["iptables-save.txt"]) is None
    assert title_of([], ["n/pods/d_a"]) == "rules of d/a changed"
    assert title_of([], ["n", "n/pods/d_a"]) == "rules of 2 nodes and pods changed"


@pytest.mark.django_db(transaction=True)
def test_a_recording_holds_them_and_plays_them(tmp_path: Any) -> None:
    files, pod = shop()
    stack = stack_of(pod)
    recorder = Recorder(tmp_path / "recording")
    recorder.begin(files, {"Pod": "9000", "Service": "9000"}, at=100.0)
    recorder.file(stack, "iptables-save.txt", LATER, at=102.0)
    recorder.finish(now=103.0)
    written = uploads.read(recorder.folder)
    assert written[f"step-01/{stack}.iptables-save.txt"] == LATER
    assert Snapshot.from_files(written).layout.unknown == ()
    timeline = Timeline.open(written)
    assert timeline.stacks == (stack,)
    at = [timeline.node_file(stack, "iptables-save.txt", step.position, lag=0.0) for step in timeline.steps]
    assert at == [RULES, LATER]
    printed = RecordedApi(timeline)
    printed.advance_to(timeline.length)
    (proxy,) = [one for one in printed.objects("pods") if one["metadata"]["name"] == f"kube-proxy-{pod['spec']['nodeName']}"]  # type: ignore[index]
    found = printed.run_in(proxy, "kube-proxy", ("hopline-node-reader", "--pods", pod["metadata"]["uid"]))
    assert found
    assert LATER in found.stdout


@pytest.mark.django_db(transaction=True)
def test_a_pod_that_comes_back_by_the_same_name_is_read_again(settings: Any) -> None:
    files, pod = shop()
    settings.POD_STACKS = (parse_wanted(f"pod:{pod['metadata']['namespace']}/{pod['metadata']['name']}"),)
    api = RecordedApi(Timeline.open(files), readers=True)
    with followed(api, readings="daemonset") as source:
        until(lambda: bool(kept(source.source)), "the pod's own rules are stored", seconds=40)
        api.change("DELETED", "pods", pod)
        until(lambda: not kept(source.source), "they are gone")
        api.change("ADDED", "pods", pod | {"metadata": pod["metadata"] | {"uid": "another"}})
        until(lambda: bool(kept(source.source)), "the new pod's are stored", seconds=40)
