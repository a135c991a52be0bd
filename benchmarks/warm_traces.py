"""One more trace in two trees, in the shop and on 10,000 Services: what a change of the engine's shape costs.

    python benchmarks/warm_traces.py BEFORE AFTER [SEED] [ROUNDS]

BEFORE and AFTER are folders of the project. They take turns: in each of seven rounds a fresh process of either tree opens both
recordings (this tree's), answers a dozen drawn questions of each once, and then fifteen times more by the processor's clock. The
figure is the ratio of the medians.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from measuring import LARGE, SHOP, extracted, question, verdict

_SERVICES, _OTHERS, _TIMES, _ROUNDS, _LIMIT = 8, 4, 15, 7, 1.05
_TREE = "--in-this-tree"


def _questions(folder: Path, seed: int) -> list[dict[str, Any]]:
    """Return questions of the recording in *folder*: a pod of the node whose rules both hold asks Services, and what the batch draws."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
    from asked_questions import KINDS, known_of

    known, drawn = known_of(folder), random.Random(seed)
    services = [question(folder, drawn) for _ in range(_SERVICES)]
    return [{"from": one.source, "to": one.to} for one in services] + [KINDS["ordinary"](known, drawn) for _ in range(_OTHERS)]


def _measured(asked: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, float]]:
    """Yield the seconds of processor time that a trace takes, of each folder of *asked*, in the tree that this process runs in."""
    sys.path.insert(0, str(Path.cwd()))
    from tracer.query import query_from_dict
    from tracer.simulate import trace
    from tracer.snapshot import Snapshot
    from tracer.topology.cluster import Cluster

    for name, questions in asked.items():
        folder, queries = Path(name), [query_from_dict(one) for one in questions]
        files = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        cluster = Cluster.from_snapshot(Snapshot.from_files(files))
        for query in queries:
            trace(cluster, query)
        begin = time.process_time()
        for port, query in enumerate(queries * _TIMES, 20_000):  # a cluster that was asked the very same before has the answer
            trace(cluster, replace(query, source_port=port) if query.protocol.has_ports else query)
        yield name, (time.process_time() - begin) / len(queries) / _TIMES


def _run(tree: Path, asked: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), _TREE]
    done = subprocess.run(command, cwd=tree, input=json.dumps(asked), capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _round(before: Path, after: Path, asked: dict[str, list[dict[str, Any]]], *, turned: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Return what either tree takes; *turned* lets the second one begin, as whoever begins may find another machine."""
    if turned:
        later = _run(after, asked)
        return _run(before, asked), later
    return _run(before, asked), _run(after, asked)


def main() -> int:
    """Measure, print, and return 0 if the target is met."""
    if sys.argv[1:] == [_TREE]:
        print(json.dumps(dict(_measured(json.load(sys.stdin)))))
        return 0
    if len(sys.argv) < 3:
        print("not measured: give two trees (benchmarks/README.md)")
        return 0
    before, after = map(Path, sys.argv[1:3])
    seed, rounds = (int(text) for text in (sys.argv[3:5] + ["11", str(_ROUNDS)][len(sys.argv[3:5]) :]))
    with extracted() as large:
        folders = {SHOP: SHOP.name, large: LARGE.name}
        asked = {str(folder): _questions(folder, seed) for folder in folders}
        times = [_round(before, after, asked, turned=bool(number % 2)) for number in range(rounds)]
    met = []
    for folder, name in folders.items():
        was, now = (statistics.median(pair[side][str(folder)] for pair in times) for side in (0, 1))
        print(f"{name}: {was * 1e3:.2f} ms before, {now * 1e3:.2f} ms after (processor time, median of {rounds})")
        met.append(verdict(f"warm traces, {name}, after to before", now / was, _LIMIT))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
