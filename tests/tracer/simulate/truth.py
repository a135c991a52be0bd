"""A recording held against what a real kernel did with real packets: ../shared/bin/kernel_truth.py asks and judges, the command answers.

A recording is answered once a run for all that is asked of it: connections and rules are two judgements of the same answers.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import PROJECT, SHARED

_SCRIPT = SHARED / "bin/kernel_truth.py"


@functools.cache
def queries(truth: str) -> str:
    """Return the questions of the truth file *truth* as JSON Lines."""
    script = [sys.executable, _SCRIPT, "queries", SHARED / "truth" / truth]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout


@functools.cache
def answers(recording: str, asked: str) -> str:
    """Return what ``manage.py trace`` prints of *recording* for the JSON Lines *asked*, with steps."""
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder, "queries.jsonl")
        batch.write_text(asked)
        command = [sys.executable, "manage.py", "trace", SHARED / "recordings" / recording, "--batch", batch, "--steps"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def verdict(recording: str, what: str, truth: str) -> str:
    """Return the script's last word on *recording*: *what* is ``check`` (connections) or ``rules``."""
    script = [sys.executable, _SCRIPT, what, SHARED / "truth" / truth, "-"]
    said = subprocess.run(script, input=answers(recording, queries(truth)), capture_output=True, text=True, timeout=300, check=False)
    assert said.returncode == 0, said.stdout
    return said.stdout.splitlines()[-1]
