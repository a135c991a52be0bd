"""Walks through small made clusters: what each setting of a node does to a packet, and what is said when a file is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction

import pytest

from tests.made_cluster import MadeCluster
from tracer.limits import Limits
from tracer.trace import Disposition, Outcome, Trace

CLIENT = "external:203.0.113.9"
WEB = "10.96.0.10:80"


def made(nodes: int = 2, *, webs: int = 2, **options: object) -> MadeCluster:
    """A client pod on n1, a pod of web on each of the first nodes, and the Service web at 10.96.0.10, node port 30080."""
    cluster = MadeCluster(nodes, **options)
    cluster.pod("client", 1)
    pods = [cluster.pod(f"web-{i}", i) for i in range(1, webs + 1)]
    cluster.service("web", pods, type="LoadBalancer", node_port=30080, lb_ip="203.0.113.100")
    return cluster


def ends(answer: Trace) -> dict[tuple[str, str], Fraction]:
    """(disposition, pod or node reached, or the reason's code) → odds."""
    assert sum(o.probability for o in answer.outcomes) == 1
    found: dict[tuple[str, str], Fraction] = {}
    for o in answer.outcomes:
        key = (o.disposition.value, (o.destination.name or str(o.destination.ip)) if o.destination else o.reason.code if o.reason else "")
        found[key] = found.get(key, Fraction(0)) + o.probability
    return found


def only(answer: Trace) -> Outcome:
    (outcome,) = answer.outcomes
    return outcome


def seen(answer: Trace) -> dict[str, str]:
    """Pod reached → the source address it sees."""
    return {str(o.destination.name): str(o.source_seen[0]) for o in answer.outcomes if o.destination and o.source_seen}


HALF = Fraction(1, 2)
BOTH = {("delivered", "web-1"): HALF, ("delivered", "web-2"): HALF}


# -- where Services lead ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "to", "sources"),
    [
        ("pod:default/client", WEB, {"web-1": "10.1.1.2", "web-2": "10.1.1.2"}),
        ("node:n1", WEB, {"web-1": "10.1.1.1", "web-2": "192.168.0.11"}),
        (CLIENT, "192.168.0.11:30080", {"web-1": "10.1.1.1", "web-2": "192.168.0.11"}),
        ("node:n1", "127.0.0.1:30080", {"web-1": "10.1.1.1", "web-2": "192.168.0.11"}),
        ("pod:default/client", "203.0.113.100:80", {"web-1": "10.1.1.1", "web-2": "192.168.0.11"}),
    ],
)
def test_each_way_in(source: str, to: str, sources: dict[str, str]) -> None:
    answer = made().trace(source, to)
    assert ends(answer) == BOTH
    assert seen(answer) == sources
    assert all(o.reply and o.reply.disposition is Disposition.DELIVERED for o in answer.outcomes)


def test_dual_stack() -> None:
    cluster = made()
    cluster.service("web6", [p for p in cluster.pods if p.name.startswith("web")], version=6)
    answer = cluster.trace("pod:default/client", "[fd00:96::b]:80")
    assert ends(answer) == BOTH
    assert seen(answer) == {"web-1": "fd00:1:1::2", "web-2": "fd00:1:1::2"}


def test_a_service_without_endpoints_refuses() -> None:
    cluster = made()
    cluster.service("empty")
    found = only(cluster.trace("pod:default/client", "10.96.0.11:80"))
    assert (found.disposition, found.reject_with) == (Disposition.REJECTED, "icmp-port-unreachable")


def test_load_balancer_asks_every_node() -> None:
    answer = made(3).trace(CLIENT, "203.0.113.100:80")
    assert len(answer.outcomes) == 6
    assert ends(answer) == BOTH


