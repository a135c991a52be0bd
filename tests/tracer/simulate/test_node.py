"""What one node does with a packet, and what it says of it: ways, missing addresses, what ``recent`` remembers, bridges."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tracer.limits import Limits
from tracer.query import FlowState
from tracer.trace import Disposition, Trace

PODS = {4: "10.1.1.3:8080", 6: "[fd00:1:1::3]:8080"}
WEB = "10.96.0.10:80"


def made(**options: object) -> MadeCluster:
    """One node with the pods client and web-1, and the Service web."""
    cluster = MadeCluster(1, **options)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1)])
    return cluster


def ends(answer: Trace) -> dict[tuple[str, str], Fraction]:
    """(disposition, the reason's code) → odds."""
    found: dict[tuple[str, str], Fraction] = {}
    for o in answer.outcomes:
        key = (o.disposition.value, o.reason.code if o.reason else "")
        found[key] = found.get(key, Fraction(0)) + o.probability
    return found


DELIVERED = {("delivered", "DELIVERED"): 1}
DROPPED = {("dropped", "RULE_DROP"): 1}


# -- ways ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [(1,), (1, 3), (1, 1, 2)])
def test_next_hops_share_by_their_weights(weights: tuple[int, ...]) -> None:
    cluster = MadeCluster(4)
    cluster.pod("client", 1)
    ways = [{"gateway": f"192.168.0.1{i}", "dev": "eth0", "weight": w, "flags": []} for i, w in enumerate(weights, 2)]
    cluster.node(1).routes.append({"dst": "198.51.100.0/24", "nexthops": ways, "flags": []})
    answer = cluster.trace("pod:default/client", "198.51.100.1:80")
    assert {o.hops[2].name: o.probability for o in answer.outcomes} == {
        f"n{i}": Fraction(w, sum(weights)) for i, w in enumerate(weights, 2)
    }
    said = [any(f"one of {len(weights)} next hops" in note for note in o.hops[1].notes) for o in answer.outcomes]
    assert said == [len(weights) > 1] * len(weights)


def test_a_process_that_connects_to_no_address_reaches_its_own_node() -> None:
    """Source: ip_route_output_key_hash_rcu: a destination of zeroes is the loopback address, and no route is asked."""
    answer = made().trace("node:n1", "0.0.0.0:22")
    assert {(o.disposition, o.destination and o.destination.kind) for o in answer.outcomes} == {(Disposition.DELIVERED, "node")}
    assert not any(note.startswith("route: ") for o in answer.outcomes for hop in o.hops for note in hop.notes)


@pytest.mark.parametrize("type_", ["unicast", "local"])
def test_a_route_over_lo_leads_back_to_the_node_that_sends(type_: str) -> None:
    """Source: __mkroute_output: a route by a loopback device is a local one (RTCF_LOCAL), whatever its type."""
    cluster = made()
    table = {"table": "local", "scope": "host"} if type_ == "local" else {}
    cluster.node(1).routes.append({"type": type_, "dst": "10.99.0.0/16", "dev": "lo", "flags": [], **table})
    (outcome,) = cluster.trace("node:n1", "10.99.0.1:22").outcomes
    assert outcome.destination is not None
    assert (outcome.disposition, outcome.destination.kind, outcome.destination.name) == (Disposition.DELIVERED, "node", "n1")


# -- what is missing ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
def test_the_file_that_would_tell_a_source_address_is_named_in_either_family(version: int) -> None:
    cluster = made()
    cluster.node(1).without.add("ip-addr.json")
    (outcome,) = cluster.trace("node:n1", PODS[version]).outcomes
    assert (outcome.disposition, str(outcome.source_seen and outcome.source_seen[0])) == (Disposition.DELIVERED, "an address of node n1")
    assert ["ip-addr.json" in note for note in outcome.hops[0].notes if "an address of node n1" in note] == [True]


@pytest.mark.parametrize(("addresses", "families", "expected"), [
    ((), (4, 6), "10.96.0.10"),  # what a pod without addresses would use is not known: the Service's first
    ((), (6, 4), "fd00:96::a"),
    (("10.1.1.2",), (6, 4), "10.96.0.10"),
    (("fd00:1:1::2",), (4, 6), "fd00:96::a"),
    (("10.1.1.2", "fd00:1:1::2"), (6, 4), "fd00:96::a"),
])  # fmt: skip
def test_which_of_a_services_addresses_a_pod_asks(addresses: tuple[str, ...], families: tuple[int, ...], expected: str) -> None:
    cluster = made()
    pod, service = cluster.pods[0].to_json(), cluster.services[0].to_json()
    pod["status"] = {"phase": "Running", "podIPs": [{"ip": a} for a in addresses]} | ({"podIP": addresses[0]} if addresses else {})
    held = [{4: "10.96.0.10", 6: "fd00:96::a"}[version] for version in families]
    service["spec"] = {**service["spec"], "clusterIP": held[0], "clusterIPs": held}  # type: ignore[dict-item]
    listed = {"pods.json": [pod, cluster.pods[1].to_json()], "services.json": [service]}
    cluster.extra |= {name: json.dumps({"kind": "List", "apiVersion": "v1", "items": items}).encode() for name, items in listed.items()}
    answer = cluster.trace("pod:default/client", "svc:default/web:80")
    assert {str(o.hops[0].packet_in.destination) for o in answer.outcomes} == {expected}


# -- what a hook remembers ------------------------------------------------------------------------------------------------------------


SEEN = "-m recent --name A --rsource"


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([f"-A PREROUTING {SEEN} --set", f"-A FORWARD {SEEN} --rcheck -j DROP"], DROPPED),
        ([f"-A FORWARD {SEEN} --rcheck -j DROP"], DELIVERED),
        ([f"-A PREROUTING {SEEN} --set", f"-A FORWARD {SEEN} --remove", f"-A POSTROUTING {SEEN} --rcheck -j DROP"], DELIVERED),
        ([f"-A PREROUTING {SEEN} --set", f"-A FORWARD {SEEN} --remove", f"-A FORWARD {SEEN} --set", f"-A POSTROUTING {SEEN} --rcheck -j DROP"], DROPPED),
        ([f"-A PREROUTING {SEEN} --set", "-A FORWARD -m recent --name B --rsource --rcheck -j DROP"], DELIVERED),
    ],
)  # fmt: skip
def test_each_hook_finds_the_lists_of_recent_as_the_one_before_left_them(rules: list[str], expected: dict[tuple[str, str], int]) -> None:
    cluster = made()
    cluster.node(1).rules += [("mangle", rule) for rule in rules]
    assert ends(cluster.trace("pod:default/client", WEB)) == expected


