"""Data paths that are no rule set: eBPF programs that replace kube-proxy, and Windows' HNS; how a node is known to have one.

eBPF is recognised from its agent's pod on the node and from the absence of any Service rule where rules were recorded, or from what its
own tools left. A node whose rules were not recorded is no proof of absence.
Source: Cilium "Kubernetes Without kube-proxy"; projectcalico/calico felix/dataplane/linux/int_dataplane.go (the rule's comment).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tracer.errors import ParseError
from tracer.frontends.cilium import FORWARD_CHAIN, parse_cilium
from tracer.frontends.hns import parse_hns
from tracer.frontends.model import FrontendTable
from tracer.kube.pod import Pod
from tracer.packet import Family
from tracer.snapshot.proxy_mode import proxy_mode
from tracer.topology.cluster import Cluster
from tracer.topology.stack import NodeStack
from tracer.trace import Unknown

_CALICO_RULE = "Pre-approved by BPF programs."
_RULE_FILES = ("iptables-save.txt", "nft-ruleset.txt", "iptables-legacy-save.txt")
RULES_OF_MODE = {
    "nftables": ("nft-ruleset.txt", "nft-ruleset.json"),
    "ipvs": ("ipvsadm-save.txt",),
    "iptables": ("iptables-save.txt", "iptables-legacy-save.txt"),
}
"""The files that hold the Service rules of a mode of kube-proxy's."""
_HNS_FILES = ("hns-policies.json", "hns-endpoints.json", "hnsdiag.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPath:
    """A data path without rules: *kind* is ``cilium``, ``calico`` or ``hns``; *evidence* says how it is known, *table* what was listed."""

    kind: str
    evidence: str
    table: FrontendTable | None = None


def data_path(cluster: Cluster, stack: NodeStack) -> DataPath | None:
    """Return the data path that a node has instead of rules, None when it has rules."""
    snapshot, node = cluster.snapshot, stack.name
    listed = cluster.node(node)
    if stack.mode == "kernelspace" or (listed is not None and listed.operating_system == "windows"):
        texts = {snapshot.path_of(node, name): snapshot.node_file(node, name) or "" for name in _HNS_FILES}
        held = {path: text for path, text in texts.items() if text}
        why = "kube-proxy-mode.txt says kernelspace" if stack.mode == "kernelspace" else f"node {node} runs Windows"
        return DataPath(kind="hns", evidence=why, table=_read("hns", next(iter(held)), lambda: parse_hns(held)) if held else None)
    text = snapshot.node_file(node, "cilium-services.json")
    agent, own = _agent(cluster, node), _own_chains(stack)
    if text is None and agent is None and own is None:
        return None
    if has_service_rules(stack) or (text is None and (not _rules_recorded(cluster, node) or unrecorded_rules(cluster, stack))):
        return None
    if text is not None:
        file = snapshot.path_of(node, "cilium-services.json")
        return DataPath(
            kind="cilium",
            evidence=f"{file} lists its services, and no rule is for one",
            table=_read("cilium", file, lambda: parse_cilium(text, file)),
        )
    if agent is not None:
        return _by_agent(cluster, node, agent)
    return DataPath(kind=own[0], evidence=own[1]) if own is not None else None


def _read(kind: str, file: str, read: Callable[[], FrontendTable]) -> FrontendTable:
    """What a list says; of one that cannot be read, only that."""
    try:
        return read()
    except ParseError as error:
        first = error.faults[0]
        where = f"{first.file or file}{f':{first.line}' if first.line else ''}"
        return FrontendTable(kind=kind, file=file, frontends=(), incomplete=f"{where} cannot be read ({first.message})")


def unrecorded_rules(cluster: Cluster, stack: NodeStack) -> Unknown | None:
    """Return which file hides the Service rules of a node, None when there is none.

    kube-proxy's ConfigMap says a mode, the file that would hold its rules is missing, and no other of the node's has a rule for a Service.
    """
    if stack.mode is not None or has_service_rules(stack):
        return None
    said, node = proxy_mode(cluster.snapshot, stack.name), stack.name
    files = RULES_OF_MODE.get(said.mode, ()) if said is not None else ()
    if said is None or not files or any(cluster.snapshot.has_node_file(node, name) for name in files):
        return None
    file = cluster.snapshot.path_of(node, files[0])
    text = f"{said.source} says {said.mode}, and the rules of that mode were not recorded on node {node}: {file} is missing"
    return Unknown(code="NO_RULES", text=text, at={"node": node, "file": file})


def _own_chains(stack: NodeStack) -> tuple[str, str] | None:
    """The network plugin that made chains in the node's iptables rules, and what says so."""
    for dump in stack.dumps(Family.IP):
        if "filter" in dump.tables and FORWARD_CHAIN in dump.tables["filter"].chains:
            return "cilium", f"{dump.file} holds Cilium's chain {FORWARD_CHAIN}, and no rule of a Service"
    return None


def _by_agent(cluster: Cluster, node: str, agent: Pod) -> DataPath:
    name = f"pod {agent.namespace}/{agent.name}"
    for file in _RULE_FILES:
        if _CALICO_RULE in (cluster.snapshot.node_file(node, file) or ""):
            why = f"{cluster.snapshot.path_of(node, file)} has a rule for packets that BPF programs approved"
            return DataPath(kind="calico", evidence=why)
    kind = "cilium" if _is_cilium(agent) else "calico"
    return DataPath(kind=kind, evidence=f"{name} runs on node {node}, whose rules hold no Service")


def _is_cilium(pod: Pod) -> bool:
    return pod.labels.get("k8s-app") == "cilium" or pod.labels.get("app.kubernetes.io/name") == "cilium-agent"


def _agent(cluster: Cluster, node: str) -> Pod | None:
    pods = (p for p in cluster.host_network_pods(node) if _is_cilium(p) or p.labels.get("k8s-app") == "calico-node")
    return next(pods, None)


def _rules_recorded(cluster: Cluster, node: str) -> bool:
    return any(cluster.snapshot.has_node_file(node, name) for name in _RULE_FILES)


def has_service_rules(stack: NodeStack) -> bool:
    """Return whether the node holds rules or virtual servers that kube-proxy made for Services."""
    if stack.virtual_servers is not None and stack.virtual_servers.servers:
        return True
    if stack.nft is not None and any(t.name == "kube-proxy" and t.chains for t in stack.nft.ruleset.tables):
        return True
    prefixes = ("KUBE-SVC-", "KUBE-PORTALS-", "KUBE-SERVICES")
    return any(dump.count("nat", prefix) for family in Family for dump in stack.dumps(family) for prefix in prefixes)
