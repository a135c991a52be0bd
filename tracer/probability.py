"""Exact odds, in the kernel's own arithmetic."""

from __future__ import annotations

import re
from fractions import Fraction

from tracer.errors import Fault, ParseError

CERTAIN = Fraction(1)
# NB: bounded, because a Fraction of 1e-99999999 has a hundred million digits.
_DECIMAL = re.compile(r"(?:[01]|[01]?\.[0-9]{1,60}|[01]\.|[0-9](?:\.[0-9]{1,60})?e-[0-9]{1,3})", re.ASCII)


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
_FRACTION = re.compile(r"(?P<numerator>[0-9]+)(?:/(?P<denominator>[0-9]+))?", re.ASCII)


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
