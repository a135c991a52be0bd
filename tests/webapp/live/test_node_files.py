"""What of a reading is news, and what the source's row says of a node."""

from __future__ import annotations

from itertools import pairwise

import pytest

from webapp.live.node_files import NodeFiles
from webapp.live.store import Store
from webapp.reading.changes import FileRead, NodeRead
from webapp.reading.same_reading import as_kept

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
        # They do not follow at all: told again, but not every time; after a minute once a minute.
        (
            [10.0],
            [(at, OLD) for at in (11.0, 14.0, 21.0, 41.0, 75.0, 90.0, 134.0, 150.0, 194.0)],
            [11.0, 21.0, 41.0, 75.0, 134.0, 194.0],
        ),
        ([10.0], [(3600.0, OLD), (3660.0, OLD)], [3600.0, 3660.0]),
        # They changed, perhaps for another reason, and may still be behind: told at growing intervals.
        ([10.0], [(12.0, NEW), (25.0, NEW), (71.0, NEW), (100.0, NEW), (131.0, NEW)], [12.0, 71.0, 131.0]),
        ([10.0], [(12.0, NEW), (3600.0, NEW), (3660.0, NEW), (3900.0, NEW), (4000.0, NEW)], [12.0, 3600.0, 4000.0]),
        # A reading that began before the change says nothing of it.
        ([10.0], [(9.5, OLD)], []),
        ([10.0, 30.0], [(11.0, NEW), (31.0, NEW)], [11.0, 31.0]),
    ],
)
def test_a_reading_that_says_the_same_is_news_only_while_rules_lag(
    events: list[float], readings: list[tuple[float, bytes]], news: list[float]
) -> None:
    assert told(events, readings) == news


@pytest.mark.parametrize("content", [OLD, NEW])
def test_the_age_of_rules_is_right_for_a_day_and_costs_few_rows(content: bytes) -> None:
    """The rules never change again (OLD), or once, two seconds after the event (NEW): whoever looks sees about how far they are behind."""
    times = [10.0 + at for at in (2.0, 5.0, 15.0, 45.0, *range(105, 86_400, 60))]
    news = told([10.0], [(at, content) for at in times])
    for at in times:
        age = max(t for t in news if t <= at) - 10.0
        assert at - 10.0 - age <= max(61.0, 0.1 * (at - 10.0)), f"after {at - 10:g} s the rules look {age:g} s old"
    minutes = 86_400 / 60
    assert len(news) <= (minutes + 4 if content == OLD else 70)
    assert all(later - earlier >= 50.0 for earlier, later in pairwise(news) if earlier > 80.0)


def test_rules_that_are_none_have_no_age() -> None:
    assert told([10.0], [(11.0, b"")], name="ipset-save.txt") == [11.0]
    assert told([10.0], [(11.0, b""), (90.0, b"")], name="ipset-save.txt") == [11.0]


def test_without_changes_of_objects_nothing_is_told() -> None:
    assert told([], [(60.0 * n, OLD) for n in range(1, 1000)]) == []


def test_after_a_restart_the_age_goes_on() -> None:
    """Nobody knows what changed meanwhile: the rules are told once, and then at growing intervals."""
    store = Store()
    before = NodeFiles(store)
    before.take(read(OLD, 100.0))
    after = NodeFiles(store)
    after.restore(before.to_dict())
    times = [160.0 + 60.0 * n for n in range(1440)]
    news = [at for at in times if after.take(read(OLD, at))]
    assert news[0] == 160.0
    assert 20 < len(news) < 70


def test_nodes_that_left_leave_nothing() -> None:
    files = NodeFiles(Store())
    for n in range(500):
        at = 60.0 * n
        file = FileRead(name="iptables-save.txt", content=OLD, read_at=at, seconds=0.5)
        files.take(NodeRead(node=f"n{n}", pod="kube-system/p", files=(file,), read_at=at, seconds=0.5))
        files.forget(f"n{n}", at + 30.0)
    assert files._times == {}
    assert len(files._gone) <= 60


def test_a_pod_that_outlives_its_node_is_not_taken_however_long_it_is_read() -> None:
    files = NodeFiles(Store())
    files.take(read(OLD, 1.0))
    files.forget("n1", 2.0)
    for at in range(60, 20_000, 60):
        assert files.take(read(OLD, float(at))) == ()
        files.forget("n2", float(at))
    assert files.to_dict() == {}


def test_a_node_that_hung_at_once_keeps_when_it_was_read() -> None:
    files = NodeFiles(Store())
    files.take(read(OLD, 1.0))
    hung = FileRead(name="iptables-save.txt", content=None, error="did not end", read_at=9.0, seconds=20.0)
    files.take(NodeRead(node="n1", pod="kube-system/p", files=(hung,), error="did not end", read_at=9.0, seconds=20.0))
    found = files.to_dict()["n1"]
    assert (found["error"], found["read_at"], found["files"]["iptables-save.txt"]["read_at"]) == ("did not end", 1.0, 1.0)


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


@pytest.mark.parametrize("name", ["ip-route.json", "ip-addr.json", "ip-link.json", "sysctl.txt", "iptables-save.txt"])
@pytest.mark.parametrize("kind", ["Pod", "EndpointSlice", "Namespace"])
@pytest.mark.parametrize("ended", ["", "ip: The program did not end within 20 s."])
def test_a_reading_that_fails_after_a_change_leaves_the_good_one_and_its_age(name: str, kind: str, ended: str) -> None:
    store = Store()
    files = NodeFiles(store)
    files.take(read(OLD, 1.0, name=name))
    change = store.apply(kind, kind, "ADDED", {"metadata": {"namespace": "a", "name": "b"}}, seen_at=5.0)
    files.note([change] if change else [])
    failed = FileRead(name=name, content=None, error="ip ended with 2", read_at=6.0)
    assert files.take(NodeRead(node="n1", pod="kube-system/p", files=(failed,), error=ended, read_at=6.0, seconds=0.1)) == ()
    assert store[f"nodes/n1/{name}"] == as_kept(name, OLD)
    found = files.to_dict()["n1"]
    assert found["files"][name] == {"read_at": 1.0, "bytes": len(OLD), "error": "ip ended with 2", "seconds": 0.0}
    assert found["lacking"] == []


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
