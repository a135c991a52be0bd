"""Opening recordings: what is in them, and when things happen."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from tests.conftest import DEMO
from tests.webapp.recorded_api import shop
from tracer.errors import TracerError
from webapp.recorded_api import Timeline


def test_it_holds_every_recorded_event_in_order() -> None:
    timeline = shop.timeline()
    assert sorted(e.raw for e in timeline.events) == sorted(line for plural in shop.RECORDED for line in shop.lines(plural))
    assert [e.resource_version for e in timeline.events] == sorted(e.resource_version for e in timeline.events)
    assert all(a.at <= b.at for a, b in pairwise(timeline.events))


def test_steps_keep_their_titles_and_distances() -> None:
    recorded = json.loads(shop.files()["steps.json"])
    timeline = shop.timeline()
    assert [s.title for s in timeline.steps] == [s["title"] for s in recorded]
    assert [s.position for s in timeline.steps] == pytest.approx([s["at"] - recorded[0]["at"] for s in recorded])
    assert timeline.length == timeline.steps[-1].position > 40


def test_the_events_of_a_step_happen_between_the_step_before_and_its_own_settling() -> None:
    timeline = shop.timeline()
    for before, step in pairwise(timeline.steps):
        events = [e for e in timeline.events if before.resource_version < e.resource_version <= step.resource_version]
        assert events, step
        assert all(before.position < e.at <= step.last_event < step.position for e in events), step
        assert step.starts == events[0].at


@pytest.mark.parametrize("node", shop.NODES)
def test_rules_are_those_of_the_step_and_follow_its_last_event(node: str) -> None:
    timeline = shop.timeline()
    for before, step in pairwise(timeline.steps):
        own = shop.files()[f"step-{step.number:02}/{node}.iptables-save.txt"]
        old = shop.files()[f"step-{before.number:02}/{node}.iptables-save.txt"]
        assert timeline.node_file(node, "iptables-save.txt", step.position, lag=0.8) == own
        assert timeline.node_file(node, "iptables-save.txt", step.last_event + 0.79, lag=0.8) == old
        assert timeline.node_file(node, "iptables-save.txt", step.last_event + 0.81, lag=0.8) == own
    assert timeline.node_file(node, "sysctl.txt", 30, lag=0.8) == shop.files()[f"base/nodes/{node}/sysctl.txt"]
    assert timeline.node_file(node, "nft-ruleset.json", 30, lag=0.8) is None


def test_step_at_names_a_step_from_its_first_event_on() -> None:
    timeline = shop.timeline()
    first = timeline.steps[1]
    assert [timeline.step_at(p).number for p in (-1, 0, first.starts - 0.01, first.starts, first.position, 999)] == [0, 0, 0, 1, 1, 11]


@pytest.mark.parametrize("name", ["shop-nftables", "shop-userspace-v1.20"])
def test_an_ordinary_snapshot_is_one_step(name: str) -> None:
    folder = DEMO / name
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    timeline = Timeline.open(files)
    assert (len(timeline.steps), timeline.length, timeline.events) == (1, 0, ())
    for plural in ("services", "pods", "configmaps", "namespaces"):
        assert [o["metadata"] for o in timeline.objects[plural]] == [o["metadata"] for o in json.loads(files[f"{plural}.json"])["items"]]
    assert timeline.version["gitVersion"].startswith("v1.")


def test_a_yaml_snapshot_without_versions_opens() -> None:
    text = b"apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec: {clusterIP: 10.0.0.1}\n"
    timeline = Timeline.open({"services.yaml": text})
    (service,) = timeline.objects["services"]
    assert (service["metadata"]["name"], timeline.resource_version, timeline.version) == ("web", 1, {})


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("services.watch.jsonl", b"{garbage\n"),
        ("services.watch.jsonl", b"[]\n"),
        ("services.watch.jsonl", b'{"type":"ADDED"}\n'),
        ("services.watch.jsonl", b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"v7"}}}\n'),
        ("services.list.json", b"nothing"),
        ("services.list.json", b'{"metadata":{"resourceVersion":"1"},"items":[1]}'),
        ("services.list.json", b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{}}]}'),
        ("services.list.json", b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":"a"}]}'),
        ("services.list.json", b'{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a","namespace":["b"]}}]}'),
        ("services.watch.jsonl", b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"9999"}}}\n'),
        ("services.watch.jsonl", b'{"type":"DELETED","object":{"metadata":{"resourceVersion":"9999","name":7}}}\n'),
        ("steps.json", b"{}"),
        ("steps.json", b'[{"step":0,"title":"","at":1,"resource_version":"x"}]'),
    ],
)
def test_a_broken_recording_is_refused_in_words(path: str, content: bytes) -> None:
    with pytest.raises(TracerError) as caught:
        Timeline.open({**shop.files(), path: content})
    assert str(caught.value)


def test_bookmarks_and_events_before_the_list_are_left_out() -> None:
    bookmark = b'{"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"950"}}}\n'
    early = shop.lines("services")[0].replace(b'"resourceVersion":"918"', b'"resourceVersion":"500"') + b"\n"
    content = early + bookmark + shop.files()["services.watch.jsonl"]
    timeline = Timeline.open({**shop.files(), "services.watch.jsonl": content})
    assert [e.raw for e in timeline.events] == [e.raw for e in shop.timeline().events]
