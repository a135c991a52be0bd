"""Odds as an answer tells them: a fraction while that is short, else a decimal, with the exact value in factors beside it.

A chain of draws (the rules of a Service, one for each endpoint) gives odds of 31 binary digits for each rule. Written as numerator and
denominator, they make an answer that grows with the square of the endpoints. So a power of two is told by its exponent; and what would
still be long is told by what the outcome before left over: this draw's chance times that.
The form is that of docs/trace-json.md ("Odds").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tracer.errors import Fault, ParseError
from tracer.limits import ODDS_HEX
from tracer.probability import from_text, to_text
from tracer.values import dataclass

SHORT = 200
"""So many characters are too many for a fraction as text."""
_SHORT_BITS = 670
_DECIMALS, _BITS = 15, 100
_HEX = frozenset("0123456789abcdef")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Share:
    """The odds of the outcome *id*, and the chance of the last draw on its way; None where none was a rule's."""

    id: str
    odds: Fraction
    chance: Fraction | None = None


@dataclass(frozen=True, slots=True)
class _Parts:
    """odds = *top* / (*odd* x 2 ** *power*), *top* and *odd* odd: powers of two are not multiplied out, nor searched for factors."""

    top: int
    odd: int
    power: int

    @classmethod
    def of(cls, odds: Fraction) -> _Parts:
        top, below = odds.numerator, odds.denominator
        return cls(top >> _twos(top), below >> _twos(below), _twos(below) - _twos(top))

    def times(self, other: _Parts) -> _Parts:
        """The product, its odd parts not shortened."""
        return _Parts(self.top * other.top, self.odd * other.odd, self.power + other.power)

    def equals(self, other: _Parts) -> bool:
        return self.power == other.power and self.top * other.odd == other.top * self.odd


def _twos(number: int) -> int:
    return (number & -number).bit_length() - 1 if number else 0


def told(odds: Fraction, name: str = "probability") -> dict[str, object]:
    """Return *odds* under *name*, rounded where that is long, with the exact value then in factors."""
    text = short_text(odds)
    if text is not None:
        return {name: text}
    return {name: decimal_text(odds), f"{name}_rounded": True, f"{name}_exact": _factors(_Parts.of(odds))}


def told_in_a_row(shares: Sequence[Share]) -> list[dict[str, object]]:
    """Return the odds of an answer's outcomes, in their order: very long ones by what the outcome before left over."""
    found: list[dict[str, object]] = []
    before: tuple[Share, _Parts] | None = None
    for share in shares:
        text = short_text(share.odds)
        if text is not None:
            found.append({"probability": text})
            before = None
            continue
        parts = _Parts.of(share.odds)
        exact: dict[str, object] | None = None
        if parts.top.bit_length() > 4 * ODDS_HEX and before is not None:
            exact = _after(*before, share, parts)
        if exact is None:
            exact = _factors(parts) | ({} if share.chance is None else {"chance": to_text(share.chance)})
        found.append({"probability": decimal_text(share.odds), "probability_rounded": True, "probability_exact": exact})
        before = share, parts
    return found


def _after(before: Share, whole: _Parts, share: Share, parts: _Parts) -> dict[str, object] | None:
    """The odds by what *before* left over; None where they are not that."""
    if before.chance is None or before.chance in (0, 1):
        return None
    chance = Fraction(1) if share.chance is None else share.chance
    if chance == 0:
        return None
    left, taken = _Parts.of(1 - before.chance), _Parts.of(before.chance)
    if not whole.times(left).times(_Parts.of(chance)).equals(parts.times(taken)):
        return None
    return {"after": before.id, "chance": to_text(chance)}


def _factors(parts: _Parts) -> dict[str, object]:
    return {"num": f"{parts.top << max(-parts.power, 0):x}", "den": f"{parts.odd:x}", "den_pow2": max(parts.power, 0)}


def is_long(odds: Fraction) -> bool:
    """Return whether *odds* are told rounded."""
    return short_text(odds) is None


