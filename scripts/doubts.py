#!/usr/bin/env python3
"""Counts what answers about healthy recordings leave open, and compares two trees: a check against doubts that nobody needs.

    python scripts/doubts.py write OUT.jsonl [--questions 200] [--seed 12]
    python scripts/doubts.py table BEFORE.jsonl AFTER.jsonl

*write* asks the tree that it runs in (``manage.py trace``), so that it asks an older tree as well; the questions are drawn by the seed from
what each recording says of itself: ordinary ones, IPv6, names, returning clients, recorded connections. *table* prints one row a recording:
how many answers have an unknown end, how many a condition, before and after, and below it every question that gained one. Exit code 1:
some did.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from asked_questions import KINDS, Asked, known_of, recordings

_ASKED = {"ordinary": 0.5, "ipv6": 0.15, "names": 0.15, "returning": 0.1, "connections": 0.1}
_SMALL = 0.15  # of a what-if pair, of which there are many, so much of the questions


def _questions(asked: Asked, folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    known = known_of(folder)
    drawn = random.Random(f"{seed} {asked.place}")
    made: dict[str, dict[str, Any]] = {}
    for _ in range(count * 3):
        kind = drawn.choices(list(_ASKED), list(_ASKED.values()))[0]
        question = KINDS[kind](known, drawn)
        if isinstance(question, dict) and len(made) < count:
            made.setdefault(json.dumps(question), question)
    return [question | {"id": str(n)} for n, question in enumerate(made.values())]


def _answers(folder: Path, questions: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    command = [sys.executable, "-W", "ignore", "manage.py", "trace", str(folder), "--batch", "-"]
    yield from map(json.loads, subprocess.run(command, input=lines, capture_output=True, text=True, check=False).stdout.splitlines())


def _doubts(answer: dict[str, Any]) -> dict[str, Any]:
    outcomes = answer.get("outcomes", [])
    ways = [(o["disposition"], (o.get("reply") or {}).get("disposition")) for o in outcomes]
    conditions = sorted({str(c) for o in outcomes for c in o.get("conditions") or ()})
    reasons = sorted({(o.get("reason") or {}).get("code", "") for o in outcomes if o["disposition"] == "unknown"})
    return {"unknown": any("unknown" in way for way in ways), "why": reasons, "conditions": conditions, "error": "error" in answer}


def write(out: Path, count: int, seed: int) -> None:
    """Ask this tree and write a line for each question."""
    tree = Path.cwd()
    with out.open("w") as file:
        for asked, weight in recordings(tree):
            if "/cases/" in asked.place:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                folder = asked.unpacked(Path(scratch))
                made = _questions(asked, folder, count if weight >= 1 else round(count * _SMALL), seed)
                for question, answer in zip(made, _answers(folder, made), strict=True):
                    file.write(json.dumps({"recording": asked.place, "question": question} | _doubts(answer)) + "\n")


def table(before: Path, after: Path) -> int:
    """Print the table, and what gained a doubt; return how many questions did."""
    rows: dict[str, list[int]] = {}
    gained = []
    pairs = zip(*(map(json.loads, path.read_text().splitlines()) for path in (before, after)), strict=True)
    for old, new in pairs:
        if (old["recording"], old["question"]) != (new["recording"], new["question"]):
            raise SystemExit("the two were not asked the same questions")
        name = old["recording"].removeprefix("../shared/")
        row = rows.setdefault("whatif (all)" if name.startswith("whatif/") else name, [0] * 5)
        for place, value in enumerate((1, old["unknown"], new["unknown"], bool(old["conditions"]), bool(new["conditions"]))):
            row[place] += value
        if (new["unknown"] and not old["unknown"]) or (new["conditions"] and not old["conditions"]):
            gained.append((name, new))
    print("| recording | questions | unknown before | after | with a condition before | after |\n|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(map(str, row))} |")
    for name, new in gained:
        print(f"{name}: {json.dumps(new['question'])}: {', '.join([*new['why'], *new['conditions']])[:300]}")
    return len(gained)


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("does", choices=["write", "table"])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=12)
    options = parser.parse_args()
    if options.does == "write":
        write(options.files[0], options.questions, options.seed)
        return 0
    return int(bool(table(*options.files)))


if __name__ == "__main__":
    sys.exit(main())
