"""Odds for people: 1/3 rather than 715827883/2147483648, marked ≈ where it is not exact."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

NEAR = Fraction(1, 1 << 30)
LARGEST = 1000
# Odds of very many draws come rounded to far less than this (tracer.probability.rounded); nothing else is as near a simple fraction.
EQUAL = Fraction(1, 1 << 200)
_LONGEST_BITS = 256


def is_long(share: Fraction) -> bool:
    """Return whether *share* has more digits than anybody reads: one of many random draws in a row."""
    return share.denominator.bit_length() > _LONGEST_BITS


def odds_text(share: Fraction) -> str:
    """Return *share* as ``n/d`` with d up to 1000 where one lies within 2^-30 of it, else per cent with three significant digits.

    ``≈`` stands before what is not exact. Rule of ui.md 5.3.
    """
    if share in (0, 1):
        return str(share)
    simple = share.limit_denominator(LARGEST)
    if simple and simple != 1 and abs(simple - share) <= NEAR:
        return f"{'' if abs(simple - share) < EQUAL else '≈'}{simple.numerator}/{simple.denominator}"
    return f"≈{float(share * 100):.3g}%"


def fan_texts(shares: Sequence[Fraction]) -> tuple[str, ...]:
    """Return the ways out of one choice in one notation: all as ``n/d`` or all in per cent, and all marked ``≈`` where one is not exact.

    The kernel's 31 bits make some of equal endpoints exact and others not; the exact values are told with the steps (:func:`exact_text`).
    """
    texts = tuple(map(odds_text, shares))
    if any(text.endswith("%") for text in texts):
        return tuple(text if share in (0, 1) else f"≈{float(share * 100):.3g}%" for share, text in zip(shares, texts, strict=True))
    if any(text.startswith("≈") for text in texts):
        return tuple(text if share in (0, 1) or text.startswith("≈") else f"≈{text}" for share, text in zip(shares, texts, strict=True))
    return texts


def exact_text(share: Fraction) -> str:
    """Return the exact fraction and its value with eleven digits, as the inspector shows it."""
    if share.denominator <= LARGEST:
        return f"{share.numerator}/{share.denominator}"
    if is_long(share):
        return f"≈{float(share):.11f}; the exact fraction is in the JSON"
    bits = share.denominator.bit_length() - 1
    below = f"2^{bits}" if share.denominator == 1 << bits else str(share.denominator)
    return f"{share.numerator}/{below} = {float(share):.11f}"
