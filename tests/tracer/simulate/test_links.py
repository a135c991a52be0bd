"""Devices without carrier, routes marked linkdown or dead, neighbours that did not answer. The kernel's own word: test_links_kernel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Outcome, Trace

Json = dict[str, Any]
FAMILIES = pytest.mark.parametrize("to", ["10.1.2.2:8080", "[fd00:1:2::2]:8080"], ids=["IPv4", "IPv6"])
NO_CARRIER: Json = {"flags": ["NO-CARRIER", "BROADCAST", "MULTICAST", "UP"], "operstate": "DOWN"}
SHUT: Json = {"flags": ["BROADCAST", "MULTICAST"], "operstate": "DOWN"}


def made(cni: str = "route", far_pods: int = 1) -> MadeCluster:
    """A client on n1, web-1 and others on n2."""
    cluster = MadeCluster(cni=cni)
    cluster.pod("client", 1)
    for number in range(1, far_pods + 1):
        cluster.pod(f"web-{number}", 2)
    return cluster


def change(cluster: MadeCluster, node: int, device: str, **other: object) -> None:
    """Print *device* of a node otherwise, in ip-link.json and ip-addr.json."""
    for name in ("ip-link.json", "ip-addr.json"):
        entries = json.loads(cluster.files()[f"nodes/n{node}/{name}"])
        cluster.node(node).texts[name] = json.dumps([e | other if e["ifname"] == device else e for e in entries])


def mark(cluster: MadeCluster, node: int, device: str, *flags: str) -> None:
    """Mark the routes over *device*."""
    for name in ("ip-route.json", "ip6-route.json"):
        entries = json.loads(cluster.files()[f"nodes/n{node}/{name}"])
        marked = [e | {"flags": list(flags)} if e.get("dev") == device and e.get("type") != "local" else e for e in entries]
        cluster.node(node).texts[name] = json.dumps(marked)


def neighbours(cluster: MadeCluster, node: int, device: str, state: str, *addresses: str) -> None:
    cluster.node(node).texts["ip-neigh.json"] = json.dumps([{"dst": a, "dev": device, "state": [state]} for a in addresses])


def the(trace: Trace) -> Outcome:
    (outcome,) = trace.outcomes
    return outcome


def asked(cluster: MadeCluster, to: str) -> tuple[Disposition, str, str]:
    """Return how the client's packet ends, by which reason, and its sentence."""
    outcome = the(cluster.trace("pod:default/client", to))
    assert outcome.reason is not None
    return outcome.disposition, outcome.reason.code, outcome.reason.text


@FAMILIES
@pytest.mark.parametrize(
    "said",
    [
        NO_CARRIER,
        {"flags": ["NO-CARRIER", "BROADCAST", "UP"]},
        {"flags": ["BROADCAST", "UP"], "operstate": "LOWERLAYERDOWN"},
        {"flags": ["BROADCAST", "UP", "LOWER_UP"], "operstate": "DOWN"},
    ],
    ids=["both", "flag only", "lower layer down", "operstate only"],
)
def test_a_pods_device_without_carrier_ends_the_packet(to: str, said: Json) -> None:
    cluster = made()
    change(cluster, 2, "vethweb1", **said)
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNREACHABLE, "NO_CARRIER")
    assert "Node n2 sends the packet out of vethweb1, which has no carrier (nodes/n2/ip-link.json)" in text


@FAMILIES
@pytest.mark.parametrize(
    "said",
    [
        {"flags": ["NO-CARRIER", "BROADCAST", "UP", "LOWER_UP"], "operstate": "DORMANT"},
        {"flags": ["BROADCAST", "UP", "LOWER_UP"], "operstate": "UNKNOWN"},
        {"flags": ["BROADCAST", "UP"]},
    ],
    ids=["dormant", "operstate unknown", "nothing said"],
)
def test_what_does_not_say_no_carrier_is_walked(to: str, said: Json) -> None:
    cluster = made()
    change(cluster, 2, "vethweb1", **said)
    assert asked(cluster, to)[0] is Disposition.DELIVERED


@FAMILIES
def test_a_route_marked_linkdown_tells_where_no_device_was_recorded(to: str) -> None:
    cluster = made()
    mark(cluster, 2, "vethweb1", "linkdown")
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNKNOWN, "LINK_STATE_UNKNOWN")
    assert "read at different moments" in text
    cluster.extra["nodes/n2/ip-link.json"] = None
    entries = json.loads(cluster.files()["nodes/n2/ip-addr.json"])
    cluster.node(2).texts["ip-addr.json"] = json.dumps([e | {"flags": []} for e in entries])
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNREACHABLE, "NO_CARRIER")
    assert "marks its route linkdown" in text


@FAMILIES
def test_a_dead_route_is_no_route_and_the_next_one_is_taken(to: str) -> None:
    cluster = made()
    mark(cluster, 1, "eth0", "dead", "linkdown")
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNREACHABLE, "NO_ROUTE")
    assert "passed over: route" in text
    assert "it is marked dead" in text


