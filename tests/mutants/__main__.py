"""``python -m tests.mutants``: draws mutations of the engine and says which of them the tests notice."""

from __future__ import annotations

import argparse
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.mutants.covered import is_beside, meeting, recorded
from tests.mutants.draw import drawn
from tests.mutants.equivalent import Equivalent, equivalents
from tests.mutants.journal import Journal
from tests.mutants.kinds import Mutation
from tests.mutants.report import difference, table
from tests.mutants.tree import KEPT, ROOT, copies_of
from tests.mutants.trial import Outcome, Verdict, tried

SEED, COUNT, PATIENCE, RECORDED = 20261129, 200, 120.0, 60.0
WANTED = 0.9
"""Which part of the mutations has to be caught."""


def _all_tried(mutations: Sequence[Mutation], journal: Journal, options: argparse.Namespace) -> None:
    """Try what the journal does not know, each worker in a copy of its own."""
    new = [m for m in mutations if journal.verdict(m) is None]
    if not new:
        return
    workers = options.workers
    records = recorded(ROOT, {m.file for m in new}, workers, options.recording, beside=options.beside)
    for record in records:
        for name in record.failed:
            print(f"left out, as it fails without any mutation: {name}")
    writing = threading.Lock()
    done = Counter[Outcome]()
    with copies_of(ROOT, workers) as lent, ThreadPoolExecutor(workers) as pool:

        def one(mutation: Mutation) -> None:
            asked = [r for r in records if not options.beside or is_beside(r.test_file, mutation.file)]
            with lent() as copy:
                verdict = tried(mutation, meeting(mutation, asked), copy, options.seconds)
            with writing:
                journal.add(mutation, verdict)
                done[verdict.outcome] += 1
                place = f"{mutation.file}:{mutation.lines.start} {mutation.kind}"
                print(f"{sum(done.values())}/{len(new)} {verdict.outcome}: {place} ({verdict.by})", flush=True)

        list(pool.map(one, new))


def _show(mutations: Sequence[Mutation], journal: Journal, excused: dict[str, Equivalent]) -> bool:
    """Print what came of *mutations*; returns whether enough of them are caught."""
    verdicts = [(m, journal.verdict(m) or Verdict(outcome=Outcome.UNMET)) for m in mutations]
    for mutation, verdict in verdicts:
        if verdict.outcome in (Outcome.SURVIVED, Outcome.UNMET):
            reason = excused[mutation.key].reason if mutation.key in excused else ""
            ran = f"{verdict.ran:.0f} of {verdict.of:.0f} s of tests ran" if verdict.outcome is Outcome.SURVIVED else ""
            print(
                f"\n{verdict.outcome} [{mutation.key}] {mutation.file}:{mutation.lines.start} in {mutation.scope or 'the module'}, {mutation.kind}; {ran}"
            )
            print(difference(mutation, (ROOT / mutation.file).read_bytes()))
            if reason:
                print(f"    changes nothing: {reason}")
    changing = [(m, v) for m, v in verdicts if v.outcome in (Outcome.CAUGHT, Outcome.HUNG) or m.key not in excused]
    print()
    print(table(verdicts, excused))
    caught = sum(v.outcome in (Outcome.CAUGHT, Outcome.HUNG) for _, v in verdicts)
    nothing = len(verdicts) - len(changing)
    print(
        f"{caught} of {len(verdicts)} mutations caught ({caught / len(verdicts):.1%}), {nothing} change nothing, {len(changing) - caught} survive"
    )
    return caught >= WANTED * len(verdicts)


def main() -> int:
    """Draw, try, print, and return 0 when enough are caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("-j", "--workers", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=PATIENCE, help="of tests at most for one mutation, quickest first; 0: all that meet it"
    )
    parser.add_argument("--recording", type=float, default=RECORDED, help="seconds of processor time for recording one test file")
    parser.add_argument("--beside", action="store_true", help="ask only the tests in the folder that mirrors that of the mutated file")
    options = parser.parse_args()
    mutations = drawn(ROOT, options.seed, options.count)
    journal = Journal(KEPT / "journal.jsonl", ROOT, asked=" beside" if options.beside else "")
    _all_tried(mutations, journal, options)
    return 0 if _show(mutations, journal, {e.key: e for e in equivalents()}) else 1


if __name__ == "__main__":
    sys.exit(main())
