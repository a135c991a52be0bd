"""Inputs made to be endless, deep or huge: everything that the application does with them stays within bounds of time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.hostile.inputs import INPUTS, WEB
from tests.hostile.slowness import slowness
from tests.live_server import PROJECT
from tests.sizes import every

# Processor time and memory for all that is done with one input: summed up, traced, diagnosed, written. A quiet machine takes a third.
SECONDS, BYTES = 15, 500_000_000


@pytest.mark.parametrize("name", every(INPUTS, 8))
def test_a_hostile_input_stays_within_bounds(name: str) -> None:
    made = INPUTS[name]()
    command = [sys.executable, "-m", "tests.hostile", name]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=PROJECT, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    assert done.returncode == 0, done.stderr[-3000:]
    cost = json.loads(done.stdout.splitlines()[-1])
    assert cost["seconds"] <= SECONDS * slowness(), cost
    assert cost["bytes"] <= BYTES, cost
    assert made.code is None or made.code in cost["codes"], cost


def test_the_questions_are_asked_of_what_is_there() -> None:
    """The same snapshot without anything hostile delivers: what ends unknown does so for what was added."""
    from tests.hostile.inputs import _made
    from tracer.query import query_from_dict
    from tracer.simulate import trace
    from tracer.snapshot import Snapshot
    from tracer.topology.cluster import Cluster

    cluster = Cluster.from_snapshot(Snapshot.from_files(_made()))
    for source, to in WEB:
        answer = trace(cluster, query_from_dict({"from": source, "to": to, "protocol": "tcp"}))
        assert {o.disposition.value for o in answer.outcomes} == {"delivered"}
