"""From outside to a node's address that is on its loopback, behind devices to the network: by which it comes seldom matters."""

from __future__ import annotations

import json

import pytest

from tests.made_cluster import MadeCluster
from tracer.query import FlowState
from tracer.trace import Disposition, Trace

CLIENT = "external:203.0.113.9"
LOOPBACK = "10.200.0.1"


def made(*uplinks: str, **options: object) -> MadeCluster:
    """Node n1 is listed with an address on lo; its way back outside leaves by *uplinks*."""
    cluster = MadeCluster(1)
    cluster.service("web", [cluster.pod("web-1", 1)], node_port=30080)
    node = cluster.node(1)
    node.held += [("lo", LOOPBACK, 32), *((name, f"192.168.{n}.11", 24) for n, name in enumerate(uplinks, 10) if name != "eth0")]
    ways = [{"gateway": f"192.168.{n}.1", "dev": name, "weight": 1, "flags": []} for n, name in enumerate(uplinks, 10)]
    node.routes.append({"dst": "203.0.113.0/24", "nexthops": ways, "flags": []} if len(ways) > 1 else {"dst": "203.0.113.0/24", **ways[0]})
    cluster.extra["nodes.json"] = cluster.files()["nodes.json"].replace(b'"address": "192.168.0.11"', f'"address": "{LOOPBACK}"'.encode())
    return cluster


def ends(answer: Trace) -> set[tuple[Disposition, str, tuple[str, ...]]]:
    return {(o.disposition, str(o.destination and o.destination.name), o.conditions) for o in answer.outcomes}


def test_by_the_only_way_that_leads_outside() -> None:
    answer = made("eth0").trace(CLIENT, f"{LOOPBACK}:30080")
    assert (ends(answer), answer.unknowns) == ({(Disposition.DELIVERED, "web-1", ())}, ())
    (outcome,) = answer.outcomes
    assert outcome.hops[1].came_in == "eth0" and any("taken to come in by eth0" in note for h in outcome.hops for note in h.notes)


def test_of_several_it_makes_no_difference() -> None:
    answer = made("eth0", "eth1").trace(CLIENT, f"{LOOPBACK}:30080")
    assert {(d, name) for d, name, conditions in ends(answer)} == {(Disposition.DELIVERED, "web-1")}
    assert not any(conditions for _, _, conditions in ends(answer)) and answer.unknowns == ()
    asked = "by which of its devices eth0, eth1 node n1 gets what is sent to 10.200.0.1"
    assert all(any(asked in r.text for r in o.remarks) for o in answer.outcomes)


def test_of_several_it_makes_no_difference_to_who_comes_again() -> None:
    """What a first connection may have met on either way is no draw: the second one is as sure as the first."""
    answer = made("eth0", "eth1").trace(CLIENT, f"{LOOPBACK}:30080", state=FlowState.RETURNING)
    assert ends(answer) == {(Disposition.DELIVERED, "web-1", ())} and answer.unknowns == ()


def test_of_several_it_decides_where_a_rule_asks_for_the_device() -> None:
    cluster = made("eth0", "eth1")
    cluster.node(1).rules.append(("mangle", "-A PREROUTING -i eth1 -p tcp --dport 30080 -j DROP"))
    found = ends(cluster.trace(CLIENT, f"{LOOPBACK}:30080"))
    assert {(d, conditions[0].rpartition(" ")[2]) for d, _, conditions in found} == {
        (Disposition.DELIVERED, "eth0"),
        (Disposition.DROPPED, "eth1"),
    }


def test_an_address_that_the_node_does_not_take_stays_unknown() -> None:
    """As an address that a cloud translates on its way: what the node gets has another destination."""
    cluster = made("eth0")
    cluster.node(1).held = []
    assert {d for d, _, _ in ends(cluster.trace(CLIENT, f"{LOOPBACK}:30080"))} == {Disposition.UNKNOWN}


# -- between nodes --------------------------------------------------------------------------------------------------------------------


