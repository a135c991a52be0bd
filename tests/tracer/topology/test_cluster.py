"""Who owns an address, and what a rule stands for."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from tests.made_cluster import MadeCluster
from tracer.netfilter.model import Hook, Priority
from tracer.netfilter.rule_text import parse_rule
from tracer.packet import Family
from tracer.routing import is_unnamed
from tracer.topology.cluster import Cluster


def made() -> MadeCluster:
    cluster = MadeCluster()
    cluster.pod("client", 1)
    cluster.pod("agent", 2, host_network=True)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2)], type="LoadBalancer", node_port=30080, lb_ip="203.0.113.100")
    return cluster


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return made().cluster()


OWNERS = [
    ("192.168.0.11", ("n1", "eth0")),
    ("fd00:192::c", ("n2", "eth0")),
    ("10.1.1.2", None),
    ("127.0.0.1", None),
    ("198.51.100.1", None),
]


@pytest.mark.parametrize(("address", "expected"), OWNERS)
def test_port_of(cluster: Cluster, address: str, expected: tuple[str, str] | None) -> None:
    port = cluster.port_of(ip_address(address))
    assert (port and (port.node, port.device)) == expected


def test_a_node_known_by_its_object_alone_owns_its_address() -> None:
    without = made()
    without.extra |= {path: None for path in without.files() if path.startswith("nodes/n2/")}
    port = without.cluster().port_of(ip_address("192.168.0.12"))
    assert port is not None
    assert port.node == "n2"
    assert is_unnamed(port.device)


@pytest.mark.parametrize(
    ("address", "expected"), [("192.168.0.11", True), ("10.1.1.1", False), ("10.96.0.10", False), ("192.168.0.99", False)]
)
def test_is_node_address(cluster: Cluster, address: str, expected: bool) -> None:
    assert cluster.is_node_address(ip_address(address)) is expected


def test_pods(cluster: Cluster) -> None:
    pod = cluster.pod_with_ip(ip_address("10.1.1.3"))
    assert pod and pod.name == "web-1"
    assert cluster.pod_with_ip(ip_address("192.168.0.12")) is None
    assert [p.name for p in cluster.host_network_pods("n2")] == ["agent"]


NAMES = [
    ('-A KUBE-SVC-X -m comment --comment "default/web:p cluster IP" -j KUBE-MARK-MASQ', {"service": "default/web", "port": "p"}),
    ("-A x -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j ACCEPT", {"service": "default/web", "port": "p"}),
    ("-A x -p tcp -j DNAT --to-destination 10.1.2.3:8080", {"endpoint": "10.1.2.3:8080", "pod": "default/web-2", "node": "n2"}),
    ("-A x -p tcp -j DNAT --to-destination 10.9.9.9:8080", {"endpoint": "10.9.9.9:8080"}),
    ("-A x -d 10.96.0.0/16 -j ACCEPT", {}),
    ('-A x -m comment --comment "default/gone:p" -j ACCEPT', {}),
]


@pytest.mark.parametrize(("line", "expected"), NAMES)
def test_names_of_rules(cluster: Cluster, line: str, expected: dict[str, str]) -> None:
    assert cluster.names(parse_rule(line, 1, {"KUBE-MARK-MASQ"})) == expected


def test_base_chains_come_in_the_kernels_order(cluster: Cluster) -> None:
    chains = cluster.stack("n1").chains(Hook.PREROUTING, Family.IP)
    assert [c.priority for c in chains] == [Priority.RAW, Priority.MANGLE, Priority.NAT_DST]
    assert [c.is_nat for c in chains] == [False, False, True]


def test_both_back_ends_are_called_the_nft_one_first() -> None:
    both = made()
    both.node(1).texts["iptables-legacy-save.txt"] = "*filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
    chains = both.cluster().stack("n1").chains(Hook.INPUT, Family.IP)
    assert [c.priority for c in chains].count(Priority.FILTER) == 2


def test_gap_names_the_file(cluster: Cluster) -> None:
    assert cluster.stack("n1").gap(Family.IP) is None
    without = made()
    without.node(1).without |= {"iptables-save.txt"}
    gap = without.cluster().stack("n1").gap(Family.IP)
    assert gap is not None
    assert (gap.code, "iptables-save.txt" in gap.text, gap.at["node"]) == ("NO_RULES", True, "n1")
