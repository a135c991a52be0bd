"""``python -m tests.fuzz --inputs 1000000``: the full size, spread over all readers and processors."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from tests.fuzz.readers import readers
from tests.fuzz.run import Escape, escapes

_CHUNK = 500


def _chunk(place: int, inputs: int, seed: int) -> list[Escape]:
    return list(escapes(readers()[place], inputs, seed))


def main() -> int:
    """Fuzz, print what escaped, and return 0 when nothing did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--workers", type=int, default=None, help="processes; as many as there are processors if not given")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this long, and say how far it came")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    each = -(-options.inputs // len(readers()))
    done, found, end = 0, [], time.monotonic() + options.seconds
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = {
            pool.submit(_chunk, place, min(_CHUNK, each - start), options.seed * 1_000_003 + start): min(_CHUNK, each - start)
            # All readers in turn: a run that is stopped has asked each of them about as much.
            for start in range(0, each, _CHUNK)
            for place in range(len(readers()))
        }
        for job in as_completed(jobs):
            found += job.result()
            done += jobs[job]
            if time.monotonic() > end:
                pool.shutdown(cancel_futures=True)
                break
    for escape in found[:20]:
        print(f"{escape.reader} [{escape.seed}]: {escape.error[:300]}\n    {escape.text[:300]!r}")
    print(f"{done} inputs through {len(readers())} readers, {len(found)} escaped")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
