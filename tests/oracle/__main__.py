"""``python -m tests.oracle [--packets N] [--seconds S] [--seed N]``: the full run, with a table of what was hit, missed and negated."""

from __future__ import annotations

import argparse
import sys
import time

from tests.oracle.netns import why_not
from tests.oracle.run import run


def main() -> int:
    """Run, print, and return 0 when kernel and engine agreed on every packet."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--packets", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--seed", type=int, default=None, help="of the first rule set (default: the clock's)")
    parser.add_argument("--only", choices=["nft4", "nft6", "legacy4", "legacy6"], help="one back end and IP version")
    parser.add_argument("--least", type=int, default=50, help="what is hit or missed less often is listed")
    arguments = parser.parse_args()
    if reason := why_not():
        print(f"The oracle cannot run here: {reason}")
        return 2
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
