"""Who lacks a route that its peers have, and who only seems to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tracer.explain.findings.diagnosis import diagnose
from tracer.trace import Disposition, Finding, Outcome

Route = dict[str, Any]
FAMILIES = pytest.mark.parametrize("to", ["10.1.2.2:8080", "[fd00:1:2::2]:8080"], ids=["IPv4", "IPv6"])


def made(nodes: int = 3) -> MadeCluster:
    """A client on n1, web-1 on n2, another pod on every node behind."""
    cluster = MadeCluster(nodes)
    for number in range(1, nodes + 1):
        cluster.pod({1: "client", 2: "web-1"}.get(number, f"other-{number}"), number)
    return cluster


def keep(cluster: MadeCluster, node: int, wanted: Callable[[Route], bool]) -> None:
    """Leave a node only those of its routes that are *wanted*."""
    for name in ("ip-route.json", "ip6-route.json"):
        entries = json.loads(cluster.files()[f"nodes/n{node}/{name}"])
        cluster.node(node).texts[name] = json.dumps([e for e in entries if wanted(e)])


def to_pods_of(*numbers: int) -> Callable[[Route], bool]:
    networks = {network for n in numbers for network in (f"10.1.{n}.0/24", f"fd00:1:{n}::/64")}
    return lambda entry: entry["dst"] in networks


def without(*numbers: int) -> Callable[[Route], bool]:
    lost = to_pods_of(*numbers)
    return lambda entry: not lost(entry)


def asked(cluster: MadeCluster, to: str, source: str = "pod:default/client") -> tuple[Outcome, list[Finding]]:
    (outcome,) = diagnose(cluster.cluster(), cluster.trace(source, to)).outcomes
    return outcome, [f for f in outcome.findings if f.code == "POD_ROUTE_MISSING"]


@FAMILIES
@pytest.mark.parametrize("nodes", [2, 3], ids=["by the way back", "by a peer"])
def test_a_node_that_lacks_its_peers_route(to: str, nodes: int) -> None:
    cluster = made(nodes)
    keep(cluster, 1, without(2))
    if nodes == 3:
        keep(cluster, 2, without(1, 3))
    outcome, (found,) = asked(cluster, to)
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.UNKNOWN, "POD_ROUTE_MISSING")
    assert found.text.startswith("Node n1 has no route to the pods of node n2, and node n")
    assert found.evidence
    assert (found.reply, found.hop) == (False, len(outcome.hops) - 1)
    assert "no node's route says so" not in " ".join(note for hop in outcome.hops for note in hop.notes)


@FAMILIES
def test_without_a_default_route_too_it_is_said(to: str) -> None:
    cluster = made()
    keep(cluster, 1, lambda e: without(2)(e) and e["dst"] != "default")
    outcome, (found,) = asked(cluster, to)
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.UNREACHABLE, "NO_ROUTE")
    assert "Node n1 has no route to the pods of node n2" in found.text


@FAMILIES
def test_the_answers_node_may_lack_it(to: str) -> None:
    cluster = made()
    keep(cluster, 2, without(1))
    outcome, (found,) = asked(cluster, to)
    assert outcome.disposition is Disposition.DELIVERED
    assert outcome.reply is not None
    assert outcome.reply.disposition is Disposition.UNKNOWN
    assert found.reply
    assert "Node n2 has no route to the pods of node n1" in found.text


@FAMILIES
def test_a_node_itself_sends(to: str) -> None:
    cluster = made()
    keep(cluster, 1, without(2))
    outcome, found = asked(cluster, to, "node:n1")
    assert outcome.disposition is Disposition.UNKNOWN
    assert len(found) == 1


# -- healthy -------------------------------------------------------------------------------------------------------------------------


@FAMILIES
def test_where_no_node_has_such_routes_the_network_knows(to: str) -> None:
    cluster = made()
    for number in (1, 2, 3):
        keep(cluster, number, without(1, 2, 3))
    outcome, found = asked(cluster, to)
    assert outcome.disposition is Disposition.DELIVERED
    assert found == []


@FAMILIES
def test_a_node_in_another_network_needs_no_route_of_its_own(to: str) -> None:
    """As with direct routes within a rack, and a router between racks: n1 is alone in its rack."""
    cluster = made()
    keep(cluster, 1, lambda e: without(2, 3)(e) and e["dst"] not in ("192.168.0.0/24", "fd00:192::/64"))
    keep(cluster, 2, without(1))
    keep(cluster, 3, without(1))
    outcome, found = asked(cluster, to)
    assert outcome.disposition is Disposition.DELIVERED
    assert found == []


@FAMILIES
def test_a_wide_route_to_a_router_is_a_route(to: str) -> None:
    cluster = made()
    cluster.node(1).routes += [
        {"dst": "10.1.0.0/16", "gateway": "192.168.0.1", "dev": "eth0", "flags": []},
        {"dst": "fd00:1::/32", "gateway": "fd00:192::1", "dev": "eth0", "flags": []},
    ]
    keep(cluster, 1, without(2))
    outcome, found = asked(cluster, to)
    assert outcome.disposition is Disposition.DELIVERED
    assert found == []


@FAMILIES
def test_peers_whose_routes_were_not_recorded_prove_nothing(to: str) -> None:
    cluster = made()
    keep(cluster, 1, without(2))
    for number in (2, 3):
        cluster.node(number).without |= {"ip-route.json", "ip6-route.json", "ip-addr.json", "ip-link.json"}
    _, found = asked(cluster, to)
    assert found == []


@FAMILIES
@pytest.mark.parametrize("has_tunnel", [True, False])
def test_a_tunnels_route_is_lacked_by_who_has_the_tunnel(to: str, has_tunnel: bool) -> None:
    cluster = made()
    for number in (2, 3):
        add_tunnel(cluster, number)
        for name in ("ip-route.json", "ip6-route.json"):
            entries = json.loads(cluster.files()[f"nodes/n{number}/{name}"])
            pods = to_pods_of(1, 2, 3)
            cluster.node(number).texts[name] = json.dumps([e | ({"dev": "tunl0"} if pods(e) else {}) for e in entries])
    keep(cluster, 1, without(2, 3))
    if has_tunnel:
        add_tunnel(cluster, 1)
    outcome, found = asked(cluster, to)
    assert bool(found) is has_tunnel
    assert outcome.disposition is (Disposition.UNKNOWN if has_tunnel else Disposition.DELIVERED)


def add_tunnel(cluster: MadeCluster, node: int) -> None:
    entries = json.loads(cluster.files()[f"nodes/n{node}/ip-link.json"])
    link = {
        "ifindex": 90,
        "ifname": "tunl0",
        "flags": ["NOARP", "UP", "LOWER_UP"],
        "linkinfo": {"info_kind": "ipip", "info_data": {"local": "any"}},
    }
    cluster.node(node).texts["ip-link.json"] = json.dumps([*entries, link])
