"""Who listens on a node by /proc/net/tcp, tcp6, udp and udp6: for nodes on which nothing but ``cat`` runs.

A protocol counts as asked where both families' tables are there: a process may listen in either. The kernel shows neither the process, nor
the device that a socket is bound to (which is rare: DHCP clients are), nor whether an IPv6 socket takes IPv4 as well.
Source: get_tcp4_sock, tcp_seq_show in net/ipv4/tcp_ipv4.c, tcp6_seq_show, udp4_format_sock, ip6_dgram_sock_seq_show, Linux 6.18.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address

from tracer import pasted
from tracer.packet import Address, Protocol
from tracer.patterns import pattern
from tracer.topology.sockets import Socket, SocketAddress, Sockets

_ENTRY = pattern(
    r"[ \t]*[0-9]+: (?P<address>[0-9A-F]{8}|[0-9A-F]{32}):(?P<port>[0-9A-F]{4}) [0-9A-F]{8,32}:[0-9A-F]{4} (?P<state>[0-9A-F]{2}) .*",
    re.ASCII,
)
_HEADING = "sl "
_LISTENS = {Protocol.TCP: "0A", Protocol.UDP: "07"}
_VERSIONS = (4, 6)


def parse_proc_sockets(texts: Mapping[tuple[Protocol, int], str]) -> Sockets:
    """Return the sockets of /proc/net's tables: (protocol, IP version) → text. One that is not there may hold any socket."""
    found: list[Socket] = []
    unread: int | None = None
    for (protocol, _), text in texts.items():
        for number, line in enumerate(pasted.plain(text).splitlines(), 1):
            entry = _ENTRY.fullmatch(line)
            if entry is not None:
                found.extend(_socket(entry, protocol))
            elif line.strip() and not line.lstrip().startswith(_HEADING) and not pasted.is_around(line):
                unread = unread or number
    asked = frozenset(protocol for protocol in _LISTENS if all((protocol, version) in texts for version in _VERSIONS))
    return Sockets(listening=tuple(found), asked=asked, unread=unread)


def _socket(entry: re.Match[str], protocol: Protocol) -> Iterator[Socket]:
    if entry["state"] != _LISTENS[protocol]:
        return
    address = _address(entry["address"])
    if mapped := getattr(address, "ipv4_mapped", None):
        address = mapped
    is_any = address.is_unspecified
    at = SocketAddress(None if is_any else address, None, frozenset({address.version}), perhaps=is_any and address.version == 6)
    yield Socket(protocol=protocol, at=at, port=int(entry["port"], 16))


def _address(word: str) -> Address:
    """An address as a little-endian host prints it, four bytes at a time."""
    raw = b"".join(bytes.fromhex(word[at : at + 8])[::-1] for at in range(0, len(word), 8))
    return IPv4Address(raw) if len(raw) == 4 else IPv6Address(raw)
