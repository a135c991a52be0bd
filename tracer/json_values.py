"""JSON text to values within bounds: RFC 8259, no NaN, no number that is infinite or has more digits than any program prints, no nesting
deeper than a limit.

Owns the one place where the standard library's decoder is made. The depth is counted before anything is decoded, in a few passes over
the brackets alone, so that nobody who walks a decoded value can meet one that is too deep.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from math import isinf
from typing import NoReturn

from tracer.limits import DIGITS, NESTING

_NO_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))


class NotJsonError(ValueError):
    """What Python's decoder accepts and JSON, or a bound, does not."""


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity. :raises ValueError: always."""
    raise NotJsonError(f"{name} is not JSON")


def _real(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise NotJsonError(f"the number {text[:40]} is beyond all bounds")
    return value


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        raise NotJsonError(f"a number of {len(text)} digits")
    return int(text)


@cache
def decoder(pairs: Callable[[list[tuple[str, object]]], object] | None = None) -> json.JSONDecoder:
    """Return the decoder; *pairs* makes an object of its pairs. Its texts are to be checked by ``check_depth`` first."""
    return json.JSONDecoder(parse_float=_real, parse_int=_whole, parse_constant=refuse_constant, object_pairs_hook=pairs)


def check_depth(text: str) -> None:
    """Check that arrays and objects in *text* (JSON, or several one after the other) are not nested deeper than the limit.

    Linear: strings are left out, then each pass takes away the innermost pairs of what is left.
    :raises ValueError: they are.
    """
    if text.count("[") + text.count("{") <= NESTING:
        return
    data = text.encode(errors="replace")
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(data.translate(None, _NO_BRACKETS).split(b'"')[::2])
    left = brackets
    for _ in range(NESTING):
        left = left.replace(b"[]", b"").replace(b"{}", b"")
        if not left:
            return
    depth = 0  # what is left is too deep, or not closed: only counting tells
    for bracket in brackets:
        depth += 1 if bracket in b"[{" else -1
        if depth > NESTING:
            raise NotJsonError(f"nested more than {NESTING} deep")


def load_json(text: str) -> object:
    """Return the value of *text*. :raises ValueError: it is not JSON (then a JSONDecodeError with the place), or beyond a limit."""
    try:
        check_depth(text)
        return decoder().decode(text)
    except RecursionError:
        raise NotJsonError(f"nested more than {NESTING} deep") from None
