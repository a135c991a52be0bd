"""What is kept within a bound."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tracer.kept import Kept


def test_what_was_kept_first_goes_first() -> None:
    kept: Kept[str, int] = Kept(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (None, 2, 3)


def test_nothing_found_is_kept_as_well() -> None:
    kept: Kept[str, tuple[int | None]] = Kept(2)
    worked_out: list[str] = []
    for _ in range(2):
        assert kept.once("a", lambda: worked_out.append("a")) is None
    assert worked_out == ["a"]


def test_several_threads_may_keep() -> None:
    kept: Kept[int, int] = Kept(50)

    def keep(first: int) -> bool:
        for number in range(first, first + 4000):
            kept.put(number % 977, number, number % 3 + 1)
            kept.get(number % 501)
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(keep, range(0, 8 * 37, 37)))
    assert len(kept) <= 60


def test_sizes_count_and_are_given_back() -> None:
    kept: Kept[str, str] = Kept(10)
    assert kept.put("large", "x", 11) == "x"
    assert (kept.get("large"), kept.size) == (None, 0)
    kept.put("a", "x", 6)
    kept.put("a", "y", 4)
    assert (kept.get("a"), kept.size, len(kept)) == ("y", 4, 1)
    kept.put("b", "z", 7)
    assert (kept.get("a"), kept.get("b"), kept.size) == (None, "z", 7)
