"""How a node is known to have a data path that is no rule set: the one place that recognises the rows of ``frontends.kinds``.

eBPF is recognised from its agent's pod on the node and from the absence of any Service rule where rules were recorded, or from what its
own tools left. A node whose rules were not recorded is no proof of absence.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracer.errors import ParseError
from tracer.frontends.kinds import CALICO, CILIUM, HNS, IN_KERNEL_MAPS, RULES, DataPathKind
from tracer.frontends.model import FrontendTable
from tracer.kube.pod import Pod
from tracer.packet import Family
from tracer.snapshot.node_files import FILES_OF_MODE, IPTABLES, LEGACY_IPTABLES, NFT_TEXT, names
from tracer.snapshot.proxy_mode import proxy_mode
from tracer.topology.cluster import Cluster
from tracer.topology.stack import PROXY_TABLE, NodeStack
from tracer.trace import Unknown

_RULE_FILES = names((IPTABLES, NFT_TEXT, LEGACY_IPTABLES))
RULES_OF_MODE = {mode: names(files) for mode, files in FILES_OF_MODE.items()}
"""The files that hold the Service rules of a mode of kube-proxy's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPath:
    """A node's data path. *evidence* says how it is known, *table* what was listed of one that is no rule set."""

    kind: DataPathKind
    evidence: str = ""
    table: FrontendTable | None = None


BY_RULES = DataPath(kind=RULES)


def data_path(cluster: Cluster, stack: NodeStack) -> DataPath:
    """Return the data path of a node: its rules, unless something says that it has another."""
    return _on_windows(cluster, stack) or _in_kernel_maps(cluster, stack) or BY_RULES


def _on_windows(cluster: Cluster, stack: NodeStack) -> DataPath | None:
    listed = cluster.node(stack.name)
    if stack.mode == HNS.mode:
        return _listed(cluster, stack, HNS, f"kube-proxy-mode.txt says {HNS.mode}")
    if listed is not None and listed.operating_system == "windows":
        return _listed(cluster, stack, HNS, f"node {stack.name} runs Windows")
    return None


def _in_kernel_maps(cluster: Cluster, stack: NodeStack) -> DataPath | None:
    snapshot, node = cluster.snapshot, stack.name
    text = snapshot.node_file(node, CILIUM.files[0])
    agent, own = _agent(cluster, node), _own_chains(stack)
    if text is None and agent is None and own is None:
        return None
    if has_service_rules(stack) or (text is None and (not _rules_recorded(cluster, node) or unrecorded_rules(cluster, stack))):
        return None
    if text is not None:
        file = snapshot.path_of(node, CILIUM.files[0])
        return _listed(cluster, stack, CILIUM, f"{file} lists its services, and no rule is for one")
    return _by_agent(cluster, node, agent) if agent is not None else own


def _listed(cluster: Cluster, stack: NodeStack, kind: DataPathKind, why: str) -> DataPath:
    """The data path with what its own files list."""
    snapshot, node = cluster.snapshot, stack.name
    texts = {snapshot.path_of(node, name): snapshot.node_file(node, name) for name in kind.files}
    # An empty file says nothing beside others; alone it is a list that cannot be read.
    held = {path: text for path, text in texts.items() if text or (text is not None and len(texts) == 1)}
    return DataPath(kind=kind, evidence=why, table=_read(kind, held) if held else None)


def _read(kind: DataPathKind, texts: dict[str, str]) -> FrontendTable | None:
    file = next(iter(texts))
    try:
        return kind.read(texts) if kind.read is not None else None
    except ParseError as error:
        first = error.faults[0]
        where = f"{first.file or file}{f':{first.line}' if first.line else ''}"
        return FrontendTable(file=file, frontends=(), incomplete=f"{where} cannot be read ({first.message})")


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


def _own_chains(stack: NodeStack) -> DataPath | None:
    """The data path of the network plugin that made chains in the node's iptables rules."""
    for dump in stack.dumps(Family.IP):
        if "filter" in dump.tables and CILIUM.chain in dump.tables["filter"].chains:
            return DataPath(kind=CILIUM, evidence=f"{dump.file} holds Cilium's chain {CILIUM.chain}, and no rule of a Service")
    return None


def _by_agent(cluster: Cluster, node: str, agent: Pod) -> DataPath:
    for file in _RULE_FILES:
        if CALICO.says in (cluster.snapshot.node_file(node, file) or ""):
            why = f"{cluster.snapshot.path_of(node, file)} has a rule for packets that BPF programs approved"
            return DataPath(kind=CALICO, evidence=why)
    kind = next(kind for kind in IN_KERNEL_MAPS if kind.is_agent(agent.labels))
    return DataPath(kind=kind, evidence=f"pod {agent.namespace}/{agent.name} runs on node {node}, whose rules hold no Service")


def _agent(cluster: Cluster, node: str) -> Pod | None:
    pods = (p for p in cluster.host_network_pods(node) if any(kind.is_agent(p.labels) for kind in IN_KERNEL_MAPS))
    return next(pods, None)


def _rules_recorded(cluster: Cluster, node: str) -> bool:
    return any(cluster.snapshot.has_node_file(node, name) for name in _RULE_FILES)


def has_service_rules(stack: NodeStack) -> bool:
    """Return whether the node holds rules or virtual servers that kube-proxy made for Services."""
    if stack.virtual_servers is not None and stack.virtual_servers.servers:
        return True
    if stack.nft is not None and any(t.name == PROXY_TABLE and t.chains for t in stack.nft.ruleset.tables):
        return True
    prefixes = ("KUBE-SVC-", "KUBE-PORTALS-", "KUBE-SERVICES")
    return any(dump.count("nat", prefix) for family in Family for dump in stack.dumps(family) for prefix in prefixes)
