"""The kernel truth's 1,256 questions on the shop with steps, in one batch, beside a bare tracer that answers the same ones.

    python benchmarks/beside_plain.py [ROUNDS]

What is measured is the processor time of whole processes, which take turns; the figure is the ratio of the medians of ROUNDS (5).
The bare tracer (../shared/bin/plain_tracer.py) knows no index, names, replies, findings or stations. Needs ../shared.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import PROJECT, middle, run, verdict

_SHARED = PROJECT.parent / "shared"
_RECORDING = _SHARED / "recordings/shop-iptables"
_ROUNDS, _LIMIT = 5, 3.0


def _questions(folder: Path) -> Path:
    """Return the file with the questions, one a line."""
    script = [sys.executable, _SHARED / "bin/kernel_truth.py", "queries", _SHARED / "truth/shop-iptables.connections.json.gz"]
    path = folder / "questions.jsonl"
    path.write_bytes(subprocess.run(script, capture_output=True, check=True).stdout)
    return path


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else _ROUNDS
    with tempfile.TemporaryDirectory(prefix="hopline-bench-") as folder:
        asked = ["--batch", _questions(Path(folder)), "--steps"]
        ours = [sys.executable, "manage.py", "trace", _RECORDING, *asked]
        bare = [sys.executable, _SHARED / "bin/plain_tracer.py", _RECORDING, *asked]
        runs = [(run(ours), run(bare)) for _ in range(rounds)]
    one, other = (middle(column) for column in zip(*runs, strict=True))
    print(f"the batch: {one.cpu:.2f} s of processor time, {one.memory / 1e6:.0f} MB; the bare tracer: {other.cpu:.2f} s")
    return 0 if verdict("the batch, to the bare tracer", one.cpu / other.cpu, _LIMIT) else 1


if __name__ == "__main__":
    sys.exit(main())
