"""Which mode a node's Services are in, everything in the snapshot that says so, and what another mode left behind.

Nodes are asked one by one: clusters are mixed while they migrate. What a configuration says and what the node holds are both evidence;
where they differ, what kube-proxy said of itself counts first (tracer.snapshot.proxy_mode), and the difference is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tracer.errors import ParseError
from tracer.frontends.kinds import Replay
from tracer.packet import Family
from tracer.snapshot import Snapshot
from tracer.snapshot.proxy_mode import ProxyMode, proxy_mode
from tracer.topology.cluster import Cluster
from tracer.topology.data_path import RULES_OF_MODE, data_path
from tracer.topology.stack import PROXY_TABLE, NodeStack
from tracer.values import dataclass

_CHAINS = {"userspace": "KUBE-PORTALS-", "iptables": "KUBE-SVC-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeEvidence:
    """A node's *mode* (None: nothing tells), *evidence* for it in words, and *leftovers*: rules that a mode not in use has on the node."""

    mode: str | None
    evidence: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()


def mode_of(cluster: Cluster, node: str) -> ModeEvidence:
    """Return the mode of *node*, with what says so."""
    if (path := without_rules(cluster, node)) is not None:
        return path
    said = proxy_mode(cluster.snapshot, node)
    held = dict(_held(cluster, cluster.stack(node)))
    if said is None:
        return ModeEvidence(mode=None, evidence=("no file of the node and no ConfigMap says which mode it is",))
    if (other := _not_yet(cluster.snapshot, node, said, held)) is not None:
        ahead = f"{said.source} says {said.mode}, which this node does not run yet"
        return ModeEvidence(mode=other, evidence=(held[other], ahead))
    rules = held.get(said.mode)
    evidence = [] if rules is not None and rules.startswith(said.source) else [f"{said.source} says {said.mode}"]
    evidence.append(rules or f"the node's files hold no rules of {said.mode} mode")
    return ModeEvidence(mode=said.mode, evidence=tuple(evidence), leftovers=tuple(v for k, v in held.items() if k != said.mode))


def without_rules(cluster: Cluster, node: str) -> ModeEvidence | None:
    """Return the mode of a node whose Services are in no rule: kernelspace (Windows), or eBPF; None where they are."""
    try:
        path = data_path(cluster, cluster.stack(node))
    except ParseError:
        return None
    if path.kind.replay is Replay.RULES or path.decides is not None:
        return None
    table = (path.table.shown,) if path.table is not None else ()
    return ModeEvidence(mode=path.kind.mode, evidence=(path.evidence, *table))


def _not_yet(snapshot: Snapshot, node: str, said: ProxyMode, held: Mapping[str, str]) -> str | None:
    """The mode that the node runs where a ConfigMap asks for another one: it holds the rules of just one mode, and none of the other's.

    A kube-proxy reads its configuration when it starts. No proof where the file that would hold the other mode's rules is missing.
    """
    if not said.source.startswith("ConfigMap ") or len(held) != 1 or said.mode in held:
        return None
    return next(iter(held)) if any(snapshot.has_node_file(node, name) for name in RULES_OF_MODE.get(said.mode, ())) else None


def _is_anothers(cluster: Cluster, stack: NodeStack) -> bool:
    """Whether the virtual servers are others' (keepalived, kube-router): none is for a Service, and kube-proxy's device is not there."""
    servers = stack.virtual_servers.servers if stack.virtual_servers is not None else ()
    links = {link.name for link in stack.routing.links}
    if not links or "kube-ipvs0" in links:
        return False
    return not any(s.address is not None and cluster.objects.services_with_address(s.address) for s in servers)


def _held(cluster: Cluster, stack: NodeStack) -> Iterator[tuple[str, str]]:
    """Yield each mode that the node holds rules of, with where."""
    try:
        if stack.virtual_servers is not None and stack.virtual_servers.servers and not _is_anothers(cluster, stack):
            yield "ipvs", f"{stack.virtual_servers.file} holds {len(stack.virtual_servers.servers)} virtual servers"
        elif dummy := len(stack.routing.addresses_of("kube-ipvs0")):
            yield "ipvs", f"device kube-ipvs0 holds {dummy} addresses, which the node takes for its own"
        if stack.nft is not None:
            tables = [t for t in stack.nft.ruleset.tables if t.name == PROXY_TABLE]
            if any(t.chains for t in tables):
                yield "nftables", f"{stack.nft.ruleset.file} holds table {tables[0].family} kube-proxy"
        dumps = [d for family in Family for d in stack.dumps(family)]
        for mode, prefix in _CHAINS.items():
            found = [(d, d.count("nat", prefix)) for d in dumps]
            if where := [f"{d.file} holds {count} chains {prefix}…" for d, count in found if count]:
                yield mode, where[0]
    except ParseError:
        return
