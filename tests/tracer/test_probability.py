"""The kernel's own odds."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ParseError
from tracer.probability import odds

ODDS = [
    ("0.33333333349", Fraction(715827883, 1 << 31)),
    ("0.50000000000", Fraction(1, 2)),
    ("0.25", Fraction(1, 4)),
    ("1", Fraction(1)),
    ("1.0", Fraction(1)),
    ("0", Fraction(0)),
    ("0.0", Fraction(0)),
    (".5", Fraction(1, 2)),
    ("1e-1", Fraction(214748365, 1 << 31)),
    ("0.0000000001", Fraction(0)),
]


@pytest.mark.parametrize(("text", "expected"), ODDS)
def test_odds(text: str, expected: Fraction) -> None:
    assert odds(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "1.5", "-0.5", "2", "x", "0,5", "0.5.5", "1.1", "٠.٥", "nan", "inf", "1e5", "1e-99999999", "5e-0", "1.00001", "0." + "1" * 100000],
)
def test_refused(text: str) -> None:
    with pytest.raises(ParseError, match="not a decimal"):
        odds(text)


@given(st.integers(0, 1 << 31))
def test_what_iptables_save_prints_comes_back(stored: int) -> None:
    # libxt_statistic prints %.11f of stored / 2**31.
    assert odds(f"{stored / (1 << 31):.11f}") == Fraction(stored, 1 << 31)


@given(st.decimals(0, 1, places=11))
def test_odds_are_between_nothing_and_certain(value: object) -> None:
    assert 0 <= odds(f"{value:f}") <= 1
