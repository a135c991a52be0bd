"""Whose rules can tell a connection's later packets from its first."""

from __future__ import annotations

import pytest

from tracer.packet import Family
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.later_packets import may_tell_apart

KUBE_PROXYS = (
    "-A FORWARD -j KUBE-FORWARD\n-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n-A KUBE-SVC-A -m statistic --mode random -j RETURN"
)


@pytest.mark.parametrize(
    ("declared", "rules", "tells"),
    [
        ("FORWARD ACCEPT", "", False),
        ("FORWARD DROP", "", True),
        ("FORWARD ACCEPT", "-A FORWARD -s 10.1.2.3/32 -j DROP", False),
        ("FORWARD ACCEPT", "-A FORWARD -m conntrack --ctstate NEW -j DROP", True),
        ("FORWARD ACCEPT", "[7:420] -A FORWARD -p tcp -m tcp --syn -j DROP", True),
        ("FORWARD ACCEPT", "-A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES", False),
        ("FORWARD ACCEPT", "-A FORWARD -j OTHERS\n-A OTHERS -m mark --mark 0x1 -j DROP", True),
    ],
)
def test_whose_rules_ask_for_more(declared: str, rules: str, tells: bool) -> None:
    chains = "".join(f":{name} - [0:0]\n" for name in ("KUBE-FORWARD", "KUBE-EXTERNAL-SERVICES", "KUBE-SVC-A", "OTHERS"))
    text = f"*filter\n:INPUT ACCEPT [0:0]\n:{declared} [0:0]\n:OUTPUT ACCEPT [0:0]\n{chains}{KUBE_PROXYS}\n{rules}\nCOMMIT\n"
    cluster = Cluster.from_snapshot(Snapshot.from_files({"nodes/n1/iptables-save.txt": text.encode()}))
    stack = cluster.stack("n1")
    assert may_tell_apart(stack, Family.IP) is tells
    assert not may_tell_apart(stack, Family.IP6)
