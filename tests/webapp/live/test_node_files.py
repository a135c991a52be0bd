"""What of a reading is news, and what the source's row says of a node."""

from __future__ import annotations

import pytest

from webapp.live.messages import FileRead, NodeRead
from webapp.live.node_files import NodeFiles
from webapp.live.store import Store

OLD, NEW = b"*nat\n-A X -j OLD\nCOMMIT\n", b"*nat\n-A X -j NEW\nCOMMIT\n"
PATH = "nodes/n1/iptables-save.txt"


def read(content: bytes | None, at: float, *, name: str = "iptables-save.txt", error: str = "", lacking: bool = False) -> NodeRead:
    file = FileRead(name=name, content=content, error=error, is_lacking=lacking, read_at=at, seconds=0.5)
    return NodeRead(node="n1", pod="kube-system/p", files=(file,), read_at=at, seconds=0.75)


def told(events: list[float], readings: list[tuple[float, bytes]], name: str = "iptables-save.txt") -> list[float]:
    """Return which *readings* (time, content) are news when objects change at *events*; the first reading comes before all."""
    store = Store()
    files = NodeFiles(store)
    files.take(read(OLD, 1.0, name=name))
    found = []
    moments: list[tuple[float, bytes | None]] = sorted([*((at, None) for at in events), *readings], key=lambda moment: moment[0])
    for at, content in moments:
        if content is None:
            body = {"metadata": {"namespace": "a", "name": "b"}, "spec": {"at": at}}
            files.note([c for c in (store.apply("services", "Service", "MODIFIED", body, seen_at=at),) if c])
        elif files.take(read(content, at, name=name)):
            found.append(at)
    return found


@pytest.mark.parametrize(
    ("events", "readings", "news"),
    [
        ([], [(5.0, OLD), (9.0, OLD)], []),
        ([], [(5.0, NEW), (9.0, NEW)], [5.0]),
        # The rules lag behind, which is told, and then follow: from then on there is nothing to tell.
        ([10.0], [(10.5, OLD), (13.0, NEW), (16.0, NEW), (40.0, NEW)], [10.5, 13.0]),
        # They do not follow at all: told again, but neither every time nor for ever.
        ([10.0], [(11.0, OLD), (14.0, OLD), (21.0, OLD), (41.0, OLD), (75.0, OLD), (90.0, OLD)], [11.0, 21.0, 41.0, 75.0]),
        # A reading that began before the change says nothing of it.
        ([10.0], [(9.5, OLD)], []),
        ([10.0, 30.0], [(11.0, NEW), (31.0, NEW)], [11.0, 31.0]),
    ],
)
def test_a_reading_that_says_the_same_is_news_only_while_rules_lag(
    events: list[float], readings: list[tuple[float, bytes]], news: list[float]
) -> None:
    assert told(events, readings) == news


def test_what_does_not_follow_services_is_never_late() -> None:
    assert told([10.0], [(11.0, OLD)], name="ip-addr.json") == []


def test_counters_are_no_news_and_the_first_text_stays() -> None:
    store = Store()
    files = NodeFiles(store)
    files.take(read(b":PREROUTING ACCEPT [1:2]\n", 1.0))
    assert files.take(read(b":PREROUTING ACCEPT [3:4]\n", 2.0)) == ()
    assert store[PATH] == b":PREROUTING ACCEPT [1:2]\n"
    assert files.to_dict()["n1"]["files"]["iptables-save.txt"]["read_at"] == 2.0


def test_a_program_that_fails_leaves_what_was_read_and_its_age() -> None:
    store = Store()
    files = NodeFiles(store)
    files.take(read(OLD, 1.0))
    assert files.take(read(None, 9.0, error="iptables-save ended with 4")) == ()
    assert store[PATH] == OLD
    assert files.to_dict()["n1"]["files"]["iptables-save.txt"] == {
        "read_at": 1.0,
        "bytes": len(OLD),
        "error": "iptables-save ended with 4",
        "seconds": 0.5,
    }


def test_a_program_that_is_not_there_any_more_leaves_nothing() -> None:
    store = Store()
    files = NodeFiles(store)
    files.take(read(OLD, 1.0))
    (change,) = files.take(read(None, 9.0, error="The container has no program iptables-save.", lacking=True))
    assert (change.before, change.after) == (OLD, None)
    assert PATH not in store
    assert files.to_dict()["n1"]["lacking"] == ["iptables-save.txt"]


def test_a_node_that_failed_keeps_what_is_known_of_it() -> None:
    files = NodeFiles(Store())
    files.take(read(OLD, 1.0))
    files.take(NodeRead(node="n1", pod="kube-system/p", files=(), error="no answer", read_at=9.0, seconds=0.1))
    found = files.to_dict()["n1"]
    assert (found["error"], found["read_at"], found["bytes"]) == ("no answer", 1.0, len(OLD))


def test_a_reading_of_a_node_that_went_meanwhile_is_not_taken() -> None:
    store = Store()
    files = NodeFiles(store)
    files.take(read(OLD, 1.0))
    assert [c.path for c in files.forget("n1", 2.0)] == [PATH]
    assert files.take(read(NEW, 3.0)) == ()
    assert len(store) == 0
    store.apply("nodes", "Node", "ADDED", {"metadata": {"name": "n1"}}, seen_at=4.0)
    assert len(files.take(read(NEW, 5.0))) == 1