def test_load_balancer_of_a_local_service_asks_nodes_with_endpoints_and_keeps_the_client() -> None:
    cluster = made(3)
    cluster.services[0].local = True
    answer = cluster.trace(CLIENT, "203.0.113.100:80")
    assert ends(answer) == BOTH
    assert seen(answer) == {"web-1": "203.0.113.9", "web-2": "203.0.113.9"}
    dropped = only(cluster.trace(CLIENT, "192.168.0.13:30080"))
    assert dropped.disposition is Disposition.DROPPED


def test_excluded_nodes_get_nothing_from_a_load_balancer() -> None:
    cluster = made()
    cluster.node(1).labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    answer = cluster.trace(CLIENT, "203.0.113.100:80")
    assert {h.name for o in answer.outcomes for h in o.hops[2:3]} == {"n2"}


def test_load_balancer_without_healthy_nodes_or_node_port() -> None:
    cluster = made()
    for node in cluster.nodes:
        node.labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    assert ends(cluster.trace(CLIENT, "203.0.113.100:80")) == {("dropped", "LB_NO_HEALTHY_NODE"): 1}
    cluster = made()
    cluster.services[0].node_port = None
    assert ends(cluster.trace(CLIENT, "203.0.113.100:80")) == {("unknown", "LB_NOT_MODELLED"): 1}


def test_host_network_pods_are_reached_at_their_node() -> None:
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("agent", [cluster.pod("agent", 2, host_network=True)])
    found = only(cluster.trace("pod:default/client", WEB))
    assert found.destination is not None
    assert (found.destination.kind, found.destination.name, found.destination.node) == ("node", "agent", "n2")


def test_an_endpoint_without_a_pod_counts_as_owned() -> None:
    cluster = MadeCluster(1)
    cluster.pod("client", 1)
    cluster.service("mainframe").endpoints.append(("172.20.0.5", None))
    found = only(cluster.trace("pod:default/client", WEB))
    assert found.destination is not None
    assert (found.disposition, found.destination.kind, found.destination.service) == (
        Disposition.DELIVERED,
        "endpoint",
        "default/mainframe",
    )


def test_nobody_owns_it() -> None:
    cluster = made()
    assert ends(cluster.trace("pod:default/client", "10.96.254.254:80")) == {("lost", "NOT_OWNED"): 1}
    assert ends(cluster.trace(CLIENT, WEB)) == {("lost", "NOT_OWNED"): 1}


# -- bridges ------------------------------------------------------------------------------------------------------------------------


def bridged(**options: object) -> MadeCluster:
    """One node; client and web-1 on its bridge."""
    return made(1, webs=1, cni="bridge", **options)


def test_bridged_neighbours_with_nf_call() -> None:
    found = only(bridged().trace("pod:default/client", WEB))
    assert found.disposition is Disposition.DELIVERED
    assert any("bridged by cbr0" in note for h in found.hops for note in h.notes)


def test_bridged_neighbours_without_nf_call_meet_no_rules() -> None:
    cluster = bridged(nf_call=0)
    found = only(cluster.trace("pod:default/client", "10.1.1.3:8080"))
    assert found.disposition is Disposition.DELIVERED
    assert all(not h.steps for h in found.hops)


@pytest.mark.parametrize(
    ("hairpin", "end"), [(True, ("delivered", "web-1")), (False, ("dropped", "HAIRPIN_OFF")), (None, ("unknown", "DATA_MISSING"))]
)
def test_hairpin(hairpin: bool | None, end: tuple[str, str]) -> None:
    answer = bridged(hairpin=hairpin).trace("pod:default/web-1", WEB)
    assert ends(answer) == {end: 1}
    if hairpin:
        assert seen(answer) == {"web-1": "10.1.1.1"}


def test_hairpin_over_a_route_a_pod_needs_no_bridge() -> None:
    answer = made(1, webs=1).trace("pod:default/web-1", WEB)
    assert seen(answer) == {"web-1": "10.1.1.1"}


# -- what the kernel refuses --------------------------------------------------------------------------------------------------------


