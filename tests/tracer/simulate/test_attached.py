"""By which device a pod is attached to its node: that is no matter of what policy rules say of a packet's ports or its sender."""

from __future__ import annotations

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition

RULES = [
    {"priority": 70, "src": "all", "uid_start": 1000, "uid_end": 2000, "action": "prohibit"},
    {"priority": 71, "src": "all", "ipproto": "tcp", "dport": 81, "action": "prohibit"},
    {"priority": 72, "src": "all", "ipproto": "tcp", "sport": 81, "table": "300"},
]


@pytest.mark.parametrize("cni", ["route", "bridge"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: " ".join(key for key in rule if key not in ("priority", "src")))
def test_a_pod_comes_in_by_its_device_whatever_rules_ask(cni: str, rule: dict[str, object]) -> None:
    cluster = MadeCluster(2)
    node = cluster.node(1)
    node.cni = cni
    node.rules_of_routing = [rule]
    client = cluster.pod("client", 1)
    node.rules.append(("filter", f"-A FORWARD -i {node.device(client) if cni == 'route' else 'cbr0'} -j ACCEPT"))
    node.policies["FORWARD"] = "DROP"
    (outcome,) = cluster.trace("pod:default/client", "192.168.0.12:22", source_port=40000).outcomes
    assert outcome.disposition is Disposition.DELIVERED
    assert [h.came_in for h in outcome.hops if h.name == "n1"] == [node.device(client) if cni == "route" else "cbr0"]
