"""What a rule can see of a packet: its header, its devices, its connection, and the stack it is in.

A View is immutable; a target that changes something makes a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol as TypingProtocol

from tracer.conntrack import Connection
from tracer.netfilter.ipset_save import IpSet
from tracer.netfilter.model import EPHEMERAL, Hook, PortRange, RpfilterMatch
from tracer.packet import Address, Packet
from tracer.values import dataclass

LOOPBACK = "lo"
UNKNOWN_PORT = "?"  # some port of the bridge, nobody says which


NO_BRIDGE = "whether the packet crosses a bridge is not known: its device, or what kind it is of, is not in the snapshot (ip-link.json)"


def is_unnamed(device: str | None) -> bool:
    """Return whether *device* stands for some device, nobody recorded which (tracer.routing.placed)."""
    return device is not None and device.startswith(UNKNOWN_PORT)


class AddressTypes(TypingProtocol):
    """What address types and chains of devices need from a stack's routing; tracer.routing.Routing has it."""

    def has_address_type(self, address: Address, types: Collection[str], device: str | None = None) -> bool | None:
        """Return whether the stack's own tables give *address* one of *types* (LOCAL, UNICAST, …); None when they cannot tell."""

    def crosses(self, device: str | None, names: Collection[str]) -> bool | None:
        """Return whether what passes by *device* passes by one of *names*; None when that is not known."""

    def address_type(self, address: Address, device: str | None = None) -> str:
        """Return the one type that the kernel's look-up gives *address* (LOCAL, UNICAST, …), or UNKNOWN."""


@dataclass(frozen=True, slots=True)
class UnknownAnswer:
    """A match that the snapshot cannot answer: a code of the catalogue and what is missing."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A packet at one hook of one stack.

    *state* is NEW, ESTABLISHED, RELATED, INVALID or UNTRACKED; *template*: conntrack has not seen the packet yet, and ``-j CT`` gave it
    an empty connection. *local_process* is true where the packet has a socket of this stack.
    *recent* holds (list name, address) pairs that this flow has put into ``-m recent`` lists. Header fields are None where nobody
    said them; *icmp* is the type and code of an ICMP message. *own_ports* are those that the client's own port is one of, where nobody
    said it.
    """

    packet: Packet
    hook: Hook
    routing: AddressTypes
    in_device: str | None = None
    out_device: str | None = None
    phys_in: str | None = None
    phys_out: str | None = None
    bridged: bool = False
    bridge_seen: bool = True
    state: str = "NEW"
    connection: Connection | None = None
    reply: bool = False
    template: bool = False
    connection_mark: int = 0
    local_process: bool = False
    sets: Mapping[str, IpSet] | None = None
    recent: frozenset[tuple[str, str]] = frozenset()
    tcp_flags: int | None = 0x02
    icmp: tuple[int, int] | None = None
    dscp: int | None = None
    length: int | None = None
    ttl: int | None = None
    own_ports: PortRange = EPHEMERAL
    reverse_path: Callable[[RpfilterMatch], bool | None] | None = None


def is_version(address: Address, version: int) -> bool:
    """Return whether *address* is of IP *version*."""
    return isinstance(address, IPv4Address if version == 4 else IPv6Address)
