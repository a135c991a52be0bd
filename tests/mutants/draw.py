"""Which mutations are tried: a sample spread evenly over packages and kinds, the same for the same seed as long as the lines are."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from tests.mutants.kinds import Mutation, compiles, mutations_of

PACKAGES = ("tracer/simulate", "tracer/front", "tracer/netfilter", "tracer/explain/dependencies", "tracer/routing", "tracer/ipvs")


def drawn(root: Path, seed: int, count: int) -> tuple[Mutation, ...]:
    """Return *count* mutations of the packages under *root*, fewer where there are not so many.

    A mutation's place in the draw is a digest of the seed and of what it changes, so that a change of one function leaves the mutations
    of all others in the sample.
    """
    cells: dict[tuple[str, str], list[Mutation]] = defaultdict(list)
    for package in PACKAGES:
        for mutation in _of_package(root, package):
            cells[package, mutation.kind].append(mutation)
    ranked = [sorted(cell, key=lambda m: _rank(seed, m)) for _, cell in sorted(cells.items())]
    return tuple(_first_of_each_place(root, ranked, count))


def _of_package(root: Path, package: str) -> Iterator[Mutation]:
    for path in sorted((root / package).glob("*.py")):
        yield from mutations_of(str(path.relative_to(root)), path.read_bytes())


def _first_of_each_place(root: Path, ranked: Sequence[Sequence[Mutation]], count: int) -> list[Mutation]:
    """Take one of each cell in turn, and of each place in a file (its bytes) only one."""
    taken: dict[tuple[str, int, int], Mutation] = {}
    for mutation in chain.from_iterable(zip_longest(*ranked)):
        if len(taken) == count:
            break
        if mutation is not None and compiles(mutation.applied((root / mutation.file).read_bytes())):
            taken.setdefault((mutation.file, mutation.start, mutation.end), mutation)
    return list(taken.values())


def _rank(seed: int, mutation: Mutation) -> str:
    return hashlib.sha256(f"{seed} {mutation.key}".encode()).hexdigest()
