"""What a NAT target makes of a packet: the addresses and ports it may choose, each with its odds.

Source: nf_nat_core.c (get_unique_tuple, find_best_ips_proto, nf_nat_l4proto_unique_tuple), nf_nat_redirect.c, nf_nat_masquerade.c,
xt_NETMAP.c, Linux 6.18.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from fractions import Fraction
from typing import Protocol as TypingProtocol

from tracer.frozen import changed
from tracer.netfilter import model as m
from tracer.netfilter.model import Hook
from tracer.netfilter.nat_hash import address_of_flow
from tracer.packet import Address, Packet, unsaid, which
from tracer.values import dataclass

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
    if isinstance(target, m.Dnat | m.Snat) and target.range.low is not None and target.range.low.version != packet.destination.version:
        yield Translation(None, missing=f"what an address of another family, {target.range.low}, does here: no kernel loads such a rule")
        return
    if asked := _asks_for_unsaid(target, packet):
        yield Translation(None, missing=f"{which(asked)}, on which the translation depends (ip-addr.json)")
        return
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


def is_worked_out(target: m.Target) -> bool:
    """Return whether what *target* writes is worked out of the packet's addresses: by a hash of them, or of their bits."""
    chosen = target.range if isinstance(target, m.Dnat | m.Snat) else None
    return isinstance(target, m.Netmap) or (chosen is not None and chosen.low != chosen.high)


def _asks_for_unsaid(target: m.Target, packet: Packet) -> Address | None:
    """The address of the packet that *target* looks at, where only its node is known."""
    if not is_worked_out(target):
        return None
    return next((a for a in (packet.source, packet.destination) if unsaid(a) is not None), None)


def _address(packet: Packet, chosen: m.NatRange, *, source: bool) -> Address:
    """The address out of the range: for one flow always the same."""
    if chosen.low is None or chosen.high is None:
        return packet.source if source else packet.destination
    if chosen.low == chosen.high:
        return chosen.low
    return address_of_flow(
        chosen.low,
        chosen.high,
        source=packet.source,
        destination=packet.destination,
        persistent=chosen.persistent,
        rewrites_destination=not source,
    )


def _destination(packet: Packet, chosen: m.NatRange) -> Iterator[Translation]:
    ports = _port_choices(chosen, packet.destination_port) if packet.protocol.has_ports else [None]
    if ports is None:
        yield Translation(None, missing=f"which of more than {_MOST_CHOICES} ports the kernel draws")
        return
    address = _address(packet, chosen, source=False)
    for port in ports:
        yield Translation(changed(packet, destination=address, destination_port=port), Fraction(1, len(ports)))


def _port_choices(chosen: m.NatRange, current: int | None) -> list[int | None] | None:
    """The ports DNAT may choose: the packet's own when the range holds it, else the lowest; with ``--random`` any of the range."""
    if chosen.ports is None:
        return [current]
    ports = chosen.ports
    size = ports.high - ports.low + 1
    if size == 1:
        return [ports.low]
    if chosen.base_port is not None and current is not None:
        return [ports.low + (current - chosen.base_port) % size]
    if chosen.random:
        return None if size > _MOST_CHOICES else list(range(ports.low, ports.high + 1))
    return [current if current is not None and current in ports else ports.low]


def _source(packet: Packet, chosen: m.NatRange) -> Iterator[Translation]:
    port, drawn = _source_port(packet, chosen)
    keeps = not chosen.random and _holds(chosen, packet)
    address = packet.source if keeps else _address(packet, chosen, source=True)
    yield Translation(changed(packet, source=address, source_port=port, source_port_random=drawn))


def _holds(chosen: m.NatRange, packet: Packet) -> bool:
    """Whether the source is in the range already: then it stays. Source: nf_in_range in nf_nat_core.c."""
    if unsaid(packet.source) is not None:
        return chosen.low == packet.source  # the same stack's own: it masquerades twice
    if chosen.low is None or chosen.high is None or not int(chosen.low) <= int(packet.source) <= int(chosen.high):
        return False
    return chosen.ports is None or (packet.source_port is not None and packet.source_port in chosen.ports)


def _source_port(packet: Packet, chosen: m.NatRange) -> tuple[int | None, bool]:
    """The source port after SNAT: kept where that is allowed, else drawn."""
    if not packet.protocol.has_ports:
        return None, False  # an echo's identifier is what is drawn
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
    return Translation(changed(packet, source=new) if source else changed(packet, destination=new))
