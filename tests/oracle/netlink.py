"""The kernel's own rule trace, read from netlink: nf_tables' trace events, and the legacy back end's through nfnetlink_log.

Reading the socket instead of ``nft monitor trace`` or ``xtables-monitor`` costs no process, loses nothing and works for IPv6, where
xtables-monitor 1.8.9 can die. Source: include/uapi/linux/netfilter/{nfnetlink,nf_tables,nfnetlink_log,nfnetlink_conntrack}.h.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.oracle.netns import Namespace

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _SO_RCVBUFFORCE = 12, 270, 1, 33
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_TABLES, _LOG, _CONNTRACK = 10, 4, 1
_TRACE_GROUP = 9
_NFT_TRACE, _NFT_NEWRULE, _NFT_GETRULE = 17, 6, 7
_FAMILIES = {2: 4, 10: 6}
_TRACE_TYPES = {1: "policy", 2: "return", 3: "rule"}
_LEGACY = re.compile(r"TRACE: (?P<table>\w+):(?P<chain>[^:]+):(?P<kind>rule|policy|return):(?P<number>[0-9]+) ")


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the kernel's trace: *position* counts a chain's rules from 0, and is None for a policy.

    NB: ip_tables calls an unconditional RETURN ``policy`` or ``return`` too, so there a position behind the last rule is the chain's end.
    """

    backend: str
    version: int
    table: str
    chain: str
    position: int | None


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of netlink attributes."""
    at = 0
    while at + 4 <= len(data):
        size, kind = struct.unpack("HH", data[at : at + 4])
        if size < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + size]
        at += (size + 3) & ~3


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 16 <= len(data):
        size, kind = struct.unpack("IH", data[at : at + 6])
        yield kind, data[at + 16 : at + size]
        at += (size + 3) & ~3


class Channel:
    """One netlink socket of a namespace."""

    def __init__(self, space: Namespace) -> None:
        with space.inside():
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 23)
        self.socket.bind((0, 0))

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def ask(self, subsystem: int, message: int, payload: bytes = b"", *, family: int = 0, group: int = 0, flags: int = _ACK) -> list[bytes]:
        """Send a request and return the bodies of the answers. :raises OSError: the kernel refuses it."""
        body = struct.pack("!BBH", family, 0, group) + payload
        self.socket.setblocking(True)
        self.socket.send(struct.pack("IHHII", 16 + len(body), subsystem << 8 | message, _REQUEST | flags, 1, 0) + body)
        found: list[bytes] = []
        while True:
            for kind, answer in _messages(self.socket.recv(1 << 18)):
                if kind == 2:  # an error, or the acknowledgement
                    if number := struct.unpack("i", answer[:4])[0]:
                        raise OSError(-number, "netlink")
                    return found
                if kind == 3:
                    return found
                found.append(answer)

    def waiting(self) -> Iterator[tuple[int, bytes]]:
        """Yield the messages that are there, without waiting."""
        while True:
            try:
                data = self.socket.recv(1 << 18, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            yield from _messages(data)


class Conntrack(Channel):
    """Empties the connection table and makes accounting objects."""

    def flush(self) -> None:
        """Forget every connection of the namespace."""
        self.ask(_CONNTRACK, 2)

    def add_account(self, name: str) -> None:
        """Make the nfacct object *name*."""
        self.ask(7, 0, _attribute(1, name.encode() + b"\0"), flags=_ACK | 0x400)


class NftTrace:
    """Trace events of nf_tables, rules known by their place in the chain."""

    def __init__(self, space: Namespace) -> None:
        self._events, self._questions = Channel(space), Channel(space)
        self._events.socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _TRACE_GROUP)
        self._places: dict[tuple[int, str, str, int], int] = {}

    def close(self) -> None:
        """Close the sockets."""
        self._events.close()
        self._questions.close()

    def learn(self) -> None:
        """Read which handle every rule has now."""
        counts: dict[tuple[int, str, str], int] = {}
        self._places = {}
        for answer in self._questions.ask(_TABLES, _NFT_GETRULE, flags=_DUMP):
            found = dict(attributes(answer[4:]))
            chain = (answer[0], found[1].rstrip(b"\0").decode(), found[2].rstrip(b"\0").decode())
            place = counts.get(chain, 0)
            counts[chain] = place + 1
            self._places[(*chain, struct.unpack("!Q", found[3])[0])] = place

    def waiting(self) -> Iterator[Event]:
        """Yield the events that are there."""
        for kind, body in self._events.waiting():
            if kind != _TABLES << 8 | _NFT_TRACE:
                continue
            found = dict(attributes(body[4:]))
            trace_type = _TRACE_TYPES.get(struct.unpack("!I", found[4])[0], "")
            table, chain = found[1].rstrip(b"\0").decode(), found[2].rstrip(b"\0").decode()
            if trace_type == "rule" and 3 in found:  # without a handle it is the end of a chain
                place = self._places.get((body[0], table, chain, struct.unpack("!Q", found[3])[0]), -1)
                yield Event("nft", _FAMILIES.get(body[0], 0), table, chain, place)
            elif trace_type == "policy":
                yield Event("nft", _FAMILIES.get(body[0], 0), table, chain, None)


class LegacyTrace:
    """Trace lines of ip_tables and ip6_tables, which the namespace's log back end (nfnetlink_log) hands over."""

    def __init__(self, space: Namespace) -> None:
        with space.inside():
            for number in _FAMILIES:
                Path(f"/proc/sys/net/netfilter/nf_log/{number}").write_text("nfnetlink_log")
        self._channel = Channel(space)
        self._channel.ask(_LOG, 1, _attribute(1, b"\1"))
        self._channel.ask(_LOG, 1, _attribute(2, struct.pack("!IBB", 64, 2, 0)) + _attribute(5, struct.pack("!I", 1)))

    def close(self) -> None:
        """Close the socket."""
        self._channel.close()

    def waiting(self) -> Iterator[Event]:
        """Yield the lines that are there."""
        for kind, body in self._channel.waiting():
            if kind != _LOG << 8:
                continue
            prefix = dict(attributes(body[4:])).get(10, b"").rstrip(b"\0").decode("ascii", "replace")
            found = _LEGACY.match(prefix)
            if found:
                yield Event("legacy", _FAMILIES.get(body[0], 0), found["table"], found["chain"], int(found["number"]) - 1)
