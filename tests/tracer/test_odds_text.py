"""Odds as people read them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tracer.odds_text import exact_text, fan_texts, odds_text


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


NEARLY = Fraction(715827883, 1 << 31)


@pytest.mark.parametrize(
    ("shares", "texts"),
    [
        ([Fraction(1, 2)] * 2, ("1/2", "1/2")),
        # Four equal endpoints: the first draw is exact in 31 bits, the second is not.
        ([Fraction(1, 4), Fraction(3, 4) * NEARLY], ("≈1/4", "≈1/4")),
        ([Fraction(1, 2), Fraction(1, 1500)], ("≈50%", "≈0.0667%")),
        ([Fraction(1), Fraction(0)], ("1", "0")),
        ([], ()),
    ],
)
def test_one_choice_has_one_notation(shares: list[Fraction], texts: tuple[str, ...]) -> None:
    assert fan_texts(shares) == texts
