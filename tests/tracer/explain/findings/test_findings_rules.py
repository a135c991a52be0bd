"""Rules that spoil packets: leftover back ends, a DROP without its match, FORWARD's policy, INVALID; rules that fit the objects no more."""

from __future__ import annotations

import pytest

from tests.made_findings import CLIENT, all_of, codes, endpoints, published, shop, the, unlisted
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster

IP = "10.96.0.10:80"
RULES = "nodes/n1/iptables-save.txt"


# -- FORWARD_POLICY_DROP --------------------------------------------------------------------------------------------------------------


def test_forwards_policy_drops():
    made = shop()
    made.node(1).policies["filter FORWARD"] = "DROP"
    found = the(made.diagnosed("pod:default/client-1", "10.1.2.2:8080"), "FORWARD_POLICY_DROP")
    for said in ("Node n1 forwards the packet", "it carries no mark", f"the policy of FORWARD is DROP ({RULES}:"):
        assert said in found.text
    service = all_of(made.diagnosed("pod:default/client-1", IP), "FORWARD_POLICY_DROP")
    assert service
    assert "Service default/web" in service[0].text


def test_a_policy_that_a_rule_makes_up_for():
    made = shop()
    made.node(1).policies["filter FORWARD"] = "DROP"
    made.node(1).rules.append(("filter", "-A FORWARD -j ACCEPT"))
    assert "FORWARD_POLICY_DROP" not in codes(made.diagnosed("pod:default/client-1", IP))


@pytest.mark.parametrize("hook", ["forward", "postrouting", "ingress device eth0", "prerouting"])
def test_steps_of_native_tables_of_any_family_can_be_judged(hook: str):
    """No finding may take them for iptables' own: their families are others, their chains in no dump."""
    made = shop()
    family = "netdev" if hook.startswith("ingress") else "inet"
    chain = f"type filter hook {hook.replace('eth0', chr(34) + 'eth0' + chr(34))} priority 0; policy accept;"
    made.node(1).texts["nft-ruleset.txt"] = (
        f"table {family} firewalld {{\n\tchain a {{\n\t\t{chain}\n\t\tct state invalid drop\n\t\tmeta mark 0x0 accept\n\t}}\n}}\n"
    )
    for source, to in (("pod:default/client-1", IP), ("node:n1", IP), ("external:203.0.113.10", "192.168.0.11:30080")):
        answer = made.diagnosed(source, to)
        assert sum(o.probability for o in answer.outcomes) == 1


def test_a_native_forward_policy_drops():
    made = shop()
    made.node(1).texts["nft-ruleset.txt"] = "table inet fw {\n\tchain f {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n"
    found = all_of(made.diagnosed("pod:default/client-1", "10.1.2.2:8080"), "FORWARD_POLICY_DROP")
    assert found
    assert "no rule of table fw accepts it" in found[0].text


def test_a_policy_outside_table_filter_is_not_mended_there():
    made = shop()
    head = "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:FORWARD "
    made.change(RULES, f"{head}ACCEPT", f"{head}DROP")
    found = the(made.diagnosed("pod:default/client-1", "10.1.2.2:8080"), "FORWARD_POLICY_DROP")
    assert "clusterCIDR" not in found.fix and "iptables -t mangle -P FORWARD ACCEPT" in found.fix


@pytest.mark.parametrize(("table", "said"), [("fw", "which is no known program's"), ("firewalld", "which is firewalld's")])
def test_a_policy_of_a_table_of_ones_own_is_its_owners(table, said):
    made = shop()
    made.node(1).texts["nft-ruleset.txt"] = (
        f"table inet {table} {{\n\tchain f {{\n\t\ttype filter hook forward priority 0; policy drop;\n\t}}\n}}\n"
    )
    fix = all_of(made.diagnosed("pod:default/client-1", "10.1.2.2:8080"), "FORWARD_POLICY_DROP")[0].fix
    assert said in fix
    assert "kube-proxy" not in fix


def test_the_answer_can_be_dropped_by_the_policy():
    made = shop()
    made.node(1).policies["filter FORWARD"] = "DROP"
    made.node(1).rules.append(("filter", "-A FORWARD -s 10.1.1.0/24 -j ACCEPT"))
    made.change(RULES, "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-m conntrack --ctstate RELATED -j ACCEPT")
    found = the(made.diagnosed("pod:default/client-1", "10.1.2.2:8080"), "FORWARD_POLICY_DROP")
    assert found.reply
    assert "forwards the answer" in found.text


# -- DROP_WITHOUT_MARK ----------------------------------------------------------------------------------------------------------------


