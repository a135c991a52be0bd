"""Which rules belong together, of an expected and a recorded list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.kubeproxy.drift.ordering import Pair, differences


@pytest.mark.parametrize(
    ("expected", "recorded", "found"),
    [
        ("abc", "abc", []),
        ("abc", "ac", [Pair(1, None)]),
        ("abc", "abxc", [Pair(None, 2)]),
        ("abc", "axc", [Pair(1, 1)]),
        ("ab", "ba", [Pair(1, 0, is_moved=True)]),
        ("", "xy", [Pair(None, 0), Pair(None, 1)]),
        ("xy", "", [Pair(0, None), Pair(1, None)]),
        ("aab", "ab", [Pair(1, None)]),
    ],
)
def test_differences(expected: str, recorded: str, found: list[Pair]) -> None:
    assert list(differences(expected, recorded)) == found


def test_long_lists_are_not_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.kubeproxy.drift.ordering.ALIGNED", 8)
    assert list(differences("abcd", "xbcy")) == [Pair(0, 0), Pair(3, 3)]


@given(st.text("abcd", max_size=12), st.text("abcd", max_size=12))
def test_each_rule_is_accounted_for_once(expected: str, recorded: str) -> None:
    """What is neither equal nor named on one side is as much as on the other, and nothing is named twice."""
    pairs = list(differences(expected, recorded))
    wanted = [p.expected for p in pairs if p.expected is not None]
    extra = [p.recorded for p in pairs if p.recorded is not None]
    assert len(set(wanted)) == len(wanted) and len(set(extra)) == len(extra)
    assert [e for n, e in enumerate(expected) if n not in wanted] == [r for n, r in enumerate(recorded) if n not in extra]
    assert (pairs == []) == (expected == recorded)
    assert all(expected[p.expected] == recorded[p.recorded] for p in pairs if p.is_moved)
