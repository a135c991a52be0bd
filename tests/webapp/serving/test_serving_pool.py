"""The pool with workers of its own making: threads that speak a worker's protocol and do what each test says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from webapp.serving import pool as pool_module
from webapp.serving import wire
from webapp.serving.fair_queue import Full
from webapp.serving.pool import Ask, Pool
from webapp.serving.reply import Failed, Reply
from webapp.work.lanes import Lane, LaneLimits

LIMITS = LaneLimits(processes=1, threads=1, seconds=30, cpu_seconds=0, memory=1 << 30, files=64, waiting=50, age=30, nice=0)
Work = Callable[["FakeProcess", int, dict[str, Any]], None]


class FakeProcess:
    """A worker that is a thread; *work* is done for each request."""

    made: list[FakeProcess]

    def __init__(self, line: socket.socket, lane: Lane, work: Work) -> None:
        self.line, self.lane, self.work = line.dup(), lane, work
        self.exitcode: int | None = None
        self.requests: list[dict[str, Any]] = []
        self.pid = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while (frame := wire.receive(self.line)) is not None:
                head, _ = frame
                if head["do"] == "request":
                    self.requests.append(head)
                    self.work(self, head["id"], head["scope"])
        self.line.close()

    def say(self, **head: Any) -> None:
        with contextlib.suppress(OSError):
            self.line.sendall(wire.packed(head))

    def answer(self, number: int, body: bytes = b"", **idle: Any) -> None:
        self.say(id=number, type="start", status=200, headers=[["X-Lane", str(self.lane)]])
        with contextlib.suppress(OSError):
            self.line.sendall(wire.packed({"id": number, "type": "body"}, body))
        self.say(id=number, type="end")
        self.say(id=number, type="idle", rss=0, **idle)

    def die(self, code: int) -> None:
        self.exitcode = code
        self.line.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        self.die(-9)

    terminate = kill

    def join(self, timeout: float | None = None) -> None:
        return


def ordinary(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
    process.answer(number, scope["path"].encode())


def held() -> tuple[threading.Event, Work]:
    """Return an event, and work that is done as usual once that is set."""
    go = threading.Event()

    def work(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
        go.wait(10)
        ordinary(process, number, scope)

    return go, work


class Workshop:
    """A pool whose workers do what the test says, lane by lane; everything it was told."""

    def __init__(self, work: dict[Lane, Work], **limits: Any) -> None:
        self.processes: list[FakeProcess] = []
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.lost: list[tuple[dict[str, Any], str]] = []
        self._work = work
        lanes = {lane: replace(LIMITS, **limits) for lane in Lane}
        self.pool = Pool(lanes, lambda g, m: self.told.append((g, m)), lambda d, w: self.lost.append((d, w)), self._spawn)

    def _spawn(self, line: socket.socket, lifeline: socket.socket, lane: Lane, limits: LaneLimits) -> FakeProcess:
        self.processes.append(FakeProcess(line, lane, self._work.get(lane, ordinary)))
        return self.processes[-1]

    def asked(self, lane: Lane) -> list[str]:
        return [request["scope"]["path"] for process in self.processes if process.lane is lane for request in process.requests]


def ask(path: str, *, session: str = "one", key: str = "", is_safe: bool = True) -> Ask:
    return Ask(scope={"path": path, "method": "GET"}, session=session, key=key, is_safe=is_safe)


async def body_of(reply: Reply) -> bytes:
    await reply.head()
    return b"".join([part async for part in reply.body()])


async def outcome(reply: Reply) -> str:
    """Return the answer's text, or why there is none."""
    try:
        return (await asyncio.wait_for(body_of(reply), 10)).decode()
    except Failed as error:
        return f"failed: {error.why}"


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pool_module, "_SWEPT_EVERY", 0.05)
    monkeypatch.setattr(pool_module, "_AGAIN_AT_ONCE", 0.01)
    yield


