"""``python -m tests.oracle.stacks [--labs N] [--packets N] [--seconds S] [--seed N]``: random clusters of several stacks, kernel against engine, in full."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from functools import partial

from tests.oracle.netns import why_not
from tests.oracle.stacks_run import run

PROGRAMS = ("nft", "iptables-legacy-restore", "iptables-nft-restore", "bridge", "ss", "conntrack")


def lacking() -> str | None:
    """Return why the oracle cannot run here, None if it can."""
    return why_not() or next((f"{program} is not installed" for program in PROGRAMS if shutil.which(program) is None), None)


def main() -> int:
    """Run, print, and return 0 when kernel and engine agreed on every packet."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.stacks", description=__doc__)
    parser.add_argument("--labs", type=int, default=500, help="at least so many clusters")
    parser.add_argument("--packets", type=int, default=10_000, help="at least so many packets")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--seed", type=int, default=None, help="of the first cluster (default: the clock's)")
    parser.add_argument("--most", type=int, default=5, help="stop with so many disagreements")
    arguments = parser.parse_args()
    if reason := lacking():
        print(f"The oracle cannot run here: {reason}")
        return 2
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    tell = partial(print, end="\n\n", flush=True)
    result = run(seed=seed, labs=arguments.labs, packets=arguments.packets, seconds=arguments.seconds, most=arguments.most, tell=tell)
    print(result.table(), "\n")
    print(result.summary())
    return 1 if result.disagreements or not result.packets else 0


if __name__ == "__main__":
    sys.exit(main())
