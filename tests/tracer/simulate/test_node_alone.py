"""One node's stack by itself: its own files, made surroundings, no cluster and no fabric. What it yields is all that it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from tests.made_cluster import MadeCluster
from tests.tracer.simulate.made_processes import MadeProcess, target
from tracer.frontends.kinds import CALICO, CILIUM
from tracer.frontends.model import FrontendTable
from tracer.kube.pod import Pod
from tracer.limits import Budget
from tracer.netfilter.leaf import Leaf
from tracer.packet import Address, Family, Packet, Protocol
from tracer.simulate.crossing import Crossing
from tracer.simulate.departure import Accepted, Routed, SentByNode, Way
from tracer.simulate.node import NodeHost, NodeWalk
from tracer.simulate.policy_queue import Judged
from tracer.simulate.walk import Ending, Visit, Walk
from tracer.snapshot import Snapshot
from tracer.stack_protocols import Passing, Process, StackId
from tracer.topology.data_path import BY_RULES, DataPath
from tracer.topology.stack import NodeStack
from tracer.trace import Disposition, StackKind, Unknown

NODE, POD, OUTSIDE = "192.168.0.11", "10.1.1.2", "203.0.113.9"


@dataclass
class Made:
    """Surroundings of a node, as a test says."""

    path: DataPath = BY_RULES
    missing: Unknown | None = None
    processes: dict[int, Process] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)

    def data_path(self, stack: NodeStack) -> DataPath:
        return self.path

    def gap(self, stack: NodeStack, family: Family) -> Unknown | None:
        return self.missing

    def unlisted(self, stack: NodeStack, packet: Packet) -> Unknown | None:
        return None

    def queued(self, walk: Walk, crossing: Crossing, leaf: Leaf) -> Judged | None:
        return None

    def process_at(self, host: StackId, walk: Passing) -> Process | None:
        assert host == (StackKind.NODE, "n1")
        return self.processes.get(walk.packet.destination_port or 0)

    def pods_sharing(self, node: str) -> tuple[Pod, ...]:
        return ()

    def pod_with_ip(self, address: Address, node: str | None = None) -> Pod | None:
        return self.pods.get(str(address))

    def is_inside(self, address: Address) -> bool:
        return str(address) in self.pods


def stack(*rules: tuple[str, str]) -> NodeStack:
    """Node n1 with a pod's device, and *rules* in front of others: nothing but its own files is in the snapshot."""
    cluster = MadeCluster(1)
    cluster.pod("web", 1)
    cluster.node(1).rules += rules
    files = {path: text for path, text in cluster.files().items() if path.startswith("nodes/n1/")}
    return NodeStack("n1", Snapshot.from_files(files))


def walk(source: str, destination: str, port: int = 80, *, protocol: Protocol = Protocol.TCP) -> Walk:
    packet = Packet(protocol=protocol, source=ip_address(source), destination=ip_address(destination), destination_port=port)
    return Walk(packet=packet, visit=Visit(kind=StackKind.NODE, name="n1", node="n1", came_in=None, packet_in=packet))


def received(made: Made, found: NodeStack, passing: Walk, device: str = "eth0") -> list[Way]:
    return list(NodeWalk(made, Budget()).receive(passing, found, device))


def sent(made: Made, found: NodeStack, passing: Walk) -> list[Way]:
    return list(NodeWalk(made, Budget()).send(passing, found, source=None))


def test_what_is_forwarded_leaves_by_a_route() -> None:
    [way] = received(Made(), stack(), walk(OUTSIDE, POD))
    assert isinstance(way, Routed)
    assert (way.node, way.route.device, way.route.gateway) == ("n1", "vethweb", None)
    assert way.walk.hops == ()  # it has left nothing behind yet: the fabric says what is next


def test_a_rule_ends_it_or_sends_it_elsewhere() -> None:
    [dropped] = received(Made(), stack(("filter", f"-A FORWARD -d {POD}/32 -j DROP")), walk(OUTSIDE, POD))
    assert isinstance(dropped, Ending)
    assert dropped.outcome.disposition is Disposition.DROPPED
    [way] = received(
        Made(), stack(("nat", f"-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination {POD}:8080")), walk(OUTSIDE, NODE)
    )
    assert isinstance(way, Routed)
    assert (str(way.walk.packet.destination), way.walk.packet.destination_port) == (POD, 8080)


