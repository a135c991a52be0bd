"""The block of a named set or map: its header at once, its elements when they are asked for.

Strategy: the elements of a big map stay text. ``SetText`` cuts them into pieces, one an element; a piece whose key is spelled as listings
spell it can be found by that spelling, and is parsed when it is found. Source: nft(8) 1.0.9; set_print in rule.c of nftables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address

from tracer.errors import ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_deferred import Deferred
from tracer.netfilter.nft_expressions import ExpressionParser
from tracer.netfilter.nft_typing import typed_elements, types_of
from tracer.netfilter.nft_words import number, seconds, tokens
from tracer.netfilter.scalars import PROTOCOLS
from tracer.patterns import pattern
from tracer.values import dataclass


@dataclass(slots=True)
class _SetReader:
    """Reads the body of a set or map."""

    found: n.NftSet
    text: str
    family: str

    def read(self) -> None:
        words = tokens(self.text)
        parser = ExpressionParser(self.text, words, self.family)
        elements = list(self.found.elements)
        while parser.at < len(words):
            word = parser.take().text
            match word:
                case ";":
                    continue
                case "type":
                    self.types(parser)
                case "typeof":
                    self.typeof(parser)
                case "flags":
                    self.found.flags = self.flags(parser)
                case "timeout" | "gc-interval":
                    value = seconds(parser.take("a time").text)
                    self.found.timeout = value if word == "timeout" else self.found.timeout
                case "size":
                    self.found.size = number(parser.take("a number").text)
                case "comment":
                    self.found.comment = parser.take("the comment").text
                case "policy":
                    parser.take()
                case "counter" | "auto-merge":
                    self.found.auto_merge = self.found.auto_merge or word == "auto-merge"
                case "elements":
                    parser.expect("=")
                    parser.expect("{")
                    elements.extend(parser.elements("").elements)
                case _:
                    parser.at -= 1
                    raise parser.error(f"{word!r} is not known of a set")
        try:
            self.found.elements = list(typed_elements(self.found.key_types, elements))
        except ValueError as error:
            raise parser.error(str(error)) from None

    def flags(self, parser: ExpressionParser) -> tuple[str, ...]:
        flags = [parser.take("a flag").text]
        while parser.accept(","):
            flags.append(parser.take("a flag").text)
        return tuple(flags)

    def types(self, parser: ExpressionParser) -> None:
        keys = [parser.take("a type").text]
        while parser.accept("."):
            keys.append(parser.take("a type").text)
        self.found.key_types = tuple(keys)
        if parser.accept(":"):
            values = [parser.take("a type").text]
            while parser.accept("."):
                values.append(parser.take("a type").text)
            self.found.value_type = " . ".join(values)

    def typeof(self, parser: ExpressionParser) -> None:
        key = parser.rest(lambda w: w in _SET_WORDS or w in (";", ":"))
        self.found.typeof = key
        self.found.key_types = self._types_of(key) or (f"typeof {key}",)
        if parser.accept(":"):
            value = parser.rest(lambda w: w in _SET_WORDS or w == ";")
            self.found.typeof = f"{key} : {value}"
            self.found.value_type = " . ".join(self._types_of(value)) or value

    def _types_of(self, text: str) -> tuple[str, ...]:
        """The types of the expressions that ``typeof`` names, nothing where one has none that is known."""
        parser = ExpressionParser(text, tokens(text), self.family)
        try:
            found = parser.expression()
        except ParseError:
            return ()
        return types_of(found) if parser.at == len(parser.words) else ()


_SET_WORDS = frozenset(
    {"flags", "timeout", "gc-interval", "size", "comment", "policy", "counter", "auto-merge", "elements", "type", "typeof"}
)


def read_set(found: n.NftSet, body: str, family: str) -> None:
    """Read the whole block of a set into *found*. :raises ParseError: it cannot be read."""
    _SetReader(found, body, family).read()


_ELEMENTS = "\t\telements = {"


def defer_set(found: n.NftSet, body: str, family: str, line: int, ruleset: n.NftRuleset) -> None:
    """Read the header of a listing's set into *found*; its elements stay text. *line* is that of *body*'s first line.

    :raises ParseError: the header cannot be read.
    """
    at = 0 if body.startswith(_ELEMENTS) else body.find("\n" + _ELEMENTS) + 1
    if (at == 0 and not body.startswith(_ELEMENTS)) or not body.endswith("}"):
        read_set(found, body, family)
        return
    read_set(found, body[:at], family)
    start = at + len(_ELEMENTS)
    text = body[start:-1]
    found.elements = SetText(text, found, family, line + body.count("\n", 0, start), ruleset)


# -- elements that stay text ------------------------------------------------------------------------------------------------------

_V4 = r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}"
_PLAIN = {
    "ipv4_addr": _V4,
    "ipv6_addr": r"[0-9a-f]{0,4}:[0-9a-f:]{1,40}",
    "inet_proto": "tcp|udp|sctp|icmp",
    "inet_service": r"0|[1-9][0-9]{0,4}",
    "mark": "0x[0-9a-f]{8}",
}
_SPELLED_PROTOCOLS = {PROTOCOLS[name]: name for name in ("tcp", "udp", "sctp", "icmp")}
_QUOTED_PIECE = pattern(r'(?:[^",]|"[^"]*")+')


@cache
def _plain_key(types: tuple[str, ...]) -> re.Pattern[str] | None:
    """What matches an element's key where it is spelled as listings spell it, None when a type has no such spelling."""
    if not all(t in _PLAIN for t in types):
        return None
    key = " \\. ".join(f"(?:{_PLAIN[t]})" for t in types)
    return re.compile(f"({key})(?= : | comment | counter| timeout | expires |$)", re.ASCII)


