"""The packet: one immutable header with the metadata the kernel keeps beside it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address


class Protocol(StrEnum):
    """Transport protocols a trace can start with; the value is the spelling of ``/etc/protocols``."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"
    ICMP = "icmp"
    ICMPV6 = "icmpv6"

    @property
    def number(self) -> int:
        """Return the IANA protocol number."""
        return {"tcp": 6, "udp": 17, "sctp": 132, "icmp": 1, "icmpv6": 58}[self.value]


class Family(StrEnum):
    """Address family, in nftables' spelling."""

    IP = "ip"
    IP6 = "ip6"


def host_text(host: object) -> str:
    """Return an address, or a name, as it stands in front of a port: IPv6 in brackets. Source: RFC 3986, 3.2.2."""
    text = str(host)
    return f"[{text}]" if ":" in text else text


def endpoint_text(host: object, port: object) -> str:
    """Return ``address:port``, for IPv6 ``[address]:port``: everywhere but in rules, which are spelled as their programs do."""
    return f"{host_text(host)}:{port}"


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
