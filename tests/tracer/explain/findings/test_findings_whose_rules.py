"""Whose rule decided: others' rules, marks, rules of Services that are gone, Services of another proxy; by every data path that has them."""

from __future__ import annotations

import json

import pytest

from tests.made_findings import CLIENT, all_of, codes, endpoints, published, shop, the, unlisted
from tracer.explain.findings import diagnose
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Disposition

IP = "10.96.0.10:80"
RULES = "nodes/n1/iptables-save.txt"
NO_ADVICE = ("restart", "kube-proxy's log", "failed sync")


def accused(traced):
    """The findings that blame the node's Service proxy."""
    return codes(traced) & {"STALE_RULE_FOR_REMOVED_POD", "RULES_BEHIND_OBJECTS", "NO_RULE_FOR_VIP", "NODEPORT_NOT_PROGRAMMED"}


def without_advice(found):
    return not any(word in f"{found.text} {found.fix}" for word in NO_ADVICE)


# -- rules of others ------------------------------------------------------------------------------------------------------------------

TAKES = [
    ("-A PREROUTING -d 10.96.0.10/32 -p tcp -j DNAT --to-destination 10.1.1.3:8080", "no program that Hopline knows"),
    (
        '-A PREROUTING -d 10.96.0.10/32 -p tcp -m comment --comment "cali:a1b2c3" -m comment --comment "mine" -j cali-dnat',
        "Calico (“mine”)",
    ),
    ("-A PREROUTING -d 10.96.0.10/32 -p tcp -j CNI-HOSTPORT-DNAT", "a pod's hostPort"),
    ("-A PREROUTING -d 10.96.0.10/32 -p tcp -j DOCKER", "Docker"),
]


@pytest.mark.parametrize(("rule", "owner"), TAKES)
def test_a_translation_of_others_is_no_stale_rule(rule, owner):
    made = shop()
    target = rule.rsplit(" ", 1)[1]
    if not rule.endswith("8080"):
        said = ' -m comment --comment "mine"' if "Calico" in owner else ""
        made.node(1).rules += [("nat", f":{target}"), ("nat", f"-A {target}{said} -p tcp -j DNAT --to-destination 10.1.1.3:8080")]
    made.node(1).rules.append(("nat", rule))
    traced = made.diagnosed("pod:default/client-1", IP)
    found = the(traced, "FOREIGN_RULE")
    assert not accused(traced)
    assert f"a rule of {owner}" in found.text
    assert "no endpoint of the Service" in found.text
    assert RULES in found.text
    assert without_advice(found)


def test_a_translation_in_a_table_of_ones_own_is_no_stale_rule():
    made = published()
    chain = "type nat hook prerouting priority mangle; policy accept;"
    made.node(1).texts["nft-ruleset.txt"] = (
        f"table ip mylb {{\n\tchain preroute {{\n\t\t{chain}\n\t\ttcp dport 30080 dnat to 10.1.1.3:8080\n\t}}\n}}\n"
    )
    traced = made.diagnosed(CLIENT, "192.168.0.11:30080")
    assert not accused(traced)
    assert all(without_advice(f) for f in all_of(traced, "FOREIGN_RULE"))
    assert all_of(traced, "FOREIGN_RULE")


@pytest.mark.parametrize(("container", "severity"), [("lb-tcp-80", "info"), ("edge", "warning")])
def test_k3s_load_balancer_in_a_pod_is_as_it_is_meant(container, severity):
    made = published()
    made.services[0].lb_ip = "192.168.0.11"
    made.edit("pods.json", "client-1", lambda item: item["spec"]["containers"][0].update(name=container))
    made.node(1).rules += [
        ("nat", ":CNI-HOSTPORT-DNAT"),
        ("nat", "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"),
        ("nat", "-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.1.1.3:8080"),
    ]
    found = the(made.diagnosed(CLIENT, "192.168.0.11:80"), "FOREIGN_RULE")
    assert found.severity == severity
    assert ("klipper-lb" in found.text) is (severity == "info")


def test_a_balancer_of_ones_own_is_nobodys_fault():
    made = shop()
    made.node(1).rules.append(("nat", "-A PREROUTING -d 10.96.0.10/32 -p tcp -j DNAT --to-destination 10.1.1.2:8080"))
    traced = made.diagnosed("pod:default/client-1", IP)
    assert "FOREIGN_RULE" not in codes(traced)
    assert not accused(traced)


def test_a_stale_rule_of_kube_proxys_stays_one():
    made = shop()
    made.edit("endpointslices.json", "web-x", lambda item: item["endpoints"].pop())
    traced = made.diagnosed("pod:default/client-1", IP)
    assert "restart it there" in the(traced, "STALE_RULE_FOR_REMOVED_POD").fix
    assert "FOREIGN_RULE" not in codes(traced)


