"""The batch that holds two trees against each other: it has enough of each kind, is drawn twice the same, and finds what differs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import same_answers
from tests.conftest import DEMO, PROJECT

SCRIPT = PROJECT / "scripts/same_answers.py"
QUESTIONS = 80


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree of this code with one recording."""
    return tree_with(tmp_path_factory.mktemp("tree"), DEMO / "shop-iptables")


def tree_with(root: Path, recording: Path) -> Path:
    root.mkdir(exist_ok=True)
    for name in ("manage.py", "tracer", "webapp", "templates", "static"):
        (root / name).symlink_to(PROJECT / name)
    shutil.copytree(recording, root / "demo/shop")
    return root


def run(tree: Path, *words: object) -> tuple[int, str]:
    command = [sys.executable, SCRIPT, *map(str, words)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def first(tree: Path) -> tuple[Path, str]:
    """Return the answers of a small batch, and what was said of it."""
    code, said = run(tree, "write", tree / "first.jsonl", "--questions", QUESTIONS, "--engine-only", "--processes", 1)
    assert code == 0, said
    return tree / "first.jsonl", said


def test_it_has_enough_of_each_kind(first: tuple[Path, str]) -> None:
    counts = {kind: int(count) for count, kind in re.findall(r"(\d+) (\w+)", first[1])}
    assert {kind for kind in same_answers.SHARES if counts.get(kind, 0) < QUESTIONS * 300 // 4000} <= {"ordinary"}, first[1]


def test_nothing_differs_when_nothing_changed(tree: Path, first: tuple[Path, str]) -> None:
    code, said = run(tree, "write", tree / "again.jsonl", "--questions-from", first[0], "--sample", 4, "--processes", 1)
    assert code == 0, said
    assert run(tree, "compare", first[0], tree / "again.jsonl")[0] == 1
    code, said = run(tree, "compare", first[0], tree / "again.jsonl", "--part")
    assert (code, said.splitlines()[-1]) == (0, f"all: {QUESTIONS // 4} of {QUESTIONS // 4} equal byte for byte")


def test_another_answer_is_told_with_its_question(tmp_path: Path, first: tuple[Path, str]) -> None:
    other = tree_with(tmp_path / "other", DEMO / "shop-iptables")
    for rules in other.glob("demo/shop/nodes/*/iptables-save.txt"):
        rules.write_text(rules.read_text().replace("-A PREROUTING", "-A INPUT"))
    code, said = run(other, "write", "out.jsonl", "--questions-from", first[0], "--sample", 8, "--processes", 1)
    assert code == 0, said
    code, said = run(other, "compare", first[0], "out.jsonl", "--part")
    assert code == 1, said
    assert re.search(r'^DIFFERS [0-9a-f]{10} json,text \{"recording": "demo/shop"', said, re.MULTILINE), said


# --- compare -------------------------------------------------------------------------------------------------------------


def line(number: int, **changes: str) -> dict[str, object]:
    asked = {"recording": "demo/shop", "question": {"from": "node:a", "to": f"10.0.0.{number}:80"}}
    return {"n": number, "kinds": ["ordinary"], "seen": [], "json": "1", "text": "2"} | asked | changes


def written(path: Path, *lines: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


SAME = [line(number) for number in range(3)]
PAGE = {"n": 3, "page": "/c/shop/trace", "kinds": ["pages"], "seen": [], "html": "3"}


@pytest.mark.parametrize(
    ("others", "code", "said"),
    [
        ([*SAME, PAGE], 0, "all: 4 of 4 equal byte for byte"),
        ([SAME[0], line(1, json="9"), SAME[2], PAGE], 1, "DIFFERS {0} json {{"),
        ([SAME[0], line(1, text="9"), SAME[2], PAGE], 1, "DIFFERS {0} text {{"),
        ([SAME[0], line(1, text="9", json="9"), SAME[2], PAGE], 1, "ordinary: 2 of 3 equal"),
        ([*SAME, PAGE | {"html": "9"}], 1, ' html {{"page": "/c/shop/trace"}}'),
        ([SAME[0], SAME[2], PAGE], 1, "DIFFERS {0} only in the first {{"),
        ([*SAME, PAGE, line(4)], 1, "only in the second"),
        ([line(1, recording="demo/other"), SAME[0], SAME[2], PAGE], 1, "DIFFERS {0} only in the first"),
    ],
)
def test_what_differs_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], others: list[dict[str, object]], code: int, said: str
) -> None:
    a, b = written(tmp_path / "a", *SAME, PAGE), written(tmp_path / "b", *others)
    assert same_answers.main(["compare", str(a), str(b)]) == code
    assert said.format(same_answers.name_of(SAME[1])) in capsys.readouterr().out


def test_what_is_allowed_may_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = written(tmp_path / "a", *SAME), written(tmp_path / "b", SAME[0], line(1, json="9"), SAME[2])
    allow = tmp_path / "allow"
    allow.write_text(f"# one\n{same_answers.name_of(SAME[1])} json {{}}  # is settled earlier\n{same_answers.name_of(SAME[2])}\n")
    assert same_answers.main(["compare", str(a), str(b), "--allow", str(allow)]) == 0
    said = capsys.readouterr().out
    assert f"allowed {same_answers.name_of(SAME[1])} json" in said
    assert f"allowed, but equal or not asked: {same_answers.name_of(SAME[2])}" in said
    written(b, line(0, text="9"), line(1, json="9"), SAME[2])
    assert same_answers.main(["compare", str(a), str(b), "--allow", str(allow)]) == 1


def test_nothing_asked_is_not_equal(tmp_path: Path) -> None:
    assert same_answers.main(["compare", str(written(tmp_path / "a")), str(written(tmp_path / "b"))]) == 1


def test_a_page_is_steady() -> None:
    page = '<input name="csrfmiddlewaretoken" value="{0}"><body hx-headers=\'{{"x-csrftoken": "{0}"}}\'><a href="/t/{1}">/snapshots/{2}</a>'
    one, other = (page.format(c * 64, c * 26, c * 16) for c in "ab")
    assert same_answers.asked_pages.steady(one, "a" * 16) == same_answers.asked_pages.steady(other, "b" * 16)
    assert same_answers.asked_pages.steady(one, None) != same_answers.asked_pages.steady(other, None)
