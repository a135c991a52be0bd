"""Odds as people read them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tracer.odds_text import exact_text, odds_text


@pytest.mark.parametrize(
    ("numerator", "denominator", "text"),
    [
        (1, 1, "1"),
        (1, 3, "1/3"),
        (715827883, 2147483648, "≈1/3"),
        (167, 500, "167/500"),
        (1, 1500, "≈0.0667%"),
        (123457, 1000003, "≈12.3%"),
    ],
)
def test_odds_for_people(numerator: int, denominator: int, text: str) -> None:
    assert odds_text(Fraction(numerator, denominator)) == text


def test_odds_for_the_exact() -> None:
    assert exact_text(Fraction(715827883, 1 << 31)) == "715827883/2^31 = 0.33333333349"
