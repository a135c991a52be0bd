"""The words that ipvsadm's listings are made of: endpoints, numbers, netmasks; and virtual servers put together of their lines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace

from tracer.errors import Fault
from tracer.ipvs.model import RealServer, VirtualServer
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.query import parse_address

_ENDPOINT = pattern(r"(?:\[(?P<six>[^\]\s]+)\]|(?P<four>[0-9.]+))(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_NUMBER = pattern(r"[0-9]{1,10}", re.ASCII)

Found = dict[tuple[object, ...], tuple[VirtualServer, list[RealServer]]]
"""What was read so far: a virtual server's key → it, and its real servers."""


class BadWord(Exception):
    """A word that is not what its place asks for."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word

    def fault(self, file: str, line: int, text: str) -> Fault:
        """Return the fault of the line that holds the word."""
        return Fault(file=file, line=line, column=max(0, text.find(self.word)), message=str(self), text=text)


def endpoint(word: str) -> tuple[Address, int | None]:
    """Return an address and its port (None: not said). :raises BadWord: it is none."""
    m = _ENDPOINT.fullmatch(word)
    address = parse_address(m["six"] or m["four"]) if m else None
    if m is None or address is None or (m["six"] is not None) != (address.version == 6):
        raise BadWord(word, f"{word!r} is not an address and port (was ipvsadm run without -n?)")
    port = None if m["port"] is None else int(m["port"])
    if port is not None and port > 65535:
        raise BadWord(word, f"{word!r} has no valid port")
    return address, port


def number_of(word: str) -> int:
    """Return a whole number. :raises BadWord: it is none."""
    if not _NUMBER.fullmatch(word):
        raise BadWord(word, f"{word!r} is not a number")
    return int(word)


def granularity(word: str | None, version: int) -> int:
    """Return the prefix length of a persistence netmask: dotted for IPv4, a length for IPv6. :raises BadWord: it is none."""
    if word is None:
        return 32 if version == 4 else 128
    if version == 6:
        length = number_of(word)
        if length > 128:
            raise BadWord(word, f"{word!r} is not a prefix length")
        return length
    try:
        return ipaddress.IPv4Network(f"0.0.0.0/{word}").prefixlen
    except ValueError as error:
        raise BadWord(word, f"{word!r} is not a netmask") from error


def added(found: Found, server: VirtualServer) -> None:
    """Put *server* into *found*. :raises BadWord: it is there already."""
    if server.key in found:
        raise BadWord(server.name, f"{server.name} is added twice: these are two listings, and which is the node's is not said")
    found[server.key] = server, []


def assembled(
    found: Mapping[tuple[object, ...], tuple[VirtualServer, list[RealServer]]], *, unsorted: bool = False
) -> tuple[VirtualServer, ...]:
    """Return the virtual servers with their real servers. *unsorted*: whoever printed them never sorts them."""
    ordered = unsorted or any(_is_unsorted(reals) for _, reals in found.values())
    return tuple(replace(server, real_servers=tuple(reals), in_kernel_order=ordered) for server, reals in found.values())


def _is_unsorted(reals: list[RealServer]) -> bool:
    """Whether ipvsadm did not sort them, as it does unless told otherwise: then every list stands as the kernel has it.

    Source: ipvs_cmp_dests() in libipvs.c, which the option --nosort and ipvsadm before 1.25 leave out.
    """
    keys = [(int(real.address), real.port) for real in reals]
    return keys != sorted(keys)
