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
