"""JSON within bounds: depth, numbers, constants; and the depth that is counted from the text is the depth of the value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.json_values import check_depth, load_json
from tracer.limits import DIGITS, NESTING

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(alphabet='ab[]{}"\\/\n\u2028é'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='a[]{}"\\'), inner, max_size=3),
    max_leaves=25,
)


@pytest.mark.parametrize("text", ["1e999", "[-1e400]", "NaN", "Infinity", "1" * (DIGITS + 1), "[" * 100_000, '{"a":' * 100_000, "[1", ""])
def test_what_is_beyond_a_bound_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        load_json(text)


def test_values_up_to_the_bounds_are_read() -> None:
    assert load_json("9" * DIGITS) == int("9" * DIGITS)
    assert load_json("1e300") == 1e300
    assert load_json("[" * NESTING + "]" * NESTING)
    with pytest.raises(ValueError, match=f"nested more than {NESTING} deep"):
        load_json("[" * (NESTING + 1) + "]" * (NESTING + 1))


@pytest.mark.parametrize(
    "text",
    [
        '["]"' + ',["]"' * NESTING + ',"["]' * (NESTING + 1),  # brackets in strings that would pair with those outside
        '["\\"]"' + ',["\\"]"' * NESTING + "]" * (NESTING + 1),
        '["\\\\"' + ',["\\\\"' * NESTING + "]" * (NESTING + 1),
        "[{}" + ",[{}" * NESTING + "]" * (NESTING + 1),
    ],
)
def test_brackets_in_strings_do_not_hide_a_depth(text: str) -> None:
    assert json.loads(text)
    with pytest.raises(ValueError, match="nested more than"):
        check_depth(text)


@given(VALUES)
def test_brackets_in_strings_are_no_depth(value: object) -> None:
    text = json.dumps([value] * 40)  # enough brackets for the depth to be looked at, and never near the bound
    check_depth(text)
    assert load_json(text) == [value] * 40