DROPS = [
    ("raw", "-A PREROUTING -d 10.96.0.10/32 -j DROP"),
    ("mangle", "-A PREROUTING -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DROP"),
    ("filter", "-A FORWARD -p tcp -m tcp --dport 8080 -j REJECT --reject-with icmp-port-unreachable"),
    ("filter", '-A FORWARD -d 10.1.0.0/16 -m comment --comment "default/web:p" -j DROP'),
]


@pytest.mark.parametrize(("table", "rule"), DROPS)
def test_a_drop_of_others_is_not_put_down_to_kube_proxy(table, rule):
    made = shop()
    made.node(1).rules.append((table, rule))
    traced = made.diagnosed("pod:default/client-1", IP)
    assert not accused(traced)
    for found in all_of(traced, "FOREIGN_RULE"):
        assert "a rule of no program that Hopline knows" in found.text
        assert without_advice(found)
    assert all_of(traced, "FOREIGN_RULE")


@pytest.mark.parametrize("local", [False, True])
def test_a_drop_of_others_is_no_policy_and_no_lack_of_endpoints(local):
    made = published(local=local, pods=(2,))
    made.node(1).rules.append(("raw", "-A PREROUTING -p tcp -m tcp --dport 30080 -j DROP"))
    made.edit("endpointslices.json", "web-x", lambda item: item["endpoints"].clear())
    traced = made.diagnosed(CLIENT, "192.168.0.11:30080")
    assert codes(traced) == {"FOREIGN_RULE"}
    assert "no ready endpoint either" in the(traced, "FOREIGN_RULE").text


def test_a_firewall_is_named_where_no_service_was_dialled():
    made = shop()
    made.node(1).rules += [("filter", ":ufw-user-input"), ("filter", "-A INPUT -j ufw-user-input"), ("filter", "-A ufw-user-input -j DROP")]
    found = the(made.diagnosed("pod:default/client-1", "192.168.0.11:22"), "FOREIGN_RULE")
    assert "a rule of ufw" in found.text
    assert found.severity == "notice"


# -- marked here, dropped there -------------------------------------------------------------------------------------------------------


def marked(made, rules, **table):
    made.node(1).rules += [
        ("nat", ":KUBE-MARK-DROP"),
        ("nat", "-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000"),
        ("filter", ":KUBE-FIREWALL"),
        ("filter", "-A INPUT -j KUBE-FIREWALL"),
        ("filter", '-A KUBE-FIREWALL -m comment --comment "dropping marked packets" -m mark --mark 0x8000/0x8000 -j DROP'),
        *rules,
    ]
    return made


XLB = [
    ("nat", ":KUBE-XLB-67NZLRHBNDSAWJRO"),
    ("nat", "-A PREROUTING -p tcp -m tcp --dport 30080 -j KUBE-XLB-67NZLRHBNDSAWJRO"),
    ("nat", '-A KUBE-XLB-67NZLRHBNDSAWJRO -m comment --comment "default/web:p has no local endpoints" -j KUBE-MARK-DROP'),
]


def test_a_drop_by_mark_is_the_markers():
    traced = marked(published(local=True, pods=(2,)), XLB).diagnosed(CLIENT, "192.168.0.11:30080")
    assert "externalTrafficPolicy Local" in the(traced, "ETP_LOCAL_NO_LOCAL_ENDPOINT").text
    found = the(traced, "MARKED_FOR_DROP")
    assert "a rule of kube-proxy (“default/web:p has no local endpoints”)" in found.text
    assert "FOREIGN_RULE" not in codes(traced)


def test_a_mark_of_somebody_else_is_somebody_elses():
    own = [("mangle", "-A PREROUTING -s 203.0.113.0/24 -j MARK --set-xmark 0x8000/0x8000")]
    traced = marked(published(local=True, pods=(2,)), own).diagnosed(CLIENT, "192.168.0.11:30080")
    assert "-s 203.0.113.0/24" in the(traced, "MARKED_FOR_DROP").evidence[0]
    assert "a rule of no program that Hopline knows" in the(traced, "FOREIGN_RULE").text
    assert "ETP_LOCAL_NO_LOCAL_ENDPOINT" not in codes(traced)


