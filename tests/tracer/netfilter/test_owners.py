"""Whose a rule is: names and comments as the programs write them."""

from __future__ import annotations

import pytest

from tracer.netfilter.owners import ANOTHER, OWNERS, owner_of
from tracer.netfilter.rule_comments import spoken, spoken_in

HASH = '-m comment --comment "cali:nSZbcOoG1xPONxb8"'

OF_WHOM = [
    ("nat", "KUBE-SERVICES", None, "kube-proxy"),
    ("nat", "KUBE-SEP-LYOGWTXD3FSSWSCA", "-A KUBE-SEP-LYOGWTXD3FSSWSCA -j DNAT --to-destination 10.244.2.2:8080", "kube-proxy"),
    ("filter", "KUBE-PROXY-FIREWALL", None, "kube-proxy"),
    ("nat", "KUBE-PORTALS-HOST", None, "kube-proxy"),
    ("kube-proxy", "services", "ip daddr . tcp dport vmap @service-ips", "kube-proxy"),
    ("ipvs", "", "-a -t 10.96.0.1:443 -r 10.0.0.1:6443 -m -w 1", "kube-proxy"),
    ("cilium", "", "10.96.0.1:443", "Cilium"),
    ("filter", "KUBE-ROUTER-FORWARD", None, "kube-router"),
    ("filter", "KUBE-POD-FW-ABCDEF", None, "kube-router"),
    ("filter", "KUBE-FIREWALL", None, "the kubelet"),
    ("nat", "KUBE-MARK-DROP", "-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000", "the kubelet"),
    ("nat", "CNI-DN-81077802a72ed5ac760e9", None, "a pod's hostPort (CNI plugin portmap)"),
    ("nat", "CNI-HOSTPORT-DNAT", None, "a pod's hostPort (CNI plugin portmap)"),
    ("nat", "KUBE-HP-3F2A", None, "a pod's hostPort (CNI plugin portmap)"),
    ("cni_hostport", "hostports", "tcp dport 80 dnat to 10.244.1.9:8080", "a pod's hostPort (CNI plugin portmap)"),
    ("nat", "CNI-4b5d6c", None, "a CNI plugin (bridge, firewall)"),
    ("filter", "cali-FORWARD", None, "Calico"),
    ("calico", "filter-cali-FORWARD", None, "Calico"),
    ("filter", "FORWARD", f"-A FORWARD {HASH} -j cali-FORWARD", "Calico"),
    ("filter", "CILIUM_FORWARD", None, "Cilium"),
    ("filter", "FLANNEL-FWD", None, "flannel"),
    ("filter", "WEAVE-NPC-DEFAULT", None, "Weave Net"),
    ("filter", "ANTREA-FORWARD", None, "Antrea"),
    ("nat", "OVN-KUBE-NODEPORT", None, "OVN-Kubernetes"),
    ("raw", "PREROUTING", '-A PREROUTING -d 169.254.20.10/32 -m comment --comment "NodeLocal DNS Cache: skip conntrack" -j NOTRACK', "NodeLocal DNSCache"),
    ("nat", "DOCKER", "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80", "Docker"),
    ("firewalld", "filter_INPUT", "reject with icmpx admin-prohibited", "firewalld"),
    ("filter", "ufw-user-input", None, "ufw"),
    ("filter", "f2b-sshd", None, "fail2ban"),
    ("nat", "ISTIO_OUTPUT", None, "Istio"),
    ("filter", "LIBVIRT_FWI", None, "libvirt"),
    ("kindnet-network-policies", "postrouting", "queue to 100", "kindnet"),
    # chains that the kernel calls: everybody's, so the rule's own words tell
    ("nat", "PREROUTING", '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES', "kube-proxy"),
    ("nat", "PREROUTING", "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT", "a pod's hostPort (CNI plugin portmap)"),
    ("filter", "INPUT", "-A INPUT -j KUBE-FIREWALL", "the kubelet"),
    ("filter", "FORWARD", "jump DOCKER-USER", "Docker"),
    # somebody's own
    ("raw", "PREROUTING", "-A PREROUTING -d 10.96.7.7/32 -j DROP", ""),
    ("mylb", "preroute", "tcp dport 30080 dnat to 10.244.1.9:8080", ""),
    ("filter", "FORWARD", None, ""),
    ("nat", "MY-CHAIN", '-A MY-CHAIN -m comment --comment "shop/web:http" -j DNAT --to-destination 10.244.1.9:8080', ""),
    ("filter", "FORWARD", '-A FORWARD -m comment --comment "drop what kubernetes service sent" -j DROP', ""),
]  # fmt: skip


@pytest.mark.parametrize(("table", "chain", "rule", "name"), OF_WHOM)
def test_whose_a_rule_is(table, chain, rule, name):
    assert owner_of(table, chain, rule).name == name


def test_every_owner_has_a_way_out_and_something_that_tells():
    for owner in (*OWNERS, ANOTHER):
        assert owner.undo.endswith(".")
        assert owner is ANOTHER or owner.name
        assert owner is ANOTHER or owner.tables or owner.chains or owner.says
        assert bool(owner.log) is owner.is_proxy
    assert len({owner.name for owner in OWNERS if owner.name != "Cilium"}) == len(OWNERS) - 2


@pytest.mark.parametrize(
    ("comments", "said"),
    [
        (["cali:nSZbcOoG1xPONxb8", "Configured DefaultEndpointToHostAction"], "Configured DefaultEndpointToHostAction"),
        (["Configured DefaultEndpointToHostAction", "cali:nSZbcOoG1xPONxb8"], "Configured DefaultEndpointToHostAction"),
        (["cali:nSZbcOoG1xPONxb8"], ""),
        (["cali:nSZbcOoG1xPONxb8; Drop if no policies passed packet"], "Drop if no policies passed packet"),
        (["one", "two"], "one; two"),
        (["california:dreaming"], "california:dreaming"),
        ([], ""),
    ],
)
def test_of_several_comments_the_words(comments, said):
    assert spoken(comments) == said
    quoted = " ".join(f'-m comment --comment "{c}"' for c in comments)
    assert spoken_in(f"-A cali-wl-to-host {quoted} -j DROP") == said


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('meta mark & 0x00008000 == 0x00008000 drop comment "cali:x1; Drop what is marked"', "Drop what is marked"),
        ('-A F -m comment --comment "name: \\"cbr0\\"" -j DROP', 'name: "cbr0"'),
        ("-A F -m comment --comment ok -j DROP", "ok"),
        ("ip daddr 10.0.0.1 drop", ""),
    ],
)
def test_both_languages_comments(rule, said):
    assert spoken_in(rule) == said
