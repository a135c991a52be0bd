"""A timeline's steps, and which files are its recording."""

from __future__ import annotations

import json

import pytest

from tracer.errors import ParseError
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import BY_NAME
from tracer.snapshot.summary import summarise
from tracer.snapshot.timeline import Step, file_after_step, is_recording, is_timeline, read_steps

FIRST = {"step": 0, "title": "as it was", "at": 100.5, "resource_version": "7"}
SECOND = {"step": 1, "title": "scaled", "at": 103, "resource_version": "9"}
SERVICES = b'{"kind": "Service", "metadata": {"name": "api"}, "spec": {"clusterIP": "10.96.0.1"}}'


def test_steps_are_read_and_written_alike() -> None:
    steps = read_steps(json.dumps([FIRST, SECOND]))
    assert steps[0] == Step(number=0, title="as it was", at=100.5, resource_version="7")
    assert [step.to_dict() for step in steps] == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "no list of steps"),
        ({}, "no list of steps"),
        ([SECOND], "is not 0"),
        ([FIRST, SECOND | {"at": 100}], "step 1 is earlier than step 0"),
        ([FIRST | {"at": "noon"}], "at: is no time"),
        ([FIRST | {"at": True}], "at: is no time"),
        ([FIRST | {"resource_version": 7}], "resource_version"),
        (["as it was"], "step 0"),
    ],
)
def test_other_lists_are_refused(value: object, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        read_steps(json.dumps(value))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("steps.json", "base/services.json"), True),
        (("steps.json", "services.json"), False),
        (("base/services.json",), False),
        (("steps.json", "base"), False),
    ],
)
def test_a_timeline_has_steps_and_a_base(paths: tuple[str, ...], expected: bool) -> None:
    assert is_timeline(paths) is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("step-03/worker.iptables-save.txt", (3, "worker", "iptables-save.txt")),
        ("step-11/a.b.example.ip6tables-save.txt", (11, "a.b.example", "ip6tables-save.txt")),
        ("step-100/n.resolv.conf", (100, "n", "resolv.conf")),
        ("step-3/worker.iptables-save.txt", None),
        ("step-03/iptables-save.txt", None),
        ("step-03/.iptables-save.txt", None),
        ("step-03/worker.notes.txt", None),
        ("step-03/deeper/worker.iptables-save.txt", None),
    ],
)
def test_files_after_a_step(path: str, expected: tuple[int, str, str] | None) -> None:
    assert file_after_step(path, BY_NAME) == expected
    assert is_recording(path, BY_NAME) is (expected is not None)


def test_the_summary_says_the_steps() -> None:
    files = {"base/services.json": SERVICES, "steps.json": json.dumps([FIRST, SECOND]).encode()}
    assert summarise(Snapshot.from_files(files)).to_dict()["timeline"] == {"steps": [FIRST, SECOND]}


def test_steps_that_cannot_be_read_are_a_fault_and_the_rest_a_snapshot() -> None:
    summary = summarise(Snapshot.from_files({"base/services.json": SERVICES, "steps.json": b"[]"}))
    assert (summary.timeline, summary.objects) == (None, {"Service": 1})
    assert [fault.file for fault in summary.faults] == ["steps.json"]


def test_a_snapshot_is_no_timeline() -> None:
    assert summarise(Snapshot.from_files({"services.json": SERVICES})).to_dict()["timeline"] is None
