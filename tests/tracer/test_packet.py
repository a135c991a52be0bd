"""Packets as the contract writes them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tracer.packet import Family, Packet, Protocol

NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132, Protocol.ICMP: 1, Protocol.ICMPV6: 58}


@pytest.mark.parametrize("protocol", Protocol)
def test_number(protocol: Protocol) -> None:
    assert protocol.number == NUMBERS[protocol]


@pytest.mark.parametrize(("destination", "family"), [("10.0.0.1", Family.IP), ("fd00::1", Family.IP6)])
def test_family(destination: str, family: Family) -> None:
    packet = Packet(protocol=Protocol.TCP, source=ip_address(destination), destination=ip_address(destination))
    assert packet.family is family


def test_to_dict() -> None:
    packet = Packet(
        protocol=Protocol.UDP, source=ip_address("FD00:0::1"), destination=ip_address("fd00::2"), destination_port=53, mark=0x4000
    )
    assert packet.to_dict() == {
        "protocol": "udp", "source": "fd00::1", "source_port": None, "destination": "fd00::2", "destination_port": 53, "mark": "0x4000"
    }  # fmt: skip


def test_a_drawn_port_is_said_to_be_random_and_not_shown() -> None:
    packet = Packet(
        protocol=Protocol.TCP, source=ip_address("10.0.0.1"), destination=ip_address("10.0.0.2"), source_port=4000, source_port_random=True
    )
    assert (packet.to_dict()["source_port"], packet.to_dict()["source_port_random"]) == (None, True)
