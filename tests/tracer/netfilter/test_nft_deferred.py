"""What is read when it is first asked for: once, and equal to what it holds, whoever holds it."""

from __future__ import annotations

import pytest

from tracer.netfilter.nft_deferred import Deferred


def test_it_is_read_once_and_when_it_is_asked_for() -> None:
    asked: list[int] = []

    def read() -> list[str]:
        asked.append(1)
        return ["a", "b", "c"]

    found = Deferred(read)
    assert (asked, found.was_read) == ([], False)
    assert (found[0], found[1:], len(found), list(found)) == ("a", ["b", "c"], 3, ["a", "b", "c"])
    assert (asked, found.was_read) == ([1], True)


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (["a", "b"], True),
        (("a", "b"), True),
        (Deferred(lambda: ["a", "b"]), True),
        (["a"], False),
        (["a", "c"], False),
        (["b", "a"], False),
        ((), False),
        (Deferred(lambda: ["a"]), False),
        ({"a", "b"}, False),
        (None, False),
    ],
)
def test_it_equals_a_sequence_of_equal_items(other: object, *, equal: bool) -> None:
    found = Deferred(lambda: ["a", "b"])
    assert (found == other) is equal
    assert (found != other) is not equal
