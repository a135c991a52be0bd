"""``python -m tests.fuzz.guided --seconds 600``: coverage-guided inputs, so many seconds for each reader and walk, one process each.

What is new in the code that an input reaches makes the next inputs (atheris, libFuzzer). Its memory and clock are libFuzzer's own; beside
them an input may take no more than ``PATIENCE`` seconds of processor time, five times that here: the code is instrumented.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
_MEGABYTES = 700  # of the whole process, its instrumented modules included
_SLOWER = 5


def main() -> int:
    """Run every reader that was asked for in a process of its own; return 0 when nothing escaped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="readers side by side")
    parser.add_argument("--only", action="append", help="a reader's name; may be given again")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run is not None:
        return _run(options.run, options.seconds, options.seed)
    from tests.fuzz.readers import readers

    wanted = [reader.name for reader in readers() if not options.only or reader.name in options.only]
    escaped = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, done in pool.map(lambda name: (name, _beside(name, options.seconds, options.seed)), wanted):
            lines = (done.stdout + done.stderr).splitlines()
            runs = next((line for line in reversed(lines) if line.startswith(("Done", "stat::number_of_executed_units"))), "")
            print(f"{name}: {'fine' if done.returncode == 0 else 'ESCAPED'} {runs}", flush=True)
            if done.returncode:
                escaped.append(name)
                print("\n".join(lines[-40:]), flush=True)
    print(f"{len(escaped)} of {len(wanted)} readers escaped")
    return 1 if escaped else 0


def _beside(name: str, seconds: int, seed: int) -> subprocess.CompletedProcess[str]:
    """Run the reader *name* in a process of its own."""
    module = (sys.executable, "-m", "tests.fuzz.guided")
    command = [*module, "--run", name, "--seconds", str(seconds), "--seed", str(seed)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def _run(name: str, seconds: int, seed: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["tracer", "webapp.uploads"]):
        from tests.fuzz.readers import readers
        from tests.fuzz.run import PATIENCE
        from tracer.errors import TracerError

    reader = next(r for r in readers() if r.name == name)

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {PATIENCE * _SLOWER} s of processor time")

    signal.signal(signal.SIGVTALRM, stop)

    def one(given: bytes) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE * _SLOWER)
        try:
            reader.read(given.decode("latin-1" if name == "archives" else "utf-8", "replace"))
        except TracerError:
            pass
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(reader.seeds):
            (Path(folder) / str(number)).write_bytes(text.encode("latin-1" if name == "archives" else "utf-8"))
        flags = [
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            "-timeout=1200",  # of the clock, which says nothing on a busy machine: what counts is the timer above
            f"-rss_limit_mb={_MEGABYTES}",
            "-max_len=20000",
            f"-artifact_prefix={folder}/",
        ]
        atheris.Setup([sys.argv[0], *flags, "-print_final_stats=1", folder], one)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
