"""What came of the mutations, as text."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Container, Sequence

from tests.mutants.draw import PACKAGES
from tests.mutants.kinds import Kind, Mutation
from tests.mutants.trial import Outcome, Verdict


def difference(mutation: Mutation, source: bytes) -> str:
    """Return the lines that *mutation* changes, as a diff without context."""
    before, after = (text.decode().splitlines() for text in (source, mutation.applied(source)))
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    return "\n".join(f"    {line}" for line in lines if not line.startswith("@@"))


def table(verdicts: Sequence[tuple[Mutation, Verdict]], excused: Container[str]) -> str:
    """Return a Markdown table: a row for each package and each kind, with what was caught and what was not."""
    rows = ["| | tried | caught | survived | no test covers it | changes nothing |", "|---|--:|--:|--:|--:|--:|"]
    for package in PACKAGES:
        rows.append(_row(f"`{package}`", [v for v in verdicts if v[0].file.startswith(f"{package}/")], excused))
    for kind in Kind:
        rows.append(_row(kind.value, [v for v in verdicts if v[0].kind is kind], excused))
    return "\n".join([*rows, _row("all", verdicts, excused)])


def _row(name: str, verdicts: Sequence[tuple[Mutation, Verdict]], excused: Container[str]) -> str:
    found: Counter[str] = Counter()
    for mutation, verdict in verdicts:
        caught = verdict.outcome in (Outcome.CAUGHT, Outcome.HUNG)
        found["caught" if caught else "nothing" if mutation.key in excused else verdict.outcome] += 1
    counts = (len(verdicts), found["caught"], found[Outcome.SURVIVED], found[Outcome.UNMET], found["nothing"])
    return f"| {name} | " + " | ".join(map(str, counts)) + " |"
