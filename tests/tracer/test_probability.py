"""The kernel's own odds."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import ParseError
from tracer.probability import from_text, odds, rounded, to_text

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


@given(st.fractions(min_value=0, max_value=1))
def test_fractions_are_written_as_python_writes_them(share: Fraction) -> None:
    assert to_text(share) == str(share)
    assert from_text(to_text(share)) == share


@pytest.mark.parametrize("draws", [1, 130, 138, 139, 500, 1200])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_any_number_of_draws_is_written_exactly(draws: int, offset: int) -> None:
    """Past 138 draws a fraction has more digits than Python's own conversion takes."""
    share = Fraction((1 << 31 * draws) + offset, (1 << 31 * draws) + 7)
    assert from_text(to_text(share)) == share
    assert Fraction(10**4000 * 10**draws) == from_text("1" + "0" * (4000 + draws)) == from_text(to_text(Fraction(10 ** (4000 + draws))))


def test_rounded_odds_keep_their_sum_and_leave_short_ones_alone() -> None:
    draws = [Fraction(1, 3) * odds(f"{1 / left:.11f}") if left > 1 else Fraction(1, 3) for left in range(300, 0, -1)]
    left, exact = Fraction(1, 3), []
    for draw in draws:
        exact.append(left * draw * 3)
        left -= exact[-1]
    shares = [*exact, Fraction(1, 3), Fraction(1, 3)]
    assert sum(shares) == 1
    short = rounded(shares)
    assert sum(short) == 1
    assert short[-2:] == (Fraction(1, 3), Fraction(1, 3))
    assert max(share.denominator.bit_length() for share in short) <= 303
    assert max(abs(a - b) for a, b in zip(shares, short, strict=True)) < Fraction(1, 1 << 290)
    assert rounded([Fraction(1, 7)]) == (Fraction(1, 7),)
    assert rounded([]) == ()


@pytest.mark.parametrize("text", ["", "1/0", "1/", "/1", "-1/2", "1.5", "1 /2", "١/2", "1/2/3", "0x1"])
def test_what_is_no_fraction_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        from_text(text)
