"""Domain names as text: absolute form, labels, zones, and the reverse names of addresses.

Names keep the case they were asked with; comparisons ignore it. Escapes are not decoded: no Kubernetes name needs one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from tracer.packet import Address
from tracer.patterns import pattern

MAX_NAME = 253
MAX_LABEL = 63
_V4 = ".in-addr.arpa."
_V6 = ".ip6.arpa."
_NIBBLES = pattern(r"[0-9a-f](?:\.[0-9a-f]){31}", re.ASCII)
_OCTETS = pattern(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)


def absolute(name: str) -> str:
    """Return *name* with its final dot."""
    return name if name.endswith(".") else f"{name}."


def labels(name: str) -> tuple[str, ...]:
    """Return the labels of *name* from left to right; none for the root."""
    return tuple(part for part in name.rstrip(".").split(".") if part)


def is_valid(name: str) -> bool:
    """Return whether *name* fits into a DNS message: labels of 1 to 63 bytes, at most 253 in all. Source: RFC 1035, 2.3.4."""
    text = name.removesuffix(".")
    if not text or len(text.encode(errors="replace")) > MAX_NAME:
        return name == "."
    return all(0 < len(label.encode(errors="replace")) <= MAX_LABEL for label in text.split("."))


def is_below(name: str, zone: str) -> bool:
    """Return whether *name* is *zone* or in it. Both absolute."""
    low, wanted = name.lower(), zone.lower()
    return wanted == "." or low == wanted or low.endswith(f".{wanted}")


def longest_zone(name: str, zones: Iterable[str]) -> str | None:
    """Return the longest of *zones* that holds *name*, or None."""
    return max((z for z in zones if is_below(name, z)), key=len, default=None)


def without_zone(name: str, zone: str) -> str:
    """Return what stands before *zone* in *name*, without the dot between; empty for the zone itself."""
    return name.removesuffix(".") if zone == "." else name[: len(name) - len(zone)].removesuffix(".")


def is_reverse(name: str) -> bool:
    """Return whether *name* lies below in-addr.arpa or ip6.arpa."""
    low = f".{name.lower()}"
    return low.endswith((_V4, _V6))


def address_of_reverse(name: str) -> Address | None:
    """Return the address whose PTR name *name* is, or None."""
    low = name.lower()
    if low.endswith(_V4) and _OCTETS.fullmatch(text := low[: -len(_V4)]):
        try:
            return ipaddress.IPv4Address(".".join(reversed(text.split("."))))
        except ValueError:
            return None
    if low.endswith(_V6) and _NIBBLES.fullmatch(text := low[: -len(_V6)]):
        return ipaddress.IPv6Address(int("".join(reversed(text.split("."))), 16))
    return None


def reverse_name(address: Address) -> str:
    """Return the name whose PTR record names *address*."""
    return f"{address.reverse_pointer}."
