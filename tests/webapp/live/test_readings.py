"""Which node is read when, and that one node's trouble is nobody else's."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.webapp.live.following import followed, recorded, until
from tracer.snapshot.node_files import CONNTRACK, READ
from webapp.cluster.errors import BadAnswer, NoSuchProgram, Refused, TimedOut, TooLarge, Unreachable
from webapp.cluster.remote_program import Output
from webapp.live import live_sources
from webapp.live.journal import unpacked
from webapp.live.readings import Readings
from webapp.live.rhythm import Rhythm
from webapp.models import LiveItem
from webapp.reading.changes import NodeRead
from webapp.reading.node_reader import ReadFrom, commands, read_node, unpacked_reading
from webapp.recorded_api import Fault, Faults, RecordedApi, What

QUICK = Rhythm(quiet=0.02, longest=0.1, again=(), period=60.0, slow_period=60.0, gap=0.01, cost=0.0)
Answer = Callable[[str, tuple[str, ...]], Output]


class Programs:
    """A connection whose programs are *answer* (pod, argv)."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.run: list[tuple[str, str]] = []

    def exec(self, namespace: str, pod: str, container: str | None, argv: tuple[str, ...], **_: object) -> Output:
        self.run.append((pod, argv[0]))
        return self._answer(pod, argv)


def printed(text: str = "fine\n", exit_code: int = 0, stderr: str = "") -> Output:
    return Output(stdout=text.encode(), stderr=stderr, exit_code=exit_code, seconds=0.001)


def place(node: str) -> ReadFrom:
    return ReadFrom(namespace="kube-system", pod=f"proxy-{node}", container="kube-proxy")


@contextmanager
def reading(programs: Programs, nodes: tuple[str, ...], rhythm: Rhythm = QUICK) -> Iterator[tuple[Readings, list[NodeRead]]]:
    told: list[NodeRead] = []
    readings = Readings(programs, told.append, rhythm)  # type: ignore[arg-type]
    thread = threading.Thread(target=readings.run, daemon=True)
    thread.start()
    for node in nodes:
        readings.place(node, place(node))
    try:
        yield readings, told
    finally:
        readings.stop()
        thread.join(timeout=5)


def test_every_documented_program_is_run_once_at_first() -> None:
    programs = Programs(lambda pod, argv: printed())
    with reading(programs, ("n1",)) as (_, told):
        until(lambda: len(told) == 1, "a reading")
        assert [file.name for file in told[0].files] == [file.name for file in READ]
        assert (told[0].pod, told[0].error) == ("kube-system/proxy-n1", "")


def test_events_bring_what_follows_events() -> None:
    programs = Programs(lambda pod, argv: printed())
    with reading(programs, ("n1", "n2")) as (readings, told):
        until(lambda: len(told) == 2, "the first readings")
        readings.note_events()
        until(lambda: len(told) == 4, "a round")
        assert {reading.node for reading in told[2:]} == {"n1", "n2"}
        assert {file.name for file in told[3].files} == {c.name for c in READ if c.follows_events}


def test_a_program_that_is_lacking_is_not_asked_for_again_soon() -> None:
    def answer(pod: str, argv: tuple[str, ...]) -> Output:
        if argv[0] == "nft":
            raise NoSuchProgram("no nft")
        return printed()

    programs = Programs(answer)
    with reading(programs, ("n1",)) as (readings, told):
        until(lambda: len(told) == 1, "the first reading")
        lacking = [file for file in told[0].files if file.is_lacking]
        assert [(file.name, file.content, file.error) for file in lacking] == [
            ("nft-ruleset.json", None, "The container has no program nft.")
        ]
        readings.note_events()
        until(lambda: len(told) == 2, "a round")
        assert ("proxy-n1", "nft") not in programs.run[len(READ) :]


def test_nodes_that_hang_do_not_hold_the_others() -> None:
    """More nodes hang than there are workers; once they are known to, the others are read as if they were not there."""
    bad = {f"bad{n}" for n in range(9)}
    is_over = threading.Event()

    def answer(pod: str, argv: tuple[str, ...]) -> Output:
        if pod.removeprefix("proxy-") in bad:
            is_over.wait(0.3)
            raise Unreachable("the kubelet does not answer")
        return printed()

    good = ("good1", "good2", "good3")
    with reading(Programs(answer), (*sorted(bad), *good), Rhythm(quiet=0.02, longest=0.05, again=(), gap=0.01, cost=0.0)) as (
        readings,
        told,
    ):
        until(lambda: {r.node for r in told} == {*bad, *good}, "everybody was tried")
        for _ in range(5):
            before, started = len(told), time.monotonic()
            readings.note_events()
            until(lambda before=before: {r.node for r in told[before:]} >= set(good), "a round of the good ones")
            assert time.monotonic() - started < 0.25
        assert {r.error for r in told if r.node in bad} == {"the kubelet does not answer"}
        assert {r.error for r in told if r.node in good} == {""}
        is_over.set()


