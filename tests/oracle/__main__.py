"""``python -m tests.oracle [--packets N] [--seconds S] [--seed N]``: the full run, with a table of what was hit, missed and negated."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.oracle.lab import Lab
from tests.oracle.netns import why_not
from tests.oracle.run import run

LAB_FILES = Path(__file__).parent / "lab-files.json"


def main() -> int:
    """Run, print, and return 0 when kernel and engine agreed on every packet."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--packets", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--seed", type=int, default=None, help="of the first rule set (default: the clock's)")
    parser.add_argument("--only", choices=["nft4", "nft6", "legacy4", "legacy6"], help="one back end and IP version")
    parser.add_argument("--least", type=int, default=50, help="what is hit or missed less often is listed")
    parser.add_argument("--record", action="store_true", help="only write the little network's readings, which test_regressions.py needs")
    arguments = parser.parse_args()
    if reason := why_not():
        print(f"The oracle cannot run here: {reason}")
        return 2
    if arguments.record:
        with Lab() as lab:
            found = {path: data.decode() for path, data in lab.files().items()}
        LAB_FILES.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    only = (arguments.only[:-1], int(arguments.only[-1])) if arguments.only else None
    result = run(seed=seed, packets=arguments.packets, seconds=arguments.seconds, only=only)
    print(result.coverage.table())
    coverage = result.coverage
    rare = [n for n in sorted(coverage.hit | coverage.missed) if min(coverage.hit[n], coverage.missed[n]) < arguments.least]
    print(f"\nHit or missed less than {arguments.least} times: {', '.join(rare) or 'none'}\n")
    for text in result.disagreements:
        print(text, "\n")
    print(result.summary())
    return 1 if result.disagreements or not result.packets else 0


if __name__ == "__main__":
    sys.exit(main())
