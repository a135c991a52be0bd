"""Slices leave nothing out for good."""

import pytest

from tests import sizes
from tests.sizes import diagonal, some


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("nth", range(1, 5))
def test_a_diagonal_has_each_of_both(monkeypatch: pytest.MonkeyPatch, first: int, nth: int) -> None:
    monkeypatch.setattr(sizes, "FULL", False)
    monkeypatch.setattr(sizes, "FIRST", first)
    these, those = range(4), "abcdef"
    found = diagonal(these, those, nth)
    assert ({this for this, _ in found}, {that for _, that in found}) == (set(these), set(those))
    assert len(found) == 24 / nth


def test_in_full_size_it_is_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "FULL", True)
    assert len(diagonal(range(4), "abcdef", 3)) == 24


def test_the_slices_of_a_shuffle_are_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "FULL", False)
    found: list[str] = []
    for first in range(3):
        monkeypatch.setattr(sizes, "FIRST", first)
        part = some("abcdefghijk", 3)
        assert part == sorted(part)
        found += part
    assert sorted(found) == list("abcdefghijk")