def behind_a_router(*, rule: str = "") -> MadeCluster:
    """Node n2 has an address on lo, and its links eth0 and eth1 lead to routers; n1 sends to it by a router."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 2)], node_port=30080)
    sender, taker = cluster.node(1), cluster.node(2)
    taker.held += [("lo", LOOPBACK, 32), ("eth1", "192.168.11.12", 24)]
    ways = [{"gateway": f"192.168.{n}.1", "dev": name, "weight": 1, "flags": []} for n, name in ((0, "eth0"), (11, "eth1"))]
    taker.routes.append({"dst": "172.16.0.0/16", "nexthops": ways, "flags": []})
    sender.routes.append({"dst": "10.200.0.0/24", "gateway": "192.168.0.1", "dev": "eth0", "flags": []})
    if rule:
        taker.rules.append(("mangle", f"-A PREROUTING {rule} -p tcp --dport 30080 -j DROP"))
    nodes = cluster.files()["nodes.json"]
    cluster.extra["nodes.json"] = nodes.replace(b'"address": "192.168.0.12"', f'"address": "{LOOPBACK}"'.encode())
    return cluster


@pytest.mark.parametrize("source", ["node:n1", "pod:default/client"])
def test_a_router_brings_it_by_whichever_link_it_likes(source: str) -> None:
    """What the sender sends by one network may come in by the other: the router between them routes."""
    assert {(d, n) for d, n, _ in ends(behind_a_router().trace(source, f"{LOOPBACK}:30080"))} == {(Disposition.DELIVERED, "web-1")}
    found = ends(behind_a_router(rule="-i eth1").trace(source, f"{LOOPBACK}:30080"))
    assert {(d, c[0].rpartition(" ")[2]) for d, _, c in found} == {(Disposition.DELIVERED, "eth0"), (Disposition.DROPPED, "eth1")}


def test_an_address_that_no_object_lists_is_reached_by_the_link_that_leads_to_a_router() -> None:
    """As a second network card's; one that leads to no router (a bridge of containers) is nobody's outside."""
    cluster = behind_a_router()
    cluster.node(2).held.append(("docker0", "172.17.0.1", 16))
    assert {(d, n) for d, n, _ in ends(cluster.trace(CLIENT, "192.168.11.12:30080"))} == {(Disposition.DELIVERED, "web-1")}
    assert {d for d, _, _ in ends(cluster.trace(CLIENT, "172.17.0.1:30080"))} == {Disposition.UNKNOWN}


def cards(*, rule: str = "", apart: bool = False) -> MadeCluster:
    """As in a cloud: pods have addresses of the nodes' own network, and n2 has a second card there (*apart*: by a router, for some pods)."""
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 2)])
    taker = cluster.node(2)
    taker.held.append(("eth1", "192.168.0.112", 24))
    for node in cluster.nodes:
        node.routes = []
        node.texts["ip-route.json"] = json.dumps(
            [r for r in node.ip_route([node], 4) if r["dst"] != "192.168.0.0/24"]
            + [
                {"dst": "10.1.0.0/16" if not apart else "192.168.0.0/24", "dev": "eth0", "scope": "link", "flags": []},
                *(
                    [{"dst": "default", "gateway": "192.168.0.1", "dev": "eth1", "table": "2", "flags": []}]
                    if node is taker and apart
                    else []
                ),
            ]
        )
    if apart:
        taker.rules_of_routing.append({"priority": 100, "src": "10.1.2.2", "table": "2"})
    else:
        for node in cluster.nodes:
            node.held += [("eth0", f"10.1.200.{node.number}", 16)]
        taker.held += [("eth1", "10.1.200.102", 16)]
    if rule:
        taker.rules.append(("mangle", f"-A PREROUTING {rule} -d 10.1.2.2 -j DROP"))
    return cluster


@pytest.mark.parametrize("apart", [False, True])
def test_a_pod_behind_a_second_card_is_reached_by_either(apart: bool) -> None:
    """Two cards in the subnet, or one by whose table the pod answers: which one the cloud gave the pod's address is in no file."""
    assert {(d, n) for d, n, _ in ends(cards(apart=apart).trace("node:n1", "10.96.0.10:80"))} == {(Disposition.DELIVERED, "web-1")}
    found = ends(cards(apart=apart, rule="-i eth1").trace("node:n1", "10.96.0.10:80"))
    assert {(d, c[0].rpartition(" ")[2]) for d, _, c in found} == {(Disposition.DELIVERED, "eth0"), (Disposition.DROPPED, "eth1")}


# -- a device that nobody named -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["-i eth1", "! -i eth1", "-m addrtype --src-type UNICAST --limit-iface-in", "-m rpfilter"])
def test_a_match_on_a_device_that_is_not_known_is_unknown(rule: str) -> None:
    """Routes were not recorded, so by which device a pod's packet comes in is in no file: the match is neither true nor false."""
    cluster = MadeCluster(1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("client", 1)], node_port=30080)
    cluster.node(1).without |= {"ip-route.json"}
    cluster.node(1).rules.append(("mangle", f"-A PREROUTING -p tcp --dport 80 {rule} -j DROP"))
    answer = cluster.trace("pod:default/client", "10.96.0.10:80")
    asked = [u.text for u in answer.unknowns if "device" in u.text or "route back" in u.text]
    assert asked and any(o.disposition is Disposition.UNKNOWN or o.conditions for o in answer.outcomes), (answer.unknowns, answer.outcomes)
