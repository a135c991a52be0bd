"""The peers of a node's WireGuard devices, as ``wg show all endpoints`` and ``wg show all allowed-ips`` list them; no keys but public ones.

A packet that leaves by such a device goes to the peer that has the longest of the allowed networks for its destination. At the other end it
is taken only from a peer that may have its source. Taken from the kernel's source, and not proved: the kernel that the tests run on has no
such devices.
Source: wg(8); wg_xmit in device.c, wg_allowedips_lookup_src in receive.c, drivers/net/wireguard, Linux 6.18.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from tracer.errors import Fault, ParseError
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.values import dataclass

_KEY = pattern(r"[A-Za-z0-9+/]{43}=", re.ASCII)
_NONE = "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where the peer of a device is reached, None where it has not been heard of."""

    device: str
    peer: str
    address: Address | None
    port: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The networks that a peer of a device may send from, and is sent to for."""

    device: str
    peer: str
    networks: tuple[IPv4Network | IPv6Network, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """What both lists of a node say."""

    endpoints: tuple[Endpoint, ...]
    allowed: tuple[Allowed, ...]

    def towards(self, device: str, address: Address) -> Endpoint | None:
        """Return where packets for *address* that leave by *device* are sent; None where no peer may have it."""
        held = [(n.prefixlen, one.peer) for one in self.allowed if one.device == device for n in one.networks if address in n]
        peer = max(held)[1] if held else None
        return next((one for one in self.endpoints if (one.device, one.peer) == (device, peer)), None)


def parse_endpoints(text: str, file: str) -> tuple[Endpoint, ...]:
    """Return the lines of ``wg show all endpoints``: device, public key, endpoint. :raises ParseError: a line is none."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            device, peer, said = _fields(line, number, file)
            address, port = _endpoint(said, number, file)
            found.append(Endpoint(device=device, peer=peer, address=address, port=port))
    return tuple(found)


def parse_allowed(text: str, file: str) -> tuple[Allowed, ...]:
    """Return the lines of ``wg show all allowed-ips``: device, public key, networks. :raises ParseError: a line is none."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            device, peer, said = _fields(line, number, file)
            words = [] if said == _NONE else said.split(" ")
            try:
                networks = tuple(ip_network(word) for word in words)
            except ValueError as error:
                raise _fault(number, file, str(error)) from None
            found.append(Allowed(device=device, peer=peer, networks=networks))
    return tuple(found)


def _fields(line: str, number: int, file: str) -> tuple[str, str, str]:
    fields = line.split("\t")
    if len(fields) != 3 or not fields[0] or not _KEY.fullmatch(fields[1]):
        raise _fault(number, file, "no line of wg show all: a device, a public key and what is asked for, with tabs between")
    return fields[0], fields[1], fields[2].strip()


def _endpoint(said: str, number: int, file: str) -> tuple[Address | None, int | None]:
    if said == _NONE:
        return None, None
    host, colon, port = said.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        raise _fault(number, file, f"{said!r} is no endpoint") from None
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 0 < int(port) < 65536:
        raise _fault(number, file, f"{said!r} has no port")
    return address, int(port)


def _fault(number: int, file: str, message: str) -> ParseError:
    return ParseError(Fault(file=file, line=number, column=None, message=message))
