"""Lines that are cut out when they are asked for are those that ``split`` gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.netfilter.split_text import SplitText


@given(st.text("ab\n\r", max_size=30), st.integers(-5, 5), st.integers(-5, 5))
def test_lines_are_those_of_split(text: str, begin: int, end: int) -> None:
    lines, split = SplitText(text), text.split("\n")
    assert list(lines) == split
    assert list(reversed(lines)) == split[::-1]
    assert lines[begin:end] == split[begin:end]
    assert [lines[n] for n in range(-len(split), len(split))] == split + split
    for place in (len(split), -len(split) - 1):
        with pytest.raises(IndexError):
            lines[place]
