"""The server's state: forward, backward, forgetting."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.webapp.recorded_api import shop
from webapp.recorded_api import RecordedApi
from webapp.recorded_api.recorded_api import TooOldError

EPOCH = 1_000_000_000


def test_after_every_step_it_is_what_the_recorded_bytes_say() -> None:
    api = RecordedApi(shop.timeline())
    assert api.run("shop-worker", ("ip", "-j", "addr")).stdout == shop.files()["base/nodes/shop-worker/ip-addr.json"]
    assert api.run("shop-worker", ("conntrack", "-L", "-o", "extended")).stdout == shop.files()["base/nodes/shop-worker/conntrack.txt"]
    for step in shop.timeline().steps:
        api.advance_to(step.position)
        assert api.step == step
        for plural in shop.RECORDED:
            assert shop.versions(api.objects(plural)) == shop.after(plural, step.resource_version), (step.title, plural)


def test_the_history_is_the_recorded_lines() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(shop.timeline().length)
    assert [e.line for e in api.events(0)] == [e.raw for e in shop.timeline().events]
    assert api.resource_version == shop.timeline().events[-1].resource_version


def test_going_back_voids_what_was_answered() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(20)
    told = api.resource_version
    api.advance_to(shop.timeline().steps[2].position)
    assert api.epoch == 1
    assert api.oldest == api.resource_version > told
    for version in (830, told, api.resource_version + 1):
        with pytest.raises(TooOldError):
            api.check_version(version)
    old = {key: str(int(v) + EPOCH) for key, v in shop.after("pods", shop.timeline().steps[2].resource_version).items()}
    assert shop.versions(api.objects("pods")) == old


def test_what_happens_after_going_back_to_the_beginning_is_told() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(5.0)
    api.advance_to(0.1)
    begin = api.index_after(api.resource_version)
    api.advance_to(12.0)
    wanted = RecordedApi(shop.timeline())
    wanted.advance_to(12.0)
    assert [event.key for event in api.events(begin)] == [event.key for event in wanted.events(0)] != []


def test_it_goes_on_after_going_back() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(99)
    api.advance_to(12)
    begin = api.resource_version
    api.advance_to(99)
    assert all(int(e.object["metadata"]["resourceVersion"]) == e.resource_version > begin for e in api.events(0))
    assert {k for k, _ in shop.versions(api.objects("services")).items()} == set(shop.after("services", 9999))


@given(st.lists(st.floats(min_value=-5, max_value=50), min_size=1, max_size=8))
@settings(max_examples=30, deadline=None)
def test_wherever_it_was_before_it_is_as_if_played_straight_there(positions: list[float]) -> None:
    api, straight = RecordedApi(shop.timeline()), RecordedApi(shop.timeline())
    newest = 0
    for position in positions:
        api.advance_to(position)
        assert api.resource_version >= newest
        newest = api.resource_version
    straight.advance_to(positions[-1])
    for plural in shop.RECORDED:
        expected = {key: str(int(v) + api.epoch * EPOCH) for key, v in shop.versions(straight.objects(plural)).items()}
        assert shop.versions(api.objects(plural)) == expected


def test_an_older_state_is_listed_until_it_is_compacted() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(20)
    assert shop.versions(api.objects("endpointslices", 883)) == shop.after("endpointslices", 883)
    api.compact()
    with pytest.raises(TooOldError):
        api.objects("endpointslices", 883)
    assert shop.versions(api.objects("endpointslices")) == shop.after("endpointslices", 918)


def test_changes_that_were_not_recorded_come_between() -> None:
    api = RecordedApi(shop.timeline())
    added = {"metadata": {"namespace": "default", "name": "new"}, "spec": {}}
    assert api.change("ADDED", "services", added) == 831
    assert api.get("services", "default", "new")["kind"] == "Service"
    api.advance_to(99)
    assert [e.resource_version for e in api.events(0)] == sorted({e.resource_version for e in api.events(0)})
    for type_, name in (("ADDED", "new"), ("MODIFIED", "none"), ("DELETED", "none")):
        with pytest.raises(ValueError, match="exist"):
            api.change(type_, "services", {"metadata": {"namespace": "default", "name": name}})
    api.advance_to(0)
    assert api.get("services", "default", "new") is None


def test_listeners_hear_of_changes_only() -> None:
    api, heard = RecordedApi(shop.timeline()), []
    unsubscribe = api.subscribe(lambda: heard.append(api.position))
    api.advance_to(0.1)
    assert heard == []
    api.advance_to(2)
    api.advance_to(1)
    assert heard == [2, 1]
    unsubscribe()
    api.advance_to(20)
    assert heard == [2, 1]


def test_programs_print_the_recording_of_the_moment() -> None:
    api = RecordedApi(shop.timeline())
    assert api.run("shop-worker", ("ip", "-j", "addr")).stdout == shop.files()["base/nodes/shop-worker/ip-addr.json"]
    assert api.run("shop-worker", ("conntrack", "-L", "-o", "extended")).stdout == shop.files()["base/nodes/shop-worker/conntrack.txt"]
    for step in shop.timeline().steps:
        api.advance_to(step.position)
        for node in shop.NODES:
            printed = api.run(node, ("iptables-save",))
            assert printed.stdout == shop.files()[f"step-{step.number:02}/{node}.iptables-save.txt"]


def test_what_no_step_has_is_what_it_was_at_the_start_but_for_connections() -> None:
    api = RecordedApi(shop.timeline())
    for at in (0.0, shop.timeline().events[0].at, shop.timeline().length):
        api.advance_to(at)
        assert api.run("shop-worker", ("ip6tables-save",)).stdout == shop.files()["base/nodes/shop-worker/ip6tables-save.txt"]
        routes = api.run("shop-worker", ("ip", "-j", "route", "show", "table", "all"))
        assert routes.stdout == shop.files()["base/nodes/shop-worker/ip-route.json"]
    assert api.run("shop-worker", ("conntrack", "-L", "-o", "extended")) is None


@pytest.mark.parametrize("argv", [("nft", "-j", "list", "ruleset"), ("sh", "-c", "id"), ("cat", "/etc/resolv.conf"), ()])
def test_a_program_that_was_not_recorded_does_not_exist(argv: tuple[str, ...]) -> None:
    assert RecordedApi(shop.timeline()).run("shop-worker", argv) is None


def test_a_recorded_program_with_other_arguments_fails() -> None:
    printed = RecordedApi(shop.timeline()).run("shop-worker", ("iptables-save", "-c"))
    assert (printed.exit_code, printed.stdout) == (2, b"")
    assert b"iptables-save -c" in printed.stderr


def test_our_readers_pods_print_all_that_was_recorded_of_their_node() -> None:
    api = RecordedApi(shop.timeline(), readers=True)
    for node in shop.NODES:
        pod = api.get("pods", "hopline", f"hopline-node-reader-{node}")
        for argv, has_conntrack in ((("hopline-node-reader",), False), (("hopline-node-reader", "--conntrack"), True)):
            with tarfile.open(fileobj=io.BytesIO(api.run_in(pod, "node-reader", argv).stdout)) as tar:
                files = {member.name: tar.extractfile(member).read() for member in tar}
            report = json.loads(files.pop("reading.json"))["files"]
            recorded = {path.rpartition("/")[2] for path in shop.files() if path.startswith(f"base/nodes/{node}/")}
            assert set(report) == set(files) == recorded - (set() if has_conntrack else {"conntrack.txt"})
            assert files["iptables-save.txt"] == shop.files()[f"step-00/{node}.iptables-save.txt"]
            assert files["ip-addr.json"] == shop.files()[f"base/nodes/{node}/ip-addr.json"]
        assert api.run_in(pod, "node-reader", ("sh",)) is None
        assert api.run_in(pod, "node-reader", ("hopline-node-reader", "-x")).exit_code == 2
    assert RecordedApi(shop.timeline()).get("pods", "hopline", "hopline-node-reader-shop-worker") is None


def test_every_node_has_a_kube_proxy_pod_only_if_the_recording_has_none() -> None:
    api = RecordedApi(shop.timeline())
    added = [p for p in api.objects("pods") if p["metadata"]["labels"].get("k8s-app") == "kube-proxy"]
    assert [p["spec"]["nodeName"] for p in added] == list(shop.NODES)
    assert all(p["spec"]["hostNetwork"] and p["status"]["podIP"] for p in added)
    pod = {"metadata": {"namespace": "kube-system", "name": "own", "labels": {"k8s-app": "kube-proxy"}}, "spec": {}}
    own = shop.Timeline.open(
        {**shop.files(), "pods.list.json": shop.json.dumps({"metadata": {"resourceVersion": "830"}, "items": [pod]}).encode()}
    )
    assert [p["metadata"]["name"] for p in RecordedApi(own).objects("pods")] == ["own"]
