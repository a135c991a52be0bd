"""Who listens on a node, as ``ss -ltnup`` or ``netstat -lntup`` lists it: which socket takes a packet, and when the list cannot tell.

Every column counts: the protocol, the state, the address with its family and device, the port, the process. A line that is no entry and no
heading was a socket too, perhaps: behind one nobody is known not to listen.
What a terminal puts around a list is passed over. Where neither program ran, /proc/net's tables are read (``proc_sockets``).
Source: iproute2 misc/ss.c (inet_addr_print); net-tools netstat.c (tcp_do_one, udp_do_one);
inet_csk_find_listener, compute_score and ipv6_only_sock, Linux 6.18.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tracer import pasted
from tracer.packet import Address, Packet, Protocol
from tracer.patterns import pattern
from tracer.query import parse_address
from tracer.routing import is_unnamed
from tracer.values import dataclass

_ENTRY = pattern(
    r"(?:(?P<netid>[a-z][a-z0-9_]*)[ \t]+)?(?P<state>[A-Z][A-Z0-9-]*)[ \t]+[0-9]+[ \t]+[0-9]+[ \t]+"
    r"(?P<local>\S+):(?P<port>[0-9]{1,5}|\*)[ \t]+\S+(?P<rest>[ \t].*)?",
    re.ASCII,
)
_NETSTAT = pattern(
    r"(?P<netid>tcp|udp|sctp)(?P<six>6?)[ \t]+[0-9]+[ \t]+[0-9]+[ \t]+(?P<local>\S+):(?P<port>[0-9]{1,5}|\*)[ \t]+\S+"
    r"(?P<rest>[ \t].*)?",
    re.ASCII,
)
_NETSTATS_PROGRAM = pattern(r"(?:^|[ \t])[0-9]{1,10}/(?P<name>\S{1,40})", re.ASCII)
_NETSTATS_WIDTH = 23
"""Without ``-W`` netstat cuts an address and port to so many characters."""
_NETSTATS_HEADINGS = ("Active ", "Proto ", "(Not all processes", " will not be shown", "(No info could", "will not be shown")
_OTHER = pattern(r"(?:u_str|u_dgr|u_seq|nl|p_raw|p_dgr|v_str|v_dgr|raw|icmp6?|mptcp|tipc|xdp|dccp)[ \t]", re.ASCII)
_PROGRAM = pattern(r'users:\(\("(?P<name>[^"]*)"', re.ASCII)
_V6_ONLY = pattern(r"\bv6only:(?P<value>[01])\b", re.ASCII)
_LISTENS = {"LISTEN": Protocol.TCP, "UNCONN": Protocol.UDP}
_HEADINGS = ("Netid", "State")
_OWN = pattern(r"(?:Netid|State|Active|Proto|tcp|udp|LISTEN|UNCONN)", re.ASCII)


class SocketAddress(NamedTuple):
    """Where a socket is bound: None stands for every address. *versions* are the IP versions that it takes for certain; *perhaps*: the
    list does not say whether it takes IPv4 as well."""

    address: Address | None
    device: str | None
    versions: frozenset[int]
    perhaps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """A socket that waits for what comes. *program* is the process's name, None where the list does not show processes."""

    protocol: Protocol
    at: SocketAddress
    port: int
    program: str | None = None

    def takes(self, packet: Packet, device: str | None) -> bool | None:
        """Return whether it takes *packet*, which came in by *device*; None when the list does not tell."""
        at, destination = self.at, packet.destination
        if self.protocol is not packet.protocol or self.port != packet.destination_port:
            return False
        if at.address not in (None, destination):
            return False
        is_bound_elsewhere = at.device is not None and at.device != device
        if is_bound_elsewhere and device is not None and not is_unnamed(device):
            return False
        if destination.version in at.versions:
            return None if is_bound_elsewhere else True
        return None if at.perhaps else False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """A node's list. *unread* is the number of the first line that is neither an entry nor a heading; *asked* are its protocols."""

    listening: tuple[Socket, ...]
    asked: frozenset[Protocol]
    unread: int | None = None

    @property
    def shows_programs(self) -> bool:
        """Return whether the list says whose the sockets are."""
        return any(one.program is not None for one in self.listening)

    def changed(self, closed: Collection[tuple[Protocol, int]], opened: Iterable[tuple[Protocol, int]]) -> Sockets:
        """Return the list without who listens at the ports *closed*, and with somebody at the ports *opened*, at every address."""
        kept = tuple(one for one in self.listening if (one.protocol, one.port) not in closed)
        at = SocketAddress(None, None, frozenset({4, 6}))
        came = tuple(Socket(protocol=protocol, at=at, port=port) for protocol, port in opened)
        return self if len(kept) == len(self.listening) and not came else replace(self, listening=kept + came)

    def of(self, packet: Packet, device: str | None) -> Socket | None:
        """Return the socket that takes *packet*, or may: of several the one that is bound closest. None when there is none."""
        found = [one for one in self.listening if one.takes(packet, device) is not False]
        return max(found, key=_closeness, default=None)

    def hears(self, packet: Packet, device: str | None) -> bool | None:
        """Return whether a process takes *packet*, which came in by *device*; None when the list does not tell."""
        if packet.destination_port is None:
            return None
        answers = {one.takes(packet, device) for one in self.listening}
        if True in answers:
            return True
        return None if None in answers or self.unread is not None or packet.protocol not in self.asked else False


