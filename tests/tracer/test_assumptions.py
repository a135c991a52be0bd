"""The table of assumptions, its words, and what is refused."""

from __future__ import annotations

import re

import pytest

from tests.live_server import PROJECT
from tracer.assumptions import KINDS, assumption_words, parse_assumptions
from tracer.errors import QueryError
from tracer.query import query_from_dict

ASKED = {"from": "node:a", "to": "10.0.0.1:80"}


def test_the_contract_lists_every_word_in_order() -> None:
    text = (PROJECT / "docs/trace-json.md").read_text()
    for name, kind in KINDS.items():
        words = ", ".join(f"`{word}`" for word in kind.spelled(name))
        assert f"| {words} | {kind.about} |" in text, name


def test_words_are_read_once_and_in_the_tables_order() -> None:
    assert parse_assumptions(["network:drops-pods", "front:kept", "enters:n1", "front:kept"]) == (
        "front:kept",
        "enters:n1",
        "network:drops-pods",
    )
    assert parse_assumptions(()) == ()


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["front:other"], "front:node-port, front:kept, front:pod"),
        (["front"], "front:node-port, front:kept, front:pod"),
        (["front:"], "front:node-port"),
        (["enters:"], "enters:NODE"),
        (["enters:a b"], "enters:NODE"),
        (["weather:good"], ", ".join(assumption_words())),
        ([""], "network:drops-pods"),
        ([7], "enters:NODE"),
        ([None], "enters:NODE"),
        (["x" * 1000], "front:kept"),
    ],
)
def test_a_word_that_does_not_exist_is_refused_with_those_that_do(texts: list[object], named: str) -> None:
    with pytest.raises(QueryError, match=re.escape(named)) as caught:
        parse_assumptions(texts)
    assert (caught.value.code, caught.value.field) == ("BAD_ASSUMPTION", "assume")
    assert len(str(caught.value)) < 600


def test_two_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(QueryError, match="front is assumed to be both kept and pod"):
        parse_assumptions(["front:kept", "front:pod"])


def test_a_query_carries_them() -> None:
    query = query_from_dict({**ASKED, "assume": ["network:drops-pods", "front:pod"]})
    assert query.assume == ("front:pod", "network:drops-pods")
    assert query.to_dict()["assume"] == ["front:pod", "network:drops-pods"]
    assert query_from_dict({**query.to_dict(), "to": "10.0.0.1:80"}) == query
    assert "assume" not in query_from_dict(ASKED).to_dict()


@pytest.mark.parametrize("value", ["front:kept", {"front": "kept"}, 7, [["front:kept"]]])
def test_anything_but_a_list_of_words_is_refused(value: object) -> None:
    with pytest.raises(QueryError) as caught:
        query_from_dict({**ASKED, "assume": value})
    assert caught.value.code == "BAD_ASSUMPTION"
