"""The first trace on 10,000 Services in a fresh process, with the node's dump and without: then kube-proxy's rules are modelled.

    python benchmarks/first_trace_modelled.py [SEED]

Processor time of whole processes, medians of five that take turns, the same question of both.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from pathlib import Path

from measuring import extracted, middle, question, run, seed, trace_command, verdict

_ROUNDS = 5


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    drawn = random.Random(seed())
    with extracted() as large, tempfile.TemporaryDirectory(prefix="hopline-bench-") as folder:
        bare = Path(folder, "without")
        shutil.copytree(large, bare, ignore=shutil.ignore_patterns("*tables-save.txt"))
        asked = question(large, drawn)
        print(f"{asked.source} -> {asked.to}")
        rounds = [(run(trace_command(bare, asked)), run(trace_command(large, asked))) for _ in range(_ROUNDS)]
    without, recorded = (middle(runs) for runs in zip(*rounds, strict=True))
    for name, found in (("without its dump", without), ("with it", recorded)):
        print(f"{name:24} {found.wall:6.2f} s  {found.cpu:6.3f} s of processor  {found.memory / 1e6:6.0f} MB")
    return 0 if verdict("first trace without the node's dump, to the same with it", without.cpu / recorded.cpu, 1.0) else 1


if __name__ == "__main__":
    sys.exit(main())