def test_nodes_whose_programs_time_out_are_failures_and_do_not_hold_the_others() -> None:
    """Each program that times out takes 0.2 s: all of them together, for so many nodes, would take half a minute."""
    bad, good = {f"bad{n}" for n in range(9)}, "good"

    def answer(pod: str, argv: tuple[str, ...]) -> Output:
        if pod.removeprefix("proxy-") in bad:
            time.sleep(0.2)
            raise TimedOut("The program did not end within 20 s.")
        return printed()

    with reading(Programs(answer), (*sorted(bad), good), Rhythm(quiet=0.02, longest=0.05, again=(), gap=0.01, cost=0.0)) as (
        readings,
        told,
    ):
        until(lambda: good in {r.node for r in told}, "the good one is read", 2.0)
        until(lambda: {r.node for r in told} == {*bad, good}, "everybody was tried", 2.0)
        # A node that has its next turn begins with the programs that it has not run yet.
        first = {node: next(r.error for r in told if r.node == node) for node in bad}
        assert set(first.values()) == {"iptables-save: The program did not end within 20 s."}
        assert all(readings._nodes[node].backoff.failures for node in bad)
        before = len(told)
        readings.note_events()
        until(lambda: good in {r.node for r in told[before:]}, "a round of the good one", 0.3)


def test_what_hangs_comes_last_the_next_time() -> None:
    """One program that always hangs costs its own file, and the node is never called healthy."""

    def answer(pod: str, argv: tuple[str, ...]) -> Output:
        if argv[0] == "nft":
            raise TimedOut("did not end")
        return printed()

    with reading(Programs(answer), ("n1",)) as (readings, told):
        readings._nodes["n1"].backoff._first = 0.01
        until(lambda: len(told) >= 2, "a second reading")
        assert [file.name for file in told[0].files] == ["iptables-save.txt", "ip6tables-save.txt", "nft-ruleset.json"]
        assert told[1].files[-1].name == "nft-ruleset.json"
        assert {file.name for file in told[1].files if file.content is not None} == {c.name for c in READ} - {"nft-ruleset.json"}
        assert {r.error for r in told} == {"nft: did not end"}


def test_a_reading_ends_after_its_time_and_the_next_begins_where_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.reading.node_reader.READING_SECONDS", 0.25)

    def answer(pod: str, argv: tuple[str, ...]) -> Output:
        time.sleep(0.1)
        return printed()

    with reading(Programs(answer), ("n1",)) as (readings, told):
        readings._nodes["n1"].backoff._first = 0.01
        until(lambda: len(told) >= 2, "a second reading")
        first, second = told[0], told[1]
        assert 0 < len(first.files) < 5
        assert first.error.startswith("The reading was ended after 0.25 s, before ")
        assert not {file.name for file in first.files} & {file.name for file in second.files}


def test_no_program_gets_more_time_than_the_reading_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.reading.node_reader.READING_SECONDS", 30.0)
    given: list[float] = []

    class Slow:
        def exec(self, *_: object, timeout: float, **__: object) -> Output:
            given.append(timeout)
            clock[0] += 12.0
            return printed()

    clock = [0.0]
    monkeypatch.setattr("webapp.reading.node_reader.time.monotonic", lambda: clock[0])
    found = read_node(Slow(), "n1", place("n1"), commands(slow=False, conntrack=False))  # type: ignore[arg-type]
    assert given == [20.0, 18.0, 6.0]
    assert (len(found.files), found.error) == (3, "The reading was ended after 30 s, before ipvsadm.")


def test_a_node_that_failed_is_tried_again_and_then_read_whole() -> None:
    failures = iter([True, True])

    def answer(pod: str, argv: tuple[str, ...]) -> Output:
        if next(failures, False):
            raise Refused("no such pod", status=404)
        return printed()

    programs = Programs(answer)
    with reading(programs, ("n1",)) as (readings, told):
        readings._nodes["n1"].backoff._first = 0.01
        until(lambda: len(told) == 3, "a third reading")
        assert [r.error for r in told] == ["no such pod", "no such pod", ""]
        assert len(told[2].files) == len(READ)