@FAMILIES
def test_a_device_that_is_shut_has_no_routes_whatever_is_listed(to: str) -> None:
    cluster = made()
    change(cluster, 1, "eth0", **SHUT)
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNREACHABLE, "NO_ROUTE")
    assert "eth0 is shut" in text


@FAMILIES
@pytest.mark.parametrize("said", [NO_CARRIER, SHUT], ids=["no carrier", "shut"])
def test_a_receiving_node_whose_device_does_not_work_is_not_reached(to: str, said: Json) -> None:
    cluster = made()
    change(cluster, 2, "eth0", **said)
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNREACHABLE, "NO_CARRIER")
    assert "eth0 of node n2, by which the packet would come in" in text
    outside = the(cluster.trace("external:203.0.113.9", "192.168.0.12:22"))
    assert (outside.disposition, outside.reason and outside.reason.code) == (Disposition.UNREACHABLE, "NO_CARRIER")


@FAMILIES
def test_an_answer_that_cannot_leave_is_lost(to: str) -> None:
    cluster = made()
    cluster.node(2).routes += [
        {"dst": "10.1.1.2", "gateway": "192.168.9.1", "dev": "eth1", "flags": ["linkdown"]},
        {"dst": "fd00:1:1::2", "gateway": "fd00:9::1", "dev": "eth1", "flags": ["linkdown"]},
    ]
    outcome = the(cluster.trace("pod:default/client", to))
    assert outcome.disposition is Disposition.DELIVERED
    assert outcome.reply is not None
    assert outcome.reply.disposition is Disposition.UNREACHABLE
    assert outcome.reply.reason is not None
    assert outcome.reply.reason.code == "NO_CARRIER"


@FAMILIES
@pytest.mark.parametrize("fixed", ["PERMANENT", "NOARP"])
def test_where_the_kernel_does_not_ask_nobody_is_told(to: str, fixed: str) -> None:
    cluster = made()
    change(cluster, 2, "vethweb1", **NO_CARRIER)
    neighbours(cluster, 2, "vethweb1", fixed, "10.1.2.2", "fd00:1:2::2")
    assert asked(cluster, to)[:2] == (Disposition.DROPPED, "NO_CARRIER")


@FAMILIES
@pytest.mark.parametrize("state", ["FAILED", "INCOMPLETE"])
def test_a_neighbour_that_did_not_answer_is_unknown(to: str, state: str) -> None:
    cluster = made()
    neighbours(cluster, 2, "vethweb1", state, "10.1.2.2", "fd00:1:2::2")
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNKNOWN, "NEIGHBOUR_FAILED")
    assert f"nodes/n2/ip-neigh.json says {state}" in text


@FAMILIES
@pytest.mark.parametrize("state", ["STALE", "DELAY", "PROBE", "REACHABLE", "PERMANENT", "NOARP"])
def test_an_entry_that_was_answered_says_nothing(to: str, state: str) -> None:
    cluster = made()
    neighbours(cluster, 2, "vethweb1", state, "10.1.2.2", "fd00:1:2::2")
    assert asked(cluster, to)[0] is Disposition.DELIVERED


@FAMILIES
def test_a_failed_entry_of_another_address_or_device_says_nothing(to: str) -> None:
    cluster = made()
    neighbours(cluster, 2, "vethweb1", "FAILED", "10.1.2.9", "fd00:1:2::9", "192.168.0.1")
    assert asked(cluster, to)[0] is Disposition.DELIVERED
    neighbours(cluster, 2, "eth9", "FAILED", "10.1.2.2", "fd00:1:2::2")
    assert asked(cluster, to)[0] is Disposition.DELIVERED


@FAMILIES
def test_a_gateway_that_did_not_answer_counts_as_well(to: str) -> None:
    cluster = made()
    neighbours(cluster, 1, "eth0", "FAILED", "192.168.0.12", "fd00:192::c")
    assert asked(cluster, to)[:2] == (Disposition.UNKNOWN, "NEIGHBOUR_FAILED")


@FAMILIES
def test_a_bridge_has_the_carrier_of_its_ports(to: str) -> None:
    cluster = made("bridge")
    change(cluster, 2, "vethweb1", **NO_CARRIER)
    assert asked(cluster, to)[:2] == (Disposition.UNREACHABLE, "NO_CARRIER")


@FAMILIES
def test_one_dead_port_of_several_may_be_any_pods(to: str) -> None:
    cluster = made("bridge", far_pods=2)
    change(cluster, 2, "vethweb2", **NO_CARRIER)
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNKNOWN, "LINK_STATE_UNKNOWN")
    assert "2 ports for 2 pods, and vethweb2 without carrier" in text


