"""Who the pod sees, whether it may, and whether its answer comes home: source rewriting, hairpin, policies, replies, VXLAN."""

from __future__ import annotations

import pytest

from tests.made_findings import CLIENT, all_of, codes, published, shop, the
from tracer.trace import Disposition

IP = "10.96.0.10:80"
RULES = "nodes/n1/iptables-save.txt"


# -- CLIENT_IP_LOST -------------------------------------------------------------------------------------------------------------------


def test_a_client_outside_is_lost_to_the_cluster_policy():
    traced = published(pods=(2,)).diagnosed(CLIENT, "192.168.0.11:30080")
    found = the(traced, "CLIENT_IP_LOST")
    assert found.severity == "warning"
    for said in ("Pod default/web-1 sees 192.168.0.11 (node n1)", "not the client 203.0.113.10", f"node n1 rewrites it at {RULES}:"):
        assert said in found.text
    assert "Service default/web has externalTrafficPolicy Cluster" in found.text
    assert "externalTrafficPolicy: Local" in found.fix
    step = traced.outcomes[0].hops[found.hop].steps[found.step]
    assert step.verdict == "masquerade"
    assert "source" in step.rewrote
    assert any("KUBE-MARK-MASQ" in line for line in found.evidence[1:])


def test_the_local_policy_keeps_it():
    assert "CLIENT_IP_LOST" not in codes(published(local=True).diagnosed(CLIENT, "198.51.100.10:80"))


def test_a_pods_own_traffic_keeps_its_address():
    assert "CLIENT_IP_LOST" not in codes(shop().diagnosed("pod:default/client-1", IP))


def test_a_node_is_still_seen_as_that_node():
    traced = shop().diagnosed("node:n1", IP)
    assert {str(o.source_seen[0]) for o in traced.outcomes} != {"192.168.0.11"}
    assert "CLIENT_IP_LOST" not in codes(traced)


def test_a_hairpin_is_a_notice():
    found = the(shop().diagnosed("pod:default/web-1", IP), "CLIENT_IP_LOST")
    assert found.severity == "notice"
    assert "chose the very pod that called (hairpin)" in found.text


def test_the_pod_networks_masquerade():
    made = shop()
    made.node(1).rules.append(("nat", "-A POSTROUTING -s 10.1.1.0/24 ! -d 10.1.1.0/24 -j MASQUERADE"))
    found = the(made.diagnosed("pod:default/client-1", IP), "CLIENT_IP_LOST")
    assert found.severity == "notice"
    assert "by a rule that is not about the Service" in found.text


def test_a_source_outside_the_pod_range():
    made = shop()
    made.change(RULES, "! -s 10.1.0.0/16", "! -s 10.2.0.0/16")
    found = all_of(made.diagnosed("pod:default/client-1", IP), "CLIENT_IP_LOST")
    assert found
    assert "the source is outside the range that the rule takes for pods (10.2.0.0/16)" in found[0].text
    assert "clusterCIDR" in found[0].fix


# -- hairpin --------------------------------------------------------------------------------------------------------------------------


def test_a_bridge_without_hairpin_mode():
    found = the(shop(cni="bridge", hairpin=False).diagnosed("pod:default/web-1", IP), "HAIRPIN_OFF")
    for said in (
        "Pod default/web-1 cannot reach itself through Service default/web",
        "1/2 of its connections",
        f"Rule {RULES}:",
        "node n1",
    ):
        assert said in found.text


def test_a_hairpin_that_nobody_masquerades():
    made = shop(cni="bridge", hairpin=True)
    made.change(RULES, "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000", "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x0/0x0")
    traced = made.diagnosed("pod:default/web-1", IP)
    found = the(traced, "HAIRPIN_WITHOUT_MASQ")
    for said in ("1/2 of its connections", "10.1.1.2 port 8080, the pod's own address", "no rule masquerades it"):
        assert said in found.text


def test_a_hairpin_that_works():
    traced = shop(cni="bridge", hairpin=True).diagnosed("pod:default/web-1", IP)
    assert not {c for c in codes(traced) if c.startswith("HAIRPIN")}
    assert not {c for c in codes(shop(cni="bridge", hairpin=False).diagnosed("pod:default/client-1", IP)) if c.startswith("HAIRPIN")}


# -- POLICY_NOT_SEEN_IN_RULES ---------------------------------------------------------------------------------------------------------


