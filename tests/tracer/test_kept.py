"""What is kept within a bound."""

from __future__ import annotations

from tracer.kept import Kept


def test_what_was_not_asked_for_longest_goes_first() -> None:
    kept: Kept[str, int] = Kept(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)


def test_sizes_count_and_are_given_back() -> None:
    kept: Kept[str, str] = Kept(10)
    assert kept.put("large", "x", 11) == "x"
    assert (kept.get("large"), kept.size) == (None, 0)
    kept.put("a", "x", 6)
    kept.put("a", "y", 4)
    assert (kept.get("a"), kept.size, len(kept)) == ("y", 4, 1)
    kept.put("b", "z", 7)
    assert (kept.get("a"), kept.get("b"), kept.size) == (None, "z", 7)
