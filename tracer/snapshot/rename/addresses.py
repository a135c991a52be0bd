"""Other IP and hardware addresses. Prefix-preserving: addresses of one subnet stay in one subnet, of whatever size, and no two become one.

Strategy: bit after bit, each flipped or not as the key says of the bits before it (Xu, Fan, Ammar, Moon, "Prefix-preserving IP address
anonymization", 2002). What an address *is* stays: loopback, link-local, multicast and private blocks keep their prefix. The last 8 bits of
an IPv4 address and the last 64 of an IPv6 address stay as well, so that network and broadcast addresses remain what they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from tracer.packet import Address
from tracer.patterns import pattern
from tracer.snapshot.rename.keyed import drawn

_FIXED = tuple(
    map(
        ip_network,
        ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/8", "ff00::/8", "fe80::/10"),
    )
)
_BLOCKS = tuple(map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_WINDOWS = {4: (8, 24), 6: (8, 64)}
_EUI64_MARK, _EUI64_MASK = 0x000000FFFE000000, 0x000000FFFF000000
_MAC = pattern(r"(?<![0-9A-Fa-f:.])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:])", re.ASCII)
_IPV4 = r"(?<![0-9A-Za-z.:-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z]|\.[0-9A-Za-z])"
# A colon at the end belongs to what follows (a comment's "::"); digits and dots after it may be an IPv4 address's.
_IPV6 = r"(?<![0-9A-Za-z:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:[0-9]{0,3}(?:\.[0-9]{1,3}){3})?(?![0-9A-Za-z:]|\.[0-9])"
_ONE = rf"(?P<address>{_IPV4}|{_IPV6})(?:-(?P<last>[0-9A-Fa-f:.]+)|/(?P<length>[0-9]{{1,3}})(?![0-9.]))?"
# nft -j writes {"prefix": {"addr": …, "len": …}}, ip -j rule "src": …, "srclen": …
_APART = r'(?P<before>"(?:addr|src|dst)":\s*")(?P<base>[0-9A-Fa-f:.]+)(?P<between>",\s*"(?:len|srclen|dstlen)":\s*(?P<bits>[0-9]{1,3}))'
_ADDRESS = pattern(rf"{_APART}|{_ONE}", re.ASCII)


class Addresses:
    """The addresses that one *key* gives in place of others. *given* holds what was replaced so far: old → new."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._flips: Callable[[int, int, int], int] = lru_cache(maxsize=200_000)(self._flip)
        self._interface_ids = drawn(key, "interface", "") & 0xFFFFFF0000FFFFFF
        self.given: dict[Address, Address] = {}

    def in_text(self, text: str) -> str:
        """Return *text* with every IP address, network and hardware address in it replaced. Everything else stays as it is."""
        return _MAC.sub(self._hardware, _ADDRESS.sub(self._found, text))

    def in_address(self, address: Address) -> Address:
        """Return what stands for *address*."""
        made = self.given.get(address)
        if made is None:
            made = self.given[address] = self._renamed(address)
        return made

    def is_address(self, text: str) -> bool:
        """Return whether *text* is an IP address."""
        return _parsed(text) is not None

    def in_network(self, address: Address, length: int) -> str:
        """Return what *address*/*length* becomes, without its length; the bits after it are zero if they were."""
        host = (1 << max(0, address.max_prefixlen - length)) - 1
        renamed = int(self.in_address(address))
        return str(_of(address.version, renamed if int(address) & host else renamed & ~host))

    # -- one address --------------------------------------------------------------------------------------------------------------

    def _renamed(self, address: Address) -> Address:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            return IPv6Address((0xFFFF << 32) | int(self._renamed(address.ipv4_mapped)))
        value, bits = int(address), address.max_prefixlen
        if any(address in block for block in _FIXED if block.version == address.version):
            return _of(address.version, self._without_hardware(value)) if address.is_link_local and bits == 128 else address
        first, last = _WINDOWS[address.version]
        for depth in range(first, last):
            value ^= self._flips(address.version, depth, int(address) >> (bits - depth)) << (bits - 1 - depth)
        return _of(address.version, self._without_hardware(value) if bits == 128 else value)

    def _flip(self, version: int, depth: int, prefix: int) -> int:
        """Return whether the bit after the *depth* bits of *prefix* is flipped: never on the way to a block that keeps its prefix."""
        bits = 32 if version == 4 else 128
        for block in (*_FIXED, *_BLOCKS):
            if block.version == version and block.prefixlen > depth and int(block.network_address) >> (bits - depth) == prefix:
                return 0
        return drawn(self._key, f"ipv{version}", f"{depth} {prefix}") & 1

    def _without_hardware(self, value: int) -> int:
        """Return the IPv6 address with another interface identifier where it is made of a hardware address. Source: RFC 4291, App. A."""
        return value ^ self._interface_ids if value & _EUI64_MASK == _EUI64_MARK else value

    # -- in a text ----------------------------------------------------------------------------------------------------------------

    def _found(self, match: re.Match[str]) -> str:
        address = _parsed(match["base"] or match["address"])
        if address is None:
            return match[0]
        if match["base"] is not None:
            return match["before"] + self.in_network(address, int(match["bits"])) + match["between"]
        if match["length"] is not None:
            return f"{self.in_network(address, int(match['length']))}/{match['length']}"
        if match["last"] is None:
            return str(self.in_address(address))
        text = match["last"].rstrip(".:")
        last = _parsed(text)
        if last is None or last.version != address.version:
            return f"{self.in_address(address)}-{self.in_text(match['last'])}"
        return self._range(address, last) + match["last"][len(text) :]

    def _range(self, first: Address, last: Address) -> str:
        """Return what a range becomes: exact where it is a network's or its ends share all that is replaced, else its ends in order."""
        host = int(first) ^ int(last)
        if host & (host + 1) == 0 and not int(first) & host:
            begin = int(self.in_address(first)) & ~host
            return f"{_of(first.version, begin)}-{_of(first.version, begin | host)}"
        ends = sorted((int(self.in_address(first)), int(self.in_address(last))))
        return "-".join(str(_of(first.version, end)) for end in ends)

    def _hardware(self, match: re.Match[str]) -> str:
        text = match[0]
        octets = bytes.fromhex(text.replace(":", ""))
        if octets[0] & 1 or not any(octets):
            return text
        made = bytes([2]) + drawn(self._key, "hardware", octets.hex()).to_bytes(32, "big")[:5]
        renamed = ":".join(f"{octet:02x}" for octet in made)
        return renamed.upper() if text.upper() == text and text.lower() != text else renamed


def _of(version: int, value: int) -> Address:
    return IPv4Address(value) if version == 4 else IPv6Address(value)


def _parsed(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
