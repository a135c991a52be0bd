"""What trials have shown so far, kept in a file so that a run that was stopped goes on where it was.

A catch counts as long as the mutated file and the file of the test that noticed are the same. Everything else is tried again as soon as
anything of the engine or of its tests is another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.mutants.kinds import Mutation
from tests.mutants.tree import digest, files_of
from tests.mutants.trial import Outcome, Verdict

_CATCHES = (Outcome.CAUGHT, Outcome.HUNG)


class Journal:
    """The verdicts of one tree; *asked* says which of its tests were, where it was not all: who survived those is tried again by others."""

    def __init__(self, path: Path, root: Path, *, asked: str = "") -> None:
        self._path = path
        self._root = root
        names = [n for n in files_of(root) if n.endswith(".py") and n.startswith(("tracer/", "tests/")) and "tests/mutants/" not in n]
        self._state = digest(root, names) + asked
        self._held: dict[str, Verdict] = dict(self._read())

    def _read(self) -> Iterator[tuple[str, Verdict]]:
        if not self._path.is_file():
            return
        for line in self._path.read_text().splitlines():
            entry = json.loads(line)
            verdict = Verdict(outcome=Outcome(entry["outcome"]), by=entry["by"], ran=entry["ran"], of=entry["of"])
            if self._counts(entry, verdict):
                yield entry["key"], verdict

    def _counts(self, entry: dict[str, Any], verdict: Verdict) -> bool:
        if entry["state"] == self._state:
            return True
        return verdict.outcome in _CATCHES and self._digests(entry["file"], verdict) == entry["digests"]

    def _digests(self, file: str, verdict: Verdict) -> list[str]:
        test = verdict.by.partition("::")[0]
        return [digest(self._root, [name]) if (self._root / name).is_file() else "" for name in (file, test)]

    def verdict(self, mutation: Mutation) -> Verdict | None:
        """Return what is known of *mutation* in this tree."""
        return self._held.get(mutation.key)

    def add(self, mutation: Mutation, verdict: Verdict) -> None:
        """Keep a verdict."""
        self._held[mutation.key] = verdict
        entry = {
            "key": mutation.key,
            "file": mutation.file,
            "outcome": verdict.outcome,
            "by": verdict.by,
            "ran": round(verdict.ran, 1),
            "of": round(verdict.of, 1),
            "state": self._state,
            "digests": self._digests(mutation.file, verdict),
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as out:
            out.write(json.dumps(entry) + "\n")