def test_a_request_is_answered_where_it_belongs() -> None:
    async def test() -> None:
        def elsewhere(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            process.say(id=number, type="elsewhere", lane="heavy")
            process.say(id=number, type="idle", rss=0)

        shop = Workshop({Lane.QUICK: elsewhere})
        reply = shop.pool.ask(ask("/a", key="a"), Lane.QUICK)
        assert (await reply.head())[1] == [("X-Lane", "heavy")]
        # The next one that asks the same goes there at once.
        assert await outcome(shop.pool.ask(ask("/a", key="a"), Lane.QUICK)) == "/a"
        assert shop.asked(Lane.QUICK) == ["/a"]
        assert shop.asked(Lane.HEAVY) == ["/a", "/a"]
        await shop.pool.stop()

    run(test)


def test_a_request_that_no_lane_wants_ends() -> None:
    async def test() -> None:
        def away(to: str) -> Work:
            def work(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
                process.say(id=number, type="elsewhere", lane=to)
                process.say(id=number, type="idle", rss=0)

            return work

        shop = Workshop({Lane.QUICK: away("heavy"), Lane.HEAVY: away("quick")})
        replies = [shop.pool.ask(ask("/a", key="same"), Lane.QUICK) for _ in range(2)]
        assert [await outcome(reply) for reply in replies] == ["failed: fault"] * 2
        await shop.pool.stop()

    run(test)


def test_equal_questions_are_worked_on_by_one_worker_that_then_knows_the_answer() -> None:
    async def test() -> None:
        go, waits = held()
        shop = Workshop({Lane.HEAVY: waits}, processes=3)
        replies = [shop.pool.ask(ask(f"/{n}", session=str(n), key="same"), Lane.HEAVY) for n in range(4)]
        await asyncio.sleep(0.2)
        assert len(shop.processes) == 1
        assert shop.asked(Lane.HEAVY) == ["/0"]
        go.set()
        assert [await outcome(reply) for reply in replies] == ["/0", "/1", "/2", "/3"]
        assert len(shop.processes) == 1
        await shop.pool.stop()

    run(test)


def test_what_is_stored_is_asked_of_the_pages_next_time() -> None:
    async def test() -> None:
        def stores(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            process.answer(number, b"computed", stored=True)

        shop = Workshop({Lane.QUICK: stores})
        assert await outcome(shop.pool.ask(ask("/a", key="a"), Lane.QUICK)) == "computed"
        await asyncio.sleep(0.1)
        assert (await shop.pool.ask(ask("/a", key="a"), Lane.QUICK).head())[1] == [("X-Lane", "pages")]
        await shop.pool.stop()

    run(test)


def test_sessions_take_turns() -> None:
    async def test() -> None:
        go, waits = held()
        shop = Workshop({Lane.QUICK: waits})
        greedy = [shop.pool.ask(ask(f"/greedy{n}", session="greedy"), Lane.QUICK) for n in range(5)]
        modest = shop.pool.ask(ask("/modest", session="modest"), Lane.QUICK)
        go.set()
        await asyncio.gather(*(outcome(reply) for reply in [*greedy, modest]))
        assert shop.asked(Lane.QUICK).index("/modest") <= 2
        await shop.pool.stop()

    run(test)


def test_a_full_queue_says_so() -> None:
    async def test() -> None:
        shop = Workshop({Lane.QUICK: lambda *_: time.sleep(0.2)}, waiting=2)
        for n in range(3):
            shop.pool.ask(ask(f"/{n}"), Lane.QUICK)
        with pytest.raises(Full):
            shop.pool.ask(ask("/more"), Lane.QUICK)
        await shop.pool.stop()

    run(test)


def test_equal_questions_do_not_wait_without_bound_either() -> None:
    async def test() -> None:
        shop = Workshop({Lane.QUICK: lambda *_: time.sleep(0.2)}, waiting=3)
        for n in range(4):
            shop.pool.ask(ask(f"/{n}", key="same"), Lane.QUICK)
        with pytest.raises(Full):
            shop.pool.ask(ask("/more", key="same"), Lane.QUICK)
        await shop.pool.stop()

    run(test)


def test_who_waits_too_long_is_told() -> None:
    async def test() -> None:
        shop = Workshop({Lane.QUICK: lambda *_: time.sleep(1)}, age=0.2)
        shop.pool.start()
        shop.pool.ask(ask("/first"), Lane.QUICK)
        assert await outcome(shop.pool.ask(ask("/second"), Lane.QUICK)) == "failed: late"
        await shop.pool.stop()

    run(test)


def test_a_worker_that_takes_too_long_is_ended_and_made_anew() -> None:
    async def test() -> None:
        def slow_once(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            if scope["path"] != "/slow":
                ordinary(process, number, scope)

        shop = Workshop({Lane.HEAVY: slow_once}, seconds=0.2)
        shop.pool.start()
        slow = shop.pool.ask(ask("/slow"), Lane.HEAVY)
        other = shop.pool.ask(ask("/other"), Lane.HEAVY)
        assert await outcome(slow) == "failed: seconds"
        assert await outcome(other) == "/other"
        assert len(shop.processes) == 2
        await shop.pool.stop()

    run(test)


def test_processor_time_that_is_used_up_is_said() -> None:
    async def test() -> None:
        shop = Workshop({Lane.HEAVY: lambda process, *_: process.die(-24)})
        assert await outcome(shop.pool.ask(ask("/slow"), Lane.HEAVY)) == "failed: seconds"
        await shop.pool.stop()

    run(test)


def test_a_quick_question_that_turns_out_slow_goes_on_elsewhere() -> None:
    async def test() -> None:
        shop = Workshop({Lane.QUICK: lambda process, *_: process.die(-24)})
        assert await outcome(shop.pool.ask(ask("/slow"), Lane.QUICK)) == "/slow"
        assert shop.asked(Lane.HEAVY) == ["/slow"]
        await shop.pool.stop()

    run(test)


def test_a_worker_that_dies_is_said_to_the_one_who_asked() -> None:
    async def test() -> None:
        def dies(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            process.die(-9) if scope["path"] == "/bad" else ordinary(process, number, scope)

        shop = Workshop({Lane.HEAVY: dies})
        bad, good = shop.pool.ask(ask("/bad"), Lane.HEAVY), shop.pool.ask(ask("/good"), Lane.HEAVY)
        assert await outcome(bad) == "failed: died"
        assert await outcome(good) == "/good"
        await shop.pool.stop()

    run(test)


def test_who_shared_a_worker_with_the_one_that_ended_it_is_asked_again() -> None:
    async def test() -> None:
        count = 0

        def dies_once(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            nonlocal count
            count += 1
            if count == 3:
                process.die(-9)
            elif count > 3:
                ordinary(process, number, scope)

        shop = Workshop({Lane.PAGES: dies_once}, threads=4)
        safe = [shop.pool.ask(ask(f"/{n}"), Lane.PAGES) for n in range(2)]
        unsafe = shop.pool.ask(ask("/post", is_safe=False), Lane.PAGES)
        assert [await outcome(reply) for reply in safe] == ["/0", "/1"]
        assert await outcome(unsafe) == "failed: died"
        await shop.pool.stop()

    run(test)


def test_memory_that_is_used_up_is_said() -> None:
    async def test() -> None:
        def spent(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            process.say(id=number, type="failed", why="memory")
            process.say(id=number, type="idle", rss=0)

        shop = Workshop({Lane.HEAVY: spent})
        assert await outcome(shop.pool.ask(ask("/a"), Lane.HEAVY)) == "failed: memory"
        await shop.pool.stop()

    run(test)


def test_a_worker_that_has_grown_is_made_anew() -> None:
    async def test() -> None:
        def grows(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            process.say(id=number, type="start", status=200, headers=[])
            process.say(id=number, type="end")
            process.say(id=number, type="idle", rss=LIMITS.memory)

        shop = Workshop({Lane.HEAVY: grows})
        for _ in range(2):
            await outcome(shop.pool.ask(ask("/a"), Lane.HEAVY))
            await asyncio.sleep(0.1)
        assert len(shop.processes) == 2
        await shop.pool.stop()

    run(test)


def test_what_nobody_waits_for_any_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "ABANDONED_SECONDS", 0.1)

    async def test() -> None:
        def waits(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            if scope["path"] == "/other":
                ordinary(process, number, scope)

        shop = Workshop({Lane.HEAVY: waits})
        shop.pool.start()
        running, queued, other = ask("/running"), ask("/queued"), ask("/other")
        for one in (running, queued, other):
            shop.pool.ask(one, Lane.HEAVY)
        shop.pool.abandon(running)
        shop.pool.abandon(queued)
        assert await outcome(other.reply) == "/other"
        assert shop.asked(Lane.HEAVY) == ["/running", "/other"]
        await shop.pool.stop()

    run(test)


def test_what_others_wait_for_goes_on_when_the_first_one_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "ABANDONED_SECONDS", 0.05)

    async def test() -> None:
        go, waits = held()
        shop = Workshop({Lane.HEAVY: waits})
        shop.pool.start()
        first, second = ask("/first", key="same"), ask("/second", key="same")
        shop.pool.ask(first, Lane.HEAVY)
        shop.pool.ask(second, Lane.HEAVY)
        shop.pool.abandon(first)
        await asyncio.sleep(0.3)
        go.set()
        assert await outcome(second.reply) == "/second"
        assert len(shop.processes) == 1
        await shop.pool.stop()

    run(test)


def test_what_a_worker_did_after_its_answer_is_lost_aloud() -> None:
    async def test() -> None:
        def uploads(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            process.say(id=number, type="start", status=302, headers=[])
            process.say(id=number, type="end")
            process.say(type="doing", what={"upload": "abc"})
            process.say(type="tell", group="upload.abc", message={"type": "upload.changed"})
            time.sleep(0.1)
            process.die(-9)

        shop = Workshop({Lane.UPLOADS: uploads})
        assert (await shop.pool.ask(ask("/new", is_safe=False), Lane.UPLOADS).head())[0] == 302
        await asyncio.sleep(0.4)
        assert shop.lost == [({"upload": "abc"}, "died")]
        assert shop.told == [("upload.abc", {"type": "upload.changed"})]
        await shop.pool.stop()

    run(test)


def test_the_process_that_follows_clusters_comes_back_by_itself() -> None:
    async def test() -> None:
        shop = Workshop({})
        shop.pool.start(Lane.LIVE)
        await asyncio.sleep(0.1)
        shop.processes[0].die(-9)
        await asyncio.sleep(0.5)
        assert [process.lane for process in shop.processes] == [Lane.LIVE, Lane.LIVE]
        await shop.pool.stop()

    run(test)


def test_nothing_is_left_when_the_pool_has_stopped() -> None:
    async def test() -> None:
        shop = Workshop({Lane.HEAVY: lambda *_: time.sleep(0.5)})
        shop.pool.start(Lane.PAGES, Lane.LIVE)
        reply = shop.pool.ask(ask("/a"), Lane.HEAVY)
        await asyncio.sleep(0.1)
        await shop.pool.stop()
        assert await outcome(reply) == "failed: died"
        assert all(process.exitcode is not None for process in shop.processes)

    run(test)


def test_who_asked_the_same_is_answered_when_the_worker_dies_after_its_answer() -> None:
    async def test() -> None:
        def dies_after(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            if scope["path"] != "/0":
                ordinary(process, number, scope)
                return
            process.say(id=number, type="start", status=200, headers=[])
            process.say(id=number, type="end")
            time.sleep(0.1)
            process.die(-9)

        shop = Workshop({Lane.HEAVY: dies_after})
        replies = [shop.pool.ask(ask(f"/{n}", key="same"), Lane.HEAVY) for n in range(3)]
        assert [await outcome(reply) for reply in replies] == ["", "/1", "/2"]
        await shop.pool.stop()

    run(test)


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_request_that_its_worker_forgot_ends(is_begun: bool) -> None:
    async def test() -> None:
        def forgets(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            if is_begun:
                process.say(id=number, type="start", status=200, headers=[])
            process.say(id=number, type="idle", rss=0)

        shop = Workshop({Lane.PAGES: forgets})
        assert await outcome(shop.pool.ask(ask("/a"), Lane.PAGES)) == "failed: fault"
        await shop.pool.stop()

    run(test)


def test_equal_questions_wait_for_the_turn_of_others() -> None:
    async def test() -> None:
        go, waits = held()
        shop = Workshop({Lane.HEAVY: waits})
        replies = [shop.pool.ask(ask(f"/same{n}", key="same", session="greedy"), Lane.HEAVY) for n in range(5)]
        replies.append(shop.pool.ask(ask("/modest", key="other", session="modest"), Lane.HEAVY))
        go.set()
        assert all([(await outcome(reply)).startswith("/") for reply in replies])
        assert shop.asked(Lane.HEAVY).index("/modest") <= 2
        await shop.pool.stop()

    run(test)


def test_the_one_that_takes_too_long_among_many_is_ended_and_the_others_are_answered() -> None:
    async def test() -> None:
        def slow(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            if scope["path"] == "/quick" and len(process.requests) == 1:
                ordinary(process, number, scope)

        shop = Workshop({Lane.PAGES: slow}, seconds=0.4, threads=2)
        shop.pool.start()
        endless = shop.pool.ask(ask("/endless"), Lane.PAGES)
        await asyncio.sleep(0.2)
        beside = shop.pool.ask(ask("/quick"), Lane.PAGES)
        assert await outcome(endless) == "failed: seconds"
        assert await outcome(beside) == "/quick"
        assert shop.asked(Lane.PAGES) == ["/endless", "/quick", "/quick"]
        await shop.pool.stop()

    run(test)


def test_a_process_that_follows_clusters_and_cannot_begin_is_not_made_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_AGAIN_AT_ONCE", 0.1)

    async def test() -> None:
        shop = Workshop({})
        made = shop._spawn

        def stillborn(*arguments: Any) -> FakeProcess:
            process = made(*arguments)
            process.die(1)
            return process

        shop.pool._spawn = stillborn
        shop.pool.start(Lane.LIVE)
        await asyncio.sleep(1)
        assert 2 <= len(shop.processes) <= 4
        await shop.pool.stop()

    run(test)


def test_what_workers_are_forked_from_may_end() -> None:
    async def test() -> None:
        shop = Workshop({})
        made = shop._spawn

        def ends_once(*arguments: Any) -> FakeProcess:
            shop.pool._spawn = made
            raise EOFError("unexpected EOF")

        shop.pool._spawn = ends_once
        shop.pool.start()
        assert await outcome(shop.pool.ask(ask("/a"), Lane.PAGES)) == "/a"
        await shop.pool.stop()

    run(test)


def test_one_session_does_not_take_all_places_of_a_queue() -> None:
    async def test() -> None:
        go, waits = held()
        shop = Workshop({Lane.QUICK: waits}, waiting=4)
        greedy = [shop.pool.ask(ask(f"/greedy{n}", session="greedy"), Lane.QUICK) for n in range(5)]
        modest = shop.pool.ask(ask("/modest", session="modest"), Lane.QUICK)
        with pytest.raises(Full):
            shop.pool.ask(ask("/greedy5", session="greedy"), Lane.QUICK)
        go.set()
        assert await outcome(modest) == "/modest"
        assert [await outcome(reply) for reply in greedy] == ["/greedy0", "/greedy1", "/greedy2", "/greedy3", "failed: full"]
        await shop.pool.stop()

    run(test)


def test_who_asks_and_goes_again_and_again_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "ABANDONED_SECONDS", 0.02)
    monkeypatch.setattr(pool_module, "_SWEPT_EVERY", 0.02)
    monkeypatch.setattr(pool_module, "_AGAIN_AT_ONCE", 10.0)

    async def test() -> None:
        def endless(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            if scope["path"] == "/other":
                ordinary(process, number, scope)

        shop = Workshop({Lane.HEAVY: endless})
        shop.pool.start()
        for _ in range(5):
            gone = ask("/gone")
            shop.pool.ask(gone, Lane.HEAVY)
            await asyncio.sleep(0.02)
            shop.pool.abandon(gone)
            await asyncio.wait_for(gone.reply.over(), 5)
        assert await asyncio.wait_for(outcome(shop.pool.ask(ask("/other"), Lane.HEAVY)), 5) == "/other"
        await shop.pool.stop()

    run(test)


def test_an_upload_whose_client_went_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "ABANDONED_SECONDS", 0.02)

    async def test() -> None:
        def keeps(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            time.sleep(0.5)
            ordinary(process, number, scope)

        shop = Workshop({Lane.UPLOADS: keeps})
        shop.pool.start()
        gone = ask("/new", is_safe=False)
        shop.pool.ask(gone, Lane.UPLOADS)
        shop.pool.abandon(gone)
        await asyncio.wait_for(gone.reply.over(), 5)
        assert gone.reply.status == 200
        assert [process.exitcode for process in shop.processes] == [None]
        await shop.pool.stop()

    run(test)


def test_the_loop_does_not_wait_for_a_process_that_was_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        joined: list[bool] = []
        monkeypatch.setattr(
            FakeProcess, "join", lambda *_: joined.append(threading.current_thread() is threading.main_thread()), raising=True
        )

        def fat(process: FakeProcess, number: int, scope: dict[str, Any]) -> None:
            process.say(id=number, type="start", status=200, headers=[])
            process.say(id=number, type="end")
            process.say(id=number, type="idle", rss=LIMITS.memory)

        shop = Workshop({Lane.HEAVY: fat})
        assert await outcome(shop.pool.ask(ask("/a"), Lane.HEAVY)) == ""
        await asyncio.sleep(0.3)
        assert joined == [False]
        await shop.pool.stop()

    run(test)
