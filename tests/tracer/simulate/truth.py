"""A recording held against what a real kernel did with real packets: ../shared/bin/kernel_truth.py asks and judges, the command answers.

A recording is answered once a run for all that is asked of it: connections and rules are two judgements of the same answers. ``make test`` asks
a seeded part of the connections, the same for both.
"""

from __future__ import annotations

import atexit
import functools
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import PROJECT, SHARED
from tests.live_server import of_an_operator
from tests.sizes import some

_SCRIPT = SHARED / "bin/kernel_truth.py"


def whole(truth: str) -> Path:
    """Return the truth file *truth*, with all of its records."""
    return SHARED / "truth" / truth


@functools.cache
def queries(truth: Path) -> str:
    """Return the questions of the truth file *truth* as JSON Lines."""
    script = [sys.executable, _SCRIPT, "queries", truth]
    return subprocess.run(script, capture_output=True, text=True, check=True).stdout


RULES = "rules"
NODES = "nodes"
"""What of a recording may be left away: the rules of all nodes, or all that was read on nodes."""


def _is_rules(path: Path) -> bool:
    return "tables-" in path.name or path.name.startswith(("nft-", "ipvsadm-", "ipset-"))


@functools.cache
def answers(recording: str, asked: str, without: str = "") -> str:
    """Return what ``manage.py trace`` prints of *recording* for the JSON Lines *asked*, with steps; *without* ``RULES`` or ``NODES``."""
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder, "queries.jsonl")
        batch.write_text(asked)
        snapshot = SHARED / "recordings" / recording
        if without:
            left = Path(folder, "snapshot")
            for path in (p for p in snapshot.rglob("*") if p.is_file()):
                inside = path.relative_to(snapshot)
                if inside.parts[0] != "nodes" or (without == RULES and not _is_rules(path)):
                    (left / inside).parent.mkdir(parents=True, exist_ok=True)
                    (left / inside).write_bytes(path.read_bytes())
            snapshot = left
        command = [sys.executable, "manage.py", "trace", snapshot, "--batch", batch, "--steps"]
        done = subprocess.run(command, cwd=PROJECT, env=of_an_operator(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def folder() -> Path:
    """Return a folder that lives as long as the tests: the slices are files, which is what the script reads."""
    folder = tempfile.mkdtemp(prefix="truth-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def slice_of(truth: str, nth: int) -> Path:
    """Return the truth file *truth* with one in *nth* of its records, drawn with a seed: all of them in full size."""
    with gzip.open(whole(truth)) as file:
        recorded = json.load(file)
    recorded["records"] = some(recorded["records"], nth)
    part = folder() / f"{nth}-{truth}"
    part.write_bytes(gzip.compress(json.dumps(recorded).encode(), 1))
    return part


def judged(what: str, truth: Path, answered: str) -> subprocess.CompletedProcess[str]:
    """Return what the script says of *answered*, the answers to the questions of the truth file *truth*."""
    script = [sys.executable, _SCRIPT, what, truth, "-"]
    return subprocess.run(script, input=answered, capture_output=True, text=True, timeout=300, check=False)


def verdict(recording: str, what: str, truth: str, *, nth: int = 10, without: str = "") -> tuple[int, int]:
    """Return how many answers about *recording* agree, and of how many: *what* is ``check`` (connections) or ``rules``.

    *nth*: one record in so many is asked, every one in full size; of the recording *without* something, see ``answers``.

    Raises:
        AssertionError: with all that the script says, when it is not content.
    """
    part = slice_of(truth, nth)
    said = judged(what, part, answers(recording, queries(part), without))
    assert said.returncode == 0, said.stdout
    agree, _of, total, _word = said.stdout.splitlines()[-1].split()
    return int(agree), int(total)


def all_of(records: int, *, nth: int = 10) -> tuple[int, int]:
    """Return what :func:`verdict` has to say of *records*: of each one, or of each one of the slice."""
    here = len(some(range(records), nth))
    return (here, here)
