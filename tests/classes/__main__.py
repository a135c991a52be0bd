"""``python -m tests.classes --clusters 200 --seed N``: walks by classes against plain walks on drawn clusters; prints what differs."""

from __future__ import annotations

import argparse
import sys
import time
from random import SystemRandom

from tests.classes.compare import Compared, compare
from tests.classes.drawn import drawn


def main() -> int:
    """Compare, print, and return 0 when every answer was the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clusters", type=int, default=200)
    parser.add_argument("--endpoints", type=int, default=60, help="at most so many")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000))
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    result, begin = Compared(), time.monotonic()
    for seed in range(options.seed, options.seed + options.clusters):
        before = len(result.differing)
        compare(drawn(seed, options.endpoints), result)
        sys.stdout.writelines(f"seed {seed} differs: {said}\n" for said in result.differing[before:])
    for name, count in sorted(result.counts.items()):
        sys.stdout.write(f"| {name} | {count} |\n")
    took = time.monotonic() - begin
    differing = len(result.differing)
    sys.stdout.write(f"{result.questions} questions about {options.clusters} drawn clusters in {took:.0f} s: {differing} answers differ.\n")
    return 1 if result.differing else 0


if __name__ == "__main__":
    sys.exit(main())
