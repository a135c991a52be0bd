"""The first trace on 10,000 Services in a fresh process, beside iptables-restore reading the same dump. Peak memory, too.

    python benchmarks/first_trace.py [SEED]

Times are on the clock, medians of three, and what the same command takes on the shop's recording is taken off: start, imports, a trace.
"""

from __future__ import annotations

import random
import sys

from measuring import ROUNDS, SHOP, dump_of, extracted, middle, namespace, question, run, seed, trace_command, verdict


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
            )
            for _ in range(ROUNDS)
        ]
        size = dump_of(large).stat().st_size
    first, shop, restore = (middle(runs) for runs in zip(*rounds, strict=True))
    for name, found in (("trace, large", first), ("trace, shop", shop), ("iptables-restore --test", restore)):
        print(f"{name:24} {found.wall:6.2f} s  {found.cpu:6.2f} s of processor  {found.memory / 1e6:6.0f} MB")
    print(f"first trace less the shop's: {first.wall - shop.wall:.2f} s ({first.cpu - shop.cpu:.2f} s of processor)")
    print(f"processor time, of iptables-restore's: {(first.cpu - shop.cpu) / restore.cpu:.2f} (for a busy machine)")
    fast = verdict("time, of iptables-restore's", (first.wall - shop.wall) / restore.wall, 0.5)
    lean = verdict(f"memory, in dumps of {size / 1e6:.1f} MB", (first.memory - shop.memory) / size, 10)
    return 0 if fast and lean else 1


if __name__ == "__main__":
    sys.exit(main())
