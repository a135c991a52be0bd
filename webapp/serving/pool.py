"""The processes behind the serving process: who works on what, what waits, what is ended, what is made anew.

Lives on the event loop of the serving process and never blocks it. A request goes to the lane where it begins; its worker may send it to
another one. Requests that ask the same are worked on one after the other by one worker, which by then knows the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import signal
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import field
from typing import Any, Protocol

from tracer.values import dataclass
from webapp.serving import wire, worker
from webapp.serving.fair_queue import FairQueue, Full
from webapp.serving.reply import Reply
from webapp.work.lanes import Lane, LaneLimits

logger = logging.getLogger(__name__)

_SWEPT_EVERY = 0.5
_MOST_HINTS = 20_000
_MOST_MOVES = 4
_AGAIN_AT_ONCE, _AGAIN_LATEST = 0.1, 30.0
_LIVED = 10.0
"""A worker that ends sooner than this (seconds) is made anew after a while that doubles."""
ABANDONED_SECONDS = 2.0
"""How long a worker goes on with what nobody waits for any more: a little later it would be there for who comes back."""
_RESIDENT_SHARE = 0.6
"""A worker that holds more than this share of its memory when it is idle is made anew."""
_END_SECONDS = 6.0


@dataclass(slots=True, kw_only=True, eq=False)
class Ask:
    """One request: the ASGI *scope* as JSON has it, the body (*content*, or a file at *path*), who asks, and what (*key*: "" for nothing
    that two could share). *is_safe*: it may be asked again when its worker died through somebody else."""

    scope: dict[str, Any]
    session: str
    key: str = ""
    content: bytes = b""
    path: str | None = None
    is_safe: bool = False
    since: float = field(default_factory=time.monotonic)
    reply: Reply = field(default_factory=Reply)
    lane: Lane = Lane.PAGES
    moves: int = 0
    deaths: int = 0
    is_abandoned: bool = False
    riders: deque[Ask] = field(default_factory=deque)

    @property
    def is_nobodys(self) -> bool:
        """Return whether nobody waits for the answer, which is not there yet."""
        return all(one.is_abandoned for one in self.everybody) and not self.reply.is_over

    @property
    def everybody(self) -> tuple[Ask, ...]:
        """Return this and those that ask the same."""
        return (self, *self.riders)


@dataclass(slots=True, kw_only=True, eq=False)
class _Work:
    """What a worker is at, since when; *ask* is None once it has been sent elsewhere."""

    ask: Ask | None
    begun: float


class Process(Protocol):
    """What the pool needs of a worker's process: multiprocessing's own."""

    @property
    def exitcode(self) -> int | None: ...

    def kill(self) -> None: ...

    def terminate(self) -> None: ...

    def join(self, timeout: float | None = None) -> None: ...


Spawn = Callable[[socket.socket, socket.socket, Lane, LaneLimits], Process]
"""Starts a worker at the far ends of its line and its lifeline."""


def spawn(line: socket.socket, lifeline: socket.socket, lane: Lane, limits: LaneLimits) -> Process:
    """Fork a worker from a process that has imported everything and runs nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["webapp.serving.preload"])
    process = context.Process(target=worker.main, args=(line, lifeline, str(lane), limits), name=f"hopline {lane}", daemon=True)
    process.start()
    return process


class _Worker:
    """One process, as the serving process sees it."""

    def __init__(self, lane: Lane, limits: LaneLimits, spawn: Spawn) -> None:
        self.lane, self.limits = lane, limits
        self.working: dict[int, _Work] = {}
        self.begun = time.monotonic()
        self.doing: dict[str, Any] = {}
        self.ended_for = ""
        self.is_retiring = False
        ours, theirs = socket.socketpair()
        self._lifeline, its_lifeline = socket.socketpair()
        with theirs, its_lifeline:
            self.process = spawn(theirs, its_lifeline, lane, limits)
        self._socket = ours
        self._writer: asyncio.StreamWriter | None = None
        self._unsent: list[bytes] = []

    async def connect(self) -> asyncio.StreamReader:
        """Return what the process says."""
        reader, self._writer = await asyncio.open_connection(sock=self._socket)
        for frame in self._unsent:
            self._writer.write(frame)
        self._unsent.clear()
        return reader

    @property
    def has_room(self) -> bool:
        """Return whether it takes one more request."""
        return not self.is_retiring and not self.ended_for and len(self.working) < self.limits.threads

    def send(self, head: dict[str, Any], content: bytes = b"") -> None:
        """Send one frame; what a process that has ended does not take is noticed by who reads."""
        frame = wire.packed(head, content)
        if self._writer is None:
            self._unsent.append(frame)
            return
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._writer.write(frame)

    def kill(self, why: str) -> None:
        """End the process now; *why* is what those are told whose requests it is at."""
        self.ended_for = self.ended_for or why
        self.process.kill()

    def retire(self) -> None:
        """Let the process end when it has done what it is at."""
        self.is_retiring = True
        if not self.working and self._writer is not None:
            self._writer.close()

    def terminate(self) -> None:
        """Ask the process to end."""
        self.ended_for = self.ended_for or "died"
        self.process.terminate()


