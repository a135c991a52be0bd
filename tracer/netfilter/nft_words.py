"""The words of nftables text: tokens, numbers, times, and constants by the type that their place asks for.

Source: nft(8) 1.0.9, scanner.l, datatype.c.
"""

from __future__ import annotations

import ipaddress
import re

from tracer.errors import Fault, ParseError
from tracer.netfilter import nft_model as n
from tracer.patterns import pattern
from tracer.values import dataclass

_TOKEN = pattern(
    r'\s+|(?P<comment>#[^\n]*)|"(?P<quoted>[^"]*)"|(?P<operator>!=|<=|>=|==|<<|>>|<|>|!(?= ))'
    r'|(?P<mark>[{}();,=|^&])|(?P<word>[^\s{}();,"=|^&<>!]+)',
    re.ASCII,
)
_NUMBER = pattern(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}", re.ASCII)
_TIME = pattern(r"(?:([0-9]{1,12})d)?(?:([0-9]{1,12})h)?(?:([0-9]{1,12})m(?!s))?(?:([0-9]{1,12})s)?(?:([0-9]{1,12})ms)?", re.ASCII)
TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}
DSCP = {f"cs{n}": 8 * n for n in range(8)} | {f"af{c}{d}": 8 * c + 2 * d for c in range(1, 5) for d in range(1, 4)}
DSCP |= {"ef": 46, "be": 0, "lephb": 1, "va": 44}
PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_BRIDGE_PRIORITIES = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}
_SERVICES = {"domain": 53, "http": 80, "https": 443, "ssh": 22, "bootps": 67, "bootpc": 68, "ntp": 123, "dhcpv6-client": 546, "mdns": 5353}


@dataclass(frozen=True, slots=True)
class Token:
    """One word, string or sign of the text, and the offset it starts at."""

    text: str
    offset: int
    quoted: bool = False


def tokens(text: str) -> list[Token]:
    """Return the tokens of *text*, comments left out. :raises ParseError: a string is not closed."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        hit = _TOKEN.match(text, position)
        if not hit:
            raise ParseError(fault(text, position, "this cannot be read: a string is not closed, or a sign is unknown"))
        if hit["quoted"] is not None:
            found.append(Token(hit["quoted"], position, True))
        elif (word := hit["word"] or hit["mark"] or hit["operator"]) is not None:
            found.append(Token(word, position))
        position = hit.end()
    return found


def fault(text: str, offset: int, message: str, file: str = "") -> Fault:
    """Return the fault at *offset* of *text*, with its line and caret."""
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start:] if end < 0 else text[start:end]
    return Fault(file=file, line=text.count("\n", 0, offset) + 1, column=offset - start, message=message, text=line)


def number(text: str) -> int | None:
    """Return a decimal or 0x-prefixed number, None when *text* is none."""
    if not _NUMBER.fullmatch(text):
        return None
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


def seconds(text: str) -> int | None:
    """Return a time such as ``3h``, ``1m30s`` or ``10800`` in whole seconds, None when *text* is none."""
    if text.isascii() and text.isdigit():
        return int(text) if len(text) <= 12 else None
    hit = _TIME.fullmatch(text)
    if not hit or not text:
        return None
    days, hours, minutes, whole, _ = (int(x or 0) for x in hit.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + whole


def priority(text: str, family: str) -> int | None:
    """Return a chain's priority from its words (``dstnat - 10``, ``filter``, ``-110``), None when they are not known."""
    parts = text.split()
    names = _BRIDGE_PRIORITIES if family == "bridge" else PRIORITIES
    if len(parts) == 1 and re.fullmatch(r"-?[0-9]{1,10}", parts[0], re.ASCII):
        return int(parts[0])
    if not parts or parts[0] not in names:
        return None
    if len(parts) == 1:
        return names[parts[0]]
    offset = number(parts[2]) if len(parts) == 3 and parts[1] in ("+", "-") else None
    if offset is not None:
        return names[parts[0]] + (offset if parts[1] == "+" else -offset)
    return None


def atom(text: str, *, quoted: bool = False) -> n.Atom:
    """Return the constant that a word stands for: an address, network, range, number, or the word itself."""
    if quoted:
        return n.Word(text, True)
    value = number(text)
    if value is not None:
        return value
    if "/" in text and (found := _prefix(text)):
        return found
    if (address := _address(text)) is not None:
        return address
    if "-" in text and (interval := _interval(text)):
        return interval
    return n.Word(text)


def port_word(value: n.Atom) -> n.Atom:
    """Return *value* with the service names that listings print (``https``) as their port."""
    return _SERVICES[value.text] if isinstance(value, n.Word) and value.text in _SERVICES else value


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _prefix(text: str) -> n.Prefix | None:
    host, _, length = text.partition("/")
    address = _address(host)
    bits = number(length)
    if address is None or bits is None or bits > address.max_prefixlen:
        return None
    return n.Prefix(address, bits)


def _interval(text: str) -> n.Interval | None:
    low, _, high = text.partition("-")
    first, last = _address(low), _address(high)
    if first is not None and last is not None and first.version == last.version:
        return n.Interval(first, last)
    low_number, high_number = number(low), number(high)
    if low_number is not None and high_number is not None:
        return n.Interval(low_number, high_number)
    return None