def test_random_rules_yield_a_way_each() -> None:
    rule = (
        f"-A PREROUTING -p tcp -m tcp --dport 80 -m statistic --mode random --probability 0.25000000000 -j DNAT --to-destination {POD}:8080"
    )
    ways = received(Made(), stack(("nat", rule)), walk(OUTSIDE, NODE))
    assert [(type(way), str(way.walk.probability)) for way in ways] == [(Routed, "1/4"), (Ending, "3/4")]


def test_what_it_sends_has_the_address_that_the_kernel_picks() -> None:
    [way] = sent(Made(), stack(), walk("0.0.0.0", POD))
    assert isinstance(way, Routed)
    assert str(way.walk.packet.source) == "10.1.1.1"


def test_what_is_for_itself_ends_at_a_socket_or_is_accepted_by_a_process() -> None:
    [ending] = received(Made(), stack(), walk(OUTSIDE, NODE, 22))
    assert isinstance(ending, Ending)
    assert (ending.outcome.disposition, ending.outcome.destination and ending.outcome.destination.kind) == (Disposition.DELIVERED, "node")
    process = MadeProcess(program="proxy", dialled=((target(f"{POD}:8080"),),))
    found = stack()
    [way] = received(Made(processes={22: process}), found, walk(OUTSIDE, NODE, 22))
    assert isinstance(way, Accepted)
    assert (way.process, way.host) == (process, NodeHost(found))


def test_a_process_of_the_node_sends_from_the_nodes_address() -> None:
    host = NodeHost(stack())
    assert str(host.source_towards(ip_address(POD))) == "10.1.1.1"
    assert str(host.source_towards(ip_address("192.168.0.1"))) == NODE
    passing = walk(NODE, POD)
    departure = host.sent(passing, lambda ending: iter([ending]))
    assert isinstance(departure, SentByNode)
    assert (departure.node, departure.source, departure.walk) == ("n1", None, passing)
    assert host.visit(passing.packet).node == "n1"


ENTRANCES: list[Callable[[Made, NodeStack, Walk], list[Way]]] = [received, sent]


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_what_is_missing_is_told_at_both_entrances(entrance: Callable[[Made, NodeStack, Walk], list[Way]]) -> None:
    missing = Unknown(code="NO_RULES", text="No rules recorded")
    [way] = entrance(Made(missing=missing), stack(), walk(OUTSIDE, POD))
    assert isinstance(way, Ending)
    assert (way.outcome.disposition, way.walk.unknowns) == (Disposition.UNKNOWN, (missing,))


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    ("path", "code"),
    [
        (DataPath(kind=CALICO, evidence="seen"), "EBPF_MAPS_MISSING"),
        (DataPath(kind=CILIUM, evidence="seen", table=FrontendTable(file="list", frontends=())), "EBPF_NOT_REPLAYED"),
    ],
    ids=["no list", "an empty list"],
)
def test_a_data_path_without_rules_says_so_at_both_entrances(
    entrance: Callable[[Made, NodeStack, Walk], list[Way]], path: DataPath, code: str
) -> None:
    """Whatever rules there are, they are not asked: what is missing of them is no matter."""
    made = Made(path=path, missing=Unknown(code="NO_RULES", text="No rules recorded"))
    [way] = entrance(made, stack(("raw", "-A PREROUTING -j DROP"), ("raw", "-A OUTPUT -j DROP")), walk(OUTSIDE, POD))
    assert isinstance(way, Ending)
    assert way.outcome.reason is not None
    assert (way.outcome.disposition, way.outcome.reason.code) == (Disposition.UNKNOWN, code)
    assert way.outcome.hops[-1].notes == (f"no rules: {path.kind.programs} forward packets here (seen)",)


def test_a_bridge_asks_who_is_behind_it() -> None:
    """A packet that comes by a bridge port and stays on the bridge: between two pods, or back to the one that sent it."""
    cluster = MadeCluster(1)
    cluster.node(1).cni = "bridge"
    web, other = cluster.pod("web", 1), cluster.pod("other", 1)
    files = {path: text for path, text in cluster.files().items() if path.startswith("nodes/n1/")}
    found = NodeStack("n1", Snapshot.from_files(files))
    made = Made(pods={pod.ips[0]: Pod.from_dict(json.loads(json.dumps(pod.to_json()))) for pod in (web, other)})

    def through(destination: str) -> Way:
        [way] = NodeWalk(made, Budget()).receive(walk(web.ips[0], destination), found, "cbr0", phys_in="?")
        return way

    passed = through(other.ips[0])
    assert isinstance(passed, Routed)
    assert passed.route.device == "cbr0"
    back = through(web.ips[0])
    assert isinstance(back, Ending)
    assert back.outcome.reason is not None
    assert back.outcome.reason.code == "HAIRPIN_OFF"
