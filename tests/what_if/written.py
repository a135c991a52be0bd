"""A changed cluster's rules as texts, to be held against what kube-proxy would write for the changed objects."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.ipvs.ipvsadm_save import to_text as servers_text
from tracer.kubeproxy.drift.finding import Compared
from tracer.kubeproxy.drift.iptables import compare_rules
from tracer.kubeproxy.drift.ipvs import compare_servers
from tracer.kubeproxy.drift.nftables import compare_nftables
from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.ipvs_rules import ipvs_state
from tracer.netfilter.dump import Dump
from tracer.netfilter.nft_print import to_text
from tracer.packet import Family
from tracer.snapshot.proxy_configuration import proxy_configuration
from tracer.topology.cluster import Cluster


def dump_text(dump: Dump) -> str:
    """Return a dump as iptables-save prints it."""
    lines = []
    for table in dump.tables.values():
        lines.append(f"*{table.name}")
        lines += [f":{chain.name} {chain.policy or '-'} [0:0]" for chain in table.chains.values()]
        lines += [chain.text(place) for chain in table.chains.values() for place in range(len(chain))]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def drifts(cluster: Cluster) -> Iterator[str]:
    """Yield where a node's rules are not what its kube-proxy writes for the cluster's objects."""
    for node in cluster.node_names:
        for compared in _compared(cluster, node):
            yield from compared.unknown
            yield from (f"{node}: {found.drift} {found.place} {found.text!r}, expected {found.expected!r}" for found in compared.findings)


def _compared(cluster: Cluster, node: str) -> Iterator[Compared]:
    stack, objects = cluster.stack(node), cluster.objects
    configuration = proxy_configuration(cluster.snapshot, node).configuration
    if configuration.mode == "nftables":
        assert stack.nft is not None
        yield compare_nftables(to_text(stack.nft.ruleset), "made", objects, configuration)
        return
    states = [ipvs_state(objects, configuration, version=version) for version in configuration.versions if configuration.mode == "ipvs"]
    for version in configuration.versions:
        dumps = [d for d in stack.dumps(Family.of(version)) if "nat" in d.tables and "KUBE-SERVICES" in d.tables["nat"].chains]
        if not dumps and configuration.may_lack(version):
            continue
        assert len(dumps) == 1, (node, version)
        expected = iptables_rules(objects, configuration, version=version, has_comments=True)
        if states:
            expected = next(state.tables for state in states if state.version == version)
        yield compare_rules(dump_text(dumps[0]), "made", objects, expected)
    if states:
        servers = stack.virtual_servers
        yield compare_servers(servers_text(servers.servers if servers is not None else ()), "made", objects, states)