@dataclass(slots=True, kw_only=True)
class _LaneState:
    limits: LaneLimits
    queue: FairQueue[Ask]
    workers: list[_Worker] = field(default_factory=list)
    failures: int = 0
    not_before: float = 0.0


class Pool:
    """All lanes. *tell* sends a message to a group of sockets; *lost* is told what a worker was doing when it died, and why."""

    def __init__(
        self,
        lanes: dict[Lane, LaneLimits],
        tell: Callable[[str, dict[str, Any]], None],
        lost: Callable[[dict[str, Any], str], None],
        spawn: Spawn = spawn,
    ) -> None:
        self._lanes = {lane: _LaneState(limits=limits, queue=FairQueue(limits.waiting)) for lane, limits in lanes.items()}
        self._tell, self._lost, self._spawn = tell, lost, spawn
        self._asked: dict[str, Ask] = {}
        self._hints: OrderedDict[str, Lane] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers = 0
        self._is_over = False

    # -- from the front -------------------------------------------------------------------------------------------------------

    def start(self, *lanes: Lane) -> None:
        """Make the workers of *lanes* now, and look after all from now on; the others come when they are needed."""
        self._keep(self._sweep_for_ever())
        for lane in lanes:
            self._hire(lane)

    def ask(self, ask: Ask, lane: Lane) -> Reply:
        """Let *ask* be answered, beginning in *lane* unless its like went elsewhere before. :raises Full: too many wait there."""
        self._put(ask, self._hints.get(ask.key, lane) if ask.key else lane)
        return ask.reply

    def abandon(self, ask: Ask) -> None:
        """Nobody waits for *ask* any more."""
        ask.is_abandoned = True
        leader = self._asked.get(ask.key, ask) if ask.key else ask
        if leader is not ask and ask in leader.riders:
            leader.riders.remove(ask)
            ask.reply.fail("died")
        elif ask.is_nobodys and self._lanes[ask.lane].queue.remove(ask):
            self._fail(ask, "died")

    def hint(self, key: str, lane: Lane) -> None:
        """Begin with *lane* when *key* is asked again."""
        self._hints[key] = lane
        self._hints.move_to_end(key)
        while len(self._hints) > _MOST_HINTS:
            self._hints.popitem(last=False)

    def nudge(self) -> None:
        """Wake those who follow clusters."""
        for found in self._lanes[Lane.LIVE].workers:
            found.send({"do": "nudge"})

    def give_up(self) -> None:
        """Say to everybody who waits that the server ends."""
        for state in self._lanes.values():
            while len(state.queue):
                self._fail(state.queue.pop(), "stopped")
            for work in [work for found in state.workers for work in found.working.values()]:
                if work.ask is not None:
                    for one in work.ask.everybody:
                        one.reply.fail("stopped")

    async def stop(self) -> None:
        """End all workers: who is asked to end may, for a while, and is killed then."""
        self._is_over = True
        for state in self._lanes.values():
            for found in state.workers:
                found.terminate() if found.lane is Lane.LIVE else found.kill("died")
        deadline = time.monotonic() + _END_SECONDS
        while any(state.workers for state in self._lanes.values()) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for state in self._lanes.values():
            for found in state.workers:
                found.kill("died")
        for task in tuple(self._tasks):
            task.cancel()

    # -- queue and workers ----------------------------------------------------------------------------------------------------

    def _put(self, ask: Ask, lane: Lane) -> None:
        """Let *ask* wait for a worker of *lane*, or for who has asked the same there. :raises Full: too many wait."""
        state, ask.lane = self._lanes[lane], lane
        leader = self._asked.get(ask.key) if ask.key and lane is not Lane.PAGES else None
        if leader is not None and leader is not ask:
            if len(state.queue) + len(leader.riders) >= state.limits.waiting:
                raise Full
            leader.riders.extend(ask.everybody)
            ask.riders = deque()
            return
        if (last := state.queue.push(ask)) is not None:
            self._fail(last, "full")
        if ask.key and lane is not Lane.PAGES:
            self._asked[ask.key] = ask
        self._give_out(lane)

    def _give_out(self, lane: Lane) -> None:
        state = self._lanes[lane]
        while len(state.queue):
            free = next((w for w in state.workers if w.has_room), None)
            if free is None:
                if sum(not w.is_retiring and not w.ended_for for w in state.workers) < state.limits.processes:
                    self._hire(lane)
                    if any(w.has_room for w in state.workers):
                        continue
                return
            self._give(state.queue.pop(), free)

    def _give(self, ask: Ask, to: _Worker) -> None:
        self._numbers += 1
        to.working[self._numbers] = _Work(ask=ask, begun=time.monotonic())
        to.send({"do": "request", "id": self._numbers, "scope": ask.scope, "body": ask.path}, ask.content)

    def _hire(self, lane: Lane) -> None:
        state = self._lanes[lane]
        if self._is_over or time.monotonic() < state.not_before:
            return
        try:
            made = _Worker(lane, state.limits, self._spawn)
        except (OSError, EOFError):
            # EOFError: the process that workers are forked from has ended; it is made anew by the next try.
            logger.exception("no worker of lane %s could be started", lane)
            self._back_off(state)
            return
        state.workers.append(made)
        self._keep(self._listen(made))

    async def _listen(self, to: _Worker) -> None:
        """Take what a worker says until it ends."""
        reader = await to.connect()
        while (frame := await wire.read(reader)) is not None:
            try:
                self._take(to, *frame)
            except Exception:
                logger.exception("a worker of lane %s said %r", to.lane, frame[0].get("type"))
        self._bury(to)

    def _take(self, by: _Worker, head: dict[str, Any], content: bytes) -> None:
        match head["type"]:
            case "tell":
                self._tell(head["group"], head["message"])
            case "nudge":
                self.nudge()
            case "doing":
                by.doing = head["what"]
            case _ if (work := by.working.get(head.get("id", 0))) is not None:
                self._answered(by, work, head, content)

    def _answered(self, by: _Worker, work: _Work, head: dict[str, Any], content: bytes) -> None:
        if head["type"] == "idle":
            self._idle(by, head)
            return
        if (ask := work.ask) is None:
            return
        match head["type"]:
            case "start":
                ask.reply.begin(head["status"], [(name, value) for name, value in head["headers"]])
            case "body":
                ask.reply.put(content)
            case "end":
                ask.reply.end()
            case "failed":
                ask.reply.fail(head["why"])
            case "elsewhere":
                work.ask = None
                self._move(ask, Lane(head["lane"]))

    def _idle(self, by: _Worker, head: dict[str, Any]) -> None:
        by.doing = {}
        ask = by.working.pop(head["id"]).ask
        if ask is not None:
            if ask.key and head.get("stored"):
                self.hint(ask.key, Lane.PAGES)
            # One that was not ended by what its worker said before has no answer; nobody must wait for it for ever.
            ask.reply.fail("fault")
            self._done(ask, by)
        if by.limits.threads == 1 and head.get("rss", 0) > _RESIDENT_SHARE * by.limits.memory:
            by.is_retiring = True
        if by.is_retiring:
            by.retire()
        self._give_out(by.lane)

    def _done(self, ask: Ask, by: _Worker | None = None) -> None:
        """The next one that asked the same goes to the worker that has just answered it, unless others wait for their turn there."""
        while ask.riders:
            heir = ask.riders.popleft()
            if heir.is_abandoned or heir.reply.is_over:
                heir.reply.fail("died")
                continue
            heir.riders, ask.riders = ask.riders, deque()
            heir.lane = ask.lane
            self._asked[heir.key] = heir
            if by is not None and by.has_room and not len(self._lanes[by.lane].queue):
                self._give(heir, by)
            else:
                self._put_or_fail(heir, ask.lane)
            return
        self._forget(ask)

    def _forget(self, ask: Ask) -> None:
        if ask.key and self._asked.get(ask.key) is ask:
            del self._asked[ask.key]

    def _move(self, ask: Ask, lane: Lane) -> None:
        ask.moves += 1
        if ask.moves > _MOST_MOVES:
            self._fail(ask, "fault")
            return
        if ask.key and lane in (Lane.HEAVY, Lane.LIVE):
            self.hint(ask.key, lane)
        elif ask.key:
            self._hints.pop(ask.key, None)
        self._put_or_fail(ask, lane)

    def _put_or_fail(self, ask: Ask, lane: Lane) -> None:
        try:
            self._put(ask, lane)
        except Full:
            self._fail(ask, "full")

    def _fail(self, ask: Ask, why: str) -> None:
        for one in ask.everybody:
            one.reply.fail(why)
        self._forget(ask)

    # -- ends -----------------------------------------------------------------------------------------------------------------

    def _bury(self, gone: _Worker) -> None:
        """A worker has ended: its requests are said to have failed, or are asked again where another one's request ended it."""
        state = self._lanes[gone.lane]
        if gone in state.workers:
            state.workers.remove(gone)
        self._keep(asyncio.to_thread(gone.process.join, 5))
        # NB: one that was let go may take a while to give its memory back; nobody asks why it ended, and the loop must not wait.
        why = gone.ended_for or ("died" if gone.is_retiring else self._cause(gone))
        alone = len(gone.working) == 1
        if gone.doing:
            self._lost(gone.doing, why)
        if not gone.is_retiring and not gone.ended_for and not self._is_over:
            logger.warning("a worker of lane %s ended (%s) at %d requests", gone.lane, why, len(gone.working))
        for work in gone.working.values():
            if work.ask is not None:
                self._orphaned(work.ask, gone.lane, why, alone)
        if gone.is_retiring or time.monotonic() - gone.begun >= _LIVED:
            state.failures = 0
        elif why == "died" and not gone.ended_for:
            # NB: not where we ended it ourselves: who asks and goes, again and again, would keep everybody waiting.
            self._back_off(state)
        if gone.lane is Lane.LIVE or len(state.queue):
            self._later(gone.lane)

    def _cause(self, gone: _Worker) -> str:
        gone.process.join(1)
        return "seconds" if gone.process.exitcode == -signal.SIGXCPU else "died"

    def _orphaned(self, ask: Ask, lane: Lane, why: str, alone: bool) -> None:
        if ask.reply.is_over:
            # It had been answered; what was left to do was nobody's. Those that ask the same still wait.
            self._done(ask)
            return
        ask.deaths += 1
        if self._is_over:
            self._fail(ask, why)
        elif lane is Lane.QUICK and why == "seconds" and not ask.reply.is_begun:
            self._move(ask, Lane.HEAVY)
        elif ask.is_safe and not alone and why != "memory" and ask.deaths <= 2 and not ask.reply.is_begun:
            self._put_or_fail(ask, lane)
        else:
            self._fail(ask, why)

    def _back_off(self, state: _LaneState) -> None:
        state.failures += 1
        state.not_before = time.monotonic() + min(_AGAIN_AT_ONCE * 2**state.failures, _AGAIN_LATEST)

    def _later(self, lane: Lane) -> None:
        async def again() -> None:
            await asyncio.sleep(max(0.0, self._lanes[lane].not_before - time.monotonic()))
            if not self._is_over:
                if lane is Lane.LIVE and not self._lanes[lane].workers:
                    self._hire(lane)
                self._give_out(lane)

        self._keep(again())

    async def _sweep_for_ever(self) -> None:
        while not self._is_over:
            await asyncio.sleep(_SWEPT_EVERY)
            try:
                for lane, state in self._lanes.items():
                    self._sweep(lane, state)
            except Exception:
                logger.exception("the workers could not be looked after")

    def _sweep(self, lane: Lane, state: _LaneState) -> None:
        now = time.monotonic()
        for late in state.queue.older_than(now - state.limits.age):
            state.queue.remove(late)
            self._fail(late, "late")
        for found in state.workers:
            for work in found.working.values():
                if not found.ended_for:
                    self._judge(found, work, now)
        self._give_out(lane)

    def _judge(self, by: _Worker, work: _Work, now: float) -> None:
        """End the worker of a request that has taken too long, or that nobody waits for."""
        age = now - work.begun
        if age > by.limits.seconds:
            if by.limits.threads > 1 and work.ask is not None:
                # Whose fault it is, is known here: the others of this process are asked again without it.
                self._fail(work.ask, "seconds")
            by.kill("seconds" if by.limits.threads == 1 else "died")
        elif by.limits.threads > 1 or by.lane is Lane.UPLOADS:
            # Others are worked on beside it; or it is about to keep a file, which would be left behind.
            return
        elif age > ABANDONED_SECONDS and work.ask is not None and work.ask.is_nobodys:
            by.kill("died")

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
