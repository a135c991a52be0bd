"""No answer is certain and another one when what decided it was damaged; and not everything is doubtful then."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.garbled.check import SEED, checked, run
from tests.garbled.garble import FILES, LINES, OPTIONS, TABLES, damaged
from tests.sizes import FULL

pytestmark = pytest.mark.needs_shared

WANTED = 400 if FULL else 80


def test_no_answer_is_certain_and_another_one(shared: Path) -> None:
    found = list(run(WANTED, shared / "recordings", SEED))
    assert len(found) == WANTED
    assert not [str(one) for one in found if one.verdict == "wrong"]
    counts = Counter(one.verdict for one in found)
    assert counts["doubtful"] > WANTED // 3
    assert counts["same"] > WANTED // 20
    assert {one.damage.level for one in found} == {"option", "line", "table", "file"}


def test_a_damage_is_made_again_from_its_number(shared: Path) -> None:
    first = next(run(1, shared / "recordings", SEED))
    assert checked(first.seed, shared / "recordings") == first


def test_every_way_of_damage_changes_some_text() -> None:
    import random

    text = (
        "*nat\n:PREROUTING ACCEPT [0:0]\n:KUBE-SEP-A - [0:0]\n"
        '-A PREROUTING -d 10.96.0.1/32 -p tcp -m comment --comment "a b" -m tcp --dport 80 -j KUBE-SEP-A\nCOMMIT\n'
    )
    nft = "table ip t {\n\tchain c {\n\t\tip daddr 10.96.0.1 tcp dport 80 jump d\n\t}\n}\n"
    made = {
        found.way
        for number in range(600)
        for level in ("option", "line", "table", "file")
        for dump, line in ((text, 4), (nft, 3))
        if (found := damaged("p", dump, line, "*nat\nCOMMIT\n", level, random.Random(number))) and found.text != dump
    }
    assert made == {*OPTIONS, *LINES, *TABLES, *FILES}