@pytest.mark.parametrize(
    ("mark", "asks"),
    [
        ("meta mark set meta mark | 0x00008000", "meta mark & 0x00008000 == 0x00008000"),
        ("meta mark set 0x00000007", "meta mark 0x00000007"),
        ("meta mark set meta mark | 0x00000010", "meta mark & 0x00000010 != 0x00000000"),
    ],
)
def test_a_drop_by_mark_in_nft(mark, asks):
    made = shop()
    made.node(1).texts["nft-ruleset.txt"] = (
        "table inet mine {\n"
        "\tchain early {\n\t\ttype filter hook prerouting priority raw; policy accept;\n"
        f'\t\tip saddr 10.1.1.0/24 tcp dport 80 {mark} comment "too loud"\n\t}}\n'
        f"\tchain late {{\n\t\ttype filter hook forward priority filter; policy accept;\n\t\t{asks} drop\n\t}}\n}}\n"
    )
    found = all_of(made.diagnosed("pod:default/client-1", IP), "MARKED_FOR_DROP")
    assert found
    assert all("(“too loud”)" in f.text for f in found)


def test_a_drop_that_asks_for_no_mark_is_its_own_reason():
    made = marked(shop(), [("filter", "-A FORWARD -m mark ! --mark 0x10000/0x10000 -j DROP")])
    assert "MARKED_FOR_DROP" not in codes(made.diagnosed("pod:default/client-1", IP))


# -- Services that are gone -----------------------------------------------------------------------------------------------------------


def without_service(made):
    made.edit("services.json", "web", lambda item: moved(item) or item["metadata"].update(name="rest"))
    return made


def moved(item):
    item["spec"].update(clusterIP="10.96.0.77", clusterIPs=["10.96.0.77"])


def test_rules_for_a_service_that_is_gone():
    found = all_of(without_service(shop()).diagnosed("pod:default/client-1", IP), "RULES_FOR_REMOVED_SERVICE")
    assert found
    for said in ("Node n1 has rules left over", "no Service of the snapshot has 10.96.0.10:80/tcp", "They name Service default/web", RULES):
        assert said in found[0].text
    assert found[0].severity == "warning"


@pytest.mark.parametrize(
    "text", [None, "Error from server (Forbidden): services is forbidden\n", '{"apiVersion": "v1", "kind": "List", "items": []}']
)
def test_without_services_nobody_is_said_to_be_gone(text):
    made = shop()
    if text is None:
        made.removed.add("services.json")
    else:
        made.extra["services.json"] = text.encode()
    traced = made.diagnosed("pod:default/client-1", IP)
    assert not all_of(traced, "RULES_FOR_REMOVED_SERVICE")
    assert "no Service was recorded (services.json)" in the(traced, "DATA_MISSING").text


def test_a_refusal_for_a_service_that_is_gone():
    made = shop()
    made.services[0].endpoints = []
    found = the(without_service(made).diagnosed("pod:default/client-1", IP), "RULES_FOR_REMOVED_SERVICE")
    assert "They name Service default/web, which is not in the snapshot" in found.text


def test_a_service_that_moved_is_no_fault_of_its_old_rules():
    made = shop()
    made.edit("services.json", "web", moved)
    found = all_of(made.diagnosed("pod:default/client-1", IP), "RULES_FOR_REMOVED_SERVICE")
    assert found
    assert "which has other addresses or ports" in found[0].text
    assert found[0].severity == "notice"


def test_a_port_that_is_gone():
    made = shop()
    made.edit("services.json", "web", lambda item: item["spec"]["ports"][0].update(port=81))
    found = all_of(made.diagnosed("pod:default/client-1", IP), "RULES_FOR_REMOVED_SERVICE")
    assert found
    assert "Service default/web has 10.96.0.10 and no port 80" in found[0].text


def test_a_node_port_that_is_gone():
    made = published()
    made.edit("services.json", "web", lambda item: item["spec"]["ports"][0].update(nodePort=30099))
    assert all_of(made.diagnosed(CLIENT, "192.168.0.11:30080"), "RULES_FOR_REMOVED_SERVICE")


def test_services_of_a_part_of_the_cluster_are_no_proof():
    made = without_service(shop())
    made.edit("services.json", "rest", lambda item: item["metadata"].update(namespace="other"))
    found = all_of(made.diagnosed("pod:default/client-1", IP), "RULES_FOR_REMOVED_SERVICE")
    assert all("perhaps not all Services were recorded" in f.text for f in found)


@pytest.mark.parametrize("to", [IP, "10.1.2.2:8080", "192.168.0.11:22", "203.0.113.7:443"])
def test_rules_of_services_that_are_there_and_plain_addresses_are_fine(to):
    assert "RULES_FOR_REMOVED_SERVICE" not in codes(shop().diagnosed("pod:default/client-1", to))


