"""Processes that accept in a row: client → the balancer's proxy → an Ingress controller → a sidecar → the pod, each with its own way back."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import ip_address

import pytest

from tests.made_cluster import MadeCluster
from tests.tracer.simulate.made_processes import MadeAcceptors
from tracer.limits import Budget, Limits
from tracer.query import Query, parse_destination, parse_protocol, parse_source
from tracer.simulate.answering import answered
from tracer.simulate.fabric import Fabric
from tracer.simulate.start import new_start
from tracer.simulate.walk import Ending
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition, Outcome, StackKind

CLIENT, BALANCER, NODE_1, INGRESS, WEB = "203.0.113.9", "203.0.113.100", "192.168.0.11", "10.1.1.2", "10.1.2.2"
AT_BALANCER = (StackKind.LOAD_BALANCER, "default/edge", 80)
AT_INGRESS = (StackKind.POD, "default/ingress", 8080)
AT_SIDECAR = (StackKind.POD, "default/web", 15006)
ROW = {
    AT_BALANCER: ("cloud-proxy", f"{NODE_1}:30080"),
    AT_INGRESS: ("ingress", f"{WEB}:15006"),
    AT_SIDECAR: ("sidecar", "127.0.0.1:8080"),
}
Made = dict[tuple[StackKind, str, int], tuple[str, str]]


def made(*dropped: tuple[int, str]) -> MadeCluster:
    """Node n1 with the Ingress controller behind a node port and a load balancer, n2 with the pod web; *dropped* are rules of FORWARD."""
    cluster = MadeCluster(2)
    cluster.service("edge", [cluster.pod("ingress", 1)], type="LoadBalancer", node_port=30080, lb_ip=BALANCER)
    cluster.pod("web", 2)
    for node, match in dropped:
        cluster.node(node).rules.append(("filter", f"-A FORWARD {match} -j DROP"))
    return cluster


def asked(
    cluster: Cluster,
    processes: Made,
    *,
    source: str = f"external:{CLIENT}",
    to: str = f"{BALANCER}:80",
    protocol: str = "tcp",
    limits: Limits | None = None,
) -> list[Ending]:
    """How a connection ends, answers included."""
    query = Query(source=parse_source(source), destination=parse_destination(to), protocol=parse_protocol(protocol))
    fabric = Fabric(cluster, client=query.source.ip, budget=Budget(limits or Limits()), acceptors=(MadeAcceptors(processes),))
    assert query.destination.address is not None
    start = new_start(cluster, query, query.destination.address)
    return [back for way in fabric.endings(start) for back in answered(fabric, way)]


def only(endings: list[Ending]) -> Outcome:
    [ending] = endings
    return ending.outcome


def code(outcome: Outcome) -> str:
    return outcome.reason.code if outcome.reason else ""


def test_each_party_sees_the_address_of_the_one_before_it() -> None:
    outcome = only(asked(made().cluster(), ROW))
    assert (outcome.disposition, outcome.destination and outcome.destination.name) == (Disposition.DELIVERED, "web")
    accepted = {hop.name: hop.packet_in for hop in outcome.hops if hop.kind is StackKind.PROXY}
    assert {name: (str(p.source), str(p.destination), p.destination_port) for name, p in accepted.items()} == {
        "cloud-proxy": (CLIENT, BALANCER, 80),
        "ingress": ("10.1.1.1", INGRESS, 8080),  # the node port's rules masquerade: the device towards the pod has that address
        "sidecar": (INGRESS, WEB, 15006),
    }
    assert outcome.source_seen == (ip_address("127.0.0.1"), None)
    assert [f"{hop.kind.value} {hop.name}" for hop in outcome.hops] == [
        f"external {CLIENT}",
        "load-balancer default/edge",
        "proxy cloud-proxy",
        f"external {BALANCER}",
        "node n1",
        "pod default/ingress",
        "proxy ingress",
        "pod default/ingress",
        "node n1",
        "node n2",
        "pod default/web",
        "proxy sidecar",
        "pod default/web",
    ]


def test_each_connection_has_its_own_way_back() -> None:
    reply = only(asked(made().cluster(), ROW)).reply
    assert reply is not None
    assert (reply.disposition, str(reply.source), reply.source_port) == (Disposition.DELIVERED, BALANCER, 80)
    ways = [(f"{hop.kind.value} {hop.name}", str(hop.packet_out.source), str(hop.packet_out.destination)) for hop in reply.hops]
    assert ways == [
        ("pod default/web", "127.0.0.1", "127.0.0.1"),  # the pod's program to the sidecar
        ("pod default/web", WEB, INGRESS),  # the sidecar to the Ingress controller
        ("node n2", WEB, INGRESS),
        ("node n1", WEB, INGRESS),
        ("pod default/ingress", WEB, INGRESS),
        ("pod default/ingress", INGRESS, "10.1.1.1"),  # the Ingress controller to the balancer's proxy
        ("node n1", NODE_1, BALANCER),
        (f"external {BALANCER}", NODE_1, BALANCER),
        ("load-balancer default/edge", BALANCER, CLIENT),  # the balancer's proxy to the client
        (f"external {CLIENT}", BALANCER, CLIENT),
    ]


def test_a_node_whose_rules_do_not_know_the_balancer_gets_its_answer_as_well() -> None:
    def without_balancer(text: bytes) -> bytes:
        return b"\n".join(line for line in text.split(b"\n") if BALANCER.encode() not in line)

    files = {path: without_balancer(text) if path.endswith("tables-save.txt") else text for path, text in made().files().items()}
    outcome = only(asked(Cluster.from_snapshot(Snapshot.from_files(files)), ROW, source="node:n2"))
    assert [hop.name for hop in outcome.hops if hop.kind is StackKind.PROXY] == ["cloud-proxy", "ingress", "sidecar"]
    assert outcome.reply is not None
    assert (outcome.reply.disposition, str(outcome.reply.source)) == (Disposition.DELIVERED, BALANCER)
    assert outcome.reply.hops[-1].name == "n2"


@pytest.mark.parametrize(
    ("lost", "who"),
    [
        ((2, f"-s {WEB}/32"), "ingress"),
        ((1, f"-s {INGRESS}/32 -d {BALANCER}/32"), "cloud-proxy"),
    ],
)
def test_who_waits_for_an_answer_in_vain_closes_what_it_accepted(lost: tuple[int, str], who: str) -> None:
    outcome = only(asked(made(lost).cluster(), ROW))
    assert (outcome.disposition, code(outcome)) == (Disposition.CLOSED, "PROXY_CLOSED")
    assert outcome.reason is not None
    assert outcome.reason.text.startswith(f"{who} gets no answer from the endpoint, and closes: ")


def test_who_cannot_connect_closes_and_the_others_stay_connected() -> None:
    outcome = only(asked(made((2, f"-d {WEB}/32")).cluster(), ROW))
    assert (outcome.disposition, code(outcome)) == (Disposition.CLOSED, "PROXY_CLOSED")
    assert outcome.hops[-1].name == "ingress"
    assert [note for note in outcome.hops[-1].notes if note.startswith(f"{WEB}:15006 does not answer (Dropped by ")]


def test_a_process_outside_is_known_by_one_family_only() -> None:
    ending = only(asked(made().cluster(), {**ROW, AT_BALANCER: ("cloud-proxy", "[fd00:192::b]:30080")}))
    assert ending.disposition is Disposition.UNKNOWN
    assert ending.reason is not None
    assert ending.reason.text == f"which IPv6 address {BALANCER}, outside the cluster, sends from to fd00:192::b"


def test_the_next_target_is_tried_deep_in_a_row() -> None:
    """What the innermost process tries in vain is its own affair: the others wait, and their shares stay whole."""
    row = {**ROW, AT_INGRESS: ("ingress", f"10.1.2.99:80, {WEB}:15006 or {WEB}:15006")}
    endings = asked(made().cluster(), row)
    assert [(e.outcome.disposition, e.outcome.probability) for e in endings] == [(Disposition.DELIVERED, Fraction(1, 2))] * 2
    tried = [sum("does not answer" in note for hop in e.outcome.hops for note in hop.notes) for e in endings]
    assert tried == [1, 0]


@pytest.mark.parametrize(("protocol", "end"), [("tcp", Disposition.CLOSED), ("udp", Disposition.LOOP)])
def test_processes_that_dial_each_other_end(protocol: str, end: Disposition) -> None:
    row = {**ROW, AT_SIDECAR: ("sidecar", f"{INGRESS}:8080")}
    outcome = only(asked(made().cluster(), row, source="node:n1", to=f"{INGRESS}:8080", protocol=protocol))
    assert outcome.disposition is end
    said = [outcome.reason.text if outcome.reason else "", *(note for hop in outcome.hops for note in hop.notes)]
    assert "The connection comes to sidecar again just as it was: it is made anew in circles" in " ".join(said)
    assert [hop.name for hop in outcome.hops if hop.kind is StackKind.PROXY].count("ingress") == 2


def test_processes_without_end_meet_the_hop_limit() -> None:
    """Each dials another port, so that nothing comes again just as it was."""
    row = {(StackKind.POD, "default/web", port): (f"process-{port}", f"127.0.0.1:{port + 1}") for port in range(15007, 15100)}
    outcome = only(asked(made().cluster(), {**ROW, AT_SIDECAR: ("sidecar", "127.0.0.1:15007"), **row}))
    assert outcome.disposition is Disposition.CLOSED
    assert "The packet passed 32 stacks and does not arrive" in outcome.hops[-1].notes[-1]


def test_processes_that_branch_without_end_meet_the_budget() -> None:
    """Two targets each, both of which fail at the hop limit: more ways than anybody can walk, and few of them are walked."""
    ports = range(15007, 15100)
    row = {(StackKind.POD, "default/web", port): (f"process-{port}", f"127.0.0.1:{port + 1} or 127.0.0.1:{port + 1}") for port in ports}
    limits = Limits(work=20_000)
    endings = asked(made().cluster(), {**ROW, AT_SIDECAR: ("sidecar", "127.0.0.1:15007"), **row}, limits=limits)
    assert {code(e.outcome) for e in endings} == {"PROXY_CLOSED", "UNSUPPORTED"}
    assert sum(e.outcome.probability for e in endings) == 1
    assert len(endings) < limits.work / 300
