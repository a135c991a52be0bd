"""Which rules of a chain a packet may match, by what they ask for certain: an address, a protocol with a port, or neither."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.tracer.netfilter.viewing import packet
from tracer.netfilter.index import ChainIndex, pin_of
from tracer.packet import Protocol

RULES = [
    "-A C -j FIRST",
    "-A C -d 10.0.0.1/32 -j A",
    "-A C -d 10.0.0.2/32 -j B",
    "-A C -p tcp -m tcp --dport 80 -j C",
    "-A C -p tcp -m tcp --dport 81 -j D",
    "-A C -p udp -m udp --dport 80 -j E",
    "-A C -p udp -m udp --dport 81 -j F",
    "-A C -s 10.0.0.0/8 -j LAST",
]


@pytest.mark.parametrize("begin", ["-A C", "[1:2] -A C", "-A C -s 10.0.0.9/32", "-A -d"])
@pytest.mark.parametrize("negated", ["", "! "])
@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.01", "10.0.0.256", "10.0.0", "::1", "10.0.0.1.2", "1-2", '"a'])
@pytest.mark.parametrize("prefix", ["", "/32", "/31", "/255.255.255.255", "/032"])
@pytest.mark.parametrize("behind", [" -j A", "", "\t-j A", " ! -p tcp"])
def test_a_rule_is_found_by_what_it_pins_down_however_it_begins(begin: str, negated: str, address: str, prefix: str, behind: str) -> None:
    text = f"{begin} {negated}-d {address}{prefix}{behind}"
    pin = pin_of(text)
    assert ChainIndex([text])._pinned == ({} if pin is None else {pin: [0]})


@pytest.mark.parametrize(
    ("destination", "protocol", "port", "expected"),
    [
        ("10.0.0.1", Protocol.TCP, 80, ["FIRST", "A", "C", "LAST"]),
        ("10.0.0.2", Protocol.UDP, 81, ["FIRST", "B", "F", "LAST"]),
        ("10.0.0.3", Protocol.TCP, 81, ["FIRST", "D", "LAST"]),
        ("10.0.0.3", Protocol.TCP, 82, ["FIRST", "LAST"]),
        ("10.0.0.3", Protocol.SCTP, 80, ["FIRST", "LAST"]),
        # Nobody says which port it is: it may be any, of its protocol.
        ("10.0.0.3", Protocol.TCP, None, ["FIRST", "C", "D", "LAST"]),
        ("10.0.0.1", Protocol.UDP, None, ["FIRST", "A", "E", "F", "LAST"]),
    ],
)
def test_which_rules_may_match(destination: str, protocol: Protocol, port: int | None, expected: list[str]) -> None:
    sent = replace(packet(destination=destination), protocol=protocol, destination_port=port)
    assert [RULES[i].rpartition(" ")[2] for i in ChainIndex(RULES).candidates(sent)] == expected