def policed(**spec):
    made = shop()
    made.added["networkpolicies.json"] = [
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"namespace": "default", "name": "rule"}, "spec": spec}
    ]
    return made


WEB = {"matchLabels": {"app": "web"}}
CLIENTS = {"matchLabels": {"app": "client"}}


def test_ingress_that_is_denied():
    traced = policed(podSelector=WEB, ingress=[{"from": [{"podSelector": WEB}]}]).diagnosed("pod:default/client-1", IP)
    assert {o.disposition for o in traced.outcomes} == {Disposition.DELIVERED}
    found = all_of(traced, "POLICY_NOT_SEEN_IN_RULES")
    assert len(found) == 2
    assert "NetworkPolicy default/rule would not let this connection enter pod default/web-1 from pod default/client-1" in found[0].text
    assert found[0].severity == "warning"


def test_egress_that_is_denied():
    found = all_of(policed(podSelector=CLIENTS, policyTypes=["Egress"]).diagnosed("pod:default/client-1", IP), "POLICY_NOT_SEEN_IN_RULES")
    assert found
    assert "would not let this connection leave pod default/client-1" in found[0].text


@pytest.mark.parametrize(("block", "said"), [("198.51.100.0/24", False), ("192.0.2.0/24", True)])
def test_egress_out_of_the_cluster_is_judged_too(block, said):
    made = policed(podSelector=CLIENTS, policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": block}}]}])
    traced = made.diagnosed("pod:default/client-1", "198.51.100.7:443")
    assert {o.disposition for o in traced.outcomes} == {Disposition.LEAVES}
    found = all_of(traced, "POLICY_NOT_SEEN_IN_RULES")
    assert bool(found) is said
    assert all(
        "leave pod default/client-1, to 198.51.100.7 port 443" in f.text and "is shown to leave the cluster" in f.text for f in found
    )


def test_both_directions_are_two_findings():
    traced = policed(podSelector={}, policyTypes=["Ingress", "Egress"]).diagnosed("pod:default/client-1", "10.1.2.2:8080")
    assert len(all_of(traced, "POLICY_NOT_SEEN_IN_RULES")) == 2


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        ({"podSelector": WEB, "ingress": [{"from": [{"podSelector": CLIENTS}], "ports": [{"port": 8080}]}]}, "pod:default/client-1"),
        ({"podSelector": CLIENTS, "ingress": []}, "pod:default/client-1"),
        ({"podSelector": CLIENTS, "policyTypes": ["Egress"]}, "node:n1"),
    ],
)
def test_a_flow_that_is_allowed(spec, source):
    assert "POLICY_NOT_SEEN_IN_RULES" not in codes(policed(**spec).diagnosed(source, IP))


def test_policies_that_are_not_in_the_snapshot_are_said():
    made = shop()
    made.removed.add("networkpolicies.json")
    traced = made.diagnosed("pod:default/client-1", IP)
    assert "networkpolicies.json" in the(traced, "DATA_MISSING").text
    assert sum(f.code == "DATA_MISSING" for o in traced.outcomes for f in o.findings) == 1


# -- REPLY_BYPASSES_NAT ---------------------------------------------------------------------------------------------------------------


def asymmetric():
    """A client outside dials n1's node port without masquerade: the pod on n2 answers past n1."""
    made = published(pods=(2,))
    made.change(RULES, "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000", "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x0/0x0")
    return made


def test_an_answer_past_the_node_that_rewrote_the_request():
    found = the(asymmetric().diagnosed(CLIENT, "192.168.0.11:30080"), "REPLY_BYPASSES_NAT")
    assert found.reply
    assert found.severity == "fault"
    for said in ("Service default/web", f"Node n1, which rewrote the request at {RULES}:"):
        assert said in found.text


def test_a_masqueraded_answer_comes_home():
    assert "REPLY_BYPASSES_NAT" not in codes(published(pods=(2,)).diagnosed(CLIENT, "192.168.0.11:30080"))


# -- VXLAN_CHECKSUM -------------------------------------------------------------------------------------------------------------------


