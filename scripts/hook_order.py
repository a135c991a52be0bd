"""Write the table of hooks in docs/theory.md from ``tracer/netfilter/hook_order.py``; ``--check`` only compares.

Usage: ``python scripts/hook_order.py [--check]``
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tracer.netfilter.hook_order import HOOKS, TRACKS, TRANSLATES
from tracer.netfilter.model import Hook, Priority

PAGE = Path(__file__).resolve().parent.parent / "docs/theory.md"
_TABLE = re.compile(r"(?m)^\| hook \|.*\n(?:\|.*\n)+")
_HEADS = {
    Priority.RAW: "raw",
    Priority.CONNTRACK: "conntrack",
    Priority.MANGLE: "mangle",
    Priority.NAT_DST: "nat (dst)",
    Priority.FILTER: "filter",
    Priority.SECURITY: "security",
    Priority.NAT_SRC: "nat (src)",
}


def table() -> str:
    """Return the table: a row for each hook, a column for each priority."""
    heads = [f"{name} {priority.value}".replace("-", "−") for priority, name in _HEADS.items()]
    rows = [[hook.name, *(_cell(hook, priority) for priority in _HEADS)] for hook in HOOKS]
    return "".join(map(_row, [["hook", *heads], *rows])).replace("\n", f"\n{'|---' * (len(heads) + 1)}|\n", 1)


def _cell(hook: Hook, priority: Priority) -> str:
    if priority is Priority.CONNTRACK:
        return TRACKS.get(hook, "")
    if priority not in [asked for asked, _ in HOOKS[hook]]:
        return ""
    return ", ".join(TRANSLATES[hook]) if priority in (Priority.NAT_DST, Priority.NAT_SRC) else "✓"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |")


def page(text: str) -> str:
    """Return docs/theory.md with its table as it should be. :raises ValueError: there is no table, or there are several."""
    made, count = _TABLE.subn(lambda _: table(), text)
    if count != 1:
        raise ValueError(f"{count} tables of hooks")
    return made


def main(arguments: list[str]) -> int:
    """Write or check. Returns the exit code."""
    before = PAGE.read_text()
    after = page(before)
    if "--check" in arguments:
        return int(before != after)
    PAGE.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
