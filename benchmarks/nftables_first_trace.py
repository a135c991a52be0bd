"""nftables mode with 10,000 Services: the first trace beside nft reading the same rules, and a warm trace beside one in the shop.

    python benchmarks/nftables_first_trace.py [SEED]

First trace: a fresh process, on the clock, median of three, less what the same command takes on the shop's recording; ``nft -c -f`` reads
the same text in a network namespace of its own. Warm trace: medians of many traces in one process, the two clusters taking turns.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from in_process import anew, asked, opened
from measuring import PROJECT, ROUNDS, Question, middle, namespace, run, seed, trace_command, verdict
from nftables_rules import NODE, ScaleService, make_large

from tracer.query import Query
from tracer.simulate import trace
from tracer.topology.cluster import Cluster

_SHOP = PROJECT / "demo/shop-nftables"
_COUNT = 10_000
_TIMES = 40


def _pod(drawn: random.Random) -> str:
    pods = [p for p in opened(_SHOP).objects.pods if p.node_name == NODE and not p.host_network]
    pod = drawn.choice(pods)
    return f"pod:{pod.namespace}/{pod.name}"


def _first(large: Path, there: Question, here: Question, inside: list[str]) -> bool:
    rules = large / "nodes" / NODE / "nft-ruleset.txt"
    _load(inside, rules)
    rounds = [
        (run(trace_command(large, there)), run(trace_command(_SHOP, here)), run([*inside, "nft", "-c", "-f", rules])) for _ in range(ROUNDS)
    ]
    first, shop, nft = (middle(runs) for runs in zip(*rounds, strict=True))
    for name, found in (("trace, large", first), ("trace, shop", shop), ("nft -c -f", nft)):
        print(f"{name:24} {found.wall:6.2f} s  {found.cpu:6.2f} s of processor  {found.memory / 1e6:6.0f} MB")
    print(f"{rules.stat().st_size / 1e6:.1f} MB of rules; first trace less the shop's: {first.wall - shop.wall:.2f} s")
    return verdict("first trace, of nft's time", (first.wall - shop.wall) / nft.wall, 1.0)


def _load(inside: list[str], rules: Path) -> None:
    """Fail early where the machine's nft does not take the rules."""
    done = subprocess.run([*inside, "nft", "-c", "-f", rules], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"nft refuses the rules: {done.stderr[:500]}")


def _seconds(cluster: Cluster, query: Query) -> float:
    query = anew(query)
    begin = time.perf_counter()
    trace(cluster, query)
    return time.perf_counter() - begin


def _warm(large: Path, there: Question, here: Question) -> bool:
    pairs = ((opened(large), asked(there.source, there.to)), (opened(_SHOP), asked(here.source, here.to)))
    counts = [len(trace(cluster, query).outcomes) for cluster, query in pairs]
    ratios = []
    for _ in range(ROUNDS):
        times = [statistics.median(column) for column in zip(*([_seconds(*p) for p in pairs] for _ in range(_TIMES)), strict=True)]
        print(f"warm: large {times[0] * 1e3:.2f} ms for {counts[0]} paths, shop {times[1] * 1e3:.2f} ms for {counts[1]} paths")
        ratios.append(times[0] / times[1])
    return verdict("warm trace, large to shop", statistics.median(ratios), 1.5)


def main() -> int:
    """Measure, print, and return 0 if both targets are met."""
    drawn = random.Random(seed())
    with tempfile.TemporaryDirectory(prefix="hopline-bench-") as folder, namespace() as inside:
        large = Path(folder) / "large-nftables"
        make_large(_SHOP, large, _COUNT)
        chosen = ScaleService(drawn.choice([n for n in range(_COUNT) if ScaleService(n).is_in_shop]))
        there = Question(source=_pod(drawn), to=f"svc:{chosen.namespace}/{chosen.name}:80")
        here = Question(source=there.source, to="svc:default/api:80")
        print(f"large: {there.source} -> {there.to}\nshop:  {here.source} -> {here.to}")
        fast, flat = _first(large, there, here, inside), _warm(large, there, here)
    return 0 if fast and flat else 1


if __name__ == "__main__":
    sys.exit(main())
