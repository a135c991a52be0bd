"""Findings that belong to a mode, on the recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.made_findings import all_of, codes
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Trace

pytestmark = pytest.mark.needs_shared
LOCAL_BALANCER = "198.51.100.11:443"


def recorded(shared: Path, name: str) -> Cluster:
    root = shared / "recordings" / name
    return Cluster.from_snapshot(Snapshot.from_files({str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}))


def diagnosed(cluster: Cluster, source: str, to: str) -> Trace:
    query = Query(source=parse_source(source), destination=parse_destination(to))
    return diagnose(cluster, trace(cluster, query))


def empty_node(cluster: Cluster) -> str:
    """A node without an endpoint of the Local load balancer's Service."""
    slices = cluster.objects.slices_of("production", "gateway-local")
    local = {e.node_name for s in slices for e in s.endpoints}
    return next(n.name for n in cluster.objects.nodes if n.name not in local)


def test_the_alpha_drops_a_load_balancer_address_on_the_node(shared: Path):
    cluster = recorded(shared, "shop-nftables-v1.30")
    node = empty_node(cluster)
    found = all_of(diagnosed(cluster, f"node:{node}", LOCAL_BALANCER), "LB_IP_DROPPED_ON_NODE")
    assert found
    assert f"Node {node} drops node {node}'s packet" in found[0].text
    assert f"nodes/{node}/nft-ruleset.txt:" in found[0].evidence[0]


@pytest.mark.parametrize("name", ["shop-iptables", "shop-nftables"])
def test_later_proxies_let_it_through(shared: Path, name: str):
    cluster = recorded(shared, name)
    assert "LB_IP_DROPPED_ON_NODE" not in codes(diagnosed(cluster, f"node:{empty_node(cluster)}", LOCAL_BALANCER))


def test_the_proxy_hides_the_client_and_its_rules_are_no_stale_endpoints(shared: Path):
    answer = diagnosed(recorded(shared, "shop-userspace-v1.20"), "external:203.0.113.10", "172.18.0.3:31080")
    found = all_of(answer, "CLIENT_IP_LOST")
    assert any("kube-proxy on shop-worker, ends the connection" in f.text for f in found)
    assert "STALE_RULE_FOR_REMOVED_POD" not in codes(answer)


@pytest.mark.parametrize("name", ["shop-ipvs", "shop-nftables"])
def test_no_node_port_on_loopback(shared: Path, name: str):
    answer = diagnosed(recorded(shared, name), "node:shop-worker", "127.0.0.1:31080")
    assert "NODE_PORT_NOT_ON_LOOPBACK" in codes(answer)


def test_no_leftovers_in_a_healthy_recording(shared: Path):
    for name in ("shop-iptables", "shop-ipvs", "shop-nftables"):
        assert "LEFTOVER_RULES" not in codes(diagnosed(recorded(shared, name), "node:shop-worker", "svc:default/api:80"))
