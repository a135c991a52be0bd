"""A recording of a followed cluster is a timeline that opens, and its steps hold what belongs together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tracer.snapshot import Snapshot
from tracer.snapshot.summary import summarise
from webapp import uploads
from webapp.live.recording import LONGEST_SECONDS, QUIET_SECONDS, Recorder, RecordingFull
from webapp.live.step_titles import Happened, title_of
from webapp.recorded_api import Timeline

SERVICE = {"kind": "Service", "apiVersion": "v1", "metadata": {"name": "api", "namespace": "default", "resourceVersion": "5"}, "spec": {}}
BASE = {
    "services.json": json.dumps({"kind": "List", "apiVersion": "v1", "items": [SERVICE]}).encode(),
    "nodes/n/iptables-save.txt": b"*nat\nCOMMIT\n",
}
VERSIONS = {"Service": "7", "Pod": "9"}


def pod(name: str, version: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "env": [{"name": "PASSWORD", "value": "hunter2"}]}]}
    return {"metadata": {"name": name, "namespace": "default", "resourceVersion": version}, "spec": spec}


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    made = Recorder(tmp_path / "recording")
    made.begin(BASE, VERSIONS, at=100.0)
    return made


def written(recorder: Recorder, path: str) -> Any:
    return json.loads((recorder.folder / path).read_text())


def test_it_opens_as_a_timeline_and_at_its_first_moment(recorder: Recorder) -> None:
    recorder.event("ADDED", "Pod", pod("a", "12"), at=101.0)
    recorder.file("n", "iptables-save.txt", b"*nat\n:X - [0:0]\nCOMMIT\n", at=102.5)
    recorder.finish(now=103.0)
    files = uploads.read(recorder.folder)
    summary = summarise(Snapshot.from_files(files))
    assert [(s.number, s.title, s.resource_version) for s in summary.timeline or ()] == [
        (0, "as it was", "9"),
        (1, "Pod default/a added", "12"),
    ]
    assert (summary.bundle, summary.objects, summary.unknown_files, summary.faults) == ("timeline", {"Service": 1}, (), ())
    assert files["step-01/n.iptables-save.txt"] == b"*nat\n:X - [0:0]\nCOMMIT\n"
    assert files["base/nodes/n/iptables-save.txt"] == BASE["nodes/n/iptables-save.txt"]


def test_lists_and_events_are_the_api_servers(recorder: Recorder) -> None:
    recorder.event("DELETED", "Pod", pod("a", "12"), at=101.0)
    listed = written(recorder, "services.list.json")
    assert (listed["kind"], listed["metadata"]) == ("ServiceList", {"resourceVersion": "7"})
    assert listed["items"] == [{key: part for key, part in SERVICE.items() if key not in ("kind", "apiVersion")}]
    assert written(recorder, "pods.list.json")["items"] == []
    (line,) = (recorder.folder / "pods.watch.jsonl").read_text().splitlines()
    event = json.loads(line)
    assert (event["type"], event["object"]["kind"], event["object"]["apiVersion"]) == ("DELETED", "Pod", "v1")
    assert "hunter2" not in line


def test_the_start_holds_no_passwords_either(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r")
    pods = {"kind": "List", "apiVersion": "v1", "items": [pod("a", "3")]}
    recorder.begin(BASE | {"pods.json": json.dumps(pods).encode()}, VERSIONS, at=100.0)
    texts = [path.read_text() for path in recorder.folder.rglob("*") if path.is_file()]
    assert not any("hunter2" in text for text in texts)
    assert written(recorder, "base/pods.json")["items"][0]["metadata"]["name"] == "a"


def test_a_step_ends_when_it_is_quiet(recorder: Recorder) -> None:
    assert recorder.tick(200.0) is None
    recorder.event("ADDED", "Pod", pod("a", "12"), at=201.0)
    assert recorder.tick(201.0 + QUIET_SECONDS - 0.1) is None
    recorder.file("n", "iptables-save.txt", b"x", at=203.0)
    assert recorder.tick(203.0 + QUIET_SECONDS - 0.1) is None
    step = recorder.tick(203.0 + QUIET_SECONDS)
    assert step is not None
    assert (step.number, step.at) == (1, 203.0)
    assert recorder.tick(300.0) is None


def test_a_step_ends_at_last_however_busy(recorder: Recorder) -> None:
    for second in range(int(LONGEST_SECONDS)):
        recorder.event("MODIFIED", "Pod", pod("a", str(20 + second)), at=200.0 + second)
        assert recorder.tick(200.0 + second) is None
    recorder.event("MODIFIED", "Pod", pod("a", "99"), at=200.0 + LONGEST_SECONDS)
    assert recorder.tick(200.0 + LONGEST_SECONDS) is not None


def test_resource_versions_are_compared_as_numbers(recorder: Recorder) -> None:
    recorder.event("ADDED", "Pod", pod("a", "100"), at=101.0)
    recorder.event("MODIFIED", "Service", SERVICE, at=101.0)
    recorder.finish(now=110.0)
    assert written(recorder, "steps.json")[1]["resource_version"] == "100"


def test_a_deleted_object_of_old_comes_after_what_was_before(recorder: Recorder) -> None:
    """The follower knows of a deleted object only what it was: its resourceVersion may be older than the recording."""
    recorder.event("ADDED", "Pod", pod("a", "100"), at=101.0)
    recorder.event("DELETED", "Service", SERVICE, at=101.0)
    recorder.event("DELETED", "Pod", pod("b", "300"), at=101.0)
    recorder.finish(now=110.0)
    timeline = Timeline.open(uploads.read(recorder.folder))
    assert [(event.type, event.plural, event.resource_version) for event in timeline.events] == [
        ("ADDED", "pods", 100),
        ("DELETED", "services", 101),
        ("DELETED", "pods", 300),
    ]
    assert [step.number for step in timeline.steps] == [0, 1]


def test_steps_never_go_backwards(recorder: Recorder) -> None:
    recorder.event("ADDED", "Pod", pod("a", "12"), at=50.0)
    recorder.finish(now=60.0)
    assert [step["at"] for step in written(recorder, "steps.json")] == [100.0, 100.0]


def test_a_full_recording_says_so_and_stays_whole(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", most_bytes=3_000)
    recorder.begin(BASE, VERSIONS, at=100.0)
    with pytest.raises(RecordingFull, match="limit"):
        for number in range(100):
            recorder.event("ADDED", "Pod", pod(f"p{number}", str(20 + number)), at=101.0)
    recorder.finish(now=110.0)
    assert recorder.size <= 3_000
    assert summarise(Snapshot.from_files(uploads.read(recorder.folder))).timeline is not None
    for line in (recorder.folder / "pods.watch.jsonl").read_text().splitlines():
        json.loads(line)


def test_a_step_that_does_not_fit_is_dropped_whole(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", most_bytes=3_000)
    recorder.begin(BASE, VERSIONS, at=100.0)
    before = contents(recorder)
    recorder.event("ADDED", "Pod", pod("a", "12"), at=101.0)
    recorder.file("a", "iptables-save.txt", b"x" * 10, at=101.0)
    recorder.file("n", "iptables-save.txt", b"x" * 3_000, at=101.0)
    with pytest.raises(RecordingFull, match="full"):
        recorder.tick(200.0)
    recorder.finish(now=201.0)
    assert contents(recorder) == before
    assert recorder.size == sum(map(len, before.values()))
    assert summarise(Snapshot.from_files(uploads.read(recorder.folder))).timeline is not None


def test_the_last_step_is_dropped_where_it_does_not_fit(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", most_bytes=3_000)
    recorder.begin(BASE, VERSIONS, at=100.0)
    before = contents(recorder)
    recorder.event("ADDED", "Pod", pod("a", "12"), at=101.0)
    recorder.file("n", "iptables-save.txt", b"x" * 3_000, at=101.0)
    recorder.finish(now=102.0)
    assert contents(recorder) == before


def test_it_is_full_before_it_has_too_many_files_to_be_stored(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", most_files=20)
    recorder.begin(BASE, VERSIONS, at=100.0)
    with pytest.raises(RecordingFull, match="20 files"):
        for number in range(1, 100):
            recorder.file("n", "iptables-save.txt", b"%d" % number, at=100.0 * number)
            recorder.tick(100.0 * number + QUIET_SECONDS)
    recorder.finish(now=20_000.0)
    found = contents(recorder)
    assert len(found) == 20
    assert len(written(recorder, "steps.json")) == len(recorder.steps) > 1


def contents(recorder: Recorder) -> dict[str, bytes]:
    return dict(uploads.read(recorder.folder))


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note").touch()
    with pytest.raises(ValueError, match="not empty"):
        Recorder(tmp_path)


def happened(event: str, kind: str, *names: str, namespace: str = "default") -> list[Happened]:
    return [Happened(event=event, kind=kind, namespace=namespace, name=name) for name in names]


@pytest.mark.parametrize(
    ("events", "nodes", "title"),
    [
        (happened("ADDED", "Pod", "a"), (), "Pod default/a added"),
        (happened("ADDED", "Pod", "a", "b"), (), "2 Pods added in default"),
        (happened("ADDED", "Pod", "a") + happened("MODIFIED", "Pod", "a"), (), "Pod default/a added"),
        (happened("ADDED", "Pod", "a") + happened("DELETED", "Pod", "a"), (), "nothing changed"),
        (happened("MODIFIED", "Pod", "a") + happened("DELETED", "Pod", "a"), (), "Pod default/a deleted"),
        (happened("MODIFIED", "EndpointSlice", "x") + happened("MODIFIED", "Service", "s"), (), "Service default/s changed"),
        (happened("MODIFIED", "EndpointSlice", "x"), ("n",), "EndpointSlice default/x changed"),
        (happened("DELETED", "NetworkPolicy", "x", "y"), (), "2 NetworkPolicies deleted in default"),
        (happened("MODIFIED", "Node", "n", namespace=""), (), "Node n changed"),
        ([], ("n",), "rules of n changed"),
        ([], ("n", "m"), "rules of 2 nodes changed"),
        (
            happened("ADDED", "Service", "s")
            + happened("DELETED", "Service", "t")
            + happened("ADDED", "Pod", "a")
            + happened("DELETED", "Pod", "b"),
            (),
            "Service default/s added, Service default/t deleted, Pod default/a added and 1 more",
        ),
    ],
)
def test_titles(events: list[Happened], nodes: tuple[str, ...], title: str) -> None:
    assert title_of(events, nodes) == title
