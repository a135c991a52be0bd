"""AFFINITY_PINS_CLIENT in nftables and IPVS mode; its iptables form is in test_findings_connections.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.made_findings import all_of
from tracer.explain.findings import diagnose
from tracer.query import FlowState, Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Finding

pytestmark = pytest.mark.needs_shared
SERVICE = "svc:production/backend-api:80"


def recorded(shared: Path, name: str, **extra: str) -> Cluster:
    root = shared / "recordings" / name
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return Cluster.from_snapshot(Snapshot.from_files(files | {f"nodes/shop-worker/{k}": v.encode() for k, v in extra.items()}))


def pins(cluster: Cluster, state: FlowState = FlowState.NEW, to: str = SERVICE) -> list[Finding]:
    query = Query(source=parse_source("node:shop-worker"), destination=parse_destination(to), state=state)
    return all_of(diagnose(cluster, trace(cluster, query)), "AFFINITY_PINS_CLIENT")


@pytest.mark.parametrize("name", ["shop-iptables", "shop-nftables", "shop-nftables-v1.30", "shop-ipvs"])
def test_every_mode_says_what_it_will_remember(shared: Path, name: str):
    found = pins(recorded(shared, name))
    assert len(found) == 4  # endpoints
    assert all("after this connection node shop-worker sends" in f.text and "for 10800 seconds" in f.text for f in found)
    assert all(f.severity == "notice" for f in found)


def test_a_firewalls_list_pins_nobody(shared: Path):
    path = shared / "recordings" / "shop-iptables" / "nodes" / "shop-worker" / "iptables-save.txt"
    rule = "-A OUTPUT -m recent --set --name seen --mask 255.255.255.255 --rsource\n"
    plain = "".join(line for line in path.read_text().splitlines(keepends=True) if "-m recent" not in line)
    assert pins(recorded(shared, "shop-iptables", **{"iptables-save.txt": plain})) == []
    before, filter_, behind = plain.partition("*filter\n")
    first, commit, rest = behind.partition("COMMIT\n")
    seen = before + filter_ + first + rule + commit + rest
    assert pins(recorded(shared, "shop-iptables", **{"iptables-save.txt": seen})) == []


@pytest.mark.parametrize(
    ("name", "asks"),
    [
        ("shop-iptables", "-m recent --rcheck"),
        ("shop-nftables", "ip saddr @affinity-"),
        ("shop-nftables-v1.30", "ip saddr @affinity-"),
        ("shop-ipvs", "-s rr -p 10800"),
    ],
)
def test_a_returning_client_is_pinned_by_the_rule_that_asks(shared: Path, name: str, asks: str):
    found = pins(recorded(shared, name), FlowState.RETURNING)
    assert len(found) == 4
    assert all("after this connection" not in f.text for f in found)
    assert all(asks in f.evidence[0] for f in found)


def test_a_recorded_template_pins_a_new_client_too(shared: Path):
    cluster = recorded(shared, "shop-ipvs")
    servers = cluster.stack("shop-worker").virtual_servers
    assert servers is not None
    server = next(s for s in servers.servers if s.persistence_timeout)
    real = server.real_servers[0]
    line = f"TCP 100:00 NONE {server.address}:0 {server.address}:{server.port} {real.address}:{real.port}\n"
    (found,) = pins(recorded(shared, "shop-ipvs", **{"ipvsadm-conn.txt": line}))
    assert f"{server.address} to {real.address} port {real.port} again" in found.text


@pytest.mark.parametrize("name", ["shop-nftables", "shop-ipvs"])
def test_no_affinity_no_finding(shared: Path, name: str):
    assert not pins(recorded(shared, name), to="svc:default/api:80")