def test_a_node_that_nobody_can_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.live.readings._EXPECTED_SECONDS", 0.05)
    with reading(Programs(lambda pod, argv: printed()), ("n1",)) as (readings, told):
        readings.expect("n1")
        readings.expect("windows1")
        until(lambda: len(told) == 2, "two readings")
        found = {r.node: r for r in told}
        assert found["n1"].error == ""
        assert (found["windows1"].pod, found["windows1"].files) == ("", ())
        assert found["windows1"].error.startswith("No kube-proxy pod runs there")


def test_a_pod_that_goes_is_its_nodes_error() -> None:
    with reading(Programs(lambda pod, argv: printed()), ("n1",)) as (readings, told):
        until(lambda: len(told) == 1, "a reading")
        readings.place("n1", None)
        until(lambda: len(told) == 2, "another one")
        assert told[1].error == "The pod that its rules were read from is gone."


def test_a_pod_that_goes_after_the_end_is_nobodys_business() -> None:
    with reading(Programs(lambda pod, argv: printed()), ("n1",)) as (readings, taken):
        until(lambda: bool(taken), "it is read")
        readings.stop()
        readings.place("n1", None)
    assert not any(one.error for one in taken)


def test_json_that_is_empty_was_not_read() -> None:
    programs = Programs(lambda pod, argv: printed(""))
    found = read_node(programs, "n1", place("n1"), commands(slow=False, conntrack=False))  # type: ignore[arg-type]
    said = {file.name: (file.content, file.error) for file in found.files}
    assert said["nft-ruleset.json"] == (None, "Nothing was printed.")
    assert said["ipset-save.txt"] == (b"", "")


def test_connections_are_read_only_when_asked_for() -> None:
    programs = Programs(lambda pod, argv: printed())
    with reading(programs, ("n1",)) as (readings, told):
        until(lambda: len(told) == 1, "the first reading")
        assert ("proxy-n1", "conntrack") not in programs.run
        assert readings.ask_conntrack("n1")
        assert not readings.ask_conntrack("nobody")
        until(lambda: len(told) == 2, "the reading asked for")
        assert CONNTRACK.name in {file.name for file in told[1].files}
        readings.note_events()
        until(lambda: len(told) == 3, "a round")
        assert CONNTRACK.name not in {file.name for file in told[2].files}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            lambda: printed(exit_code=4, stderr="warning: x\niptables-save: Permission denied\n"),
            "iptables-save ended with 4: iptables-save: Permission denied",
        ),
        (lambda: (_ for _ in ()).throw(TooLarge("too much")), "too much"),
        (lambda: (_ for _ in ()).throw(BadAnswer("no end was told")), "no end was told"),
    ],
)
def test_a_program_that_fails_costs_its_own_file(answer: Callable[[], Output], error: str) -> None:
    programs = Programs(lambda pod, argv: answer() if argv[0] == "iptables-save" else printed())
    found = read_node(programs, "n1", place("n1"), commands(slow=False, conntrack=False))  # type: ignore[arg-type]
    assert found.error == ""
    assert {file.name: file.error for file in found.files}["iptables-save.txt"] == error
    assert {file.name for file in found.files if file.content is not None} == {c.name for c in commands(slow=False, conntrack=False)} - {
        "iptables-save.txt"
    }


@pytest.mark.parametrize(("text", "kept"), [("net.ipv4.ip_forward = 1\n", True), ("kernel.x = 1\n", False), ("", False)])
def test_settings_that_nobody_may_read_do_not_cost_the_others(text: str, kept: bool) -> None:
    programs = Programs(lambda pod, argv: printed(text, 255, "sysctl: permission denied\n") if argv[0] == "sysctl" else printed())
    found = read_node(programs, "n1", place("n1"), commands(slow=True, conntrack=False))  # type: ignore[arg-type]
    (sysctl,) = [file for file in found.files if file.name == "sysctl.txt"]
    assert (sysctl.content is not None) is kept


# --- our own reader ----------------------------------------------------------------------------------------------------------


