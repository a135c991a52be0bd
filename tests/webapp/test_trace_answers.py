"""The use case behind the trace page, where several threads ask one snapshot."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import tracer.simulate
from webapp.answering import trace_answers
from webapp.questions import examples
from webapp.questions.trace_query import from_params
from webapp.storing import stored_snapshots
from webapp.storing.open_snapshots import opened

pytestmark = pytest.mark.django_db


class OneAtATime:
    """Wraps *call* and counts how many threads were inside it together at most."""

    def __init__(self, call) -> None:
        self.call, self.inside, self.most, self.calls = call, 0, 0, 0
        self.entered = threading.Event()

    def __call__(self, *args, **options):
        self.inside += 1
        self.calls += 1
        self.most = max(self.most, self.inside)
        self.entered.set()
        time.sleep(0.05)
        try:
            return self.call(*args, **options)
        finally:
            self.inside -= 1


def in_threads(*calls) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_one_snapshot_is_traced_by_one_thread_at_a_time(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = stored_snapshots.store_snapshot(small, owner="me")
    watched = OneAtATime(tracer.simulate.trace)
    monkeypatch.setattr(tracer.simulate, "trace", watched)
    queries = [from_params({"from": ["node:node-a"], "to": [f"10.96.0.10:{80 + n}"]}) for n in range(4)]
    in_threads(*(lambda query=query: trace_answers.answer(row, query) for query in queries))
    assert (watched.calls, watched.most) == (4, 1)


def test_examples_are_looked_for_while_nothing_else_reads_the_snapshot(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = stored_snapshots.store_snapshot(small, owner="me")
    del row.summary["examples"]
    watched = OneAtATime(examples.find_examples)
    monkeypatch.setattr(examples, "find_examples", watched)
    free = []

    def try_to_take() -> None:
        watched.entered.wait(10)
        lock = opened._entry(row).lock
        free.append(lock.acquire(blocking=False))
        if free[-1]:
            lock.release()

    opened.snapshot(row)
    in_threads(lambda: examples.example_links(row), try_to_take)
    assert (watched.calls, free) == (1, [False])