def test_forwarding_off() -> None:
    cluster = made(1, webs=1)
    cluster.node(1).sysctl |= {"net.ipv4.ip_forward": "0", "net.ipv4.conf.all.forwarding": "0"}
    assert ends(cluster.trace("pod:default/client", WEB)) == {("dropped", "FORWARDING_OFF"): 1}


def test_strict_rp_filter_drops_what_comes_by_another_device() -> None:
    cluster = made(2, webs=2)
    cluster.node(2).sysctl["net.ipv4.conf.all.rp_filter"] = "1"
    cluster.node(2).routes.append({"dst": "203.0.113.0/24", "dev": "vethweb2", "flags": []})
    answer = cluster.trace(CLIENT, "192.168.0.12:30080")
    assert ends(answer) == {("dropped", "RP_FILTER"): 1}


@pytest.mark.parametrize("overlay", ["flannel0", "flannel.1"])
def test_a_flat_overlay_is_entered_by_the_device_it_was_left_by(overlay: str) -> None:
    """One route of the whole pod network, without a gateway, as older flannels and weave have it."""
    cluster = made(2, webs=0)
    cluster.service("far", [cluster.pod("far", 2)])
    for node in cluster.nodes:
        node.held.append((overlay, f"10.1.{node.number}.0", 16))
        node.routes.append({"dst": "10.1.0.0/16", "dev": overlay, "prefsrc": f"10.1.{node.number}.0", "flags": []})
        node.texts["ip-route.json"] = json.dumps(node.ip_route([node], 4))
        node.sysctl["net.ipv4.conf.all.rp_filter"] = "1"
    (outcome,) = cluster.trace("pod:default/client", "10.96.0.11:80").outcomes
    assert outcome.reply is not None
    assert (outcome.disposition, outcome.reply.disposition) == (Disposition.DELIVERED, Disposition.DELIVERED)
    assert [hop.came_in for hop in outcome.hops if hop.name == "n2"] == [overlay]


def test_a_nodes_own_address_from_outside_is_a_martian() -> None:
    assert ends(made().trace("external:192.168.0.11", "192.168.0.11:30080")) == {("dropped", "MARTIAN_SOURCE"): 1}


def test_loopback_node_port_without_route_localnet() -> None:
    cluster = made(1, webs=1)
    cluster.node(1).sysctl["net.ipv4.conf.all.route_localnet"] = "0"
    answer = cluster.trace("node:n1", "127.0.0.1:30080")
    assert all(
        o.disposition is not Disposition.DELIVERED or o.reply is None or o.reply.disposition is not Disposition.DELIVERED
        for o in answer.outcomes
    )


def test_routes_that_refuse() -> None:
    kinds = {
        "unreachable": ("unreachable", "NO_ROUTE"),
        "prohibit": ("unreachable", "ROUTE_PROHIBITED"),
        "blackhole": ("dropped", "ROUTE_BLACKHOLE"),
    }
    for kind, end in kinds.items():
        cluster = made()
        cluster.node(1).routes.append({"type": kind, "dst": "198.51.100.0/24", "flags": []})
        assert ends(cluster.trace("pod:default/client", "198.51.100.1:80")) == {end: 1}


def test_a_circle_of_routes_is_a_loop() -> None:
    cluster = made()
    cluster.node(1).routes.append({"dst": "198.51.100.0/24", "gateway": "192.168.0.12", "dev": "eth0", "flags": []})
    cluster.node(2).routes.append({"dst": "198.51.100.0/24", "gateway": "192.168.0.11", "dev": "eth0", "flags": []})
    assert ends(cluster.trace("pod:default/client", "198.51.100.1:80")) == {("loop", "TTL_LOOP"): 1}


