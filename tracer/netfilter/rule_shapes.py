"""Whether a rule reads well, told quickly: rules that differ only in their values share a shape, and a shape is read once.

Strategy: the values that differ from rule to rule (addresses, ports, chains, comments, odds) are cut out; what is left is the shape. The
first rule of a shape goes through ``parse_rule``; of the next ones only the values are looked at, as strictly. What could make a value
change how the rest is read (a quote elsewhere, an option as another one's value, a word that begins with ``-`` or ``!``) has no shape
and always goes through ``parse_rule``, which alone says what is wrong. Whatever this accepts, ``parse_rule`` accepts: a test says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from functools import lru_cache

from tracer.errors import ParseError
from tracer.netfilter.rule_text import parse_rule
from tracer.netfilter.scalars import BadValue, address_mask, port_range
from tracer.netfilter.target_options import nat_range
from tracer.patterns import pattern
from tracer.probability import odds

_VALUE = pattern(
    r" (-[sdjg]|--(?:comment|dport|sport|to-destination|probability|name|nfacct-name|match-set))"
    r' ("(?:[^"\\]|\\.)*"|[^\s"!-][^\s"!]*)(?= |$)',
    re.ASCII,
)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_PLAIN = pattern(rf"{_OCTET}(?:\.{_OCTET}){{3}}(?:/32)?", re.ASCII)
_PLAIN_WITH_PORT = pattern(rf"{_OCTET}(?:\.{_OCTET}){{3}}:[1-9][0-9]{{0,3}}", re.ASCII)


# Options that take no word, wherever they are known. NB: --set takes two of the set module.
_TAKE_NOTHING = (" -m recent --set", " --rcheck", " --update", " --remove", " --reap", " --rttl", " --rsource", " --rdest", " --syn")


def _address(value: str) -> None:
    if not _PLAIN.fullmatch(value):
        address_mask(value)


def _destination(value: str) -> None:
    if not _PLAIN_WITH_PORT.fullmatch(value):
        nat_range(value)


_odds = lru_cache(maxsize=4096)(odds)
_CHECKS: dict[str, Callable[[str], object]] = {
    "-s": _address,
    "-d": _address,
    "--dport": port_range,
    "--sport": port_range,
    "--to-destination": _destination,
    "--probability": _odds,
}


class ShapeReader:
    """Reads the rules of one table, whose user chains are *chains*."""

    def __init__(self, chains: Container[str], file: str) -> None:
        self._chains = chains
        self._file = file
        self._known: set[tuple[str, ...]] = set()

    def check(self, line: str, number: int) -> None:
        """Read one ``-A`` line. :raises ParseError: as ``parse_rule``."""
        start = line.find("] ") + 2 if line[:1] == "[" else 0
        begin = line.find(" ", start + 3)
        is_usual = begin > 0 and line.startswith("-A ", start) and '"' not in line[start:begin]
        parts = _VALUE.split(line[begin:]) if is_usual else []
        shape = self._shape(parts)
        if shape is not None and shape in self._known and _are_fit(parts):
            return
        parse_rule(line, number, self._chains, file=self._file)
        if shape is not None and _is_plain(parts):
            self._known.add(shape)

    def _shape(self, parts: list[str]) -> tuple[str, ...] | None:
        """What is left without the values; a target that is no chain belongs to it."""
        shape = parts[0::3] + parts[1::3]
        for option, value in zip(parts[1::3], parts[2::3], strict=True):
            if option in ("-j", "-g") and value not in self._chains:
                shape.append(value)
        return tuple(shape) or None


def _are_fit(parts: list[str]) -> bool:
    try:
        for option, value in zip(parts[1::3], parts[2::3], strict=True):
            if check := _CHECKS.get(option):
                check(value)
    except (BadValue, ParseError):
        return False
    return True


def _is_plain(parts: list[str]) -> bool:
    """Whether the fixed words keep to themselves: no quotes, and none takes the option behind it for its value."""
    fixed = parts[0::3]
    if any('"' in words or "\\" in words for words in fixed):
        return False
    return all(_keeps_to_itself(words) for words in fixed[:-1])


def _keeps_to_itself(words: str) -> bool:
    if words.endswith(_TAKE_NOTHING):
        return True
    return not any(word.startswith("-") for word in words.split()[-1:])