def overlay(kernel, *, clears_mark=False):
    """Two nodes that reach each other's pods by a VXLAN device."""
    made = shop()
    made.change("nodes/n1/ip-route.json", '"gateway": "192.168.0.12", "dev": "eth0"', '"gateway": "192.168.0.12", "dev": "flannel.1"')
    link = (
        '[{"ifindex": 99, "ifname": "flannel.1", "flags": ["UP", "LOWER_UP"], "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 1}}}, '
    )
    made.change("nodes/n1/ip-link.json", '[{"ifindex": 1,', link + '{"ifindex": 1,')
    addresses = (
        '[{"ifindex": 99, "ifname": "flannel.1", "flags": ["UP", "LOWER_UP"], "addr_info": '
        '[{"family": "inet", "local": "10.1.1.0", "prefixlen": 32, "scope": "global"}]}, '
    )
    made.change("nodes/n1/ip-addr.json", '[{"ifindex": 1,', addresses + '{"ifindex": 1,')
    if not clears_mark:
        made.change(RULES, "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0\n", "")
    if kernel:
        made.edit("nodes.json", "n1", lambda item: item["status"].update(nodeInfo={"kernelVersion": kernel}))
    return made


def test_an_old_kernel_and_a_mark_that_stays():
    found = the(overlay("5.4.0-42-generic").diagnosed("node:n1", IP), "VXLAN_CHECKSUM")
    for said in ("Node n1", f"at {RULES}:", "flannel.1", "0x4000", "5.4.0-42-generic", "Service default/web"):
        assert said in found.text
    assert found.severity == "warning"


def test_a_kernel_that_is_not_recorded_is_said():
    found = the(overlay(None).diagnosed("node:n1", IP), "VXLAN_CHECKSUM")
    assert "the kernel of node n1 is not in the snapshot" in found.text
    assert found.severity == "notice"


@pytest.mark.parametrize(
    ("made", "source"),
    [
        (overlay("5.15.0-91-generic"), "node:n1"),
        (overlay("5.4.0", clears_mark=True), "node:n1"),
        (overlay("5.4.0"), "pod:default/client-1"),
        (shop(), "node:n1"),
    ],
)
def test_no_checksum_fault_there(made, source):
    assert "VXLAN_CHECKSUM" not in codes(made.diagnosed(source, IP))


# -- policies of other kinds ----------------------------------------------------------------------------------------------------------

ADMIN = ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", {"name": "allow-all"})
CALICO = ("crd.projectcalico.org/v1", "NetworkPolicy", {"namespace": "default", "name": "default.deny"})
CILIUM = ("cilium.io/v2", "CiliumNetworkPolicy", {"namespace": "default", "name": "l7"})


def with_policies(made, *policies, deny=False):
    made.added["policies.json"] = [{"apiVersion": v, "kind": k, "metadata": m, "spec": {}} for v, k, m in policies]
    if deny:
        denying = {"metadata": {"namespace": "default", "name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
        made.added["networkpolicies.json"] = [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"} | denying]
    return made


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (ADMIN, "ClusterNetworkPolicy allow-all (asked before every NetworkPolicy"),
        (CALICO, "NetworkPolicy (crd.projectcalico.org) default/default.deny"),
        (CILIUM, "CiliumNetworkPolicy default/l7"),
    ],
)
def test_a_policy_of_another_kind_is_named(policy, said):
    alone = with_policies(shop(), policy).diagnosed("pod:default/client-1", "10.1.2.2:8080")
    assert said in the(alone, "POLICY_KIND_NOT_EVALUATED").text
    assert "POLICY_NOT_SEEN_IN_RULES" not in codes(alone)
    beside = with_policies(shop(), policy, deny=True).diagnosed("pod:default/client-1", "10.1.2.2:8080")
    found = the(beside, "POLICY_NOT_SEEN_IN_RULES")
    assert said in found.text
    assert found.severity == "notice"


def test_kinds_that_were_not_collected_are_named_beside_a_network_policy():
    found = the(with_policies(shop(), deny=True).diagnosed("pod:default/client-1", "10.1.2.2:8080"), "POLICY_NOT_SEEN_IN_RULES")
    assert "Whether policies of other kinds (AdminNetworkPolicy, BaselineAdminNetworkPolicy, ClusterNetworkPolicy" in found.text
    assert found.severity == "warning"


def test_policies_that_calico_made_rules_of_are_followed():
    made = with_policies(shop(), CALICO)
    made.node(1).rules += [("filter", ":cali-tw-cali0a1b2c3"), ("filter", "-A cali-tw-cali0a1b2c3 -j ACCEPT")]
    assert "POLICY_KIND_NOT_EVALUATED" not in codes(made.diagnosed("pod:default/client-1", "10.1.2.2:8080"))


def test_a_cluster_without_such_policies_is_fine():
    assert codes(with_policies(shop()).diagnosed("pod:default/client-1", "10.1.2.2:8080")) == set()
