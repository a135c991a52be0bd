"""A pattern that is compiled when it is first asked is what ``re.compile`` returns."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tracer.patterns import pattern

CASES: tuple[tuple[Any, int, Any], ...] = (
    (r"(?P<first>[a-z])[0-9]", re.ASCII, "a1 B2 c3"),
    (r"(?P<first>[a-z])[0-9]", re.IGNORECASE, "B2"),
    (rb"(?P<first>[a-z])[0-9]", 0, b"a1 c3"),
    (r"(?P<first>x)", 0, "none"),
)


@pytest.mark.parametrize(("text", "flags", "asked"), CASES)
def test_it_answers_as_the_compiled_one(text: Any, flags: int, asked: Any) -> None:
    wanted, lazy = re.compile(text, flags), pattern(text, flags)
    instead = asked[:0]
    for _ in range(2):
        for method in ("match", "fullmatch", "search"):
            found, other = getattr(lazy, method)(asked), getattr(wanted, method)(asked)
            assert (found and found.groupdict()) == (other and other.groupdict())
        assert [m.span() for m in lazy.finditer(asked)] == [m.span() for m in wanted.finditer(asked)]
        assert (lazy.findall(asked), lazy.split(asked)) == (wanted.findall(asked), wanted.split(asked))
        assert (lazy.sub(instead, asked), lazy.subn(instead, asked)) == (wanted.sub(instead, asked), wanted.subn(instead, asked))
    assert (lazy.pattern, lazy.flags, lazy.groups, lazy.groupindex) == (wanted.pattern, wanted.flags, wanted.groups, wanted.groupindex)


def test_it_is_compiled_when_it_is_asked() -> None:
    lazy = pattern(r"(unbalanced")
    with pytest.raises(re.error):
        lazy.match("")
