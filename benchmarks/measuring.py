"""What the benchmarks share: the two recordings, questions drawn from them, and the time and memory that a command takes."""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SHOP = PROJECT / "demo/shop-iptables"
LARGE = PROJECT / "demo/large-iptables.tar.gz"
ROUNDS = 3
_NAMESPACE = f"hopline-{os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One process: seconds on the clock, seconds of processor time, and its largest resident size in bytes."""

    wall: float
    cpu: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A pod and a Service of a recording, in the command's words."""

    source: str
    to: str


@contextmanager
def extracted() -> Iterator[Path]:
    """Unpack the large recording for as long as the block runs; its folder."""
    with tempfile.TemporaryDirectory(prefix="hopline-bench-") as folder:
        with tarfile.open(LARGE) as archive:
            archive.extractall(folder, filter="data")
        yield next(p for p in Path(folder).iterdir() if p.is_dir())


@contextmanager
def namespace() -> Iterator[list[str]]:
    """Make a network namespace for as long as the block runs; the words that run a command in it."""
    if os.geteuid() != 0 or not shutil.which("iptables-legacy-restore") or not shutil.which("ip"):
        raise SystemExit("needs root, iproute2 and iptables (iptables-legacy-restore)")
    subprocess.run(["ip", "netns", "add", _NAMESPACE], check=True)
    try:
        yield ["ip", "netns", "exec", _NAMESPACE]
    finally:
        subprocess.run(["ip", "netns", "del", _NAMESPACE], check=True)


def seed() -> int:
    """Return the seed: the first argument, or one drawn now; it is printed."""
    chosen = int(sys.argv[1]) if len(sys.argv) > 1 else random.SystemRandom().randrange(1 << 32)
    print(f"seed {chosen}")
    return chosen


def question(folder: Path, drawn: random.Random, node: str = "shop-worker") -> Question:
    """Return a pod of *node* and a Service drawn from the last tenth of the recording's services with a cluster IP."""
    services = [s for s in _items(folder, "services") if s["spec"].get("clusterIP", "None") != "None" and s["spec"].get("ports")]
    chosen = drawn.choice(services[-len(services) // 10 :])
    pods = [p for p in _items(folder, "pods") if p["spec"].get("nodeName") == node and not p["spec"].get("hostNetwork")]
    pod, port = drawn.choice(pods)["metadata"], chosen["spec"]["ports"][0]
    name = chosen["metadata"]
    return Question(source=f"pod:{pod['namespace']}/{pod['name']}", to=f"svc:{name['namespace']}/{name['name']}:{port['port']}")


def _items(folder: Path, kind: str) -> list[dict]:
    return json.loads((folder / f"{kind}.json").read_bytes())["items"]


def dump_of(folder: Path, node: str = "shop-worker") -> Path:
    """Return the node's IPv4 rules."""
    return folder / "nodes" / node / "iptables-save.txt"


def run(command: Sequence[str | Path], stdin: Path | None = None) -> Run:
    """Run *command* to its end and measure it; it must succeed."""
    with Path(stdin or os.devnull).open("rb") as source:
        begin = time.perf_counter()
        process = subprocess.Popen([str(c) for c in command], stdin=source, stdout=subprocess.DEVNULL, cwd=PROJECT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return Run(wall=wall, cpu=usage.ru_utime + usage.ru_stime, memory=usage.ru_maxrss * 1024)


def trace_command(folder: Path, asked: Question) -> list[str | Path]:
    """Return the command that answers one question."""
    return [sys.executable, "manage.py", "trace", folder, "--from", asked.source, "--to", asked.to, "--format", "json"]


def middle(runs: Sequence[Run]) -> Run:
    """Return the median of each figure."""
    wall, cpu, memory = ([getattr(r, name) for r in runs] for name in ("wall", "cpu", "memory"))
    return Run(wall=statistics.median(wall), cpu=statistics.median(cpu), memory=int(statistics.median(memory)))


def verdict(name: str, value: float, limit: float, *, at_least: bool = False) -> bool:
    """Print a figure beside its target, and return whether it is met."""
    met = value >= limit if at_least else value <= limit
    print(f"{name}: {value:.2f} (target: {'at least' if at_least else 'at most'} {limit}) {'met' if met else 'MISSED'}")
    return met