def firewall(made, rule):
    made.node(1).rules += [("filter", ":KUBE-FIREWALL"), ("filter", "-A OUTPUT -j KUBE-FIREWALL"), ("filter", rule)]
    return made


MARKED = '-A KUBE-FIREWALL -m comment --comment "kubernetes firewall for dropping marked packets"'


def test_a_drop_that_lost_its_mark():
    found = all_of(firewall(shop(), f"{MARKED} -j DROP").diagnosed("node:n1", IP), "DROP_WITHOUT_MARK")
    assert found
    for said in ("Node n1 drops every packet", "Service default/web", f"{RULES}:", "KUBE-FIREWALL"):
        assert said in found[0].text


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (f"{MARKED} -m mark --mark 0x8000/0x8000 -j DROP", "node:n1"),
        ("-A KUBE-FIREWALL -p tcp -j DROP", "node:n1"),
        (f"{MARKED} -j DROP", "pod:default/client-1"),
    ],
)
def test_a_drop_with_a_match_or_off_the_path_is_none(rule, source):
    assert "DROP_WITHOUT_MARK" not in codes(firewall(shop(), rule).diagnosed(source, IP))


def test_an_ordinary_last_drop_is_none():
    made = shop()
    made.node(1).rules.append(("filter", "-A OUTPUT -j DROP"))
    assert "DROP_WITHOUT_MARK" not in codes(made.diagnosed("node:n1", IP))


# -- LEFTOVER_RULES -------------------------------------------------------------------------------------------------------------------


def both(made, *, old):
    text = made.dump(made.node(1), 4)
    made.node(1).texts["iptables-legacy-save.txt"] = (
        text if old else "*nat\n:OUTPUT ACCEPT [0:0]\n:MINE - [0:0]\n-A OUTPUT -j MINE\nCOMMIT\n"
    )
    return made


def test_both_back_ends_hold_the_same_chains():
    found = all_of(both(shop(), old=True).diagnosed("pod:default/client-1", IP), "LEFTOVER_RULES")
    assert found
    for said in ("Node n1", "nodes/n1/iptables-legacy-save.txt", RULES, "KUBE-", "Service default/web"):
        assert said in found[0].text
    assert "to which kube-proxy no longer writes" in found[0].fix


def test_another_programs_rules_in_the_other_back_end_are_fine():
    assert "LEFTOVER_RULES" not in codes(both(shop(), old=False).diagnosed("node:n1", IP))


# -- LEGACY_NOT_RECORDED --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "asked"), [("", IP), ("6", "[fd00:1:2::2]:8080")])
def test_tables_of_the_other_back_end_that_nobody_recorded(family, asked):
    made = shop()
    name, legacy = f"ip{family}tables-save.txt", f"ip{family}tables-legacy-save.txt"
    warning = f"# Warning: ip{family}tables-legacy tables present, use ip{family}tables-legacy-save to see them\n"
    made.node(1).texts[name] = made.dump(made.node(1), int(family or 4)) + warning
    found = all_of(made.diagnosed("pod:default/client-1", asked), "LEGACY_NOT_RECORDED")
    assert found
    for said in ("Node n1 has tables of iptables-legacy", f"nodes/n1/{name}:", f"nodes/n1/{legacy} was not recorded"):
        assert said in found[0].text
    made.node(1).texts[legacy] = ""
    assert "LEGACY_NOT_RECORDED" not in codes(made.diagnosed("pod:default/client-1", asked))


# -- INVALID_NOT_DROPPED --------------------------------------------------------------------------------------------------------------


def unguarded(liberal):
    made = shop()
    made.change(RULES, "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP\n", "")
    if liberal is not None:
        made.node(1).sysctl["net.netfilter.nf_conntrack_tcp_be_liberal"] = liberal
    return made


@pytest.mark.parametrize(("liberal", "said"), [("0", "is 0"), (None, "is not recorded in nodes/n1/sysctl.txt")])
def test_invalid_packets_are_let_through(liberal, said):
    found = all_of(unguarded(liberal).diagnosed("pod:default/client-1", IP), "INVALID_NOT_DROPPED")
    assert found
    assert said in found[0].text
    assert "Node n1 translates this connection of Service default/web" in found[0].text


def test_a_liberal_window_or_no_translation_is_fine():
    assert "INVALID_NOT_DROPPED" not in codes(unguarded("1").diagnosed("pod:default/client-1", IP))
    assert "INVALID_NOT_DROPPED" not in codes(unguarded("0").diagnosed("pod:default/client-1", "10.1.2.2:8080"))


