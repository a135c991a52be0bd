"""The data paths: what a node can have for its Services, a row each, with all that is said of it anywhere.

Rules and virtual servers are replayed packet by packet. Of what is no rule only a list is read, if a tool prints one: it is drawn, and what
is beyond it ends in a named unknown. How a node is known to have one of them is told in ``topology.data_path``.
Source: Cilium "Kubernetes Without kube-proxy"; projectcalico/calico felix/dataplane/linux/int_dataplane.go (the rule's comment);
ovn-kubernetes docs/design/topology.md, go-controller/pkg/types/const.go; antrea docs/design/architecture.md, pkg/agent/route.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

from tracer.patterns import pattern
from tracer.values import dataclass

if TYPE_CHECKING:
    from tracer.frontends.model import FrontendTable


class Replay(StrEnum):
    """How far a data path is replayed."""

    RULES = "rule by rule"
    LIST = "as far as its list tells"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPathKind:
    """One data path. *name* is what steps have for their table, *mode* what the mode of a node with it is called.

    *programs* are those that decide, and *kept* where they have what *wanted* would hold, as sentences have it. *files* list its Services,
    *read* makes a table of them. *lacks* is the code of the reason without such a list, *beyond* where its knowledge ends.
    A node is known to have it by the labels of *agents* of its own, by *chain* among its rules, or by a rule that says *says*.
    Of its own marks one is enough, whatever other rules are there: *devices* of the node (a ``*`` at the end: any that begins so), keys of
    the Node's *annotations*, *own_agents* by their labels or by what the pods' *names* begin with. Where there is no rule for a Service,
    *chains* that begin so and nft *tables* tell it, too. *of_pods*: with kube-proxy's rules beside it, it decides only what pods send to
    each other and to Services.
    """

    name: str
    replay: Replay = Replay.LIST
    mode: str = ""
    programs: str = ""
    kept: str = ""
    wanted: str = ""
    files: tuple[str, ...] = ()
    read: Callable[[Mapping[str, str]], FrontendTable] | None = None
    lacks: str = ""
    beyond: str = ""
    agents: tuple[tuple[str, str], ...] = ()
    chain: str = ""
    says: re.Pattern[str] | None = None
    devices: tuple[str, ...] = ()
    annotations: str = ""
    own_agents: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    of_pods: bool = False

    def is_agent(self, labels: Mapping[str, str]) -> bool:
        """Return whether a pod with *labels* is its agent, which may do other work as well."""
        return any(labels.get(label) == value for label, value in self.agents)

    def is_own_agent(self, name: str, labels: Mapping[str, str]) -> bool:
        """Return whether a pod of that *name* and *labels* has no other work than this data path."""
        return name.startswith(self.names or ("\0",)) or any(labels.get(label) == value for label, value in self.own_agents)

    def owns_device(self, name: str) -> bool:
        """Return whether a device of that *name* is its own."""
        return any(name.startswith(mark[:-1]) if mark.endswith("*") else name == mark for mark in self.devices)


def _cilium(texts: Mapping[str, str]) -> FrontendTable:
    from tracer.frontends.cilium import parse_cilium

    ((file, text),) = texts.items()
    return parse_cilium(text, file)


def _hns(texts: Mapping[str, str]) -> FrontendTable:
    from tracer.frontends.hns import parse_hns

    return parse_hns(texts)


RULES = DataPathKind(name="rules", replay=Replay.RULES)
CILIUM = DataPathKind(
    name="cilium",
    mode="eBPF",
    programs="Cilium's eBPF programs",
    kept="maps",
    wanted="cilium-services.json (cilium-dbg service list -o json)",
    files=("cilium-services.json",),
    read=_cilium,
    lacks="EBPF_MAPS_MISSING",
    beyond="EBPF_NOT_REPLAYED",
    agents=(("k8s-app", "cilium"), ("app.kubernetes.io/name", "cilium-agent")),
    chain="CILIUM_FORWARD",  # its agent makes it in table filter, with kube-proxy and without. Source: cilium pkg/datapath/iptables
    devices=("cilium_host", "cilium_net", "cilium_vxlan", "cilium_geneve"),
    own_agents=(("k8s-app", "cilium"), ("app.kubernetes.io/name", "cilium-agent")),
    of_pods=True,
)
CALICO = DataPathKind(
    name="calico",
    mode="eBPF",
    programs="Calico's eBPF programs",
    kept="maps",
    wanted="the maps (calico-node -bpf nat dump)",
    lacks="EBPF_MAPS_MISSING",
    beyond="EBPF_NOT_REPLAYED",
    agents=(("k8s-app", "calico-node"),),
    says=pattern(r"Pre-approved by BPF programs\."),
    devices=("bpfin.cali", "bpfout.cali", "bpfnatin", "bpfnatout"),
)
OVN = DataPathKind(
    name="ovn",
    mode="OVN",
    programs="OVN-Kubernetes' flows in Open vSwitch",
    kept="flow tables and load balancers",
    wanted="ovs-ofctl dump-flows br-int, ovn-nbctl lb-list (no listing of them is read)",
    lacks="OVS_FLOWS_MISSING",
    beyond="OVS_FLOWS_MISSING",
    devices=("ovn-k8s-mp*",),
    annotations="k8s.ovn.org/",
    own_agents=(("app", "ovnkube-node"), ("name", "ovnkube-node"), ("app", "ovnkube-single-node-zone"), ("app", "ovnkube-zone-controller")),
    names=("ovnkube-node-",),
    chains=("OVN-KUBE-",),
    tables=("ovn-kubernetes",),
)
ANTREA = DataPathKind(
    name="antrea",
    mode="AntreaProxy",
    programs="Antrea's flows in Open vSwitch (AntreaProxy)",
    kept="flow tables",
    wanted="ovs-ofctl dump-flows br-int, antctl get ovsflows (no listing of them is read)",
    lacks="OVS_FLOWS_MISSING",
    beyond="OVS_FLOWS_MISSING",
    devices=("antrea-gw*",),
    own_agents=(("component", "antrea-agent"),),
    names=("antrea-agent-",),
    chains=("ANTREA-",),
    tables=("antrea",),
    of_pods=True,
)
HNS = DataPathKind(
    name="hns",
    mode="kernelspace",
    programs="Windows' Host Networking Service",
    kept="lists",
    wanted="hns-policies.json and hns-endpoints.json",
    files=("hns-policies.json", "hns-endpoints.json", "hnsdiag.txt"),
    read=_hns,
    lacks="WINDOWS_NOT_REPLAYED",
    beyond="WINDOWS_NOT_REPLAYED",
)
KINDS = (RULES, HNS, CILIUM, CALICO, OVN, ANTREA)
IN_KERNEL_MAPS = (CILIUM, CALICO)
"""Those that replace kube-proxy on a Linux node, which is known by an agent and by the absence of rules."""
IN_SWITCHES = (OVN, ANTREA)
"""Those whose flows in Open vSwitch decide before the node's own rules are asked."""
LISTED = frozenset(kind.name for kind in KINDS if kind.read is not None)
"""The tables of steps that are entries of a list, and not lines of rules."""