def parse_sockets(text: str) -> Sockets:
    """Return the sockets that *text* lists, as ``ss`` prints them with ``-n`` and ``-l`` or ``-a``."""
    found: list[Socket] = []
    asked: set[Protocol] = set()
    unread: int | None = None
    lines = pasted.without_margin(text, _OWN).splitlines()
    is_old = any(":::" in line and not _NETSTAT.match(line) for line in lines)
    for number, line in enumerate(lines, 1):
        entry = _ENTRY.fullmatch(line.strip())
        if entry is not None:
            asked.update(_asked(entry))
            found.extend(_listening(entry, is_old=is_old))
        elif shown := _NETSTAT.fullmatch(line.strip()):
            asked.add(Protocol(shown["netid"]))
            sockets = _of_netstat(shown)
            unread = unread or (number if sockets is None else None)
            found.extend(sockets or ())
        elif line.split(maxsplit=1)[:1] == [_HEADINGS[0]]:
            asked |= {Protocol.TCP, Protocol.UDP}
        elif line.strip() and not line.strip().startswith((*_HEADINGS, *_NETSTATS_HEADINGS)) and not _OTHER.match(line):
            unread = unread or (None if pasted.is_around(line) else number)
    return Sockets(listening=tuple(found), asked=frozenset(asked), unread=unread)


def _of_netstat(entry: re.Match[str]) -> tuple[Socket, ...] | None:
    """What a line of netstat's says, None where its address may be cut off."""
    protocol, rest = Protocol(entry["netid"]), (entry["rest"] or "").strip()
    if protocol is not Protocol.UDP and not rest.startswith("LISTEN"):
        return ()
    if protocol is Protocol.UDP and rest.startswith("ESTABLISHED"):
        return ()
    host = "*" if entry["local"] == "*" else entry["local"]
    address = parse_address(host)
    if address is None or entry["port"] == "*" or (entry["six"] and len(f"{host}:{entry['port']}") >= _NETSTATS_WIDTH):
        return None
    if address.is_unspecified:
        at = SocketAddress(None, None, frozenset({address.version}), perhaps=address.version == 6)
    else:
        at = SocketAddress(address, None, frozenset({address.version}))
    program = _NETSTATS_PROGRAM.search(rest)
    return (Socket(protocol=protocol, at=at, port=int(entry["port"]), program=program["name"].rstrip(":") if program else None),)


def _asked(entry: re.Match[str]) -> set[Protocol]:
    """What a list with this entry is about: ``ss`` names the protocol only where it was asked for more than one."""
    if entry["netid"] is not None:
        named = {p for p in (Protocol.TCP, Protocol.UDP, Protocol.SCTP) if p.value == entry["netid"]}
        return named | {Protocol.TCP, Protocol.UDP}
    return {_LISTENS[entry["state"]]} if entry["state"] in _LISTENS else set()


def _listening(entry: re.Match[str], *, is_old: bool) -> Iterator[Socket]:
    protocol = next((p for p in Protocol if p.value == entry["netid"]), None) if entry["netid"] else _LISTENS.get(entry["state"])
    at = _address(entry["local"], entry["rest"] or "", is_old=is_old)
    if protocol is None or entry["state"] not in _LISTENS or entry["port"] == "*" or at is None:
        return
    program = _PROGRAM.search(entry["rest"] or "")
    yield Socket(protocol=protocol, at=at, port=int(entry["port"]), program=program["name"] if program else None)


def _address(local: str, rest: str, *, is_old: bool) -> SocketAddress | None:
    """Where a socket is bound. ``*`` takes both families, ``0.0.0.0`` IPv4 only, ``[::]`` both unless it is for IPv6 only.

    NB: what ``[::]`` is, iproute2 says by its versions: from 4.16 on a socket for both is ``*``, before, ``*`` was IPv4's and both were
    ``:::``. Where the list shows neither ``v6only`` nor its own age, whether IPv4 is taken is not known.
    """
    host, _, device = local.partition("%")
    host, device = host.removeprefix("[").removesuffix("]"), device.removesuffix("]")
    only = _V6_ONLY.search(rest)
    if host == "*":
        versions = frozenset({4} if is_old else {4, 6})
        return SocketAddress(None, device or None, versions)
    address = parse_address(host)
    if address is None:
        return None
    if mapped := getattr(address, "ipv4_mapped", None):
        return SocketAddress(mapped, device or None, frozenset({4}))
    if not address.is_unspecified:
        return SocketAddress(address, device or None, frozenset({address.version}))
    if address.version == 4:
        return SocketAddress(None, device or None, frozenset({4}))
    versions = frozenset({6}) if only is None or only["value"] == "1" else frozenset({4, 6})
    return SocketAddress(None, device or None, versions, perhaps=only is None)


def _closeness(socket: Socket) -> tuple[bool, bool, int]:
    """How closely a socket is bound: the kernel gives a packet to the closest. Source: compute_score in inet_hashtables.c."""
    return socket.at.address is not None, socket.at.device is not None, -len(socket.at.versions)
