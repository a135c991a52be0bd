"""How a node is known to have a data path that is no rule set: the one place that recognises the rows of ``frontends.kinds``.

Marks of its own (a device, an agent that does nothing else, a rule that says so, a configuration) are enough, whatever else a node holds:
rules that were left behind decide nothing. eBPF is recognised, too, from its agent's pod on the node and from the absence of any Service
rule where rules were recorded. A node whose rules were not recorded is no proof of absence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from tracer.errors import ParseError
from tracer.frontends.kinds import ANTREA, CALICO, CILIUM, HNS, IN_KERNEL_MAPS, IN_SWITCHES, RULES, DataPathKind
from tracer.frontends.model import Frontends, FrontendTable
from tracer.kube.pod import Pod
from tracer.packet import Family, Packet
from tracer.snapshot.node_files import FILES_OF_MODE, IPTABLES, LEGACY_IPTABLES, NFT_TEXT, names
from tracer.snapshot.proxy_mode import proxy_mode
from tracer.topology.cluster import Cluster
from tracer.topology.programmed import has_rules
from tracer.topology.stack import PROXY_TABLE, NodeStack
from tracer.trace import Unknown
from tracer.values import dataclass

_RULE_FILES = names((IPTABLES, NFT_TEXT, LEGACY_IPTABLES))
RULES_OF_MODE = {mode: names(files) for mode, files in FILES_OF_MODE.items()}
"""The files that hold the Service rules of a mode of kube-proxy's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPath:
    """A node's data path. *evidence* says how it is known, *table* what was listed of one that is no rule set.

    *is_stale*: a question changed what the table follows from, and nobody knows what would be listed then. *decides* tells of which new
    connections it decides the first packet, where rules decide the others; None: of all.
    """

    kind: DataPathKind
    evidence: str = ""
    table: Frontends | None = None
    is_stale: bool = False
    decides: Callable[[Packet], bool] | None = None


BY_RULES = DataPath(kind=RULES)


def data_path(cluster: Cluster, stack: NodeStack) -> DataPath:
    """Return the data path of a node: its rules, unless something says that it has another."""
    found = cluster.once(("data path", stack.name), lambda: _data_path(cluster, stack))
    # Who decides asks the cluster: the one that is asked now, not the one that stood for it when this was found.
    return found if found.decides is None else replace(found, decides=partial(_of_pods, cluster, stack.name))


def _data_path(cluster: Cluster, stack: NodeStack) -> DataPath:
    found = _recognised(cluster, stack)
    what = cluster.what_if
    is_stale = what is not None and bool(what.services) and found.table is not None and not found.table.made_as
    return replace(found, is_stale=True) if is_stale else found


def _recognised(cluster: Cluster, stack: NodeStack) -> DataPath:
    return (
        _on_windows(cluster, stack)
        or _by_own_marks(cluster, stack)
        or _in_kernel_maps(cluster, stack)
        or _by_cilium(cluster, stack)
        or BY_RULES
    )


def _by_own_marks(cluster: Cluster, stack: NodeStack) -> DataPath | None:
    for kind in (*IN_SWITCHES, CALICO):
        why = _own_mark(cluster, stack, kind)
        if why is None or (kind is ANTREA and _proxy_is_off(cluster)):
            continue
        if kind.of_pods and (_may_lack_rules(cluster, stack) or has_service_rules(stack)):
            return DataPath(kind=kind, evidence=why, decides=partial(_of_pods, cluster, stack.name))
        return DataPath(kind=kind, evidence=why)
    return None


