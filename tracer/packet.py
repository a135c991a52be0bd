"""The packet: one immutable header with the metadata the kernel keeps beside it."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from tracer.values import dataclass

Address = IPv4Address | IPv6Address


class _UnsaidIPv4(IPv4Address):
    """An address of a node, nobody recorded which. It is written in words, and equal to no address but itself.

    Its number is that of an address which the node has: routes lead to the node by it. Whoever asks more of it has to ask :func:`unsaid`.
    """

    __slots__ = ("node",)

    def __init__(self, address: int, node: str) -> None:
        super().__init__(address)
        self.node = node

    def __str__(self) -> str:
        return f"an address of node {self.node}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _UnsaidIPv4) and (self.node, int(self)) == (other.node, int(other))

    def __hash__(self) -> int:
        return hash((self.node, int(self)))

    def __reduce__(self) -> tuple[object, ...]:
        return _UnsaidIPv4, (int(self), self.node)


class _UnsaidIPv6(IPv6Address):
    """The same of the other family."""

    __slots__ = ("node",)

    def __init__(self, address: int, node: str) -> None:
        super().__init__(address)
        self.node = node

    def __str__(self) -> str:
        return f"an address of node {self.node}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _UnsaidIPv6) and (self.node, int(self)) == (other.node, int(other))

    def __hash__(self) -> int:
        return hash((self.node, int(self)))

    def __reduce__(self) -> tuple[object, ...]:
        return _UnsaidIPv6, (int(self), self.node)


class _SomebodyIPv4(_UnsaidIPv4):
    """An address of somebody outside, nobody recorded which: it is of no node, and routes know its number only by their default."""

    __slots__ = ("whose",)

    def __init__(self, address: int, whose: str) -> None:
        super().__init__(address, "")
        self.whose = whose

    def __str__(self) -> str:
        return f"an address of {self.whose}"

    def __reduce__(self) -> tuple[object, ...]:
        return _SomebodyIPv4, (int(self), self.whose)


class _SomebodyIPv6(_UnsaidIPv6):
    """The same of the other family."""

    __slots__ = ("whose",)

    def __init__(self, address: int, whose: str) -> None:
        super().__init__(address, "")
        self.whose = whose

    def __str__(self) -> str:
        return f"an address of {self.whose}"

    def __reduce__(self) -> tuple[object, ...]:
        return _SomebodyIPv6, (int(self), self.whose)


def somebody(whose: str, like: str) -> Address:
    """Return what stands for an address outside that nobody recorded; routes lead to it as they do to *like*."""
    found = IPv6Address(like) if ":" in like else IPv4Address(like)
    return _SomebodyIPv4(int(found), whose) if found.version == 4 else _SomebodyIPv6(int(found), whose)


def an_address_of(node: str, address: Address) -> Address:
    """Return what stands for some address of *node*, of the family of *address*, which is one that it has."""
    return _UnsaidIPv4(int(address), node) if address.version == 4 else _UnsaidIPv6(int(address), node)


def unsaid(address: Address) -> str | None:
    """Return the node of which *address* is some address, nobody recorded which, "" for somebody's outside; None for one that was."""
    return address.node if isinstance(address, _UnsaidIPv4 | _UnsaidIPv6) else None


def which(address: Address) -> str:
    """Return the question that is open for an address of which only the node is known, as a clause."""
    return f"which {str(address).removeprefix('an ')} the packet has"


def said(address: Address) -> Address:
    """Return *address*, or for one that nobody recorded the one by which routes lead to its node."""
    if isinstance(address, _UnsaidIPv4):
        return IPv4Address(int(address))
    return IPv6Address(int(address)) if isinstance(address, _UnsaidIPv6) else address


class Protocol(StrEnum):
    """Transport protocols, and those that carry packets in tunnels; the value is the spelling of ``/etc/protocols``."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"
    ICMP = "icmp"
    ICMPV6 = "icmpv6"
    IPENCAP = "ipencap"
    IPV6 = "ipv6"
    GRE = "gre"

    @property
    def has_ports(self) -> bool:
        """Return whether its packets have ports; an ICMP message has none."""
        return self not in (Protocol.ICMP, Protocol.ICMPV6)

    def of(self, version: int) -> Protocol:
        """Return the protocol in packets of an IP version: ICMP is another one in IPv6."""
        return Protocol.ICMPV6 if self is Protocol.ICMP and version == 6 else self

    @property
    def number(self) -> int:
        """Return the IANA protocol number."""
        return _NUMBERS[self._value_]

    @property
    def carries(self) -> bool:
        """Return whether its packets carry others, and have no ports."""
        return self in (Protocol.IPENCAP, Protocol.IPV6, Protocol.GRE)


_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmpv6": 58, "ipencap": 4, "ipv6": 41, "gre": 47}


class Family(StrEnum):
    """Address family, in nftables' spelling."""

    IP = "ip"
    IP6 = "ip6"

    @classmethod
    def of(cls, version: int) -> Family:
        """Return the family of an IP version."""
        return cls.IP if version == 4 else cls.IP6


def host_text(host: object) -> str:
    """Return an address, or a name, as it stands in front of a port: IPv6 in brackets. Source: RFC 3986, 3.2.2."""
    text = str(host)
    return f"[{text}]" if ":" in text else text


def endpoint_text(host: object, port: object) -> str:
    """Return ``address:port``, for IPv6 ``[address]:port``: everywhere but in rules, which are spelled as their programs do."""
    text = host_text(host)
    return f"{text}, port {port}" if " " in text else f"{text}:{port}"


def at_text(host: object, port: int | None) -> str:
    """Return an address, and the port where there is one, as part of a sentence."""
    return str(host) if port is None else f"{host} port {port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet's header and its mark.

    ``source_port`` is None while nobody has said it (shown as ``:any``); ``source_port_random`` is true once the kernel drew it,
    and ``destination_port_random`` where an answer goes to a port that it drew.
    ``mark`` is the 32-bit skb mark of the current stack.
    """

    protocol: Protocol
    source: Address
    destination: Address
    source_port: int | None = None
    destination_port: int | None = None
    mark: int = 0
    source_port_random: bool = False
    destination_port_random: bool = False

    @property
    def family(self) -> Family:
        """Return the packet's address family."""
        return Family.IP6 if self.destination.version == 6 else Family.IP

    def to_dict(self) -> dict[str, object]:
        """Return the packet as trace-json.md writes it."""
        out: dict[str, object] = {
            "protocol": self.protocol.value,
            "source": str(self.source),
            "source_port": None if self.source_port_random else self.source_port,
            "destination": str(self.destination),
            "destination_port": self.destination_port,
            "mark": f"{self.mark:#x}",
        }
        if self.source_port_random:
            out["source_port_random"] = True
        return out
