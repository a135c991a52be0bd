"""What a NAT target makes of a packet: the addresses and ports it may choose, each with its odds.

Source: nf_nat_core.c (find_best_ips_proto, nf_nat_l4proto_unique_tuple), nf_nat_redirect.c, nf_nat_masquerade.c, xt_NETMAP.c, Linux 6.18.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol as TypingProtocol

from tracer.netfilter import model as m
from tracer.netfilter.model import Hook
from tracer.packet import Address, Packet

_MOST_CHOICES = 64


class Addresses(TypingProtocol):
    """What translation needs to know of the stack."""

    def masquerade(self, packet: Packet) -> Address | None:
        """Return the address that MASQUERADE gives *packet* on its way out, None when it cannot be told."""

    def redirect(self, packet: Packet) -> Address | None:
        """Return the address of the incoming device that REDIRECT uses, None when it cannot be told."""


@dataclass(frozen=True, slots=True)
class Translation:
    """One way a target can translate; *packet* is None when the snapshot does not say, and *missing* tells what it lacks."""

    packet: Packet | None
    share: Fraction = Fraction(1)
    missing: str = ""


def manipulates_source(hook: Hook) -> bool:
    """Return whether NAT at *hook* works on the source (else on the destination). Source: HOOK2MANIP in nf_nat.h."""
    return hook in (Hook.POSTROUTING, Hook.INPUT)


def translate(target: m.Target, packet: Packet, hook: Hook, addresses: Addresses) -> Iterator[Translation]:
    """Yield every translation that *target* can make of *packet*; shares sum to 1."""
    match target:
        case m.Dnat(range=chosen):
            yield from _destination(packet, chosen)
        case m.Snat(range=chosen):
            yield from _source(packet, chosen)
        case m.Masquerade(ports=ports, random=random):
            address = addresses.masquerade(packet)
            if address is None:
                yield Translation(
                    None, missing="the address that MASQUERADE takes: the node's addresses are not in the snapshot (ip-addr.json)"
                )
            else:
                yield from _source(packet, m.NatRange(address, address, ports, random))
        case m.Redirect(ports=ports, random=random):
            yield from _redirect(packet, hook, ports, random, addresses)
        case m.Netmap(network=network):
            yield _netmap(packet, network, source=manipulates_source(hook))
        case _:
            raise TypeError(f"{type(target).__name__} is not a NAT target")


def _choices(chosen: m.NatRange, current: Address) -> list[Address] | None:
    if chosen.low is None or chosen.high is None:
        return [current]
    count = int(chosen.high) - int(chosen.low) + 1
    if count > _MOST_CHOICES:
        return None
    return [type(chosen.low)(int(chosen.low) + i) for i in range(count)]


def _destination(packet: Packet, chosen: m.NatRange) -> Iterator[Translation]:
    found = _choices(chosen, packet.destination)
    ports = _port_choices(chosen, packet.destination_port)
    if found is None or ports is None:
        yield Translation(None, missing=f"which of more than {_MOST_CHOICES} addresses or ports the kernel's hash picks")
        return
    share = Fraction(1, len(found) * len(ports))
    for address in found:
        for port in ports:
            yield Translation(replace(packet, destination=address, destination_port=port), share)


def _port_choices(chosen: m.NatRange, current: int | None) -> list[int | None] | None:
    """The ports DNAT may choose: the packet's own when the range holds it, else any of the range."""
    if chosen.ports is None:
        return [current]
    ports = chosen.ports
    if ports.low == ports.high:
        return [ports.low]
    size = ports.high - ports.low + 1
    if chosen.base_port is not None and current is not None:
        return [ports.low + (current - chosen.base_port) % size]
    if current is not None and current in ports and not chosen.random:
        return [current]
    return None if size > _MOST_CHOICES else list(range(ports.low, ports.high + 1))


def _source(packet: Packet, chosen: m.NatRange) -> Iterator[Translation]:
    found = _choices(chosen, packet.source)
    if found is None:
        yield Translation(None, missing=f"which of more than {_MOST_CHOICES} addresses the kernel's hash picks")
        return
    port, drawn = _source_port(packet, chosen)
    for address in found:
        yield Translation(replace(packet, source=address, source_port=port, source_port_random=drawn), Fraction(1, len(found)))


def _source_port(packet: Packet, chosen: m.NatRange) -> tuple[int | None, bool]:
    """The source port after SNAT: kept where that is allowed, else drawn."""
    if chosen.ports is not None:
        if chosen.ports.low == chosen.ports.high:
            return chosen.ports.low, False
        keeps = packet.source_port is not None and packet.source_port in chosen.ports and not chosen.random
        return (packet.source_port, False) if keeps else (None, True)
    return (None, True) if chosen.random else (packet.source_port, packet.source_port_random)


def _redirect(packet: Packet, hook: Hook, ports: m.PortRange | None, random: bool, addresses: Addresses) -> Iterator[Translation]:
    address: Address | None
    if hook is Hook.OUTPUT:
        address = ipaddress.ip_address("127.0.0.1" if packet.destination.version == 4 else "::1")
    else:
        address = addresses.redirect(packet)
    if address is None:
        yield Translation(
            None, missing="the address that REDIRECT takes: the incoming device's addresses are not in the snapshot (ip-addr.json)"
        )
        return
    yield from _destination(packet, m.NatRange(address, address, ports, random))


def _netmap(packet: Packet, network: m.AddressMask, *, source: bool) -> Translation:
    current = packet.source if source else packet.destination
    bits = current.max_prefixlen
    new = type(current)(network.value | int(current) & ~network.mask & ((1 << bits) - 1))
    return Translation(replace(packet, source=new) if source else replace(packet, destination=new))