def test_lists_of_recent_belong_to_one_node() -> None:
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-2", 2)])
    cluster.node(1).rules += [("mangle", f"-A PREROUTING {SEEN} --set")]
    cluster.node(2).rules += [("mangle", f"-A PREROUTING {SEEN} --remove"), ("mangle", f"-A FORWARD {SEEN} --rcheck -j DROP")]
    assert ends(cluster.trace("pod:default/client", WEB)) == DELIVERED
    cluster.node(1).rules += [("mangle", f"-A PREROUTING {SEEN} --rcheck -j DROP")]
    assert ends(cluster.trace("pod:default/client", WEB, state=FlowState.RETURNING)) == DROPPED


@pytest.mark.parametrize(("ways", "whole"), [(4, True), (2, True), (1, False)])
def test_a_second_connection_is_walked_while_the_limit_allows(monkeypatch: pytest.MonkeyPatch, ways: int, *, whole: bool) -> None:
    """Two ways before, each walked again with two ways: the second is begun when exactly the limit is reached, not beyond."""
    monkeypatch.setattr("tracer.topology.cluster.Cluster.limits", Limits(ways=ways))
    cluster = made()
    cluster.node(1).rules += [("mangle", f"-A PREROUTING -s 10.1.1.2/32 -m statistic --mode random --probability 0.5 {SEEN} --set")]
    answer = cluster.trace("pod:default/client", WEB, state=FlowState.RETURNING)
    assert sum(o.probability for o in answer.outcomes) == 1
    assert (Disposition.UNKNOWN not in {o.disposition for o in answer.outcomes}) is whole


# -- bridges and routes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cni", "nf_call", "expected"),
    [("route", 1, DROPPED), ("route", 0, DROPPED), ("bridge", 1, DROPPED), ("bridge", 0, DELIVERED), ("bridge", None, DELIVERED)],
)
@pytest.mark.parametrize("version", [4, 6])
def test_only_a_bridge_takes_neighbours_past_the_rules(cni: str, nf_call: int | None, expected: object, version: int) -> None:
    cluster = made(cni=cni, nf_call=nf_call)
    node = cluster.node(1)
    rules = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -j DROP\nCOMMIT\n*nat\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n"
    node.texts |= {"iptables-save.txt": rules, "ip6tables-save.txt": rules}
    assert ends(cluster.trace("pod:default/client", PODS[version])) == expected
