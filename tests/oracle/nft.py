"""``python -m tests.oracle.nft [--packets N] [--seconds S] [--seed N]``: native nftables rules, kernel against engine, in full."""

from __future__ import annotations

import argparse
import shutil
import sys
import time

from tests.oracle.netns import why_not
from tests.oracle.nft_run import run


def main() -> int:
    """Run, print, and return 0 when kernel and engine agreed on every packet."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle.nft", description=__doc__)
    parser.add_argument("--packets", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--seed", type=int, default=None, help="of the first rule set (default: the clock's)")
    parser.add_argument("--shrink", type=float, default=60, help="seconds to make a disagreement smaller")
    parser.add_argument("--refused", action="store_true", help="list the rules that nft or the kernel refused")
    arguments = parser.parse_args()
    reason = why_not() or (None if shutil.which("nft") else "nft is not installed (apt-get install nftables)")
    if reason:
        print(f"The oracle cannot run here: {reason}")
        return 2
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    result = run(seed=seed, packets=arguments.packets, seconds=arguments.seconds, shrink=arguments.shrink)
    print(result.coverage.table(), "\n")
    for text in result.disagreements:
        print(text, "\n")
    if arguments.refused:
        print("\n".join(result.refused))
    print(result.summary())
    return 1 if result.disagreements or not result.packets else 0


if __name__ == "__main__":
    sys.exit(main())