# -- Services of another proxy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "value"), [("service.kubernetes.io/service-proxy-name", "other-proxy"), ("service.kubernetes.io/headless", "")]
)
def test_a_service_that_kube_proxy_leaves_alone(label, value):
    made = shop()
    made.change(RULES, "-d 10.96.0.10/32", "-d 10.96.0.99/32")
    made.edit("services.json", "web", lambda item: item["metadata"].update(labels={label: value}))
    traced = made.diagnosed("pod:default/client-1", IP)
    found = the(traced, "SERVICE_OF_ANOTHER_PROXY")
    assert f"has the label “{label}: {value}”: kube-proxy leaves it alone" in found.text
    assert found.severity == "fault", "it is why the packet did not arrive"
    assert without_advice(found)
    assert not accused(traced)


def test_another_label_changes_nothing():
    made = shop()
    made.change(RULES, "-d 10.96.0.10/32", "-d 10.96.0.99/32")
    made.edit("services.json", "web", lambda item: item["metadata"].update(labels={"app": "web"}))
    assert "NO_RULE_FOR_VIP" in codes(made.diagnosed("pod:default/client-1", IP))


def test_another_proxy_that_serves_it_is_fine():
    made = shop()
    made.edit("services.json", "web", lambda item: item["metadata"].update(labels={"service.kubernetes.io/service-proxy-name": "x"}))
    assert codes(made.diagnosed("pod:default/client-1", IP)) == set()


@pytest.mark.parametrize("label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"])
def test_a_refusal_is_not_put_down_to_kube_proxy_either(label):
    made = unlisted(shop(), endpoints=endpoints(shop().pods[:2], ready=True))
    made.edit("services.json", "web", lambda item: item["metadata"].update(labels={label: "x"}))
    traced = made.diagnosed("pod:default/client-1", IP)
    assert not accused(traced)
    assert "Nobody on this way did" in the(traced, "SERVICE_OF_ANOTHER_PROXY").text


def test_what_is_not_known_is_nobodys_doing():
    made = shop()
    made.edit("services.json", "web", lambda item: item["metadata"].update(labels={"service.kubernetes.io/service-proxy-name": "x"}))
    made.removed.add(RULES)
    traced = made.diagnosed("pod:default/client-1", IP)
    assert {o.disposition for o in traced.outcomes} == {Disposition.UNKNOWN}
    assert "What becomes of the packet is not known" in the(traced, "SERVICE_OF_ANOTHER_PROXY").text


def test_advice_is_about_the_proxy_that_the_node_has():
    made = shop()
    made.change(RULES, "KUBE-S", "GONE-S")
    made.change(RULES, "-d 10.96.0.10/32", "-d 10.96.0.99/32")
    assert "kube-proxy's log" in the(made.diagnosed("pod:default/client-1", IP), "NO_RULE_FOR_VIP").fix
    made.node(1).rules += [("filter", ":KUBE-ROUTER-SERVICES"), ("filter", "-A KUBE-ROUTER-SERVICES -j ACCEPT")]
    assert "Look at kube-router's log" in the(made.diagnosed("pod:default/client-1", IP), "NO_RULE_FOR_VIP").fix


# -- the same in every mode -----------------------------------------------------------------------------------------------------------


@pytest.mark.needs_shared
@pytest.mark.parametrize("recording", ["shop-iptables", "shop-nftables", "shop-ipvs", "shop-iptables-v1.20", "shop-userspace-v1.20"])
@pytest.mark.parametrize("name", ["typo", "api"])
def test_rules_of_a_removed_service_are_said_in_every_mode(shared, recording, name):
    """One that sends to endpoints, and one that only refuses."""
    folder = shared / "recordings" / recording
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    listed = json.loads(files["services.json"])
    gone = next((i for i in listed["items"] if (i["metadata"]["namespace"], i["metadata"]["name"]) == ("default", name)), None)
    if gone is None:
        pytest.skip(f"{recording} has no Service default/{name}")
    pods = json.loads(files["pods.json"])["items"]
    client = next(p["metadata"] for p in pods if p["metadata"]["name"].startswith("client"))
    question = {
        "source": parse_source(f"pod:{client['namespace']}/{client['name']}"),
        "destination": parse_destination(f"{gone['spec']['clusterIP']}:{gone['spec']['ports'][0]['port']}"),
    }
    for items, said in ((listed["items"], False), ([i for i in listed["items"] if i is not gone], True)):
        cluster = Cluster.from_snapshot(Snapshot.from_files(files | {"services.json": json.dumps(listed | {"items": items}).encode()}))
        found = diagnose(cluster, trace(cluster, Query(**question)))
        assert {("RULES_FOR_REMOVED_SERVICE" in {f.code for f in o.findings}) for o in found.outcomes} == {said}
