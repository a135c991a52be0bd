"""YAML as kubectl, must-gather and people write it, and what must not explode."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ParseError, TracerError
from tracer.limits import EXPANDED, NESTING
from tracer.snapshot.yaml_documents import read_yaml


def values(text: str) -> list[Any]:
    return [d.value for d in read_yaml(text, "f.yaml")]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: -7", {"a": -7}),
        ("a: 1.5", {"a": 1.5}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: true", {"a": True}),
        ("a: null", {"a": None}),
        ("a:", {"a": None}),
        ("a: ~", {"a": None}),
        ("a: 'true'", {"a": "true"}),
        ('a: "1"', {"a": "1"}),
        ("a: yes", {"a": "yes"}),
        ("a: off", {"a": "off"}),
        ("a: 20:30", {"a": "20:30"}),
        ("a: 0x10", {"a": "0x10"}),
        ("a: 2026-11-20T12:56:48Z", {"a": "2026-11-20T12:56:48Z"}),
        ("a: 10.96.0.1", {"a": "10.96.0.1"}),
        ("a: fd00::1", {"a": "fd00::1"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: ! 1", {"a": "1"}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("{a: [1, {b: c}], d: {}}", {"a": [1, {"b": "c"}], "d": {}}),
        ("- 1\n- - 2\n", [1, [2]]),
        ("1: a", {"1": "a"}),
        ("data: !!binary aGk=", {"data": "aGk="}),
        ("a: &x 1\nb: *x", {"a": 1, "b": 1}),
        ("a: &x [1, {b: 2}]\nc: [*x, *x]", {"a": [1, {"b": 2}], "c": [[1, {"b": 2}]] * 2}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
        ("&k a: 1\nb: *k", {"a": 1, "b": "a"}),
        ("a: &x {p: [1]}\nb: {<<: *x, q: 2}", {"a": {"p": [1]}, "b": {"p": [1], "q": 2}}),
        (
            "a: &x {p: 1, q: 1}\nb: &y {p: 2}\nc: {r: 3, <<: [*y, *x]}",
            {"a": {"p": 1, "q": 1}, "b": {"p": 2}, "c": {"p": 2, "q": 1, "r": 3}},
        ),
        ("a: &x {p: 1}\nb: {<<: *x, p: 3}\nc: {p: 4, <<: *x}", {"a": {"p": 1}, "b": {"p": 3}, "c": {"p": 4}}),
        ("a: {'<<': 1}\nb: {<<: {c: 1}}", {"a": {"<<": 1}, "b": {"c": 1}}),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert values(text) == [value]


def test_documents_and_their_lines() -> None:
    text = "---\nkind: A\n---\n# nothing\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n"
    first, second = read_yaml(text, "f.yaml")
    items = second.value["items"]  # type: ignore[index]
    assert (first.value, first.line, second.line) == ({"kind": "A"}, 2, 6)
    assert [second.lines[id(i)] for i in items] == [8, 9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: *x", "f.yaml:1: not usable YAML: the alias 'x' stands for nothing that comes before it"),
        ("a: &x 1\n---\nb: *x", "f.yaml:3: not usable YAML: the alias 'x' stands for nothing that comes before it"),
        ("a: &x [1, {b: *x}]", "f.yaml:1: not usable YAML: the alias 'x' stands for what it is in, which has no end"),
        ("&x a: 1\nb: &y {<<: *y}", "f.yaml:2: not usable YAML: the alias 'y' stands for what it is in, which has no end"),
        ("a: &x 1\n*x : 2", "f.yaml:2: not usable YAML: a key that is not a string"),
        (f"a: &x {'[' * 60}{']' * 60}\nb: {'[' * 50}*x{']' * 50}", f"f.yaml:2: not usable YAML: nested more than {NESTING} deep"),
        ("<<: 1", "f.yaml:1: not usable YAML: a merge key (<<) stands before what is no mapping"),
        ("a: &x [1]\nb: {<<: [*x]}", "f.yaml:2: not usable YAML: a merge key (<<) stands before what is no mapping"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3: not usable YAML: the key 'a' stands twice"),
        ("[1, 2]: a", "f.yaml:1: not usable YAML: a key that is not a string"),
        ("a: !!python/object:os.system 1", "f.yaml:1: not usable YAML: the tag tag:yaml.org,2002:python/object:os.system is refused"),
        ("a: [1", "f.yaml:1: not YAML: did not find expected ',' or ']'"),
        ("a: b: c", "f.yaml:1: not YAML: mapping values are not allowed in this context"),
        ("a: \x01", "f.yaml: not YAML:"),
        ("[" * (NESTING + 1), f"f.yaml:1: not usable YAML: nested more than {NESTING} deep"),
        ("- " * (NESTING + 1), f"f.yaml:1: not usable YAML: nested more than {NESTING} deep"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        values(text)
    assert str(caught.value).startswith(message)


_NINE = ", ".join(["*{0}"] * 9)
BOMBS = {
    "laughs": "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{_NINE.format(f'a{n}')}]\n" for n in range(30)),
    "merges": "a0: &a0 {x: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{_NINE.format(f'a{n}')}]}}\n" for n in range(30)),
    "characters": f"a: &a {'x' * 50_000}\nb: [{', '.join(['*a'] * 100)}]\n",
    "many documents": f"---\na: &a [{'x, ' * 500}]\nb: [{', '.join(['*a'] * 100)}]\n" * 50,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_ends_at_a_bound_and_nothing_is_written_out(bomb: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ParseError, match=f"its aliases stand for more than {EXPANDED:,} values and characters"):
            values(BOMBS[bomb])
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_aliases_of_a_long_text_may_add_as_much_as_it_is_long() -> None:
    text = f"a: &a {'x' * 100_000}\nb: {'y' * 1_200_000}\nc: [{', '.join(['*a'] * 12)}]\n"
    assert len(values(text)[0]["c"]) == 12
    with pytest.raises(ParseError, match="its aliases stand for more than 1,3"):
        values(text.replace("c: [", "c: [*a, *a, "))


def test_aliases_stand_where_their_value_stands() -> None:
    (document,) = read_yaml("kind: List\nitems:\n- &s {kind: A}\n- *s\n", "f.yaml")
    assert [document.lines[id(i)] for i in document.value["items"]] == [3, 3]  # type: ignore[index]
    assert document.has_aliases


def test_a_caret_points_at_the_fault() -> None:
    with pytest.raises(ParseError) as caught:
        values("kind: List\nname: b: c\n")
    assert str(caught.value).splitlines()[1:] == ["    name: b: c", "           ^"]


trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cc", "Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc<", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(trees)
def test_json_is_yaml(value: Any) -> None:
    # But for characters beyond U+FFFF: JSON escapes those as a pair of surrogates, which YAML refuses.
    found = values(json.dumps(value, ensure_ascii=True))
    assert found == ([] if value is None else [value])


@given(st.text(st.sampled_from("ab:-[]{},&*!|>'\"#%@` \n\t?~0.\\"), max_size=60))
def test_any_text_raises_only_what_is_meant(text: str) -> None:
    try:
        values(text)
    except TracerError as error:
        assert "f.yaml" in str(error)
