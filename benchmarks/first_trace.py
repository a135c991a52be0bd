"""The first trace on 10,000 Services in a fresh process, beside iptables-restore reading the same dump. Peak memory, too.

    python benchmarks/first_trace.py [SEED]

Processor time of whole processes, medians of five that take turns: a start, imports and all. What the same command takes on the shop's
recording, and what an empty program takes, stand beside it.
"""

from __future__ import annotations

import random
import sys

from measuring import SHOP, dump_of, extracted, middle, namespace, question, run, seed, trace_command, verdict

_ROUNDS = 5


def main() -> int:
    """Measure, print, and return 0 if both targets are met."""
    drawn = random.Random(seed())
    with extracted() as large, namespace() as inside:
        asked, small = question(large, drawn), question(SHOP, drawn)
        print(f"large: {asked.source} -> {asked.to}\nshop:  {small.source} -> {small.to}")
        rounds = [
            (
                run(trace_command(large, asked)),
                run(trace_command(SHOP, small)),
                run([*inside, "iptables-legacy-restore", "--test"], stdin=dump_of(large)),
                run([sys.executable, "-c", "pass"]),
            )
            for _ in range(_ROUNDS)
        ]
        size = dump_of(large).stat().st_size
    first, shop, restore, nothing = (middle(runs) for runs in zip(*rounds, strict=True))
    for name, found in (("trace, large", first), ("trace, shop", shop), ("iptables-restore --test", restore), ("python -c pass", nothing)):
        print(f"{name:24} {found.wall:6.2f} s  {found.cpu:6.3f} s of processor  {found.memory / 1e6:6.0f} MB")
    print(f"first trace less the shop's, of iptables-restore's processor time: {(first.cpu - shop.cpu) / restore.cpu:.2f}")
    fast = verdict("processor time, of iptables-restore's", first.cpu / restore.cpu, 0.35)
    lean = verdict(f"memory, in dumps of {size / 1e6:.1f} MB", (first.memory - shop.memory) / size, 10)
    return 0 if fast and lean else 1


if __name__ == "__main__":
    sys.exit(main())