class SetText(Deferred[n.Element]):
    """The elements of one set, as text."""

    __slots__ = ("_family", "_line", "_ruleset", "_set", "text")

    def __init__(self, text: str, found: n.NftSet, family: str, line: int, ruleset: n.NftRuleset) -> None:
        super().__init__(self._parse_all)
        self.text = text
        self._set, self._family, self._line, self._ruleset = found, family, line, ruleset

    def _parse_all(self) -> tuple[n.Element, ...]:
        try:
            return self._elements(self.text)
        except ParseError as error:
            first = error.faults[0]
            self._set.unread = True
            self._ruleset.faults.append(replace(first, file=self._ruleset.file, line=self._line + (first.line or 1) - 1))
            return ()

    def _elements(self, text: str) -> tuple[n.Element, ...]:
        text += "}"
        parser = ExpressionParser(text, tokens(text), self._family)
        found = parser.elements("").elements
        if parser.at < len(parser.words):
            raise parser.error("nothing is expected behind the elements")
        try:
            return typed_elements(self._set.key_types, found)
        except ValueError as error:
            raise parser.error(str(error)) from None

    def element(self, piece: str) -> n.Element:
        """Return the element of one piece. :raises ParseError: it is none."""
        (found,) = self._elements(piece)
        return found

    def pieces(self) -> tuple[dict[str, str], list[n.Element]] | None:
        """Return the pieces by the plain spelling of their keys, and the elements whose keys have none; None when it must be read whole.

        :raises ParseError: an element cannot be read.
        """
        plain = _plain_key(self._set.key_types)
        if self.was_read or plain is None or "{" in self.text or "}" in self.text or self.text.count('"') % 2:
            return None
        keyed: dict[str, str] = {}
        other: list[n.Element] = []
        has_six = "ipv6_addr" in self._set.key_types
        for piece in self._cut():
            hit = plain.match(piece)
            if hit and (not has_six or _is_canonical(hit[1])):
                keyed[hit[1]] = piece
            else:
                other.extend(self._elements(piece))
        return keyed, other

    def _cut(self) -> Iterator[str]:
        for line in self.text.split(",\n"):
            for piece in _QUOTED_PIECE.findall(line) if '"' in line else line.split(","):
                if shown := piece.strip():
                    yield shown

    def spelling(self, key: tuple[object, ...]) -> tuple[str | None, ...] | None:
        """Return how a listing spells each part of *key*, None where it cannot be told; None when *key* is no key of this set."""
        types = self._set.key_types
        if len(key) != len(types):
            return None
        return tuple(_spelled(value, kind) for value, kind in zip(key, types, strict=True))


def _spelled(value: object, kind: str) -> str | None:
    if kind in ("ipv4_addr", "ipv6_addr"):
        return str(value) if isinstance(value, IPv4Address | IPv6Address) else None
    if not isinstance(value, int):
        return None
    if kind == "inet_proto":
        return _SPELLED_PROTOCOLS.get(value)
    return f"{value:#010x}" if kind == "mark" else str(value)


def _is_canonical(key: str) -> bool:
    for part in key.split(" . "):
        if ":" in part:
            try:
                if str(IPv6Address(part)) != part:
                    return False
            except ValueError:
                return False
    return True