def _own_mark(cluster: Cluster, stack: NodeStack, kind: DataPathKind) -> str | None:
    """What shows by itself that a node has the data path *kind*, as a sentence begins."""
    node = stack.name
    if kind is CALICO:
        if (said := _bpf_enabled(cluster)) is not None and any(kind.is_agent(p.labels) for p in cluster.host_network_pods(node)):
            return f"{said[1]} has bpfEnabled: true" if said[0] else None
        for file in _RULE_FILES:
            if kind.says and stack.mentions(file, kind.says):
                return f"{cluster.snapshot.path_of(node, file)} has a rule for packets that BPF programs approved"
    names = dict.fromkeys((*(link.name for link in stack.routing.links or ()), *(a.device for a in stack.routing.addresses)))
    if (device := next(filter(kind.owns_device, names), None)) is not None:
        return f"node {node} has device {device}"
    agent = next((p for p in cluster.host_network_pods(node) if kind.is_own_agent(p.name, p.labels)), None)
    if agent is not None:
        return f"pod {agent.namespace}/{agent.name} runs on node {node}"
    listed = cluster.node(node)
    key = next((k for k in listed.annotations if k.startswith(kind.annotations)), None) if listed and kind.annotations else None
    if key is not None:
        return f"node {node} has the annotation {key}"
    # What is modelled where no rules were recorded holds none of a plugin's, and is not made to find that out.
    return None if not has_rules(cluster.snapshot, node) or has_service_rules(stack) else _own_rules(stack, kind)


def _own_rules(stack: NodeStack, kind: DataPathKind) -> str | None:
    """Chains or tables that the network plugin made, where there are none of kube-proxy's."""
    for dump in (d for family in Family for d in stack.dumps(family)):
        for table in dump.tables.values():
            if (name := next((c for c in table.chains if c.startswith(kind.chains or ("\0",))), None)) is not None:
                return f"{dump.file} has chain {name}, and no rule of a Service"
    tables = stack.nft.ruleset.tables if stack.nft is not None else ()
    found = next((t.name for t in tables if t.name in kind.tables), None)
    return f"{stack.nft.ruleset.file} has table {found}, and no rule of a Service" if found and stack.nft is not None else None


def _of_pods(cluster: Cluster, node: str, packet: Packet) -> bool:
    """Whether a packet is from a pod of *node* to a pod, a node or a Service of the cluster."""
    sender = cluster.pod_with_ip(packet.source, node)
    if sender is None or sender.host_network or sender.node_name != node:
        return False
    objects, to = cluster.objects, packet.destination
    return bool(objects.services_with_address(to)) or cluster.pod_with_ip(to) is not None or objects.node_with_ip(to) is not None


def _proxy_is_off(cluster: Cluster) -> bool:
    """Whether Antrea's configuration takes AntreaProxy away. Source: antrea docs/feature-gates.md, build/yamls/antrea.yml."""
    config = cluster.objects.config_map("kube-system", "antrea-config")
    text = config.texts.get("antrea-agent.conf") if config else None
    from tracer.snapshot.yaml_documents import read_yaml

    try:
        value = next((d.value for d in read_yaml(text or "", "")), None)
    except ParseError:
        return False
    gates, proxy = (value.get(key) if isinstance(value, Mapping) else None for key in ("featureGates", "antreaProxy"))
    return (isinstance(gates, Mapping) and gates.get("AntreaProxy") is False) or (
        isinstance(proxy, Mapping) and proxy.get("enable") is False
    )


def _bpf_enabled(cluster: Cluster) -> tuple[bool, str] | None:
    """What Calico's FelixConfiguration says of its eBPF data path, and its name; None where none was recorded or says it."""
    for raw, _ in cluster.objects.others("FelixConfiguration"):
        spec, metadata = raw.value.get("spec"), raw.value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        if isinstance(spec, Mapping) and isinstance(spec.get("bpfEnabled"), bool):
            return bool(spec["bpfEnabled"]), f"FelixConfiguration {name}"
    return None


def _on_windows(cluster: Cluster, stack: NodeStack) -> DataPath | None:
    listed = cluster.node(stack.name)
    if stack.mode == HNS.mode:
        why = f"kube-proxy-mode.txt says {HNS.mode}"
    elif listed is not None and listed.operating_system == "windows":
        why = f"node {stack.name} runs Windows"
    else:
        return None
    found = _listed(cluster, stack, HNS, why)
    is_recorded = any(cluster.snapshot.has_node_file(stack.name, name) for name in HNS.files) or has_rules(cluster.snapshot, stack.name)
    if is_recorded:
        return found
    from tracer.topology.programming import windows_balancers

    return replace(found, table=windows_balancers(cluster.snapshot, stack.name))


