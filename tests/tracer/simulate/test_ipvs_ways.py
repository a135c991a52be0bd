"""How IPVS sends what it took: to a real server of the node itself or elsewhere, from a loopback address, or back with a refusal."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tracer.netfilter.model import Hook, Priority
from tracer.simulate.ipvs import ANSWERS, REQUESTS
from tracer.trace import Disposition, Outcome, Trace

EMPTY = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n*nat\n:POSTROUTING ACCEPT [0:0]\n{}COMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n"
PLACES = {
    4: ("10.96.0.10:80", "10.1.1.2:8080", "192.168.0.11:22", "198.51.100.7:80"),
    6: ("[fd00:96::a]:80", "[fd00:1:1::2]:8080", "[fd00:192::b]:22", "[2001:db8::7]:80"),
}


def traced(
    version: int,
    real: str,
    *,
    source: str = "node:n1",
    to: str = "",
    weight: int = 1,
    sysctl: dict[str, str] | None = None,
    connection: str = "",
) -> Trace:
    """One node with a virtual server in front of *real*, and a pod on the node."""
    virtual = to or PLACES[version][0]
    cluster = MadeCluster(1)
    cluster.pod("web-1", 1)
    node = cluster.node(1)
    node.sysctl |= {"net.ipv4.vs.conntrack": "1", **(sysctl or {})}
    masquerade = f"-A POSTROUTING -d {real.rsplit(':', 1)[0].strip('[]')} -j MASQUERADE\n"
    node.texts |= {
        "kube-proxy-mode.txt": "ipvs\n",
        "iptables-save.txt": EMPTY.format(masquerade if version == 4 else ""),
        "ip6tables-save.txt": EMPTY.format(masquerade if version == 6 else ""),
        "ipset-save.txt": "",
        "ipvsadm-save.txt": f"-A -t {virtual} -s rr\n-a -t {virtual} -r {real} -m -w {weight}\n",
    }
    address = virtual.rsplit(":", 1)[0].strip("[]")
    if not to:
        local = {"type": "local", "dst": address, "dev": "kube-ipvs0", "table": "local", "scope": "host", "flags": []}
        node.routes.append({**local, "prefsrc": address})
    if connection:
        node.texts["conntrack.txt"] = connection
        return cluster.trace(source, virtual, connection=("n1", 1))
    return cluster.trace(source, virtual)


def only(answer: Trace) -> Outcome:
    (outcome,) = answer.outcomes
    return outcome


def notes(outcome: Outcome) -> list[str]:
    return [note for hop in outcome.hops for note in hop.notes if note.startswith("route to the real server")]


@pytest.mark.parametrize("version", [4, 6])
def test_the_way_to_a_real_server_elsewhere_is_said_and_to_one_of_the_node_there_is_none(version: int) -> None:
    _, pod, own, _ = PLACES[version]
    away, here = only(traced(version, pod)), only(traced(version, own))
    assert away.destination is not None
    assert (away.disposition, away.destination.name) == (Disposition.DELIVERED, "web-1")
    assert len(notes(away)) == 1
    assert pod.rsplit(":", 1)[0].strip("[]") in notes(away)[0]
    assert here.destination is not None
    assert (here.disposition, here.destination.kind, here.destination.port) == (Disposition.DELIVERED, "node", 22)
    assert notes(here) == []


@pytest.mark.parametrize(
    ("real", "disposition", "code"),
    [
        (PLACES[4][1], Disposition.DROPPED, "MARTIAN_SOURCE"),  # the kernel lets no loopback address out: ip_vs_xmit.c
        (PLACES[4][3], Disposition.DROPPED, "MARTIAN_SOURCE"),
        (PLACES[4][2], Disposition.DELIVERED, "DELIVERED"),
    ],
)
def test_from_a_loopback_address_only_the_node_itself_is_reached(real: str, disposition: Disposition, code: str) -> None:
    outcome = only(traced(4, real, to="127.0.0.1:30080"))
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (disposition, code)


@pytest.mark.parametrize(("version", "reply"), [(4, "icmp-port-unreachable"), (6, "icmp6-port-unreachable")])
def test_a_drained_virtual_server_refuses_in_its_own_family(version: int, reply: str) -> None:
    outcome = only(traced(version, PLACES[version][1], weight=0))
    assert (outcome.disposition, outcome.reject_with) == (Disposition.REJECTED, reply)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("conntrack", "masqueraded"), [("1", True), ("0", False)])
def test_one_setting_tells_for_both_families_whether_conntrack_sees_the_real_server(
    version: int, conntrack: str, *, masqueraded: bool
) -> None:
    outcome = only(traced(version, PLACES[version][1], sysctl={"net.ipv4.vs.conntrack": conntrack}))
    assert outcome.source_seen is not None
    assert (str(outcome.source_seen[0]) != PLACES[version][0].rsplit(":", 1)[0].strip("[]")) is masqueraded
    assert outcome.probability == Fraction(1)


@pytest.mark.parametrize(
    ("protocol", "unreplied", "expected"),
    [
        ("tcp      6 86399 ESTABLISHED", False, ("node", "n1")),  # IPVS begins with a first packet only: ip_vs_in_hook
        ("tcp      6 86399 SYN_SENT", True, ("pod", "web-1")),
    ],
)
def test_a_connection_in_its_midst_that_ipvs_does_not_have(protocol: str, unreplied: bool, expected: tuple[str, str]) -> None:
    forth, back = "src=192.168.0.11 dst=10.96.0.10 sport=40000 dport=80", "src=10.96.0.10 dst=192.168.0.11 sport=80 dport=40000"
    line = f"ipv4     2 {protocol} {forth} {'[UNREPLIED] ' if unreplied else ''}{back} mark=0 zone=0 use=2\n"
    outcome = only(traced(4, PLACES[4][1], connection=line))
    assert outcome.destination is not None
    assert (outcome.destination.kind, outcome.destination.name) == expected


def test_ipvs_looks_where_the_kernel_has_it_look() -> None:
    """Source: ip_vs_ops4 and ip_vs_ops6 in ip_vs_core.c, Linux 6.18, in the words of enum nf_ip_hook_priorities."""
    source, destination = Priority.NAT_SRC, Priority.NAT_DST
    assert {Hook.INPUT: source - 2, Hook.OUTPUT: destination + 1, Hook.FORWARD: source} == ANSWERS
    assert {Hook.INPUT: source - 1, Hook.OUTPUT: destination + 2} == REQUESTS
