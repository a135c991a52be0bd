"""What an expression is worth, and sets of such values: which element a key falls into.

Strategy: exact keys are hashed, ranges and patterns walked; the elements of a listing's big set stay text until their key is asked for.
Source: nft(8) 1.0.9; nft_set_hash.c, nft_set_rbtree.c, nft_set_pipapo.c, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address

from tracer.errors import ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.model import DRAWN
from tracer.netfilter.nft_icmp import IcmpWord
from tracer.netfilter.nft_sets import SetText
from tracer.netfilter.scalars import PROTOCOLS
from tracer.netfilter.view import UnknownAnswer
from tracer.packet import Address
from tracer.values import dataclass

_ONE = Fraction(1)
_PROTOCOL_WORDS = {
    w: PROTOCOLS[w] for w in ("tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6", "ipv6-icmp", "igmp", "esp", "ah", "gre", "vrrp")
}


class Absent:
    """The packet has no such field: the rule stops here."""


@dataclass(frozen=True, slots=True)
class OwnPort:
    """A port that nobody said, between *low* and *high*: the client's own, or one that the kernel drew."""

    low: int
    high: int


ABSENT = Absent()
DRAWN_PORT = OwnPort(DRAWN.low, DRAWN.high)
Value = (
    Address | int | str | frozenset[str] | tuple["Value", ...] | n.VerdictValue | Absent | OwnPort | UnknownAnswer | n.Prefix | n.Interval
)
Ways = tuple[tuple[Fraction, Value], ...]


def one(value: Value) -> Ways:
    """Return *value* as the only way."""
    return ((_ONE, value),)


def unknown(text: str, code: str = "UNKNOWN_MATCH") -> UnknownAnswer:
    """Return an answer that says what is missing."""
    return UnknownAnswer(code, text)


def constant(atom: n.Atom) -> Value:
    """Return a constant as it is compared: protocol names as numbers, other words as text."""
    if isinstance(atom, n.Word):
        return atom.text if atom.quoted else _PROTOCOL_WORDS.get(atom.text, atom.text)
    return atom


