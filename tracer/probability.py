"""Exact odds, in the kernel's own arithmetic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from tracer.errors import Fault, ParseError
from tracer.patterns import pattern

# NB: bounded, because a Fraction of 1e-99999999 has a hundred million digits.
_DECIMAL = pattern(r"(?:[01]|[01]?\.[0-9]{1,60}|[01]\.|[0-9](?:\.[0-9]{1,60})?e-[0-9]{1,3})", re.ASCII)


def odds(probability: str) -> Fraction:
    """Return the kernel's own odds for an iptables ``--probability``.

    The extension stores round(p * 2**31) and compares it with 31 random bits, so the result is a multiple of 1/2**31.
    :raises ParseError: *probability* is not a decimal in [0, 1].
    Source: libxt_statistic.c, xt_statistic.c.
    """
    if not _DECIMAL.fullmatch(probability) or Fraction(probability) > 1:
        raise ParseError(Fault(file="", line=None, column=None, message=f"probability {probability!r} is not a decimal in [0, 1]"))
    # lround() of the product rounds half away from zero; the product is never negative here.
    scaled = Fraction(probability) * (1 << 31)
    return Fraction(int(scaled + Fraction(1, 2)), 1 << 31)


# Python turns at most 4300 digits into a number or back. A path to one of 500 endpoints has odds of 4,600 digits: a 31-bit draw for each.
_DIGITS = 4000
_PIECE = 10**_DIGITS
_FRACTION = pattern(r"(?P<numerator>[0-9]+)(?:/(?P<denominator>[0-9]+))?", re.ASCII)


# What odds are rounded to where they are only drawn: far below anything shown, far above what a thousand roundings add up to.
ROUNDED_BITS = 300


def rounded(shares: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Return *shares* for a picture: those of very many draws as multiples of 2**-300, all others as they are.

    Sums of exact ones take seconds where each has thousands of digits. What sums to 1 does so afterwards.
    """
    unit = 1 << ROUNDED_BITS
    many = [place for place, share in enumerate(shares) if share.denominator > unit]
    short = list(shares)
    for place in many:
        short[place] = Fraction((shares[place].numerator << ROUNDED_BITS) // shares[place].denominator, unit)
    left = 1 - sum(short)
    if many and 0 < left < Fraction(len(many), unit):
        short[max(many, key=short.__getitem__)] += left
    return tuple(short)


def to_text(odds: Fraction) -> str:
    """Return *odds* exactly, as ``n/d`` or a whole number, of any length."""
    numerator = _digits(odds.numerator)
    return numerator if odds.denominator == 1 else f"{numerator}/{_digits(odds.denominator)}"


def from_text(text: str) -> Fraction:
    """Return the odds that :func:`to_text` wrote. :raises ParseError: *text* is no such fraction."""
    found = _FRACTION.fullmatch(text)
    denominator = _number(found["denominator"] or "1") if found else 0
    if found is None or denominator == 0:
        raise ParseError(Fault(file="", line=None, column=None, message=f"{text[:40]!r} is not a fraction"))
    return Fraction(_number(found["numerator"]), denominator)


def _digits(number: int) -> str:
    pieces: list[str] = []
    while number >= _PIECE:
        number, piece = divmod(number, _PIECE)
        pieces.append(str(piece).zfill(_DIGITS))
    return str(number) + "".join(reversed(pieces))


def _number(digits: str) -> int:
    first = len(digits) % _DIGITS
    number = int(digits[:first] or "0")
    for start in range(first, len(digits), _DIGITS):
        number = number * _PIECE + int(digits[start : start + _DIGITS])
    return number