def short_text(odds: Fraction) -> str | None:
    """Return *odds* as text, None where that has ``SHORT`` characters and more."""
    if odds.numerator.bit_length() + odds.denominator.bit_length() > _SHORT_BITS:
        return None
    text = to_text(odds)
    return text if len(text) < SHORT else None


def decimal_text(odds: Fraction) -> str:
    """Return *odds* as a decimal of fifteen significant digits, with an exponent where that is below -6."""
    top, below = odds.numerator, odds.denominator
    if top == 0:
        return "0"
    # Of very long numbers the first bits are more than fifteen digits tell.
    spare = max(min(top.bit_length(), below.bit_length()) - _BITS, 0)
    top, below = top >> spare, below >> spare
    exponent = math.floor((top.bit_length() - below.bit_length()) * math.log10(2))
    digits = _scaled(top, below, _DECIMALS - 1 - exponent)
    while digits >= 10**_DECIMALS:
        exponent += 1
        digits = _scaled(top, below, _DECIMALS - 1 - exponent)
    while digits < 10 ** (_DECIMALS - 1):
        exponent -= 1
        digits = _scaled(top, below, _DECIMALS - 1 - exponent)
    text = str(digits)
    if exponent < -6:
        return f"{text[0]}.{text[1:]}".rstrip("0").rstrip(".") + f"e{exponent}"
    if exponent < 0:
        return ("0." + "0" * (-exponent - 1) + text).rstrip("0")
    whole = text[: exponent + 1].ljust(exponent + 1, "0")
    return f"{whole}.{text[exponent + 1 :]}".rstrip("0").rstrip(".")


def _scaled(top: int, below: int, places: int) -> int:
    """The whole number nearest to top / below * 10 ** places."""
    up, down = (top * 10**places, below) if places >= 0 else (top, below * 10**-places)
    return (2 * up + down) // (2 * down)


def read_odds(outcomes: Sequence[Json]) -> list[Fraction]:
    """Return the exact odds of an answer's *outcomes*, as :func:`told_in_a_row` told them.

    :raises ParseError: they are not told so, or one is told after an outcome that is not there.
    """
    known: dict[str, tuple[Fraction, Fraction]] = {}
    return [_read(outcome, known) for outcome in outcomes]


def _read(outcome: Json, known: dict[str, tuple[Fraction, Fraction]]) -> Fraction:
    """NB: *known* are, by outcome, its odds and its chance."""
    exact = outcome.get("probability_exact")
    if exact is None:
        return from_text(str(outcome["probability"]))
    chance = from_text(str(exact["chance"])) if "chance" in exact else Fraction(1)
    if "after" in exact:
        if exact["after"] not in known:
            raise ParseError(Fault(file="", line=None, column=None, message=f"odds after {str(exact['after'])[:40]}, which is not told"))
        odds, taken = known[exact["after"]]
        # So, the parts without a common factor are not searched for one: that takes long for numbers of thousands of digits.
        odds = odds * (1 / taken) * (1 - taken) * chance
    else:
        odds = Fraction(_whole(exact["num"]), _whole(exact["den"]) << int(exact["den_pow2"]))
    known[str(outcome.get("id"))] = odds, chance
    return odds


def _whole(digits: object) -> int:
    if not isinstance(digits, str) or not digits or not _HEX.issuperset(digits):
        raise ParseError(Fault(file="", line=None, column=None, message=f"{str(digits)[:40]!r} is not a hexadecimal number"))
    return int(digits, 16)


def summed(shares: Iterable[Fraction]) -> Fraction:
    """Return the sum of *shares*: those with one odd denominator are added before anything is shortened."""
    tops: dict[int, tuple[int, int]] = {}
    for share in shares:
        parts = _Parts.of(share)
        top, power = tops.get(parts.odd, (0, 0))
        common = max(power, parts.power)
        tops[parts.odd] = (top << (common - power)) + (parts.top << (common - parts.power)), common
    return sum((_whole_of(top, odd, power) for odd, (top, power) in tops.items()), Fraction(0))


def _whole_of(top: int, odd: int, power: int) -> Fraction:
    twos = min(_twos(top), power) if top else power
    return Fraction(top >> twos, odd << (power - twos))