@pytest.mark.parametrize("policy", ["0", "1"])
def test_multipath_routes_share(policy: str) -> None:
    """By the addresses alone the way is settled for every connection of the two, and nobody knows which; by ports each draws its own."""
    cluster = made(3)
    cluster.node(1).sysctl["net.ipv4.fib_multipath_hash_policy"] = policy
    ways = [{"gateway": f"192.168.0.1{i}", "dev": "eth0", "weight": w, "flags": []} for i, w in ((2, 1), (3, 3))]
    cluster.node(1).routes.append({"dst": "198.51.100.0/24", "nexthops": ways, "flags": []})
    answer = cluster.trace("pod:default/client", "198.51.100.1:80")
    assert ends(answer) == {("leaves", "198.51.100.1"): 1}
    if policy == "1":
        assert {o.hops[2].name: o.probability for o in answer.outcomes} == {"n2": Fraction(1, 4), "n3": Fraction(3, 4)}
    cluster.node(3).rules.append(("filter", "-A FORWARD -d 198.51.100.1 -j DROP"))
    answer = cluster.trace("pod:default/client", "198.51.100.1:80")
    assert {(o.disposition.value, o.probability) for o in answer.outcomes} == {("leaves", Fraction(1, 4)), ("dropped", Fraction(3, 4))}
    assert [bool(o.conditions) for o in answer.outcomes] == [policy == "0"] * 2


def test_a_mark_chooses_the_route() -> None:
    cluster = made(3)
    cluster.node(1).rules += [("mangle", "-A PREROUTING -d 198.51.100.0/24 -j MARK --set-mark 0x7")]
    cluster.node(1).rules_of_routing.append({"priority": 100, "src": "all", "fwmark": "0x7", "table": "100"})
    cluster.node(1).routes.append({"dst": "default", "gateway": "192.168.0.13", "dev": "eth0", "table": "100", "flags": []})
    found = only(cluster.trace("pod:default/client", "198.51.100.1:80"))
    assert found.hops[2].name == "n3"


# -- rules --------------------------------------------------------------------------------------------------------------------------


RULES: list[tuple[list[tuple[str, str]], str, dict[tuple[str, str], Fraction | int]]] = [
    ([("filter", "-A FORWARD -d 10.1.2.0/24 -j DROP")], WEB, {("delivered", "web-1"): HALF, ("dropped", "RULE_DROP"): HALF}),
    ([("filter", "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset")], WEB, {("rejected", "RULE_REJECT"): 1}),
    ([("mangle", "-A PREROUTING -j DROP")], WEB, {("dropped", "RULE_DROP"): 1}),
    ([("raw", "-A PREROUTING -j DROP")], WEB, {("dropped", "RULE_DROP"): 1}),
    ([("mangle", "-A POSTROUTING -j DROP")], WEB, {("dropped", "RULE_DROP"): 1}),
    # An untracked packet gets no NAT: the cluster IP goes out to the router.
    ([("raw", "-A PREROUTING -j CT --notrack")], WEB, {("lost", "NOT_OWNED"): 1}),
    ([("raw", "-A PREROUTING -d 10.96.0.10/32 -j NOTRACK"), ("filter", "-A FORWARD -m conntrack --ctstate UNTRACKED -j DROP")], WEB, {("dropped", "RULE_DROP"): 1}),
    ([("nat", "-A PREROUTING -d 10.96.0.10/32 -p tcp -j REDIRECT --to-ports 15001")], WEB, {("delivered", "n1"): 1}),
    ([("nat", "-A PREROUTING -d 10.96.0.0/16 -j NETMAP --to 10.1.1.0/24")], "10.96.0.3:8080", {("delivered", "web-1"): 1}),
    ([("nat", "-A PREROUTING -d 10.96.0.10/32 -p tcp -j DNAT --to-destination 10.1.1.3:8080")], WEB, {("delivered", "web-1"): 1}),
    ([("nat", "-A PREROUTING -d 10.96.0.10/32 -j ACCEPT")], WEB, {("lost", "NOT_OWNED"): 1}),
    ([("filter", "-A FORWARD -m set --match-set S src -j DROP")], WEB, {("delivered", "web-1"): Fraction(1, 4), ("delivered", "web-2"): Fraction(1, 4), ("dropped", "RULE_DROP"): HALF}),
    ([("filter", "-A FORWARD -j NFQUEUE --queue-num 1")], WEB, {("unknown", "UNMODELLED_TARGET"): 1}),
    ([("mangle", "-A PREROUTING -j CONNMARK --set-mark 0x5"), ("mangle", "-A FORWARD -j CONNMARK --restore-mark"), ("filter", "-A FORWARD -m mark --mark 0x5 -j DROP")], WEB, {("dropped", "RULE_DROP"): 1}),
    ([("filter", ":local"), ("filter", "-A FORWARD -j local"), ("filter", "-A local -i veth+ -o eth0 -j DROP")], WEB, {("delivered", "web-1"): HALF, ("dropped", "RULE_DROP"): HALF}),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "to", "expected"), RULES)
