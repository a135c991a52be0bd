"""``python -m tests.garbled [--damages 400] [--seed N]``: the full size; says what came of each kind of damage, and every wrong answer."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")


def main() -> int:
    """Damage, ask, and return 0 when no answer is certain and another one."""
    import django

    django.setup()
    from tests.garbled.check import SEED, run

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--damages", type=int, default=400)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    shared = Path(__file__).resolve().parents[3] / "shared" / "recordings"
    counts: Counter[tuple[str, str]] = Counter()
    for found in run(options.damages, shared, options.seed):
        counts[found.damage.level, found.verdict] += 1
        if found.verdict == "wrong":
            print(found, flush=True)
    for level in sorted({level for level, _ in counts}):
        print(f"{level}: " + ", ".join(f"{n} {verdict}" for (of, verdict), n in sorted(counts.items()) if of == level))
    wrong = sum(n for (_, verdict), n in counts.items() if verdict == "wrong")
    print(f"{sum(counts.values())} damages (seed {options.seed}): {wrong} answers certain and wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
