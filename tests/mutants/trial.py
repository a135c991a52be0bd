"""One mutation on trial: the tests that meet it run against a copy of the tree that has it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from tests.mutants.kinds import Mutation
from tests.mutants.tree import Copy

FIRST = 5.0  # seconds of tests in the first run, the quickest; most mutations go no further
_START = 20  # seconds of processor time for Python, pytest and the imports
_SLOWER = 4  # times the recorded time of its tests a mutant may take before it counts as hanging
_NOTICED = range(1, 5)  # pytest's exit codes for tests that fail and for what breaks before them


class Outcome(StrEnum):
    """How a trial ended."""

    CAUGHT = "caught"
    HUNG = "caught, as it hangs"
    SURVIVED = "survived"
    UNMET = "no test covers it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The *outcome*, the test that noticed, and of how many seconds of tests how many ran."""

    outcome: Outcome
    by: str = ""
    ran: float = 0.0
    of: float = 0.0


def tried(mutation: Mutation, tests: Sequence[tuple[str, float]], copy: Copy, patience: float) -> Verdict:
    """Put *mutation* on trial in *copy*, which is as before afterwards. At most *patience* seconds of tests run (0: all)."""
    whole = sum(seconds for _, seconds in tests)
    if not tests:
        return Verdict(outcome=Outcome.UNMET)
    upto = list(accumulate(seconds for _, seconds in tests))
    first = max(1, sum(total <= FIRST for total in upto))
    last = max(first, sum(total <= patience for total in upto)) if patience else len(tests)
    path = copy.root / mutation.file
    source = path.read_bytes()
    path.write_bytes(mutation.applied(source))
    try:
        for part in (tests[:first], tests[first:last]):
            outcome, by = _run(part, copy) if part else (Outcome.SURVIVED, "")
            if outcome is not Outcome.SURVIVED:
                return Verdict(outcome=outcome, by=by, ran=upto[first - 1], of=whole)
        return Verdict(outcome=Outcome.SURVIVED, ran=upto[last - 1], of=whole)
    finally:
        path.write_bytes(source)


def _run(tests: Sequence[tuple[str, float]], copy: Copy) -> tuple[Outcome, str]:
    """:raises RuntimeError: pytest found none of the tests."""
    bound = int(_START + _SLOWER * sum(seconds for _, seconds in tests))
    code, printed = copy.run({"names": [name for name, _ in tests], "seconds": bound})
    failed = [line.removeprefix("failed ") for line in printed.splitlines() if line.startswith("failed ")]
    if code == 0:
        return Outcome.SURVIVED, ""
    if code in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGALRM):
        return Outcome.HUNG, f"more than {bound} s of processor time"
    if code in _NOTICED or code < 0:
        return Outcome.CAUGHT, failed[0] if failed else "the import of its module"
    raise RuntimeError(f"pytest ended with {code}: {printed[-2000:]}")