def _in_kernel_maps(cluster: Cluster, stack: NodeStack) -> DataPath | None:
    snapshot, node = cluster.snapshot, stack.name
    text = snapshot.node_file(node, CILIUM.files[0])
    agent, own = _agent(cluster, node), _own_chains(stack) if has_rules(snapshot, node) else None
    if text is None and agent is None and own is None:
        return None
    if text is None and agent is not None and CALICO.is_agent(agent.labels) and _calico_writes_rules(cluster, stack):
        return None
    replaced = _replaced_by_cilium(cluster, agent)
    if not replaced and (
        has_service_rules(stack) or (text is None and (not _rules_recorded(cluster, node) or unrecorded_rules(cluster, stack)))
    ):
        return None
    if text is not None:
        file = snapshot.path_of(node, CILIUM.files[0])
        return _listed(cluster, stack, CILIUM, replaced or f"{file} lists its services, and no rule is for one")
    if replaced:
        return DataPath(kind=CILIUM, evidence=replaced)
    return _by_agent(cluster, node, agent) if agent is not None else own


def _by_cilium(cluster: Cluster, stack: NodeStack) -> DataPath | None:
    """Cilium that nothing says to leave Services to kube-proxy: it translates what pods send at their devices, before any rule.

    Source: cilium bpf/bpf_lxc.c, __per_packet_lb_svc_xlate_4.
    """
    why, config = _own_mark(cluster, stack, CILIUM), cluster.objects.config_map("kube-system", "cilium-config")
    if why is None or _may_lack_rules(cluster, stack) or (config is not None and "kube-proxy-replacement" in config.texts):
        return None
    found = DataPath(kind=CILIUM, evidence=why)
    if cluster.snapshot.node_file(stack.name, CILIUM.files[0]) is not None:
        found = _listed(cluster, stack, CILIUM, why)
    return replace(found, decides=partial(_of_pods, cluster, stack.name)) if has_service_rules(stack) else found


def _replaced_by_cilium(cluster: Cluster, agent: Pod | None) -> str | None:
    """What says that Cilium has taken kube-proxy's place, whatever rules were left there. Source: "Kubernetes Without kube-proxy"."""
    config = cluster.objects.config_map("kube-system", "cilium-config")
    if agent is None or config is None or not CILIUM.is_agent(agent.labels):
        return None
    said = config.texts.get("kube-proxy-replacement", "").strip()
    return f"ConfigMap kube-system/cilium-config says kube-proxy-replacement: {said}" if said in ("true", "strict") else None


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
    kind = next(kind for kind in IN_KERNEL_MAPS if kind.is_agent(agent.labels))
    return DataPath(kind=kind, evidence=f"pod {agent.namespace}/{agent.name} runs on node {node}, whose rules hold no Service")


def _calico_writes_rules(cluster: Cluster, stack: NodeStack) -> bool:
    """Whether Calico's agent works with rules there: it says so, or has a chain for each workload. Source: felix/rules/rule_defs.go."""
    said = _bpf_enabled(cluster)
    if said is not None and not said[0]:
        return True
    return any(dump.count("filter", prefix) for family in Family for dump in stack.dumps(family) for prefix in ("cali-tw-", "cali-fw-"))


def _agent(cluster: Cluster, node: str) -> Pod | None:
    pods = (p for p in cluster.host_network_pods(node) if any(kind.is_agent(p.labels) for kind in IN_KERNEL_MAPS))
    return next(pods, None)


def _may_lack_rules(cluster: Cluster, stack: NodeStack) -> bool:
    """Whether rules of kube-proxy's may be there that were not recorded."""
    return not _rules_recorded(cluster, stack.name) or unrecorded_rules(cluster, stack) is not None


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
