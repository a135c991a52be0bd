"""Connections: tuples, their inverses, and what translation leaves behind."""

from __future__ import annotations

from ipaddress import ip_address

from tracer.conntrack import Connection, FlowTuple
from tracer.packet import Packet, Protocol


def packet(source: str, source_port: int | None, destination: str, port: int, *, drawn: bool = False) -> Packet:
    return Packet(
        protocol=Protocol.TCP,
        source=ip_address(source),
        source_port=source_port,
        destination=ip_address(destination),
        destination_port=port,
        source_port_random=drawn,
    )


SENT = packet("10.0.0.9", None, "10.96.0.1", 80)


def test_a_new_connection_is_answered_the_other_way_round() -> None:
    found = Connection.begin(SENT)
    assert found.reply == found.original.inverse
    assert found.reply.inverse == found.original
    assert (found.reply.source, found.reply.source_port) == (ip_address("10.96.0.1"), 80)
    assert (found.has_dnat, found.has_snat) == (False, False)


def test_dnat() -> None:
    found = Connection.begin(SENT).translated(packet("10.0.0.9", None, "10.1.1.1", 8080))
    assert (found.has_dnat, found.has_snat) == (True, False)
    assert found.reply.source == ip_address("10.1.1.1")
    assert found.original == FlowTuple.of(SENT)


def test_dnat_of_the_port_alone_is_dnat() -> None:
    assert Connection.begin(SENT).translated(packet("10.0.0.9", None, "10.96.0.1", 81)).has_dnat


def test_snat_and_drawn_ports() -> None:
    found = Connection.begin(SENT).translated(packet("192.168.0.1", None, "10.96.0.1", 80, drawn=True))
    assert (found.has_dnat, found.has_snat) == (False, True)
    assert found.reply.destination_port == "random"


def test_a_drawn_port_is_not_the_clients_own() -> None:
    own, drawn = packet("10.0.0.9", None, "10.96.0.1", 80), packet("10.0.0.9", None, "10.96.0.1", 80, drawn=True)
    assert FlowTuple.of(own) != FlowTuple.of(drawn)