def test_a_kernel_that_minds_no_longer():
    made = unguarded("0")
    made.edit("nodes.json", "n1", lambda item: item["status"].update(nodeInfo={"kernelVersion": "6.1.0-18-amd64"}))
    assert "INVALID_NOT_DROPPED" not in codes(made.diagnosed("pod:default/client-1", IP))
    made.edit("nodes.json", "n1", lambda item: item["status"].update(nodeInfo={"kernelVersion": "5.15.0"}))
    assert "INVALID_NOT_DROPPED" in codes(made.diagnosed("pod:default/client-1", IP))


# -- rules and objects ----------------------------------------------------------------------------------------------------------------


def test_a_rule_to_a_pod_that_is_gone():
    made = shop()
    gone = made.pods[1]
    made.edit("endpointslices.json", "web-x", lambda item: item["endpoints"].pop())
    made.pods.remove(gone)
    found = the(made.diagnosed("pod:default/client-1", IP), "STALE_RULE_FOR_REMOVED_POD")
    for said in ("Node n1 sends the packet for Service default/web to 10.1.2.2:8080", f"{RULES}:", "nobody has that address"):
        assert said in found.text


@pytest.mark.parametrize(
    "text",
    [
        "Error from server (Forbidden): endpointslices.discovery.k8s.io is forbidden\n",
        '{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "endpointslices is forbidden", "reason": "Forbidden", "code": 403}',
        "NAMESPACE   NAME    ADDRESSTYPE   PORTS   ENDPOINTS   AGE\ndefault     web-x   IPv4          8080    10.1.1.2    5d\n",
    ],
)
def test_no_rule_is_stale_where_the_endpoints_were_refused(text):
    files = shop().files() | {"endpointslices.json": text.encode()}
    cluster = Cluster.from_snapshot(Snapshot.from_files(files))
    query = Query(source=parse_source("pod:default/client-1"), destination=parse_destination(IP))
    traced = diagnose(cluster, trace(cluster, query))
    assert not {"STALE_RULE_FOR_REMOVED_POD", "NO_READY_ENDPOINTS", "RULES_BEHIND_OBJECTS"} & {*codes(traced)}
    assert any("endpointslices.json" in f.text for f in all_of(traced, "DATA_MISSING"))


def test_an_address_that_went_to_another_pod():
    made = shop()
    made.edit("endpointslices.json", "web-x", lambda item: item["endpoints"].pop())
    found = the(made.diagnosed("pod:default/client-1", IP), "STALE_RULE_FOR_REMOVED_POD")
    assert "belongs to pod default/web-2, which the Service does not list" in found.text


def test_a_rule_to_a_pod_that_is_not_ready():
    made = shop()
    made.edit("endpointslices.json", "web-x", lambda item: item["endpoints"][1].update(conditions={"ready": False, "serving": False}))
    found = the(made.diagnosed("pod:default/client-1", IP), "RULES_BEHIND_OBJECTS")
    assert "10.1.2.2:8080 (pod web-2)" in found.text
    assert "not ready" in found.text


def test_terminating_endpoints_serve_when_nothing_else_is_there():
    made = shop()
    ending = {"ready": False, "serving": True, "terminating": True}
    made.edit("endpointslices.json", "web-x", lambda item: [e.update(conditions=ending) for e in item["endpoints"]])
    assert "RULES_BEHIND_OBJECTS" not in codes(made.diagnosed("pod:default/client-1", IP))


def test_a_ready_endpoint_that_the_rules_do_not_know():
    made = shop()
    third = made.pod("web-3", 2)
    made.edit("endpointslices.json", "web-x", lambda item: item["endpoints"].extend(endpoints([third], ready=True)))
    found = all_of(made.diagnosed("pod:default/client-1", IP), "RULES_BEHIND_OBJECTS")
    assert found
    assert all("never send a packet for Service default/web to 10.1.2.4:8080 (pod web-3)" in f.text for f in found)


def test_hints_may_leave_endpoints_out():
    made = shop()
    third = made.pod("web-3", 2)
    for node, zone in ((made.node(1), "a"), (made.node(2), "b")):
        node.labels["topology.kubernetes.io/zone"] = zone

    def hint(item):
        for endpoint in item["endpoints"]:
            endpoint |= {"hints": {"forZones": [{"name": "a"}]}}
        item["endpoints"].extend(endpoints([third], ready=True))

    made.edit("endpointslices.json", "web-x", hint)
    assert "RULES_BEHIND_OBJECTS" not in codes(made.diagnosed("pod:default/client-1", IP))