@dataclass(slots=True)
class SetIndex:
    """The elements of one set or map: exact keys hashed, ranges and patterns in a list, *texts* not parsed yet, by spelled key.

    *by_known* and *by_spelled* hold the exact keys and the texts by some of their parts, for keys of which only these are known.
    """

    exact: dict[tuple[Value, ...], n.Element] = field(default_factory=dict)
    ranged: list[tuple[tuple[Value, ...], n.Element]] = field(default_factory=list)
    rest: n.Element | None = None
    texts: dict[str, str] = field(default_factory=dict)
    source: SetText | None = None
    odd: bool = False
    by_known: dict[tuple[int, ...], dict[tuple[Value, ...], list[tuple[Value, ...]]]] = field(default_factory=dict)
    by_spelled: dict[tuple[int, ...], dict[tuple[str, ...], list[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, elements: Sequence[n.Element]) -> SetIndex:
        """Return the index over *elements*, which are not all parsed when they are the text of a listing."""
        index = cls()
        if isinstance(elements, SetText):
            try:
                cut = elements.pieces()
            except ParseError:
                cut = None
            if cut is not None:
                index.source = elements
                index.texts, elements = cut
        for element in elements:
            index._add(element)
        return index

    def _add(self, element: n.Element) -> tuple[Value, ...]:
        if isinstance(element.key, n.Wildcard):
            self.rest = element
            return ()
        key = _key(element.key)
        if any(isinstance(p, UnknownAnswer) for p in key):
            self.odd = True
        elif any(isinstance(p, n.Prefix | n.Interval) or (isinstance(p, str) and p.endswith("*")) for p in key):
            self.ranged.append((key, element))
        else:
            if key not in self.exact:
                for places, known in self.by_known.items():
                    if (parts := _parts(key, places)) is not None:
                        known.setdefault(parts, []).append(key)
            self.exact[key] = element
        return key

    def cost(self, key: tuple[Value, ...]) -> int:
        """Return how many elements may have to be walked to find *key*."""
        every = any(isinstance(p, OwnPort) for p in key)
        return 2 * len(self.ranged) + (2 * len(self.exact) + 10 * len(self.texts) if every else 0)

    def find(self, key: tuple[Value, ...]) -> n.Element | UnknownAnswer | None:
        """Return the element that *key* falls into; unknown where a part that nobody said decides it."""
        if any(isinstance(p, OwnPort) for p in key):
            return self._find_vague(key)
        found: n.Element | UnknownAnswer | None = self.exact.get(key)
        if found is None and self.source is not None:
            found = self._read(key)
        if found is None:
            found = next((e for parts, e in self.ranged if len(parts) == len(key) and all(map(_covers, parts, key))), None)
        if found is None and self.odd:
            return unknown("the set has an element that is no constant", "UNMODELLED_MATCH")
        return found or self.rest

    def _read(self, key: tuple[Value, ...]) -> n.Element | UnknownAnswer | None:
        """The element whose text is spelled as *key* is."""
        spelled = self.source.spelling(key) if self.source is not None else None
        if self.source is None or spelled is None:
            return None
        piece = self.texts.get(" . ".join(p or "" for p in spelled))
        return self._parsed(piece) if piece is not None else None

    def _parsed(self, piece: str) -> n.Element | UnknownAnswer:
        if self.source is None:
            raise TypeError("a piece of text comes from a set's text")
        try:
            element = self.source.element(piece)
        except (ParseError, ValueError):
            return unknown(f"the element {piece!r} cannot be read", "BAD_RULE")
        self._add(element)
        return element

    def _find_vague(self, key: tuple[Value, ...]) -> n.Element | UnknownAnswer | None:
        spelled = self.source.spelling(key) if self.source is not None else None
        if spelled is not None:
            for piece in self._spelled_so(spelled):
                self._parsed(piece)
        for parts, element in (*self._known_so(key), *self.ranged):
            if len(parts) == len(key) and all(same(p, k) is not False for p, k in zip(parts, key, strict=True)):
                if all(same(p, k) is True for p, k in zip(parts, key, strict=True)):
                    return element
                return unknown("the client's own port is not given")
        return unknown("the set has an element that is no constant", "UNMODELLED_MATCH") if self.odd else self.rest

    def _spelled_so(self, spelled: Sequence[str | None]) -> Sequence[str]:
        """The texts of the elements whose keys are spelled as *spelled*, whatever stands where it has None."""
        places = tuple(place for place, part in enumerate(spelled) if part is not None)
        found = self.by_spelled.get(places)
        if found is None:
            found = self.by_spelled[places] = {}
            for text, piece in self.texts.items():
                parts = text.split(" . ")
                found.setdefault(tuple(parts[place] for place in places), []).append(piece)
        return found.get(tuple(part for part in spelled if part is not None), ())

    def _known_so(self, key: tuple[Value, ...]) -> Iterator[tuple[tuple[Value, ...], n.Element]]:
        """Yield the elements of exact keys that are as *key*, whatever stands where it has a port that nobody said."""
        places = tuple(place for place, part in enumerate(key) if not isinstance(part, OwnPort))
        found = self.by_known.get(places)
        if found is None:
            found = self.by_known[places] = {}
            for one_key in self.exact:
                if (parts := _parts(one_key, places)) is not None:
                    found.setdefault(parts, []).append(one_key)
        for one_key in found.get(tuple(key[place] for place in places), ()):
            yield one_key, self.exact[one_key]


def _parts(key: tuple[Value, ...], places: tuple[int, ...]) -> tuple[Value, ...] | None:
    """The parts of *key* at *places*, None where it is too short to have them."""
    return tuple(key[place] for place in places) if not places or places[-1] < len(key) else None


def _key(expression: n.Expression) -> tuple[Value, ...]:
    if isinstance(expression, n.Concat):
        return tuple(part for inner in expression.parts for part in _key(inner))
    if isinstance(expression, n.Prefix | n.Interval | n.Word | int | IPv4Address | IPv6Address):
        return (constant(expression),)
    return (unknown("an element that is no constant"),)


def _covers(part: Value, value: Value) -> bool:
    return same(part, value) is True


def same(wanted: Value, value: Value) -> bool | None:
    """Return whether *value* equals *wanted* or lies in its range; None when the value is the client's own port and it depends."""
    if isinstance(value, OwnPort):
        return _own_port_in(wanted, value)
    if isinstance(wanted, n.Prefix):
        return _in_prefix(wanted, value)
    if isinstance(wanted, n.Interval):
        return _in_interval(wanted, value)
    if isinstance(wanted, str) and isinstance(value, str) and wanted.endswith("*"):
        return value.startswith(wanted[:-1])
    return wanted == value


def _own_port_in(wanted: Value, port: OwnPort) -> bool | None:
    low, high = (wanted.low, wanted.high) if isinstance(wanted, n.Interval) else (wanted, wanted)
    if not isinstance(low, int) or not isinstance(high, int):
        return False
    if low <= port.low and high >= port.high:
        return True
    return None if high >= port.low and low <= port.high else False


def _in_prefix(wanted: n.Prefix, value: Value) -> bool:
    if not isinstance(value, IPv4Address | IPv6Address) or value.version != wanted.address.version:
        return False
    shift = wanted.address.max_prefixlen - wanted.length
    return int(value) >> shift == int(wanted.address) >> shift


def _in_interval(wanted: n.Interval, value: Value) -> bool:
    if isinstance(value, IcmpWord):
        value = value.number
    if isinstance(wanted.low, int):
        return isinstance(value, int) and isinstance(wanted.high, int) and wanted.low <= value <= wanted.high
    if not isinstance(value, IPv4Address | IPv6Address) or value.version != wanted.low.version:
        return False
    return int(wanted.low) <= int(value) <= int(wanted.high)
