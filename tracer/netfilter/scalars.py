"""Scalars in rule text: numbers, ports, addresses with masks, protocols. Each parser refuses what iptables-restore would refuse."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from tracer.netfilter.model import AddressMask, PortRange
from tracer.packet import Address
from tracer.patterns import pattern

_NUMBER = pattern(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}", re.ASCII)
_PREFIX = pattern(r"[0-9]{1,3}", re.ASCII)

PROTOCOLS = {
    "all": 0,
    "ip": 0,
    "icmp": 1,
    "igmp": 2,
    "ipencap": 4,
    "ipip": 4,
    "ipv4": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "sctp": 132,
    "mobility-header": 135,
    "udplite": 136,
    "mh": 135,
    "l2tp": 115,
    "ipcomp": 108,
    "hopopt": 0,
}

SERVICES = {
    "ftp": 21,
    "ssh": 22,
    "telnet": 23,
    "smtp": 25,
    "domain": 53,
    "http": 80,
    "kerberos": 88,
    "ntp": 123,
    "https": 443,
    "bootps": 67,
    "bootpc": 68,
    "mdns": 5353,
    "netbios-ns": 137,
    "microsoft-ds": 445,
}


class BadValue(ValueError):
    """A token does not have the form its option asks for."""


def number(text: str, *, most: int = 0xFFFFFFFF) -> int:
    """Return a number as strtoul reads it: decimal, 0x-prefixed, or octal behind a 0. :raises BadValue: it is none, or exceeds *most*.

    Source: xtables_strtoul in libxtables/xtables.c.
    """
    if not _NUMBER.fullmatch(text):
        raise BadValue(f"{text!r} is not a number")
    base = 16 if text[:2] in ("0x", "0X") else 8 if text[0] == "0" else 10
    try:
        value = int(text, base)
    except ValueError:
        raise BadValue(f"{text!r} is not an octal number") from None
    if value > most:
        raise BadValue(f"{text} is larger than {most}")
    return value


def value_and_mask(text: str, *, default_mask: int = 0xFFFFFFFF) -> tuple[int, int]:
    """Return ``VALUE[/MASK]``."""
    value, slash, mask = text.partition("/")
    return number(value), number(mask) if slash else default_mask


def port(text: str) -> int:
    """Return a port number; the few service names that rule sets of firewalls print are known."""
    return SERVICES[text] if text in SERVICES else number(text, most=65535)


@lru_cache(maxsize=4096)
def port_range(text: str, separator: str = ":") -> PortRange:
    """Return ``LOW[:HIGH]``; an open end is 0 or 65535."""
    low, colon, high = text.partition(separator)
    if not colon:
        return PortRange(port(low), port(low))
    result = PortRange(port(low) if low else 0, port(high) if high else 65535)
    if result.low > result.high:
        raise BadValue(f"port range {text} is empty")
    return result


def protocol(text: str) -> int:
    """Return a protocol's number from its name or number."""
    name = text.lower()
    return PROTOCOLS[name] if name in PROTOCOLS else number(text, most=255)


def address(text: str) -> Address:
    """Return an address. :raises BadValue: it is none."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise BadValue(f"{text!r} is not an address") from None


@lru_cache(maxsize=8192)
def address_mask(text: str) -> AddressMask:
    """Return ``ADDRESS[/PREFIX|/MASK]``. :raises BadValue: the address or the mask is malformed."""
    host, slash, mask = text.partition("/")
    parsed = address(host)
    bits = parsed.max_prefixlen
    full = (1 << bits) - 1
    if not slash:
        value = full
    elif _PREFIX.fullmatch(mask) and int(mask) <= bits:
        value = full ^ (full >> int(mask))
    else:
        dotted = address(mask)
        if dotted.version != parsed.version:
            raise BadValue(f"{mask!r} is not a mask for {host}")
        value = int(dotted)
    return AddressMask(int(parsed) & value, value, parsed.version)


def address_range(text: str) -> tuple[Address, Address]:
    """Return ``LOW[-HIGH]``."""
    low, dash, high = text.partition("-")
    first = address(low)
    last = address(high) if dash else first
    if last.version != first.version or int(last) < int(first):
        raise BadValue(f"{text!r} is not an address range")
    return first, last
