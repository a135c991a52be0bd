"""What a snapshot lacks, and what that keeps a trace from knowing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tracer.snapshot.layout import KINDS
from tracer.snapshot.proxy_mode import ProxyMode
from tracer.snapshot.snapshot import Snapshot
from tracer.snapshot.taken_at import read_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """One gap: *what* is missing, on which *nodes* (none: cluster-wide), and the sentence that says what it limits."""

    what: str
    limits: str
    nodes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Return the gap and its consequence as one sentence."""
        where = f" of {_listed(self.nodes)}" if self.nodes else ""
        return f"No {self.what}{where}: {self.limits}."

    def to_dict(self) -> dict[str, object]:
        """Return the gap as the summary stores it."""
        return {"what": self.what, "nodes": list(self.nodes), "limits": self.limits, "sentence": self.sentence}


_OBJECTS = {
    "EndpointSlice": "which pods stand behind a Service is known from rules only, and load balancers cannot tell which nodes are healthy",
    "Node": "which node has which address is known from its own files only, and load balancers cannot tell where to send",
    "Pod": "an address cannot be told to be a pod's, no trace can start from a pod, and no port can be told to be declared",
    "Namespace": "NetworkPolicies that select namespaces by other labels than the name cannot be judged",
    "NetworkPolicy": "policies are not looked at",
}

_NODE_FILES = (
    ("ip-route.json", "a packet that leaves the node for another network ends in unknown there"),
    ("ip-addr.json", "the node's own addresses are those of its Node object only"),
    ("ip-link.json", "whether a pod can reach itself through its bridge, and which devices a packet passes, is unknown"),
    ("ip-rule.json", "the kernel's own three routing rules are assumed"),
    ("sysctl.txt", "kernel settings (rp_filter, bridge-nf-call-iptables, forwarding) are assumed to be kube-proxy's usual ones"),
    ("conntrack.txt", "connections that exist already cannot be followed"),
)
_ROUTING = ("ip-addr.json", "ip-link.json", "ip-route.json", "ip6-route.json")
_INFERRED = (
    "routes are inferred from the nodes' addresses, their pod networks and where pods run, and every hop says so; "
    "what cannot be inferred ends in unknown there"
)
_RULES = {
    "iptables-save.txt": ("IPv4", 4, ("iptables-save.txt", "iptables-legacy-save.txt")),
    "ip6tables-save.txt": ("IPv6", 6, ("ip6tables-save.txt", "ip6tables-legacy-save.txt")),
}
_BOTH_FAMILIES = ("nft-ruleset.json", "nft-ruleset.txt")


def missing_from(snapshot: Snapshot, counts: Mapping[str, int], modes: Mapping[str, ProxyMode | None]) -> tuple[Missing, ...]:
    """Return the gaps of *snapshot*, the ones that limit most first. *counts* are its objects by kind, *modes* its nodes' proxy modes."""
    return (*_objects(snapshot, counts), *_rules(snapshot, modes), *_files(snapshot), *_unread(snapshot))


def _objects(snapshot: Snapshot, counts: Mapping[str, int]) -> Iterable[Missing]:
    asked = {o.kind for o in snapshot.layout.objects}
    plural = {kind: word for word, kind in KINDS.items()}
    for kind, limits in _OBJECTS.items():
        if counts.get(kind) or kind in asked:
            continue
        if kind == "EndpointSlice" and counts.get("Endpoints"):
            limits = "the older Endpoints objects are read instead; they know no zones, no hints and no terminating endpoints"
        yield Missing(what=plural[kind], limits=limits)


def _rules(snapshot: Snapshot, modes: Mapping[str, ProxyMode | None]) -> Iterable[Missing]:
    bare = _without(snapshot, snapshot.node_names, (*_BOTH_FAMILIES, *(f for _, _, files in _RULES.values() for f in files)))
    if bare:
        limits = "a packet that crosses the node ends in unknown there"
        yield Missing(what="rules (iptables-save.txt or nft-ruleset.json)", nodes=bare, limits=limits)
    ruled = tuple(n for n in snapshot.node_names if n not in bare)
    versions = {ip.version for node in snapshot.objects.nodes for ip in node.ips}
    for what, (family, version, files) in _RULES.items():
        lacking = _without(snapshot, ruled, (*_BOTH_FAMILIES, *files))
        if lacking and version in versions:
            yield Missing(what=what, nodes=lacking, limits=f"{family} packets end in unknown there")
    ipvs = _without(snapshot, tuple(n for n, mode in modes.items() if mode and mode.mode == "ipvs"), ("ipvsadm-save.txt",))
    if ipvs:
        limits = "kube-proxy runs in IPVS mode there, and where that sends a packet is not in the rules"
        yield Missing(what="ipvsadm-save.txt", nodes=ipvs, limits=limits)


def _without(snapshot: Snapshot, nodes: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return those of *nodes* that have none of the files *names*."""
    names = tuple(names)
    return tuple(node for node in nodes if not any(snapshot.has_node_file(node, n) for n in names))


def _files(snapshot: Snapshot) -> Iterable[Missing]:
    nodes = tuple(n for n in snapshot.node_names if n in snapshot.node_files)
    inferred = tuple(n for n in _without(snapshot, nodes, _ROUTING) if (node := snapshot.objects.node(n)) and node.internal_ips)
    if inferred:
        yield Missing(what=f"routing ({', '.join(_ROUTING)})", nodes=inferred, limits=_INFERRED)
    for name, limits in _NODE_FILES:
        lacking = tuple(n for n in _without(snapshot, nodes, (name,)) if name not in _ROUTING or n not in inferred)
        if lacking:
            yield Missing(what=name, nodes=lacking, limits=limits)


def _unread(snapshot: Snapshot) -> Iterable[Missing]:
    """Yield the files that the collector says it could not read, one gap for all nodes on which the same file failed alike."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for path, error in read_errors(snapshot).items():
        match path.split("/"):
            case ["nodes", node, name]:
                nodes.setdefault((name, error), []).append(node)
            case _:
                nodes.setdefault((path, error), [])
    for (what, error), where in nodes.items():
        limits = f"it could not be read when the snapshot was taken ({error.rstrip('.')})"
        yield Missing(what=what, nodes=tuple(where), limits=limits)


def _listed(names: tuple[str, ...], most: int = 5) -> str:
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more nodes"