def test_rules_that_refuse_although_endpoints_are_ready():
    made = shop()
    unlisted(made, endpoints=endpoints(made.pods[:2], ready=True))
    found = the(made.diagnosed("pod:default/client-1", IP), "RULES_BEHIND_OBJECTS")
    assert found.severity == "fault"
    for said in ("Node n1 rejects", f"{RULES}:", "as if it had no endpoint", "10.1.1.2:8080 (pod web-1)"):
        assert said in found.text


def test_no_rule_for_the_address():
    made = shop()
    made.change(RULES, "-d 10.96.0.10/32", "-d 10.96.0.99/32")
    found = the(made.diagnosed("pod:default/client-1", IP), "NO_RULE_FOR_VIP")
    for said in ("No rule of node n1", "10.96.0.10:80, the cluster IP of Service default/web", "10.1.1.2:8080"):
        assert said in found.text
    assert RULES in found.evidence


def test_a_port_that_the_service_does_not_have():
    found = the(shop().diagnosed("pod:default/client-1", "10.96.0.10:81"), "NO_RULE_FOR_VIP")
    assert "Service default/web, which has no port 81/tcp: it has 80/tcp (p)" in found.text


def test_a_node_port_without_a_rule():
    made = published(local=True)
    made.change(RULES, "--dport 30080", "--dport 30081")
    found = the(made.diagnosed(CLIENT, "192.168.0.11:30080"), "NODEPORT_NOT_PROGRAMMED")
    for said in ("No rule of node n1", "node port 30080 of Service default/web at 192.168.0.11", "10.1.1.2:8080"):
        assert said in found.text


def test_a_node_port_on_loopback():
    made = published()
    made.change(RULES, "--dport 30080", "! -d 127.0.0.0/8 --dport 30080")
    found = the(made.diagnosed("node:n1", "127.0.0.1:30080"), "NODE_PORT_NOT_ON_LOOPBACK")
    assert "Node n1 does not serve node port 30080 of Service default/web on 127.0.0.1" in found.text
    assert "NODE_PORT_NOT_ON_LOOPBACK" not in codes(published().diagnosed("node:n1", "127.0.0.1:30080"))


# -- UNEVEN_SPLIT ---------------------------------------------------------------------------------------------------------------------


def test_a_node_whose_rules_do_not_share_evenly():
    made = shop()
    made.change(RULES, "--probability 0.5000000000", "--probability 0.9000000000")
    found = all_of(made.diagnosed("pod:default/client-1", IP), "UNEVEN_SPLIT")
    assert found
    assert "Node n1's own rules for Service default/web do not share evenly: 10.1.1.2 90.0%, 10.1.2.2 10.0%" in found[0].text


def test_pods_that_are_spread_unevenly_behind_a_local_policy():
    found = all_of(published(local=True, pods=(1, 2, 2)).diagnosed(CLIENT, "198.51.100.10:80"), "UNEVEN_SPLIT")
    assert found
    assert "10.1.1.2 50.0%" in found[0].text
    assert found[0].severity == "notice"


def test_thirds_in_the_kernels_arithmetic_are_even():
    assert "UNEVEN_SPLIT" not in codes(published(pods=(1, 2, 2)).diagnosed("pod:default/client-1", IP))


# -- the way back, asked for by a rule --------------------------------------------------------------------------------------------------

NFT_WAY_BACK = """table inet firewalld {
	chain filter_PREROUTING {
		type filter hook prerouting priority filter; policy accept;
		fib saddr . iif oif missing drop
	}
}
"""


def with_rule_for_the_way_back(nft):
    made = published()
    node = made.node(1)
    node.routes.append({"dst": "203.0.113.0/24", "dev": "vethclient1", "scope": "link"})
    if nft:
        node.texts["nft-ruleset.txt"] = NFT_WAY_BACK
    else:
        node.rules.append(("raw", "-A PREROUTING -m rpfilter --validmark --invert -j DROP"))
    return made


@pytest.mark.parametrize("nft", [False, True])
def test_a_rule_that_asks_for_the_way_back_names_the_route(nft):
    found = the(with_rule_for_the_way_back(nft).diagnosed(CLIENT, "192.168.0.11:30080"), "RP_FILTER")
    assert "the way back to 203.0.113.10 is through vethclient1: route '203.0.113.0/24 dev vethclient1'" in found.text
    assert "came in by, eth0" in found.text


def test_a_rule_for_the_way_back_that_is_not_met_says_nothing():
    made = published()
    made.node(1).rules.append(("raw", "-A PREROUTING -m rpfilter --validmark --invert -j DROP"))
    assert "RP_FILTER" not in codes(made.diagnosed(CLIENT, "192.168.0.11:30080"))
