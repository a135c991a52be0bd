"""Whose a rule is: the one table of programs that write rules, told by the names of their tables and chains, and by their comments.

Findings ask it before they accuse anybody: what is not a service proxy's is no stale rule of one, and its restart does not take it away.
Strategy: a table that is all a program's comes first, then the chain, then what a rule of a base chain says or where it leads. What no row
claims is somebody's own. Source: each program's own names (kube-proxy pkg/proxy, kubelet_network_linux.go, the plugins portmap, bridge and
firewall of containernetworking/plugins, Felix rules/rule_defs.go, Cilium pkg/datapath/iptables, flannel pkg/trafficmngr, weave npc,
kube-router pkg/controllers, Antrea pkg/agent/route, OVN-Kubernetes go-controller, ufw, firewalld, moby libnetwork, fail2ban, istio
tools/istio-iptables).
"""

from __future__ import annotations

import re
from functools import lru_cache

from tracer.netfilter.rule_comments import spoken_in
from tracer.patterns import pattern
from tracer.values import dataclass

_LEADS = pattern(r"(?: -[jg] |\b(?:jump|goto) )(?P<chain>[^\s;}]+)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One program. *name* is how a sentence says it, *undo* what takes away a rule of its.

    *tables* (nft's, and those that steps have for what is no rule) and *chains* are names with blanks between them, one that ends in ``*``
    stands for its beginning, one that begins so for its end; *says* are beginnings of comments. *is_proxy*: what it writes there stands
    for Services; *log* is where such a one says what went wrong.
    """

    name: str
    undo: str
    tables: str = ""
    chains: str = ""
    says: tuple[str, ...] = ()
    is_proxy: bool = False
    log: str = ""

    @property
    def of(self) -> str:
        """Return whose, as it stands behind "a rule"."""
        return f"of {self.name}" if self.name else "of no program that Hopline knows"


KUBE_PROXY = Owner(
    name="kube-proxy",
    undo="kube-proxy rewrites its rules when it starts.",
    tables="kube-proxy ipvs hns",
    chains="KUBE-*",
    says=("kubernetes service", "kubernetes postrouting", "kubernetes forwarding", "kubernetes load balancer", "kubernetes externally"),
    is_proxy=True,
    log="kube-proxy's log",
)
KUBE_ROUTER = Owner(
    name="kube-router",
    undo="kube-router makes it from NetworkPolicy objects and Services: change those.",
    tables="kube-router*",
    chains="KUBE-ROUTER-* KUBE-POD-FW-* KUBE-NWPLCY-*",
    says=("rule to jump traffic destined to POD", "rule to jump traffic from POD", "kube-router"),
    is_proxy=True,
    log="kube-router's log",
)
CILIUM_MAPS = Owner(
    name="Cilium",
    undo="Cilium's agent keeps its maps as the objects are.",
    tables="cilium",
    is_proxy=True,
    log="the log of Cilium's agent",
)
ANOTHER = Owner(name="", undo="Find out who wrote it, and delete it if nobody needs it.")
"""Of whom no row tells: another program, or somebody by hand."""

OWNERS = (
    KUBE_ROUTER,
    CILIUM_MAPS,
    Owner(
        name="a pod's hostPort (CNI plugin portmap)",
        undo="Take the hostPort from the pod, or give the Service another port: the rule goes with its pod.",
        tables="cni_hostport",
        chains="CNI-HOSTPORT-* CNI-DN-* CNI-SN-* KUBE-HOSTPORTS KUBE-HP-* CRIO-HOSTPORTS-* CRIO-MASQ-*",
        says=("dnat name: ", "CNI portfwd", "kube hostport"),
    ),
    Owner(
        name="the kubelet",
        undo="The kubelet writes it anew when it starts.",
        chains="KUBE-FIREWALL KUBE-MARK-DROP KUBE-KUBELET-CANARY KUBE-IPTABLES-HINT",
        says=("block incoming localnet connections", "kubernetes firewall"),
    ),
    Owner(
        name="kindnet",
        undo="kindnet writes it from its own settings and from NetworkPolicy objects: change those.",
        tables="kindnet* kube-network-policies",
        chains="KIND-MASQ-AGENT",
        says=("kind-masq-agent",),
    ),
    Owner(
        name="ip-masq-agent",
        undo="ip-masq-agent writes it from its ConfigMap: change that.",
        chains="IP-MASQ IP-MASQ-AGENT",
        says=("ip-masq-agent",),
    ),
    KUBE_PROXY,
    Owner(
        name="a CNI plugin (bridge, firewall)",
        undo="The plugin writes it when a pod starts: change the network's configuration in /etc/cni/net.d.",
        tables="cni_plugins_masquerade",
        chains="CNI-*",
        says=("name: ", "CNI firewall plugin"),
    ),
    Owner(
        name="Calico",
        undo="Calico makes it from its policies, NetworkPolicy objects and FelixConfiguration: change those.",
        tables="calico",
        chains="cali-* felix-*",
        says=("cali:",),
    ),
    Owner(
        name="Cilium",
        undo="Cilium's agent writes it from its settings and policies: change those.",
        tables="cilium*",
        chains="CILIUM_* OLD_CILIUM_*",
        says=("cilium", "cilium-"),
    ),
    Owner(
        name="flannel",
        undo="flannel writes it when it starts: change its settings.",
        tables="flannel-ipv4 flannel-ipv6",
        chains="FLANNEL-*",
        says=("flanneld",),
    ),
    Owner(
        name="Weave Net",
        undo="Weave Net makes it from NetworkPolicy objects and its settings: change those.",
        chains="WEAVE WEAVE-*",
        says=("NOTE: this must go before",),
    ),
    Owner(
        name="Antrea",
        undo="Antrea's agent writes it from its settings and policies: change those.",
        tables="antrea*",
        chains="ANTREA-*",
        says=("Antrea: ",),
    ),
    Owner(
        name="OVN-Kubernetes",
        undo="OVN-Kubernetes writes it from Services and its settings: change those.",
        tables="ovn-kubernetes",
        chains="OVN-KUBE-*",
    ),
    Owner(
        name="the AWS VPC CNI",
        undo="aws-node writes it when it starts: change its settings.",
        chains="AWS-SNAT-CHAIN-* AWS-CONNMARK-CHAIN-*",
        says=("AWS, ", "AWS SNAT"),
    ),
    Owner(
        name="NodeLocal DNSCache",
        undo="node-cache writes it when it starts: change its settings.",
        says=("NodeLocal DNS Cache",),
    ),
    Owner(
        name="Docker",
        undo="Docker writes it for published ports and its networks: change the containers, or rules of yours in DOCKER-USER.",
        tables="docker-bridges docker*",
        chains="DOCKER DOCKER-*",
    ),
    Owner(
        name="firewalld", undo="Open it with firewall-cmd.", tables="firewalld", chains="IN_* FWD_* FWDI_* FWDO_* FWI_* *_ZONES *_direct"
    ),
    Owner(name="ufw", undo="Open it with ufw.", chains="ufw-* ufw6-*", says=("ufw ", "'dapp_")),
    Owner(name="fail2ban", undo="Lift it with fail2ban-client unban.", tables="f2b-table", chains="f2b-*"),
    Owner(
        name="Istio",
        undo="Istio's init container or CNI plugin writes it: change its annotations.",
        tables="istio-*",
        chains="ISTIO_*",
    ),
    Owner(
        name="Linkerd",
        undo="Linkerd's init container or CNI plugin writes it: change its annotations.",
        chains="PROXY_INIT_*",
        says=("proxy-init/",),
    ),
    Owner(name="libvirt", undo="libvirt writes it for its networks.", tables="libvirt_network", chains="LIBVIRT_*"),
    Owner(name="systemd", undo="systemd-networkd or nspawn writes it: change IPMasquerade or Port in its files.", tables="io.systemd.nat"),
    Owner(name="Podman", undo="Podman writes it for published ports and its networks.", tables="netavark", chains="NETAVARK-* NETAVARK_*"),
    Owner(
        name="LXD or Incus", undo="LXD or Incus writes it for its networks and proxies.", tables="lxd incus", says=("generated for LXD",)
    ),
    Owner(name="Tailscale", undo="tailscaled writes it when it starts.", chains="ts-*"),
    Owner(name="NetworkManager", undo="NetworkManager writes it for shared connections.", tables="nm-*", chains="nm-*"),
    Owner(name="Rancher", undo="Rancher's agent writes it.", chains="CATTLE_*"),
)
"""All rows; of two that fit, the first."""


@lru_cache(maxsize=4096)
def owner_of(table: str, chain: str, rule: str | None) -> Owner:
    """Return whose the rule *rule* of *chain* is (None: its policy); ``ANOTHER`` where nothing tells.

    *table* is iptables' or nft's own name of it. NB: in a chain that the kernel calls, everybody may put rules: there the rule's words
    and the chain that it leads to tell.
    """
    named = next((o for o in OWNERS if _is_one(table, o.tables)), None) or next((o for o in OWNERS if _is_one(chain, o.chains)), None)
    if named is not None or rule is None:
        return named or ANOTHER
    said = spoken_in(rule, hashes=True)
    return next((o for o in OWNERS if said and said.startswith(o.says)), None) or _led_to(rule)


def _led_to(rule: str) -> Owner:
    found = _LEADS.search(rule)
    return next((o for o in OWNERS if found and _is_one(found["chain"], o.chains)), ANOTHER)


def _is_one(word: str, words: str) -> bool:
    return any(_fits(word, one) for one in words.split())


def _fits(word: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return word.startswith(pattern[:-1])
    return word.endswith(pattern[1:]) if pattern.startswith("*") else word == pattern
