"""Every rule of a 156,000-line dump read strictly, beside iptables-restore reading it.

python benchmarks/strict_parse.py
"""

from __future__ import annotations

import statistics
import sys
import time

import in_process  # noqa: F401 - puts the project on the path
from measuring import ROUNDS, dump_of, extracted, middle, namespace, run, verdict

from tracer.netfilter.iptables_save import check


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    with extracted() as large, namespace() as inside:
        path = dump_of(large)
        text = path.read_text()
        ours, theirs = [], []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            faults = check(text, path.name)
            ours.append(time.perf_counter() - begin)
            theirs.append(run([*inside, "iptables-legacy-restore", "--test"], stdin=path))
    print(f"strict parse {statistics.median(ours):.2f} s, {len(faults)} faults; iptables-restore --test {middle(theirs).wall:.2f} s")
    return 0 if verdict("strict parse, of iptables-restore's", statistics.median(ours) / middle(theirs).wall, 1.5) else 1


if __name__ == "__main__":
    sys.exit(main())
