"""Which tables of iptables nobody recorded: what a dump does not have is empty only where something says that it lists all tables.

A text of several tables was printed by a program that prints all of them; so it was where the same node's other dumps have several, and
where nft lists what the kernel has. What kube-proxy or the kubelet makes in one table it makes in others too: chains of theirs in one
say which others there are. A single table that nothing speaks for may be what ``iptables-save -t`` printed.
Source: pkg/proxy/iptables and pkg/proxy/ipvs (syncProxyRules), pkg/kubelet/kubelet_network_linux.go, iptables.go (Monitor).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracer.netfilter.dump import Dump

TABLES = ("nat", "filter", "mangle", "raw")
_MADE_TOGETHER = {
    "KUBE-SERVICES": ("nat", "filter"),
    "KUBE-POSTROUTING": ("nat", "filter"),
    "KUBE-FORWARD": ("nat", "filter"),
    "KUBE-FIREWALL": ("nat", "filter"),
    "KUBE-PROXY-CANARY": ("mangle", "nat", "filter"),
    "KUBE-KUBELET-CANARY": ("mangle", "nat", "filter"),
}
"""A chain of kube-proxy's or the kubelet's → the tables in which its maker has chains."""


def unrecorded_tables(dumps: Sequence[Dump], lists_several: Callable[[], bool]) -> tuple[str, ...]:
    """Return the tables of one family that none of its *dumps* has and of which nothing says that they are empty.

    *lists_several* is asked, where nothing else tells, whether a dump of the node's other family has several. What the dumps themselves say
    of tables that they could not read is not repeated.
    """
    has = {table for dump in dumps for table in (*dump.tables, *dump.unread, *dump.unlisted)}
    absent = tuple(table for table in TABLES if table not in has)
    if not absent or not has or any(dump.illegible for dump in dumps):
        return ()
    if any(table in absent for table in _implied(dumps)):
        return absent
    told = [dump.lists_all for dump in dumps if dump.lists_all is not None]
    if told:
        return () if any(told) else absent
    return () if len(has) > 1 or lists_several() else absent


def _implied(dumps: Sequence[Dump]) -> set[str]:
    """The tables that exist because of what the recorded ones hold."""
    tables = [table for dump in dumps for table in dump.tables.values()]
    return {other for table in tables for chain, made in _MADE_TOGETHER.items() if chain in table.chains for other in made}
