"""Everything that goes wrong on the way: each fault is its own error, nothing half is ever taken, and going on misses nothing."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.webapp.recorded_api import shop
from webapp.cluster import connection as cluster_connection
from webapp.cluster import responses
from webapp.cluster import watch as cluster_watch
from webapp.cluster.connection import Connection
from webapp.cluster.errors import BadAnswer, Busy, ClusterError, Denied, Gone, Refused, TimedOut, TooLarge, Unreachable
from webapp.cluster.watch import Event
from webapp.recorded_api import Fault, Faults, RecordedApi, What

LINES = shop.lines("endpointslices")
REFUSALS = [(401, Denied), (403, Denied), (404, Refused), (410, Gone), (429, Busy), (500, Busy), (503, Busy)]
WATCH_FAULTS = [
    (Fault(what=What.CUT, after=3), Unreachable),
    (Fault(what=What.CUT, after=0), Unreachable),
    (Fault(what=What.CUT_BETWEEN, after=3), Unreachable),
    (Fault(what=What.CUT_BETWEEN, after=0), Unreachable),
    (Fault(what=What.GARBAGE, after=3), BadAnswer),
    (Fault(what=What.NOT_AN_EVENT, after=3), BadAnswer),
    (Fault(what=What.GONE_EVENT, after=3), Gone),
    (Fault(what=What.HUGE, after=3, size=18 << 20), TooLarge),
    (Fault(what=What.SILENT, after=3, seconds=0.3), Unreachable),
]


def deliver(connection: Connection, since: str) -> tuple[list[Event], ClusterError | None]:
    """Return what one watch of the EndpointSlices gives, bookmarks left out, and what ended it, if that was an error."""
    events: list[Event] = []
    try:
        for event in connection.watch(shop.SLICES, since, timeout_seconds=1):
            if event.type != "BOOKMARK":
                events.append(event)
    except ClusterError as error:
        return events, error
    return events, None


def played() -> RecordedApi:
    api = RecordedApi(shop.timeline())
    api.advance_to(99)
    return api


@pytest.mark.parametrize(("fault", "error"), WATCH_FAULTS, ids=[f"{f.what.name}-{f.after}" for f, _ in WATCH_FAULTS])
def test_a_watch_gives_whole_events_up_to_the_fault_and_goes_on_after_them(fault: Fault, error: type[ClusterError]) -> None:
    faults = Faults()
    faults.add(fault)
    with shop.served(api=played(), faults=faults) as (_, connection):
        before, ended = deliver(connection, "830")
        assert type(ended) is error
        assert [e.raw for e in before] == LINES[: fault.after]
        rest, ended = deliver(connection, before[-1].resource_version if before else "830")
        assert (ended, [e.raw for e in (*before, *rest)]) == (None, LINES)


@pytest.mark.parametrize(("status", "error"), REFUSALS)
def test_a_refused_watch_or_list_is_its_own_error(status: int, error: type[ClusterError]) -> None:
    faults = Faults()
    faults.add(Fault(what=What.STATUS, status=status, times=2))
    with shop.served(api=played(), faults=faults) as (_, connection):
        events, ended = deliver(connection, "830")
        assert (events, type(ended)) == ([], error)
        with pytest.raises(error, match=f"status {status} on purpose") as caught:
            connection.list_page(shop.PODS)
        assert getattr(caught.value, "status", 410) == status
        assert [e.raw for e in deliver(connection, "830")[0]] == LINES


def test_a_slow_watch_is_whole() -> None:
    faults = Faults()
    faults.add(Fault(what=What.SLOW, seconds=0.0005))
    with shop.served(api=played(), faults=faults) as (_, connection):
        assert [e.raw for e in deliver(connection, "830")[0]] == LINES


def test_a_watch_that_ends_early_and_properly_is_no_error() -> None:
    api = RecordedApi(shop.timeline())
    with shop.served(api=api) as (server, connection):
        timer = threading.Timer(0.3, server.stop)
        timer.start()
        assert deliver(connection, "830") == ([], None)
        timer.join()
        assert type(deliver(connection, "830")[1]) is Unreachable


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(what=What.CUT), Unreachable),
        (Fault(what=What.CUT_BETWEEN), Unreachable),
        (Fault(what=What.GARBAGE), BadAnswer),
        (Fault(what=What.NOT_AN_EVENT), BadAnswer),
        (Fault(what=What.HUGE, size=4 << 20), TooLarge),
    ],
    ids=lambda v: v.what.name if isinstance(v, Fault) else "",
)
def test_a_broken_list_is_never_half_a_list(monkeypatch: pytest.MonkeyPatch, fault: Fault, error: type[ClusterError]) -> None:
    monkeypatch.setattr(cluster_connection, "_MOST_PAGE_BYTES", 1 << 20)
    faults = Faults()
    faults.add(fault)
    with shop.served(faults=faults) as (_, connection):
        with pytest.raises(error):
            connection.list_page(shop.PODS)
        assert len(connection.list_page(shop.PODS).items) == 39


def test_a_slow_list_is_whole_and_a_dripping_one_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    faults.add(Fault(what=What.SLOW, seconds=0.01), Fault(what=What.SLOW, seconds=1.5))
    with shop.served(faults=faults) as (_, connection):
        assert len(connection.list_page(shop.PODS).items) == 39
        monkeypatch.setattr(cluster_connection, "_ANSWER_SECONDS", 0.5)
        began = time.monotonic()
        with pytest.raises(TimedOut):
            connection.list_page(shop.PODS)
        assert time.monotonic() - began < 15


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_connection, "_SILENT_SECONDS", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as deaf, Connection.to_url(f"http://127.0.0.1:{deaf.getsockname()[1]}") as connection:
        began = time.monotonic()
        with pytest.raises(TimedOut):
            connection.list_page(shop.PODS)
        assert type(deliver(connection, "830")[1]) is TimedOut
        with pytest.raises(TimedOut):
            connection.exec("a", "b", None, ("c",), timeout=0.4)
        assert time.monotonic() - began < 15


def test_a_watch_that_goes_silent_past_its_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_connection, "_SILENT_SECONDS", 0.4)
    faults = Faults()
    faults.add(Fault(what=What.SILENT, after=2, seconds=60))
    with shop.served(api=played(), faults=faults) as (_, connection):
        began = time.monotonic()
        events, ended = deliver(connection, "830")
        assert ([e.raw for e in events], type(ended)) == (LINES[:2], TimedOut)
        assert time.monotonic() - began < 15


def test_a_watch_that_does_not_end_though_it_should_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_watch, "_GRACE_SECONDS", -0.5)
    faults = Faults()
    faults.add(Fault(what=What.SLOW, seconds=0.01))
    with shop.served(api=played(), faults=faults) as (_, connection):
        assert type(deliver(connection, "830")[1]) is TimedOut


def test_a_huge_line_costs_no_more_memory_than_its_limit() -> None:
    faults = Faults()
    faults.add(Fault(what=What.HUGE, size=400 << 20))
    with shop.served(api=played(), faults=faults) as (_, connection):
        tracemalloc.start()
        try:
            assert type(deliver(connection, "830")[1]) is TooLarge
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # The server, in this same process, holds a few pieces of 64 KiB too.
    assert peak < 3 * cluster_watch.MOST_LINE_BYTES, f"{peak:,} bytes"


def test_nobody_listening_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Connection.to_url(f"http://127.0.0.1:{port}") as connection:
        for ask in (connection.version, lambda: connection.exec("a", "b", None, ("c",))):
            with pytest.raises(Unreachable, match="Connection refused") as caught:
                ask()
            assert str(port) not in str(caught.value)
        assert type(deliver(connection, "1")[1]) is Unreachable


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", Unreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{}", Unreachable),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Unreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", Unreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", BadAnswer),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", Refused),
        (b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\n<html>...", Busy),
        (b"HTTP/1.1 403 No\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 100_000, Denied),
        (b"", Unreachable),
    ],
)
def test_servers_that_are_none(answer: bytes, error: type[ClusterError]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_all, args=(server, answer), daemon=True)
        thread.start()
        with Connection.to_url(f"http://127.0.0.1:{server.getsockname()[1]}") as connection:
            with pytest.raises(error) as caught:
                connection.list_page(shop.PODS)
            assert type(caught.value) is error
            if error is Busy:
                assert caught.value.retry_after == 7
            with pytest.raises(ClusterError):
                list(connection.watch(shop.PODS, "1", timeout_seconds=1))
            with pytest.raises(ClusterError):
                connection.exec("a", "b", None, ("c",), timeout=2)


def test_a_compressed_list_is_read_and_a_compressed_bomb_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    page = json.dumps({"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "a"}}]}).encode()
    bomb = b"".join(gzip.compress(bytes(64 << 20)) for _ in range(4))
    with socket.create_server(("127.0.0.1", 0)) as server:
        for body in (gzip.compress(page), bomb):
            head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            threading.Thread(target=_answer_all, args=(server, head + body, 1), daemon=True).start()
            with Connection.to_url(f"http://127.0.0.1:{server.getsockname()[1]}") as connection:
                if body is not bomb:
                    assert connection.list_page(shop.PODS).raw == page
                    continue
                monkeypatch.setattr(cluster_connection, "_MOST_PAGE_BYTES", 1 << 20)
                tracemalloc.start()
                try:
                    with pytest.raises(TooLarge):
                        connection.list_page(shop.PODS)
                    assert tracemalloc.get_traced_memory()[1] < 16 << 20
                finally:
                    tracemalloc.stop()


def _answer_all(server: socket.socket, answer: bytes, times: int = 3) -> None:
    for _ in range(times):
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client:
            client.settimeout(5)
            try:
                client.recv(65_536)
                client.sendall(answer)
            except OSError:
                pass


@pytest.mark.parametrize(
    "thing",
    [
        b'{"metadata":{"resourceVersion":"5"}}',
        b'{"metadata":{"resourceVersion":"5","name":""}}',
        b'{"metadata":{"resourceVersion":"5","name":".."}}',
        b'{"metadata":{"resourceVersion":"5","name":"a/b"}}',
        b'{"metadata":{"resourceVersion":"5","name":"a\\u0000b"}}',
        b'{"metadata":{"resourceVersion":"5","name":"a","namespace":"../x"}}',
        b'{"metadata":{"resourceVersion":"5","name":"a","namespace":7}}',
        b'{"metadata":{"resourceVersion":"5","name":"half \\ud83d"}}',
        b'{"metadata":[]}',
        b'"text"',
        b"[" * 100_000,
    ],
)
def test_objects_that_no_cluster_has_are_refused(thing: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Connection.to_url(f"http://127.0.0.1:{server.getsockname()[1]}") as connection:
        for body in (b'{"metadata":{"resourceVersion":"5"},"items":[%s]}' % thing, b'{"type":"ADDED","object":%s}\n' % thing):
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            threading.Thread(target=_answer_all, args=(server, head + body, 1), daemon=True).start()
            with pytest.raises(BadAnswer):
                list(connection.watch(shop.PODS, "1")) if b'"type"' in body else connection.list_page(shop.PODS)


def test_objects_that_no_cluster_has_are_left_out_if_somebody_is_told() -> None:
    things = (b'{"metadata":{"resourceVersion":"5","name":"a/b\\u0000c"}}', b'{"metadata":{"resourceVersion":"6"}}')
    fine = b'{"metadata":{"resourceVersion":"7","name":"a"}}'
    page = b'{"metadata":{"resourceVersion":"7"},"items":[%s]}' % b",".join((*things, b'"text"', fine))
    events = b"".join(
        b'{"type":"%s","object":%s}\n' % event for event in ((b"ADDED", things[0]), (b"DELETED", things[1]), (b"ADDED", fine))
    )
    told: list[tuple[str, bool]] = []
    with socket.create_server(("127.0.0.1", 0)) as server, Connection.to_url(f"http://127.0.0.1:{server.getsockname()[1]}") as connection:
        for body in (page, events):
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            threading.Thread(target=_answer_all, args=(server, head + body, 1), daemon=True).start()
            if body is page:
                found = connection.list_page(shop.PODS, unfit=lambda name, is_there: told.append((name, is_there)))
                assert [item["metadata"]["name"] for item in found.items] == ["a"]
                assert told == [("a/b c", True), ("?", True), ("?", True)]
                told.clear()
            else:
                heard = list(connection.watch(shop.PODS, "1", unfit=lambda name, is_there: told.append((name, is_there))))
                assert [(event.type, event.resource_version) for event in heard] == [("BOOKMARK", "5"), ("BOOKMARK", "6"), ("ADDED", "7")]
                assert told == [("a/b c", True), ("?", False)]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("fine", "fine"),
        ("two\nlines\x00\x1b[31m", "two lines [31m"),
        ("x" * 1000, "x" * 399 + "…"),
        ("Bearer s3cret was sent", "[hidden] was sent"),
        ("token s3cret", "token [hidden]"),
        (None, ""),
        ({"a": 1}, ""),
    ],
)
def test_what_a_server_says_is_made_fit_to_print(message: object, expected: str) -> None:
    error = responses.of_status_object({"code": 500, "message": message}, hide=("Bearer s3cret", "s3cret"))
    assert str(error) == "The API server answered 500" + (f": {expected}" if expected else "")


@given(
    st.lists(st.sampled_from([f for f, _ in WATCH_FAULTS] + [Fault(what=What.STATUS, status=s) for s, _ in REFUSALS]), max_size=6),
    st.data(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_after_any_faults_a_client_that_resumes_or_lists_again_has_what_a_fresh_list_has(due: list[Fault], data: st.DataObject) -> None:
    api, faults = RecordedApi(shop.timeline()), Faults()
    faults.add(*due)
    moves = data.draw(st.lists(st.floats(min_value=0, max_value=43), min_size=1, max_size=5))
    with shop.served(api=api, faults=faults) as (_, connection):
        model, since = _listed(connection)
        for position in moves:
            api.advance_to(position)
            model, since = _followed(connection, model, since, until=api)
        faults.clear()
        assert model == _listed(connection)[0]


def _listed(connection: Connection) -> tuple[dict[str, str], str]:
    for _ in range(20):
        try:
            page = connection.list_page(shop.SLICES)
        except ClusterError:
            continue
        return {i["metadata"]["uid"]: json.dumps(i, sort_keys=True) for i in page.items}, page.resource_version
    raise AssertionError("no list in twenty attempts")


def _followed(connection: Connection, model: dict[str, str], since: str, *, until: RecordedApi) -> tuple[dict[str, str], str]:
    """Follow until nothing of the history is left: resume after an error, list again when told that it is Gone."""
    for _ in range(40):
        if int(since) == until.resource_version:
            return model, since
        try:
            with connection.watch(shop.SLICES, since, timeout_seconds=1) as watch:
                for event in watch:
                    since = event.resource_version
                    if event.type == "DELETED":
                        del model[event.object["metadata"]["uid"]]
                    elif event.type != "BOOKMARK":
                        model[event.object["metadata"]["uid"]] = json.dumps(event.object, sort_keys=True)
                    if int(since) == until.resource_version:
                        break
        except Gone:
            model, since = _listed(connection)
        except ClusterError:
            continue
    raise AssertionError("never caught up")