def archive(files: dict[str, bytes], report: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (*files.items(), ("reading.json", json.dumps(report).encode())):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_our_readers_archive_is_taken_apart() -> None:
    report = {
        "files": {
            "ip-addr.json": {"error": None, "seconds": 0.2},
            "nft-ruleset.json": {"error": "The container has no program nft.", "seconds": 0.0},
        }
    }
    content = archive({"ip-addr.json": b"[]", "../../etc/passwd": b"x", "unknown.txt": b"y"}, report)
    programs = Programs(lambda pod, argv: Output(stdout=content, stderr="", exit_code=0, seconds=0.1))
    where = ReadFrom(namespace="hopline", pod="reader", container=None, is_reader=True)
    found = read_node(programs, "n1", where, commands(slow=True, conntrack=False))  # type: ignore[arg-type]
    assert programs.run == [("reader", "hopline-node-reader")]
    assert [(f.name, f.content, f.error, f.is_lacking) for f in found.files] == [
        ("ip-addr.json", b"[]", "", False),
        ("nft-ruleset.json", None, "The container has no program nft.", True),
    ]


@pytest.mark.parametrize(
    "content", [b"", b"no archive", archive({}, {"files": 3}), archive({"ip-addr.json": b"[]" * 5000}, {"files": {}})[:9000]]
)
def test_an_archive_that_is_none_is_the_nodes_error(content: bytes) -> None:
    programs = Programs(lambda pod, argv: Output(stdout=content, stderr="", exit_code=0, seconds=0.1))
    found = read_node(programs, "n1", ReadFrom(namespace="h", pod="r", container=None, is_reader=True), ())  # type: ignore[arg-type]
    assert found.files == ()
    assert "archive cannot be read" in found.error


def test_devices_and_links_in_an_archive_are_left_out() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("ip-addr.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        report = b'{"files": {}}'
        entry = tarfile.TarInfo("reading.json")
        entry.size = len(report)
        tar.addfile(entry, io.BytesIO(report))
    assert unpacked_reading(buffer.getvalue(), 0.0) == ()


# --- through the whole follower ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_rules_are_read_through_the_api_server_and_follow_the_objects() -> None:
    timeline = recorded()
    api = RecordedApi(timeline, rules_lag=0.0)
    with followed(api, readings="exec") as it:
        it.until(lambda: len(it.row.nodes) == 4, "all nodes are read")
        assert node_file(it.source, "shop-worker", "conntrack.txt") is None
        live_sources.read_conntrack(it.row, "shop-worker")
        it.follower.look(it.row)
        it.until(lambda: node_file(it.source, "shop-worker", "conntrack.txt") is not None, "the connections are read")
        api.advance_to(timeline.length)
        wanted = timeline.node_file("shop-worker", "iptables-save.txt", timeline.length, lag=0.0)
        it.until(lambda: node_file(it.source, "shop-worker", "iptables-save.txt") == wanted, "the last rules are read", 30)
        it.until(
            lambda: it.row.nodes["shop-worker"]["files"]["iptables-save.txt"].get("bytes") == len(wanted or b""), "the reading is told"
        )
        told = it.row.nodes["shop-worker"]
        assert told["error"] == ""
        assert "nft-ruleset.json" in told["lacking"]
        assert told["files"]["nft-ruleset.json"]["error"] == "The container has no program nft."
        assert node_file(it.source, "shop-worker", "ip-route.json") == timeline.node_file("shop-worker", "ip-route.json", 0.0, lag=0.0)


@pytest.mark.django_db(transaction=True)
def test_a_node_that_is_no_more_takes_its_files_along() -> None:
    timeline = recorded()
    api = RecordedApi(timeline)
    with followed(api, readings="exec") as it:
        it.until(lambda: len(it.row.nodes) == 4, "all nodes are read")
        for pod in api.objects("pods"):
            if pod["metadata"]["name"] == "kube-proxy-shop-worker3":
                api.change("DELETED", "pods", pod)
        api.change("DELETED", "nodes", api.get("nodes", "", "shop-worker3") or {})
        it.until(lambda: node_file(it.source, "shop-worker3", "iptables-save.txt") is None, "its files are gone")
        it.until(lambda: set(it.row.nodes) == {"shop-control-plane", "shop-worker", "shop-worker2"}, "its reading is gone")


@pytest.mark.django_db(transaction=True)
def test_exec_that_is_forbidden_is_each_nodes_error_and_the_objects_are_live() -> None:
    faults = Faults()
    faults.add(Fault(what=What.STATUS, verb="exec", status=403, times=None))
    with followed(RecordedApi(recorded()), faults=faults, readings="exec") as it:
        it.until_live()
        it.until(lambda: len(it.row.nodes) == 4, "all nodes were tried")
        assert all("does not allow" in told["error"] for told in it.row.nodes.values())


def node_file(source: str, node: str, name: str) -> bytes | None:
    row = LiveItem.objects.filter(source=source, path=f"nodes/{node}/{name}", body_zstd__isnull=False).first()
    return None if row is None else unpacked(row.body_zstd)
