"""The words for an ending stand once: every page and the contract draw them from the table."""

from __future__ import annotations

import ast
import re

import pytest

from tests.live_server import PROJECT
from tracer.dispositions import SEES, WORDS, Words
from tracer.stations.station import ENDS, StationKind
from tracer.trace import Disposition, Sees

NOT_ENDINGS = {
    "the name has no address": {"tracer/dns/resolver.py"},
}
"""Phrase → modules that say it of something else: a look-up's answer, a browser's request."""


def words() -> list[tuple[str, Words]]:
    return [(disposition.value, WORDS[disposition]) for disposition in Disposition]


def test_every_disposition_has_its_words() -> None:
    assert set(WORDS) == set(Disposition)
    for name, said in words():
        assert said.title and said.seen and said.meaning, name
        assert name == "delivered" or (said.box and said.station and said.line), name


def test_everything_that_a_client_may_see_has_a_sentence_and_stands_in_the_contract() -> None:
    assert set(SEES) == set(Sees)
    assert [seen for seen in Sees if not SEES[seen]] == [Sees.UNKNOWN]
    row = next(line for line in (PROJECT / "docs/trace-json.md").read_text().splitlines() if line.startswith("| `client_sees` |"))
    assert [seen for seen in Sees if f"`{seen.value}`" not in row] == []


def test_every_ending_but_delivery_has_a_last_station() -> None:
    assert set(ENDS) == set(Disposition) - {Disposition.DELIVERED}
    told = {d for d, (kind, _) in ENDS.items() if kind is StationKind.REJECT}
    assert told == {Disposition.REJECTED, Disposition.UNREACHABLE, Disposition.CLOSED, Disposition.UNRESOLVED}
    assert [d for d, (kind, _) in ENDS.items() if kind is StationKind.UNKNOWN] == [Disposition.UNKNOWN]


@pytest.mark.parametrize(("name", "said"), words())
def test_the_contract_says_the_same(name: str, said: Words) -> None:
    assert f"| `{name}` | {said.meaning} | {said.seen} |\n" in (PROJECT / "docs/trace-json.md").read_text()


def test_no_other_module_says_them() -> None:
    """Phrases of several words; a title of one word is an ordinary word."""
    told = [text for _, said in words() for text in (said.title, said.station, said.line, said.sees)]
    phrases = {text for text in (*told, *SEES.values()) if text.count(" ") >= 2}
    assert len(phrases) > 15
    for module in (*PROJECT.glob("tracer/**/*.py"), *PROJECT.glob("webapp/**/*.py")):
        name = module.relative_to(PROJECT).as_posix()
        constants = {n.value for n in ast.walk(ast.parse(module.read_text())) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
        assert name == "tracer/dispositions.py" or {p for p in phrases & constants if name not in NOT_ENDINGS.get(p, ())} == set(), name


def test_no_other_module_lists_dispositions() -> None:
    """A dictionary with an entry for most of them is a second table."""
    listed = re.compile("|".join(f'Disposition\\.{d.name}:|"{d.value}": ' for d in Disposition))
    for module in (*PROJECT.glob("tracer/**/*.py"), *PROJECT.glob("webapp/**/*.py")):
        assert module.name == "dispositions.py" or len(listed.findall(module.read_text())) < 4, module
