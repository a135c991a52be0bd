#!/usr/bin/env python3
"""Write the rows of migration reports into docs/modes.md from tracer/migration/known.py; --check: are they there? (exit code 1 if not)"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tracer.migration.known import ROWS, Row  # noqa: E402

PAGE = ROOT / "docs/modes.md"
BEGIN, END = "<!-- rows: scripts/migration_rows.py -->\n", "<!-- end of rows -->\n"


def table() -> str:
    """Return the table."""
    return "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    yield "| row | between | what differs | to keep what was |"
    yield "|---|---|---|---|"
    yield from (f"| `{row.id}` | {_between(row)} | {row.text} | {_keep(row)} |" for row in ROWS)


def _between(row: Row) -> str:
    sides = " ↔ ".join(", ".join(sorted(side)) for side in (row.one, row.other))
    last = f" to 1.{row.minors.stop - 1}" if row.minors.stop < 1000 else " on"
    return sides if row.minors == range(20, 1000) else f"{sides}, kube-proxy from 1.{row.minors.start}{last}"


def _keep(row: Row) -> str:
    by_text: dict[str, list[str]] = {}
    for mode, text in row.keep.items():
        by_text.setdefault(text, []).append(mode)
    return " ".join(f"To {', '.join(modes)}: {text}" for text, modes in by_text.items())


def main() -> int:
    """Write the table, or compare it."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    page = before + BEGIN + table() + END + rest.partition(END)[2]
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text() == page else 1
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