def test_rules_of_a_node(rules: list[tuple[str, str]], to: str, expected: dict[tuple[str, str], Fraction]) -> None:
    cluster = made()
    cluster.node(1).rules += rules
    answer = cluster.trace("pod:default/client", to)
    assert ends(answer) == expected, [[s.to_dict() for h in o.hops for s in h.steps] for o in answer.outcomes]


def test_sets_are_looked_up() -> None:
    cluster = made()
    cluster.node(1).rules += [("filter", "-A FORWARD -m set --match-set S src -j DROP")]
    cluster.node(1).texts["ipset-save.txt"] = "create S hash:net family inet\nadd S 10.1.0.0/16\n"
    assert ends(cluster.trace("pod:default/client", WEB)) == {("dropped", "RULE_DROP"): 1}
    cluster.node(1).texts["ipset-save.txt"] = "create S hash:net family inet\nadd S 10.9.0.0/16\n"
    assert ends(cluster.trace("pod:default/client", WEB)) == BOTH


def test_forward_policy_drop() -> None:
    cluster = made()
    cluster.node(1).policies["filter FORWARD"] = "DROP"
    assert ends(cluster.trace("pod:default/client", WEB)) == {("dropped", "POLICY_DROP"): 1}


def test_snat_to_a_range_keeps_one_address_a_flow() -> None:
    cluster = made()
    cluster.node(1).rules += [("nat", "-A POSTROUTING -s 10.1.1.2/32 -j SNAT --to-source 192.168.0.200-192.168.0.203")]
    answer = cluster.trace("pod:default/client", "10.1.2.2:8080")
    (source,) = seen(answer).values()
    assert source.startswith("192.168.0.20")
    assert only(answer).probability == 1


def test_the_mark_stays_in_its_stack() -> None:
    cluster = made()
    cluster.node(1).rules += [("mangle", "-A FORWARD -j MARK --set-mark 0x9")]
    cluster.node(2).rules += [("filter", "-A FORWARD -m mark --mark 0x9 -j DROP")]
    assert ends(cluster.trace("pod:default/client", WEB)) == BOTH


# -- what is missing ----------------------------------------------------------------------------------------------------------------


def without(name: str) -> Callable[[MadeCluster], None]:
    return lambda cluster: cluster.node(1).without.add(name)


MISSING = [
    # file, what still is certain
    ("iptables-save.txt", {("unknown", "NO_RULES"): 1}),
    ("ip6tables-save.txt", BOTH),
    ("ip-link.json", BOTH),
    ("ip-rule.json", BOTH),
    ("ip6-route.json", BOTH),
    ("kube-proxy-mode.txt", BOTH),
]


@pytest.mark.parametrize(("name", "expected"), MISSING)
def test_missing_file(name: str, expected: dict[tuple[str, str], Fraction]) -> None:
    cluster = made()
    cluster.node(1).without.add(name)
    answer = cluster.trace("pod:default/client", WEB)
    assert ends(answer) == expected
    for unknown in answer.unknowns:
        assert name in unknown.text
        assert "n1" in unknown.text


