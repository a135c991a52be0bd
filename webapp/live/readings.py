"""When which node is read, and by whom: rounds after events and a period for all, each node with its own failures.

Nodes that failed last time are read by workers of their own: however long they hang, the others are read in time.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field

from tracer.snapshot.node_files import NodeFile
from tracer.values import dataclass
from webapp.cluster.connection import Connection
from webapp.live.backoff import Backoff
from webapp.live.rhythm import Rhythm, Rounds
from webapp.live.stream import Stopped
from webapp.reading.changes import NodeRead
from webapp.reading.node_reader import ReadFrom, commands, read_node, read_pods
from webapp.reading.places import NO_PROXY

logger = logging.getLogger(__name__)

_WORKERS, _DOUBTFUL_WORKERS = 6, 2
_LACKING_SECONDS = 900.0
_TICK_SECONDS = 5.0
_EXPECTED_SECONDS = 5.0
_LOST = "The pod that its rules were read from is gone."


@dataclass(slots=True, kw_only=True)
class _Node:
    """One node: where it is read, when it is due (monotonic seconds), and how it went."""

    name: str
    place: ReadFrom
    due: float
    slow_due: float
    not_before: float = 0.0
    is_running: bool = False
    wants_conntrack: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(first=2.0, most=120.0))
    lacking: dict[str, float] = field(default_factory=dict)
    stacks: frozenset[str] = frozenset()
    """The pods on it whose own stacks were read last …"""
    stacks_due: float = 0.0
    """… and when they are to be read again."""
    put_off: dict[str, int] = field(default_factory=dict)
    """By file: what the last reading, which was ended, had read (1) comes after what it did not reach, and what hung (2) comes last."""


class Readings:
    """Reads the nodes of one cluster; *report* takes each reading, in a worker's thread (it may block, and raise Stopped).

    *without_place* is the error of a node of which nobody says where it can be read. *stacks* says which pods' own stacks are read on a
    node, by the node reader (uid → what the stack is called): slowly, and at once where there are others than before.
    """

    def __init__(
        self,
        connection: Connection,
        report: Callable[[NodeRead], None],
        rhythm: Rhythm,
        without_place: str = NO_PROXY,
        stacks: Callable[[str], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self._connection, self._report, self._rhythm = connection, report, rhythm
        self._without_place, self._stacks = without_place, stacks
        self._nodes: dict[str, _Node] = {}
        self._expected: dict[str, float] = {}
        self._rounds = Rounds(rhythm)
        self._changed = threading.Condition()
        self._is_stopped = False
        self._well = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="readings")
        self._doubtful = ThreadPoolExecutor(max_workers=_DOUBTFUL_WORKERS, thread_name_prefix="readings-doubtful")

    # -- told from other threads --------------------------------------------------------------------------------------------------

    def expect(self, node: str) -> None:
        """There is a node *node*: if no place is known for it soon, that is its reading."""
        with self._changed:
            if node not in self._nodes:
                self._expected[node] = time.monotonic() + _EXPECTED_SECONDS
            self._changed.notify()

    def place(self, node: str, place: ReadFrom | None) -> None:
        """Read *node* from *place* from now on, at once if that is new; None: it cannot be read."""
        with self._changed:
            known = self._nodes.get(node)
            if place is None:
                if self._nodes.pop(node, None) is not None and not self._is_stopped:
                    self._well.submit(self._tell, node, _LOST)
            elif known is None or known.place != place:
                self._expected.pop(node, None)
                now = time.monotonic()
                self._nodes[node] = _Node(name=node, place=place, due=now, slow_due=now)
            self._changed.notify()

    def _tell(self, node: str, text: str) -> None:
        with contextlib.suppress(Stopped):
            self._report(NodeRead(node=node, pod="", files=(), error=text, read_at=time.time(), seconds=0.0))

    def note_events(self) -> None:
        """Something changed that rules follow."""
        with self._changed:
            self._rounds.note(time.monotonic())
            self._changed.notify()

    def ask_conntrack(self, node: str) -> bool:
        """Read *node* soon, its connections as well; return whether there is such a node."""
        with self._changed:
            known = self._nodes.get(node)
            if known is not None:
                known.wants_conntrack, known.due, known.not_before = True, time.monotonic(), 0.0
                self._changed.notify()
            return known is not None

    def stop(self) -> None:
        """Read nothing more. What is under way ends when the connection is closed."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        for workers in (self._well, self._doubtful):
            workers.shutdown(wait=False, cancel_futures=True)

    # -- the scheduler ------------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Start readings when they are due, until stopped."""
        with self._changed:
            while not self._is_stopped:
                now = time.monotonic()
                if self._rounds.take(now):
                    for node in self._nodes.values():
                        node.due = min(node.due, now)
                for node in self._nodes.values():
                    if not node.is_running and max(node.due, node.not_before) <= now:
                        self._start(node, now)
                for name in [name for name, until in self._expected.items() if until <= now]:
                    del self._expected[name]
                    self._well.submit(self._tell, name, self._without_place)
                self._changed.wait(self._wait(time.monotonic()))

    def _wait(self, now: float) -> float:
        times = [max(node.due, node.not_before) - now for node in self._nodes.values() if not node.is_running]
        times += [until - now for until in self._expected.values()]
        if (round_wait := self._rounds.wait(now)) is not None:
            times.append(round_wait)
        return max(0.01, min((_TICK_SECONDS, *times)))

    def _start(self, node: _Node, now: float) -> None:
        node.is_running = True
        is_slow = node.slow_due <= now
        lacking = [name for name, until in node.lacking.items() if until > now]
        wanted = commands(slow=is_slow, conntrack=node.wants_conntrack, lacking=lacking)
        wanted = tuple(sorted(wanted, key=lambda file: node.put_off.get(file.name, 0)))
        node.wants_conntrack = False
        node.due = now + self._rhythm.period
        if is_slow:
            node.slow_due = now + self._rhythm.slow_period
        workers = self._doubtful if node.backoff.failures else self._well
        workers.submit(self._read, node, wanted)

    def _read(self, node: _Node, wanted: tuple[NodeFile, ...]) -> None:
        reading = None
        try:
            reading = read_node(self._connection, node.name, node.place, wanted)
            if not self._is_stopped:
                self._report(reading)
            if not reading.error and not self._is_stopped:
                self._read_stacks(node)
        except Stopped:
            pass
        except Exception:
            if not self._is_stopped:
                logger.exception("reading node %s failed", node.name)
        finally:
            with self._changed:
                self._note(node, reading)
                self._changed.notify()

    def _read_stacks(self, node: _Node) -> None:
        stacks, now = self._stacks(node.name), time.monotonic()
        if stacks and (now >= node.stacks_due or stacks.keys() != node.stacks):
            for own in read_pods(self._connection, node.place, stacks):
                self._report(own)
            node.stacks, node.stacks_due = frozenset(stacks), now + self._rhythm.stack_period

    def _note(self, node: _Node, reading: NodeRead | None) -> None:
        now = time.monotonic()
        node.is_running = False
        files = () if reading is None else reading.files
        node.lacking |= {file.name: now + _LACKING_SECONDS for file in files if file.is_lacking}
        if reading is None or reading.error:
            node.due = now + node.backoff.failed(at_least=self._rhythm.gap)
            # What was not reached this time is read next time.
            node.slow_due = min(node.slow_due, node.due)
            node.put_off = {file.name: 2 if file.content is None else 1 for file in files}
            return
        node.backoff.succeeded()
        node.put_off = {}
        node.not_before = now + max(self._rhythm.gap, self._rhythm.cost * reading.seconds)
