"""``python -m tests.mutants.session``: runs of pytest in the tree that it is started in, as the mutations need them.

Strategy: a process that has imported pytest and nothing of the project forks for each job that it reads, a JSON object a line, and answers
in the same way. A job either records which lines of the mutated packages each test of one file runs and how long it takes, or runs a list of
tests, in that order, until one fails. Tests that need root or a browser are left out; the engine's tests need no plugin but Hypothesis.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import coverage
import hypothesis
import pytest

from tests.mutants.draw import PACKAGES

LEFT_OUT = "not needs_root and not browser"
IMPORTED = ""  # what was run while the file was collected or a fixture was made: it may matter to each of its tests
_MEMORY = 4 << 30
_WALL = 1800
_INI = "[pytest]\naddopts = --import-mode=importlib\npythonpath = .\nmarkers =\n  needs_root\n  needs_shared\n  browser\n"


class _Recording:
    """Tells coverage which test runs, and takes the processor time of those that pass."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self._took: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item):  # type: ignore[no-untyped-def]
        began = time.process_time()
        self._measured.switch_context(item.nodeid)
        yield
        self._measured.switch_context(IMPORTED)
        self._took[item.nodeid] = time.process_time() - began

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.seconds[report.nodeid] = self._took[report.nodeid]
        if report.failed:
            self.failed.add(report.nodeid)


class _Selection:
    """Keeps the tests of a list, in its order."""

    def __init__(self, names: list[str]) -> None:
        self._places = {name: place for place, name in enumerate(names)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self._places), key=lambda i: self._places[i.nodeid])


class _Failures:
    """Says the name of what failed, which is all that a trial wants to know. NB: what tests print goes elsewhere."""

    def __init__(self) -> None:
        self._out = os.dup(1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._say(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._say(report)

    def _say(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed:
            os.write(self._out, f"\nfailed {report.nodeid}\n".encode())


def _pytest(arguments: list[str], *plugins: object) -> int:
    Path("mutants.ini").write_text(_INI)
    options = ["-c", "mutants.ini", "-q", "-p", "no:cacheprovider", "--tb=no", "-m", LEFT_OUT]
    return int(pytest.main([*options, *arguments], plugins=plugins))


def _enough(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # which pytest ends with what it has


def record(test_file: str, out: Path, seconds: float) -> int:
    """Write what *test_file* runs to *out*: per source file a mask of lines for each test. Returns pytest's exit code.

    After *seconds* of processor time it ends with what it has: the tests that it has not come to are not asked.
    """
    measured = coverage.Coverage(data_file=None, include=[f"{package}/*.py" for package in PACKAGES], messages=False)
    signal.signal(signal.SIGPROF, _enough)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    measured.start()
    recording = _Recording(measured)
    code = _pytest([test_file], recording)
    signal.setitimer(signal.ITIMER_PROF, 0)
    measured.stop()
    data = measured.get_data()
    root = Path.cwd()
    lines: dict[str, dict[str, str]] = {}
    for source in sorted(data.measured_files()):
        masks: dict[str, int] = defaultdict(int)
        for line, contexts in data.contexts_by_lineno(source).items():
            for context in contexts:
                masks[context] |= 1 << line
        lines[str(Path(source).relative_to(root))] = {context: f"{mask:x}" for context, mask in masks.items()}
    out.write_text(json.dumps({"seconds": recording.seconds, "failed": sorted(recording.failed), "lines": lines}))
    return code


def attempt(names: list[str], seconds: int) -> int:
    """Run the tests *names* in that order until one fails, in at most *seconds* of processor time. Returns pytest's exit code."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.alarm(_WALL)
    files = list(dict.fromkeys(name.partition("::")[0] for name in names))
    return _pytest(["-x", *files], _Selection(names), _Failures())


def _done(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in a process of its own; returns how that ended (minus the signal where it was killed) and what it printed."""
    with tempfile.TemporaryFile("w+") as out:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            code = record(job["record"], Path(job["out"]), job["seconds"]) if "record" in job else attempt(job["names"], job["seconds"])
            sys.stdout.flush()
            os._exit(code)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "printed": out.read()}


def main() -> None:
    """Answer jobs until there are no more."""
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # The same examples each time, and none made small: that one of them fails is enough.
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutants", derandomize=True, database=None, deadline=None, phases=phases)
    hypothesis.settings.load_profile("mutants")
    for line in sys.stdin:
        print(json.dumps(_done(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