@FAMILIES
def test_a_dead_port_more_than_there_are_pods_is_nobodys(to: str) -> None:
    cluster = made("bridge", far_pods=2)
    change(cluster, 2, "vethweb2", **NO_CARRIER)
    cluster.pods.pop()
    assert asked(cluster, to)[0] is Disposition.DELIVERED


@pytest.mark.parametrize(("said", "code"), [(NO_CARRIER, "NO_ROUTE"), (SHUT, "NO_CARRIER")], ids=["no carrier", "shut"])
@FAMILIES
def test_a_client_behind_a_link_that_is_down_sends_nothing(to: str, said: Json, code: str) -> None:
    cluster = made()
    change(cluster, 1, "vethclient", **said)
    outcome = the(cluster.trace("pod:default/client", to))
    assert outcome.reason is not None
    assert outcome.reason.code == code
    assert [hop.name for hop in outcome.hops] == ["default/client"]


@FAMILIES
def test_a_shut_device_without_a_route_may_be_the_pods(to: str) -> None:
    """As the kernel lists it: the route went with the device, so nothing says whose it is."""
    cluster = made()
    change(cluster, 1, "vethclient", **SHUT)
    for name in ("ip-route.json", "ip6-route.json"):
        entries = json.loads(cluster.files()[f"nodes/n1/{name}"])
        cluster.node(1).texts[name] = json.dumps([e for e in entries if e["dev"] != "vethclient"])
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNKNOWN, "LINK_STATE_UNKNOWN")
    assert "vethclient of the node is shut" in text


@pytest.mark.parametrize(("said", "to"), [(NO_CARRIER, "10.1.1.2:8080"), (NO_CARRIER, "192.168.0.11:22")])
def test_a_device_that_nobody_needs_says_nothing(said: Json, to: str) -> None:
    cluster = made()
    cluster.pod("near", 1)
    change(cluster, 1, "eth0", **said)
    assert the(cluster.trace("pod:default/near", to)).disposition is Disposition.DELIVERED


@FAMILIES
def test_a_failed_entry_of_an_address_that_nobody_has_is_as_lost_as_before(to: str) -> None:
    nobody = to.replace("2.2:", "2.9:").replace("2::2]", "2::9]")
    cluster = made("bridge")
    before = asked(cluster, nobody)
    neighbours(cluster, 2, "cbr0", "FAILED", "10.1.2.9", "fd00:1:2::9")
    assert asked(cluster, nobody) == before
    assert before[0] is Disposition.LOST


def drop_routes(cluster: MadeCluster, node: int, device: str) -> None:
    """Leave out the routes over *device*, as the kernel does when it is shut."""
    for name in ("ip-route.json", "ip6-route.json"):
        entries = json.loads(cluster.files()[f"nodes/n{node}/{name}"])
        cluster.node(node).texts[name] = json.dumps([e for e in entries if e.get("type") == "local" or e["dev"] != device])


@FAMILIES
def test_a_pods_own_node_without_a_way_says_which_link_is_down(to: str) -> None:
    cluster = made()
    mark(cluster, 2, "vethweb1", "dead", "linkdown")
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNKNOWN, "LINK_STATE_UNKNOWN")
    assert "since its link is down (route" in text
    assert "it is marked dead" in text

    cluster = made("bridge")
    change(cluster, 2, "cbr0", **SHUT)
    drop_routes(cluster, 2, "cbr0")
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNKNOWN, "LINK_STATE_UNKNOWN")
    assert "since its link is down (cbr0 is shut)" in text

    cluster = made()
    change(cluster, 2, "vethweb1", **SHUT)
    drop_routes(cluster, 2, "vethweb1")
    other = json.loads(cluster.files()["nodes/n2/ip-addr.json"])
    cluster.node(2).texts["ip-addr.json"] = json.dumps([e | ({"addr_info": []} if e["ifname"] == "vethweb1" else {}) for e in other])
    disposition, _, text = asked(cluster, to)
    assert disposition is Disposition.UNKNOWN
    assert "or when its link is down: vethweb1 of the node is shut" in text


@FAMILIES
def test_without_a_route_the_shut_device_is_named(to: str) -> None:
    cluster = made()
    change(cluster, 1, "eth0", **SHUT)
    drop_routes(cluster, 1, "eth0")
    disposition, code, text = asked(cluster, to)
    assert (disposition, code) == (Disposition.UNREACHABLE, "NO_ROUTE")
    assert text.endswith("(eth0 is shut)")


@FAMILIES
def test_a_bridge_that_is_shut_cuts_its_pods_off(to: str) -> None:
    cluster = made("bridge")
    change(cluster, 1, "cbr0", **SHUT)
    drop_routes(cluster, 1, "cbr0")
    outcome = the(cluster.trace("pod:default/client", to))
    assert (outcome.disposition, outcome.reason and outcome.reason.code) == (Disposition.UNREACHABLE, "NO_CARRIER")
    assert [hop.name for hop in outcome.hops] == ["default/client"]
