"""YAML as kubectl and must-gather write it, and what must not explode."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ParseError, TracerError
from tracer.limits import NESTING
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
        ("a: &x 1\nb: *x", "f.yaml:1: not usable YAML: anchors are refused, as aliases are"),
        ("a: *x", "f.yaml:1: not usable YAML: aliases are refused: they can make a small file huge"),
        ("a: &x [1]", "f.yaml:1: not usable YAML: anchors are refused, as aliases are"),
        ("a: 1\nb: 2\na: 3", "f.yaml:3: not usable YAML: the key 'a' stands twice"),
        ("<<: {a: 1}", "f.yaml:1: not usable YAML: merge keys are refused, as aliases are"),
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


def test_a_bomb_is_refused_at_once() -> None:
    bomb = "a: &a [x]\n" + "".join(f"{n}: &{n} [*{p}, *{p}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True))
    with pytest.raises(ParseError, match="anchors are refused"):
        values(bomb)


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
