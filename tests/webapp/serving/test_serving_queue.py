"""The queue that is fair between sessions, the frames of a line, an answer that outgrows memory, and the table of lanes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.urls import get_resolver
from hypothesis import given
from hypothesis import strategies as st

from webapp.http.failures import FAILURES
from webapp.serving import front, wire
from webapp.serving.disk_share import UPLOADS_AT_ONCE, DiskShare
from webapp.serving.fair_queue import FairQueue, Full
from webapp.serving.reply import MOST_KEPT, Failed, Reply
from webapp.work.lanes import Lane, lane_of, lanes


@dataclass(eq=False)
class Item:
    session: str
    since: float = 0.0


def test_each_session_has_its_turn() -> None:
    queue: FairQueue[Item] = FairQueue(10)
    items = [Item("a"), Item("a"), Item("a"), Item("b"), Item("c")]
    for item in items:
        queue.push(item)
    assert [queue.pop().session for _ in items] == ["a", "b", "c", "a", "a"]
    with pytest.raises(IndexError):
        queue.pop()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["push", "pop", "remove"])), max_size=60))
def test_nothing_is_lost_and_nothing_is_given_twice(steps: list[tuple[str, str]]) -> None:
    queue: FairQueue[Item] = FairQueue(5)
    waiting: list[Item] = []
    for session, step in steps:
        if step == "push":
            lengths = {name: sum(item.session == name for item in waiting) for name in "abc"}
            item = Item(session)
            if len(waiting) < 5:
                assert queue.push(item) is None
            elif max(lengths.values()) <= lengths[session] + 1:
                with pytest.raises(Full):
                    queue.push(item)
                continue
            else:
                last = queue.push(item)
                assert last is not None
                assert lengths[last.session] == max(lengths.values())
                assert last is [other for other in waiting if other.session == last.session][-1]
                waiting.remove(last)
            waiting.append(item)
        elif waiting and step == "pop":
            given_out = queue.pop()
            assert given_out is next(item for item in waiting if item.session == given_out.session)
            waiting.remove(given_out)
        elif waiting:
            assert queue.remove(waiting.pop(0))
        assert len(queue) == len(waiting)
    assert not queue.remove(Item("a"))


def test_the_old_ones_are_found() -> None:
    queue: FairQueue[Item] = FairQueue(5)
    old, young = Item("a", 1.0), Item("b", 3.0)
    queue.push(old)
    queue.push(young)
    assert queue.older_than(2.0) == [old]
    assert len(queue) == 2


@pytest.mark.parametrize("content", [b"", b"x", bytes(300_000)])
def test_a_frame_arrives_as_it_was_sent(content: bytes) -> None:
    async def both() -> None:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(wire.packed({"do": "request", "path": "/ü"}, content))
        head, found = await asyncio.to_thread(wire.receive, theirs) or ({}, None)
        assert (head, found) == ({"do": "request", "path": "/ü"}, content)
        await asyncio.to_thread(theirs.sendall, wire.packed({"type": "end"}, content))
        assert await wire.read(reader) == ({"type": "end"}, content)
        theirs.close()
        assert await wire.read(reader) is None

    asyncio.run(both())


@pytest.mark.parametrize("sent", [struct.pack(">II", 1 << 31, 0), struct.pack(">II", 2, 1 << 31), struct.pack(">II", 3, 0) + b"{:}"])
def test_what_no_worker_says_ends_its_line(sent: bytes) -> None:
    async def read() -> None:
        ours, theirs = socket.socketpair()
        reader, _ = await asyncio.open_connection(sock=ours)
        with theirs:
            theirs.sendall(sent)
        assert await wire.read(reader) is None

    asyncio.run(read())


def test_a_frame_has_a_bound() -> None:
    with pytest.raises(ValueError, match="a frame"):
        wire.packed({}, bytes(wire.MOST_BYTES + 1))


def test_an_answer_that_outgrows_memory_waits_on_disk(tmp_path: Path, settings) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    part = bytes(range(256)) * 4_000

    async def read() -> bytes:
        reply = Reply()
        reply.begin(200, [])
        for _ in range(8):
            reply.put(part)
        assert len(reply._kept) <= MOST_KEPT
        early = [await anext(reply.body())]
        reply.put(b"last")
        reply.end()
        return b"".join(early + [more async for more in reply.body()])

    assert asyncio.run(read()) == part * 8 + b"last"


def test_an_answer_that_breaks_off_says_so() -> None:
    async def read() -> None:
        reply = Reply()
        reply.begin(200, [])
        reply.put(b"begun")
        reply.fail("died")
        parts = reply.body()
        assert await anext(parts) == b"begun"
        with pytest.raises(Failed, match="died"):
            await anext(parts)

    asyncio.run(read())


def test_a_disk_that_is_full_ends_the_answer(tmp_path: Path, settings) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "nowhere"

    async def read() -> None:
        reply = Reply()
        reply.begin(200, [])
        reply.put(bytes(MOST_KEPT + 1))
        with pytest.raises(Failed, match="disk"):
            await anext(reply.body())

    asyncio.run(read())


@pytest.mark.parametrize("before", [0, MOST_KEPT + 1])
def test_what_comes_for_a_client_that_went_is_not_kept(before: int, tmp_path: Path, settings) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path

    async def read() -> None:
        reply = Reply()
        reply.begin(200, [])
        reply.put(bytes(before))
        reply.close()
        for _ in range(3):
            reply.put(bytes(MOST_KEPT))
        assert not reply._kept
        assert reply._file is None or reply._file.closed

    asyncio.run(read())


def test_answers_on_disk_have_a_bound_together(tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiskShare, "taken_by_all", 0)
    settings.FILE_UPLOAD_TEMP_DIR, settings.UPLOAD_MAX_BYTES = tmp_path, MOST_KEPT

    async def read() -> None:
        replies = [Reply() for _ in range(UPLOADS_AT_ONCE)]
        for reply in replies:
            reply.begin(200, [])
            reply.put(bytes(1))
            reply.put(bytes(MOST_KEPT))
        late = Reply()
        late.begin(200, [])
        late.put(bytes(1))
        late.put(bytes(MOST_KEPT))
        parts = late.body()
        await anext(parts)
        with pytest.raises(Failed, match="full"):
            await anext(parts)
        for reply in [*replies, late]:
            reply.close()
        assert DiskShare.taken_by_all == 0

    asyncio.run(read())


def test_bodies_on_disk_count_too_and_are_given_back(tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiskShare, "taken_by_all", 0)
    settings.FILE_UPLOAD_TEMP_DIR, settings.UPLOAD_MAX_BYTES = tmp_path, 100_000

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": bytes(300_000), "more_body": True}

    with contextlib.ExitStack() as stack, pytest.raises(Failed, match="full"):
        asyncio.run(front._body(receive, stack))
    assert DiskShare.taken_by_all == 0
    assert not list(tmp_path.iterdir())


PAGES = {
    "access", "home", "snapshots", "upload", "snapshot", "snapshot-delete", "collect-script", "links", "link-revoke",
    "reasons", "reason", "trace-start", "frozen", "theme", "live-state", "live-events",
}  # fmt: skip


def test_every_address_has_a_lane() -> None:
    """A new page is put into a lane by hand, here and in lanes.py: one that runs the engine must not run among the pages."""
    names = {name for name in get_resolver().reverse_dict if isinstance(name, str)}
    assert {name for name in names if lane_of(name, "GET") is Lane.PAGES} - PAGES == {"snapshot-add", "snapshot-new", "snapshot-place"}
    assert {lane_of(name, "POST") for name in ("snapshot-add", "snapshot-place", "snapshot-new", "cluster-save", "trace")} == {
        Lane.UPLOADS,
        Lane.LIVE,
        Lane.QUICK,
    }


def test_every_failure_has_words() -> None:
    for why, refusal in FAILURES.items():
        assert refusal.status in (408, 500, 503, 507), why
        assert refusal.words.endswith(".")
        assert refusal.heading


def test_a_lane_that_is_bounded_by_processor_time_does_one_thing_at_a_time() -> None:
    for lane, limits in lanes().items():
        assert limits.threads == 1 or not limits.cpu_seconds, lane
        assert limits.waiting > 0 < limits.age
