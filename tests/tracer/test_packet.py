"""Packets as the contract writes them."""

from __future__ import annotations

import pickle
import re
from ipaddress import ip_address

import pytest

from tests.live_server import PROJECT
from tracer.packet import Family, Packet, Protocol, an_address_of, endpoint_text, host_text, said, unsaid, which

NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.SCTP: 132, Protocol.ICMP: 1, Protocol.ICMPV6: 58}
NUMBERS |= {Protocol.IPENCAP: 4, Protocol.IPV6: 41, Protocol.GRE: 47}


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


@pytest.mark.parametrize(
    ("host", "spelled"),
    [
        (ip_address("10.0.0.1"), "10.0.0.1"),
        (ip_address("fd00::1"), "[fd00::1]"),
        ("fd00::1%eth0", "[fd00::1%eth0]"),
        ("web.shop", "web.shop"),
    ],
)
def test_an_endpoint_is_spelled_with_brackets_where_colons_are(host: object, spelled: str) -> None:
    assert host_text(host) == spelled
    assert endpoint_text(host, 80) == f"{spelled}:80"
    assert endpoint_text(host, "any") == f"{spelled}:any"


def test_nobody_else_spells_an_endpoint() -> None:
    bracketed = re.compile(r"""f["']\[\{|\}\]:[{0-9]""")
    modules = (*PROJECT.glob("tracer/**/*.py"), *PROJECT.glob("webapp/**/*.py"))
    assert [m.name for m in modules if bracketed.search(m.read_text())] == ["packet.py"]


@pytest.mark.parametrize("text", ["192.0.2.11", "fd00::11"])
def test_an_address_that_nobody_recorded(text: str) -> None:
    known = ip_address(text)
    some = an_address_of("n1", known)
    assert (str(some), f"{some}", unsaid(some), unsaid(known)) == ("an address of node n1", "an address of node n1", "n1", None)
    assert (some.version, said(some), said(known)) == (known.version, known, known)
    assert some != known and known != some and some not in {known} and known not in {some}
    assert some == an_address_of("n1", known) == pickle.loads(pickle.dumps(some)) and some != an_address_of("n2", known)
    assert endpoint_text(some, 80) == "an address of node n1, port 80"
    assert which(some) == "which address of node n1 the packet has"
