"""The connection when all goes well: pages, watches, programs in pods, permissions, and being closed by somebody else."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.webapp.recorded_api import shop
from tracer.snapshot.node_files import READ
from webapp.cluster.connection import Connection
from webapp.cluster.errors import BadAnswer, Denied, Gone, NoSuchProgram, Refused, TimedOut, TooLarge, Unreachable
from webapp.cluster.kinds import FOLLOWED_KINDS
from webapp.cluster.permissions import Permission, Verdict
from webapp.reading.node_reader import READER_ARGV, unpacked_reading
from webapp.recorded_api import Fault, Faults, RecordedApi, What

PROXY = ("kube-system", "kube-proxy-shop-worker", "kube-proxy")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def later(seconds: float, do: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()


def test_every_followed_kind_is_listed_whole_in_pages() -> None:
    with shop.served() as (_, connection):
        for kind in FOLLOWED_KINDS:
            page = connection.list_page(kind, limit=7)
            items = page.items
            while page.continue_:
                assert len(page.items) == 7
                page = connection.list_page(kind, limit=7, continue_=page.continue_)
                items += page.items
            whole = connection.list_page(kind)
            assert items == whole.items
            assert (whole.continue_, whole.size, whole.resource_version) == (None, len(whole.raw), "830")
            assert all((i["kind"], i["apiVersion"]) == (kind.kind, kind.api_version) for i in items)
        assert [len(connection.list_page(shop.KINDS[f"configmaps/{n}"]).items) for n in ("kube-proxy", "coredns", "node-local-dns")] == [
            1,
            1,
            0,
        ]


def test_a_page_says_how_many_follow() -> None:
    with shop.served() as (_, connection):
        assert [connection.list_page(shop.SERVICES, limit=n).remaining for n in (10, 26)] == [16, None]


def test_objects_are_kept_without_the_copies_in_their_metadata() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(99)
    with shop.served(api=api) as (_, connection):
        items = connection.list_page(shop.SERVICES).items
        events = list(connection.watch(shop.SERVICES, "830", timeout_seconds=1))
    recorded = {k["metadata"]["uid"]: k for k in json.loads(shop.files()["services.list.json"])["items"]}
    assert any(LAST_APPLIED in str(r) for r in recorded.values())
    for value in [*items, *(e.object for e in events)]:
        assert "managedFields" not in value["metadata"]
        assert LAST_APPLIED not in value["metadata"].get("annotations", {})
    assert LAST_APPLIED.encode() in events[0].raw
    unchanged = next(i for i in items if i["metadata"]["name"] == "mysql")
    assert unchanged["spec"] == recorded[unchanged["metadata"]["uid"]]["spec"]


def test_a_watch_gives_every_event_once_with_the_servers_own_bytes() -> None:
    api = RecordedApi(shop.timeline())
    with shop.served(api=api) as (_, connection):
        later(0.2, lambda: api.advance_to(20))
        later(0.5, lambda: api.advance_to(99))
        events = [e for e in connection.watch(shop.SLICES, "830", timeout_seconds=1) if e.type != "BOOKMARK"]
    assert [e.raw for e in events] == shop.lines("endpointslices")
    assert [e.type for e in events] == [json.loads(line)["type"] for line in shop.lines("endpointslices")]
    assert events[-1].resource_version == "971"


def test_bookmarks_move_the_place_to_resume_from() -> None:
    api = RecordedApi(shop.timeline())
    api.advance_to(99)
    with shop.served(api=api, bookmark_seconds=0.2) as (_, connection):
        events = list(connection.watch(shop.KINDS["nodes"], "830", timeout_seconds=1))
        assert {(e.type, e.resource_version) for e in events} == {("BOOKMARK", "971")}
        api.compact()
        assert list(connection.watch(shop.KINDS["nodes"], events[-1].resource_version, timeout_seconds=1))


def test_a_watch_from_too_long_ago_is_gone() -> None:
    with shop.served() as (_, connection), pytest.raises(Gone):
        list(connection.watch(shop.PODS, "17"))


@pytest.mark.parametrize("what", ["watch", "connection"])
def test_a_silent_watch_ends_at_once_when_closed_by_another_thread(what: str) -> None:
    with shop.served() as (_, connection):
        watch = connection.watch(shop.PODS, "830", timeout_seconds=60)
        later(0.4, watch.close if what == "watch" else connection.close)
        began = time.monotonic()
        assert list(watch) == []
        assert 0.3 < time.monotonic() - began < 15
        assert watch.is_closed
        watch.close()


def test_a_watch_closed_before_it_began_gives_nothing() -> None:
    with shop.served() as (_, connection), connection.watch(shop.PODS, "0") as watch:
        watch.close()
        assert list(watch) == []


def test_what_is_asked_of_a_closed_connection_is_unreachable() -> None:
    with shop.served() as (_, connection):
        connection.close()
        for ask in (connection.version, lambda: connection.list_page(shop.PODS), lambda: connection.exec(*PROXY, ("iptables-save",))):
            with pytest.raises(Unreachable):
                ask()
        assert list(connection.watch(shop.PODS, "830")) == []


def test_leaving_a_watch_gives_its_connection_back() -> None:
    with shop.served() as (server, connection):
        for _ in range(80):
            with connection.watch(shop.PODS, "0", timeout_seconds=30) as watch:
                next(iter(watch))
        assert connection.list_page(shop.PODS, limit=1).items
        assert server.url


def test_a_program_prints_its_file_whole() -> None:
    with shop.served() as (_, connection):
        output = connection.exec(*PROXY, ("iptables-save",))
        assert output.stdout == shop.files()["step-00/shop-worker.iptables-save.txt"]
        assert (output.stderr, output.exit_code) == ("", 0)
        assert 0 < output.seconds < 10
        assert connection.exec("kube-system", "kube-proxy-shop-worker", None, ("iptables-save",)).stdout == output.stdout


def test_our_reader_says_as_much_as_single_programs_do() -> None:
    with shop.served(api=RecordedApi(shop.timeline(), readers=True)) as (_, connection):
        where = ("hopline", "hopline-node-reader-shop-worker", "node-reader")
        files = {file.name: file.content for file in unpacked_reading(connection.exec(*where, READER_ARGV).stdout, 0.0)}
        for command in READ:
            if command.name in files:
                assert connection.exec(*PROXY, command.argv).stdout == files[command.name]
        assert {"iptables-save.txt", "ip6tables-save.txt", "ip-route.json"} <= set(files)


def test_an_exit_code_is_an_answer() -> None:
    with shop.served() as (_, connection):
        output = connection.exec(*PROXY, ("iptables-save", "--odd & quoted=1"))
        assert (output.stdout, output.exit_code) == (b"", 2)
        assert output.stderr == "iptables-save: the recording has no output of iptables-save --odd & quoted=1\n"


def test_a_missing_program_is_its_own_error() -> None:
    with shop.served() as (_, connection), pytest.raises(NoSuchProgram, match="nft"):
        connection.exec(*PROXY, ("nft", "-j", "list", "ruleset"))


@pytest.mark.parametrize(
    ("where", "status"), [(("kube-system", "none", None), 404), (("kube-system", PROXY[1], "x"), 400), (("a/../b", "c?d", None), 404)]
)
def test_a_program_where_there_is_nothing_is_refused(where: tuple[str, str, str | None], status: int) -> None:
    with shop.served() as (_, connection), pytest.raises(Refused) as caught:
        connection.exec(*where, ("iptables-save",))
    assert caught.value.status == status


def test_too_much_output_is_not_read_on() -> None:
    faults = Faults()
    faults.add(Fault(what=What.HUGE, verb="exec", size=200 << 20))
    with shop.served(faults=faults) as (_, connection), pytest.raises(TooLarge):
        connection.exec(*PROXY, ("iptables-save",), most_bytes=1 << 20)


@pytest.mark.parametrize("what", [What.SILENT, What.SLOW])
def test_a_program_that_does_not_end_is_given_up(what: What) -> None:
    faults = Faults()
    faults.add(Fault(what=what, verb="exec", seconds=60))
    with shop.served(faults=faults) as (_, connection):
        began = time.monotonic()
        with pytest.raises(TimedOut):
            connection.exec(*PROXY, ("iptables-save",), timeout=0.5)
        assert time.monotonic() - began < 15


def test_output_that_breaks_off_is_not_taken_for_whole() -> None:
    faults = Faults()
    faults.add(Fault(what=What.CUT, verb="exec"), Fault(what=What.GARBAGE, verb="exec"))
    with shop.served(faults=faults) as (_, connection):
        with pytest.raises(Unreachable):
            connection.exec(*PROXY, ("iptables-save",))
        with pytest.raises(BadAnswer):
            connection.exec(*PROXY, ("iptables-save",))
        assert connection.exec(*PROXY, ("iptables-save",)).exit_code == 0


@pytest.mark.parametrize(("status", "error"), [(401, Denied), (403, Denied), (500, Unreachable), (503, Unreachable)])
def test_a_refused_program_says_why(status: int, error: type[Exception]) -> None:
    faults = Faults()
    faults.add(Fault(what=What.STATUS, verb="exec", status=status))
    with shop.served(faults=faults) as (_, connection), pytest.raises(error, match=f"status {status} on purpose"):
        connection.exec(*PROXY, ("iptables-save",))


def test_programs_run_side_by_side_and_end_with_the_connection() -> None:
    faults = Faults()
    faults.add(Fault(what=What.SILENT, verb="exec", seconds=60, times=None))
    failed: list[type[Exception]] = []

    def run(connection: Connection) -> None:
        try:
            connection.exec(*PROXY, ("iptables-save",))
        except Exception as error:
            failed.append(type(error))

    with shop.served(faults=faults) as (_, connection):
        threads = [threading.Thread(target=run, args=(connection,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        connection.close()
        for thread in threads:
            thread.join(20)
        assert failed == [Unreachable] * 4


def test_permissions_are_the_servers_word() -> None:
    asked: list[Permission] = []

    def may(permission: Permission) -> bool:
        asked.append(permission)
        return permission.verb == "list"

    wanted = Permission(verb="create", resource="pods", subresource="exec", namespace="kube-system", name="x")
    with shop.served(may=may) as (_, connection):
        assert connection.is_allowed(Permission(verb="list", resource="nodes")).allowed is True
        assert connection.is_allowed(wanted) == Verdict(allowed=False, reason="")
    assert asked[-1] == wanted


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_will_not_say_leaves_it_open(status: int) -> None:
    faults = Faults()
    faults.add(Fault(what=What.STATUS, verb="review", status=status))
    with shop.served(faults=faults) as (_, connection):
        verdict = connection.is_allowed(Permission(verb="list", resource="nodes"))
        assert (verdict.allowed, "on purpose" in verdict.reason) == (None, True)


def test_version() -> None:
    with shop.served() as (_, connection):
        assert connection.version()["gitVersion"] == "v1.36.2"


def test_a_silent_connection_is_probed() -> None:
    with contextlib.closing(Connection.to_url("http://127.0.0.1:1")) as connection:
        made = connection._pool.connection_from_url("http://127.0.0.1:1")
        options = {(level, name): value for level, name, value in made.conn_kw["socket_options"]}
    assert options[socket.SOL_SOCKET, socket.SO_KEEPALIVE] == 1
    assert options[socket.IPPROTO_TCP, socket.TCP_KEEPIDLE] == 15
