"""A Service's load balancer by its protocol alone: no node is walked, no packet carried."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest

from tests.made_cluster import MadeCluster
from tracer.conntrack import Connection
from tracer.front.service_balancer import ServiceBalancer, balancer_at
from tracer.kube.objects import Objects
from tracer.packet import Packet, Protocol
from tracer.simulate.walk import Visit, Walk
from tracer.stack_protocols import Balancer, Choice, End, TableId, TableKind
from tracer.trace import StackKind, Unknown

ADDRESS = "203.0.113.100"


def objects(*without: str, node_port: int | None = 30080, local: bool = False) -> Objects:
    """Two nodes, the pod web on the second one, and the Service web with a load balancer."""
    cluster = MadeCluster(2)
    cluster.service("web", [cluster.pod("web", 2)], type="LoadBalancer", node_port=node_port, lb_ip=ADDRESS, local=local)
    cluster.extra |= dict.fromkeys(without)
    return cluster.cluster().objects


def balancer(*without: str, **options: object) -> Balancer:
    found = balancer_at(objects(*without, **options), ip_address(ADDRESS))  # type: ignore[arg-type]
    assert found is not None
    return found


def walk(port: int = 80, *, destination: str = ADDRESS, protocol: Protocol = Protocol.TCP) -> Walk:
    packet = Packet(
        protocol=protocol, source=ip_address("203.0.113.9"), source_port=40000, destination=ip_address(destination), destination_port=port
    )
    return Walk(packet=packet, visit=Visit(kind=StackKind.LOAD_BALANCER, name="default/web", node=None, came_in=None, packet_in=packet))


def said(choice: Choice | End | Unknown) -> tuple[object, ...]:
    match choice:
        case Choice(node=node, packet=packet, share=share):
            return node, str(packet.source), str(packet.destination), packet.destination_port, share
        case End(disposition=disposition, reason=reason):
            return disposition.value, reason.code
        case Unknown(code=code, at=at):
            return code, *at.values()


HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("without", "options", "asked", "expected"),
    [
        ((), {}, walk(), [("n1", "203.0.113.9", "192.168.0.11", 30080, HALF), ("n2", "203.0.113.9", "192.168.0.12", 30080, HALF)]),
        ((), {"local": True}, walk(), [("n2", "203.0.113.9", "192.168.0.12", 30080, 1)]),
        ((), {}, walk(81), [("lost", "LB_NO_LISTENER")]),
        ((), {}, walk(protocol=Protocol.UDP), [("lost", "LB_NO_LISTENER")]),
        ((), {"node_port": None}, walk(), [("LB_NOT_MODELLED", "default/web")]),
        (("nodes.json",), {}, walk(), [("DATA_MISSING", "nodes.json")]),
        (("endpointslices.json",), {"local": True}, walk(), [("DATA_MISSING", "endpointslices.json")]),
    ],
)
def test_what_it_may_do_with_a_packet(without: tuple[str, ...], options: dict[str, object], asked: Walk, expected: list[object]) -> None:
    assert [said(choice) for choice in balancer(*without, **options).choices(asked)] == expected


def test_without_a_healthy_node_it_has_nobody_to_send_to() -> None:
    cluster = MadeCluster(1)
    cluster.service("web", [cluster.pod("web", 1)], type="LoadBalancer", node_port=30080, lb_ip=ADDRESS)
    cluster.node(1).labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    found = balancer_at(cluster.cluster().objects, ip_address(ADDRESS))
    assert found is not None
    assert [said(choice) for choice in found.choices(walk())] == [("dropped", "LB_NO_HEALTHY_NODE")]


def test_an_answer_of_its_connection_comes_from_the_address_that_was_dialled() -> None:
    asked = walk()
    passed_on = Packet(
        protocol=Protocol.TCP, source=asked.packet.source, source_port=40000, destination=ip_address("192.168.0.12"), destination_port=30080
    )
    answer = Packet(
        protocol=Protocol.TCP,
        source=passed_on.destination,
        source_port=30080,
        destination=asked.packet.source,
        destination_port=40000,
        mark=7,
    )
    table = TableId(TableKind.BALANCER, "default/web")
    back = Walk(packet=answer, visit=asked.visit, answering=True).with_entry(table, Connection.begin(asked.packet).translated(passed_on))
    found = balancer().back(back)
    assert found is not None
    assert (str(found.source), found.source_port, str(found.destination), found.mark) == (ADDRESS, 80, "203.0.113.9", 0)


@pytest.mark.parametrize("kind", [TableKind.CONNTRACK, TableKind.IPVS])
def test_a_connection_of_another_table_of_that_name_is_not_its(kind: TableKind) -> None:
    """Tables are told apart by their kind: a node may have a balancer's name."""
    asked = walk()
    back = Walk(packet=asked.packet, visit=asked.visit).with_entry(TableId(kind, "default/web"), Connection.begin(asked.packet))
    assert balancer().back(back) is None
    own = Walk(packet=asked.packet, visit=asked.visit).with_entry(
        TableId(TableKind.BALANCER, "default/web"), Connection.begin(asked.packet)
    )
    assert balancer().back(own) is not None


def test_an_address_in_no_status_has_no_balancer() -> None:
    assert balancer_at(objects(), ip_address("10.96.0.10")) is None
    assert isinstance(balancer_at(objects(), ip_address(ADDRESS)), ServiceBalancer)