def test_missing_addresses_leave_open_which_one_masquerade_takes() -> None:
    cluster = made(1, webs=1)
    cluster.node(1).without |= {"ip-addr.json"}
    assert seen(cluster.trace("node:n1", WEB)) == {"web-1": "an address of node n1"}


def test_missing_routes_and_addresses_are_unknown() -> None:
    cluster = made(1, webs=1)
    cluster.node(1).without |= {"ip-addr.json", "ip-route.json"}
    answer = cluster.trace("pod:default/client", WEB)
    assert {o.disposition for o in answer.outcomes} == {Disposition.UNKNOWN}


def test_a_node_without_any_file() -> None:
    cluster = made()
    cluster.extra |= {path: None for path in cluster.files() if path.startswith("nodes/n2/")}
    answer = cluster.trace("pod:default/client", WEB)
    assert ends(answer) == {("delivered", "web-1"): HALF, ("delivered", "web-2"): HALF}
    made_on = {hop.node for o in answer.outcomes for hop in o.hops for step in hop.steps if step.made_as}
    assert made_on == {"n2"}


def test_other_modes_are_not_replayed_from_iptables_rules() -> None:
    cluster = made()
    cluster.node(1).texts["kube-proxy-mode.txt"] = "kernelspace\n"
    answer = cluster.trace("pod:default/client", WEB)
    assert ends(answer) == {("unknown", "WINDOWS_NOT_REPLAYED"): 1}


def test_a_truncated_dump_leaves_what_is_read_before_the_cut() -> None:
    cluster = made()
    whole = cluster.files()["nodes/n1/iptables-save.txt"].decode()
    cluster.node(1).texts["iptables-save.txt"] = whole[: whole.index("*raw")] + "*raw\n:PREROUTING ACCEPT [0:0]\n:OUT"
    answer = cluster.trace("pod:default/client", WEB)
    assert {o.disposition for o in answer.outcomes} == {Disposition.UNKNOWN}
    assert {u.code for u in answer.unknowns} == {"TRUNCATED_DUMP"}


def test_a_dump_cut_before_a_table_is_unknown() -> None:
    cluster = made()
    whole = cluster.files()["nodes/n1/iptables-save.txt"].decode()
    cluster.node(1).texts["iptables-save.txt"] = whole[: whole.index("*filter")] + "*filter\n:INPUT"
    answer = cluster.trace("pod:default/client", WEB)
    assert {o.reason.code for o in answer.outcomes if o.reason} == {"TRUNCATED_DUMP"}


def test_one_bad_line_touches_only_who_might_meet_it() -> None:
    cluster = made()
    cluster.service("other", [cluster.pods[1]])
    cluster.node(1).rules += [("nat", "-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 99999 -j ACCEPT")]
    touched = cluster.trace("pod:default/client", WEB)
    assert ("unknown", "BAD_RULE") in ends(touched)
    assert any("nodes/n1/iptables-save.txt:" in u.text for u in touched.unknowns)
    assert ends(cluster.trace("pod:default/client", "10.96.0.11:80")) == {("delivered", "web-1"): 1}


def test_more_ways_than_anyone_can_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.topology.cluster.Cluster.limits", Limits(ways=50))
    cluster = made()
    cluster.node(1).rules += [("mangle", "-A PREROUTING -m statistic --mode random --probability 0.5 -j MARK --xor-mark 0x1")] * 8
    answer = cluster.trace("pod:default/client", WEB)
    assert len(answer.outcomes) == 51
    assert sum(o.probability for o in answer.outcomes) == 1
    assert (answer.outcomes[-1].disposition, answer.unknowns[-1].code) == (Disposition.UNKNOWN, "UNSUPPORTED")
