"""``python -m tests.fuzz --inputs 1000000``: the full size, spread over all readers and processors."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from tests.fuzz.readers import readers
from tests.fuzz.run import Escape, escapes

_CHUNK = 500
_TOLD_EVERY = 60.0


def _chunk(place: int, inputs: int, seed: int) -> list[Escape]:
    return list(escapes(readers()[place], inputs, seed))


def _chunks(inputs: int) -> Iterator[tuple[int, int, int]]:
    """Yield (turn, place of the reader, inputs): all readers in turn, so that a run that is stopped has asked each of them its part."""
    parts = sum(reader.weight for reader in readers())
    left = [-(-inputs * reader.weight // parts) for reader in readers()]
    sizes = [max(1, _CHUNK * reader.weight // max(r.weight for r in readers())) for reader in readers()]
    turn = 0
    while any(left):
        for place, size in enumerate(sizes):
            if asked := min(size, left[place]):
                yield turn, place, asked
                left[place] -= asked
        turn += 1


def main() -> int:
    """Fuzz, print what escapes as it does, and return 0 when nothing did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--workers", type=int, default=None, help="processes; as many as there are processors if not given")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this long, and say how far it came")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    done, found, end, told = 0, [], time.monotonic() + options.seconds, time.monotonic()
    with ProcessPoolExecutor(options.workers) as pool:
        jobs = {
            pool.submit(_chunk, place, inputs, options.seed * 1_000_003 + turn): inputs for turn, place, inputs in _chunks(options.inputs)
        }
        for job in as_completed(jobs):
            for escape in job.result():
                print(f"{escape.reader} [{escape.seed}]: {escape.error[:300]}\n    {escape.text[:300]!r}", flush=True)
                found.append(escape)
            done += jobs[job]
            if time.monotonic() > told + _TOLD_EVERY:
                print(f"{done} inputs so far, {len(found)} escaped", flush=True)
                told = time.monotonic()
            if time.monotonic() > end:
                pool.shutdown(cancel_futures=True)
                break
    print(f"{done} inputs through {len(readers())} readers, {len(found)} escaped")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
