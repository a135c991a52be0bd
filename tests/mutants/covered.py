"""Which tests meet a mutation, quickest first: each test file is run once, alone, with coverage told which test runs.

Alone, because what one file reads and keeps would otherwise count for the first file only. What was recorded of a test file counts as long
as it and the tests' common modules are the same, and for the mutations of a source file as long as that is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.draw import PACKAGES
from tests.mutants.kinds import Mutation
from tests.mutants.session import IMPORTED
from tests.mutants.tree import KEPT, Copy, copies_of, digest, files_of, test_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One test file: the *seconds* of each test that passes, and per source file which lines each ran (bit n for line n)."""

    test_file: str
    seconds: dict[str, float]
    failed: tuple[str, ...]
    lines: dict[str, dict[str, int]]


def recorded(root: Path, wanted: Collection[str], workers: int, seconds: float, *, beside: bool = False) -> tuple[Recorded, ...]:
    """Return what every test file of the engine runs, right for the source files *wanted*; records what is not kept yet.

    *beside*: only of the test files in the folders that mirror those of *wanted*.
    Of each test file it records what *seconds* of processor time allow; what was recorded with fewer is recorded again.
    """
    names = files_of(root)
    tests = test_files(names)
    chosen = [test for test in tests if not beside or any(is_beside(test, file) for file in wanted)]
    common = digest(root, [n for n in names if n.startswith("tests/") and n.endswith(".py") and n not in tests and "/mutants/" not in n])
    kept = {test: KEPT / "covered" / f"{digest(root, [test])}-{common}.json" for test in chosen}
    sources = sources_of(root)
    missing = [test for test in chosen if not _is_right(kept[test], {file: sources[file] for file in wanted}, seconds)]
    (KEPT / "covered").mkdir(parents=True, exist_ok=True)
    with copies_of(root, workers if missing else 0) as lent, ThreadPoolExecutor(workers) as pool:

        def one(test: str) -> str:
            with lent() as copy:
                return _record(copy, test, kept[test], sources, seconds)

        for done, test in enumerate(pool.map(one, missing), start=1):
            print(f"recorded {done}/{len(missing)} {test}", flush=True)
    return tuple(_read(test, path) for test, path in kept.items())


def is_beside(test_file: str, source: str) -> bool:
    """Whether *test_file* stands in the folder that mirrors that of *source*."""
    return test_file.startswith(f"tests/{source.rpartition('/')[0]}/")


def sources_of(root: Path) -> dict[str, str]:
    """Return a digest of each source file that is mutated."""
    found = (str(path.relative_to(root)) for package in PACKAGES for path in sorted((root / package).glob("*.py")))
    return {file: digest(root, [file]) for file in found}


def _is_right(path: Path, wanted: Mapping[str, str], bound: float) -> bool:
    """Whether what is kept at *path* holds for the *wanted* source files: those that its tests ran are still the same."""
    if not path.is_file():
        return False
    held = json.loads(path.read_text())
    return held["bound"] >= bound and all(held["sources"].get(file) == state for file, state in wanted.items() if file in held["lines"])


def _record(copy: Copy, test: str, out: Path, sources: Mapping[str, str], bound: float) -> str:
    """:raises RuntimeError: nothing was recorded."""
    made = out.with_suffix(".new")
    code, printed = copy.run({"record": test, "out": str(made), "seconds": bound})
    if not made.is_file():
        raise RuntimeError(f"{test} ended with {code}: {printed[-2000:]}")
    out.write_text(json.dumps({**json.loads(made.read_text()), "sources": sources, "bound": bound}))
    made.unlink()
    return test


def _read(test: str, path: Path) -> Recorded:
    held = json.loads(path.read_text())
    lines = {source: {context: int(mask, 16) for context, mask in masks.items()} for source, masks in held["lines"].items()}
    return Recorded(test_file=test, seconds=held["seconds"], failed=tuple(held["failed"]), lines=lines)


def meeting(mutation: Mutation, records: Sequence[Recorded]) -> tuple[tuple[str, float], ...]:
    """Return the tests that meet *mutation*, quickest first, with their seconds."""
    found = _running(mutation, mutation.lines, records) or _running(mutation, [mutation.statement], records)
    return tuple(sorted(found.items(), key=lambda test: (test[1], test[0])))


def _running(mutation: Mutation, lines: Iterable[int], records: Sequence[Recorded]) -> dict[str, float]:
    """What runs while a file is collected or its fixtures are made matters to each of its tests.

    A line that runs on import matters wherever its package is used: to each test that runs anything of that, and to those beside it that
    run nothing at all, as they look at what the module holds.
    """
    mask, found = sum(1 << line for line in lines), dict[str, float]()
    package = mutation.file.rpartition("/")[0] + "/"
    for record in records:
        masks = record.lines.get(mutation.file, {})
        if masks.get(IMPORTED, 0) & mask:
            sources = [held for source, held in record.lines.items() if source.startswith(package)]
            looks = is_beside(record.test_file, mutation.file)
            idle = {n for n in record.seconds if looks and not any(n in held for held in record.lines.values())}
            found |= {n: s for n, s in record.seconds.items() if not mutation.on_import or n in idle or any(n in held for held in sources)}
        found |= {n: s for n, s in record.seconds.items() if masks.get(n, 0) & mask}
    return found
