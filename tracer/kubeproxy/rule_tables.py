"""Tables of iptables rules as text: what the layouts of all releases share, and how iptables-save prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tracer.netfilter.hook_order import CHAINS_OF_TABLE

Chains = dict[str, list[str]]
"""The rules of each chain in order, each a whole line that begins with ``-A``."""
LARGE = 1000
"""More endpoints than these make a cluster large. Source: largeClusterEndpointsThreshold."""
LAST = '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain"'
FORWARD_ACCEPTS = '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'
OUT_FILTER = "KUBE-IPVS-OUT-FILTER"
"""IPVS mode's one chain with a rule a Service."""
NEW = "-m conntrack --ctstate NEW "
_UNORDERED = frozenset(("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"))


def is_ordered(chain: str) -> bool:
    """Return whether the order of a chain's rules is kube-proxy's. Those with a rule a Service stand in the order of a Go map."""
    return chain not in _UNORDERED


def add_jumps(tables: Mapping[str, Chains], jumps: Mapping[str, Sequence[tuple[str, str, str, str]]]) -> None:
    """Add to built-in chains the *jumps* (chain, match, comment, target) of each table."""
    for table, rules in jumps.items():
        for chain, state, says, target in rules:
            tables[table].setdefault(chain, []).append(f'-A {chain} {state}-m comment --comment "{says}" -j {target}')


def save_text(tables: dict[str, Chains]) -> str:
    """Return *tables* as iptables-save prints them, without counters' values and comments.

    Source: iptables-save(8), iptables 1.8.9 (nf_tables): built-in chains first, the others by name; rules chain by chain in that order.
    """
    return "".join(f"{line}\n" for name, chains in tables.items() for line in _table_lines(name, chains))


def _table_lines(table: str, chains: Chains) -> Iterator[str]:
    built_in = CHAINS_OF_TABLE[table]
    own = sorted(name for name in chains if name not in built_in)
    yield f"*{table}"
    yield from (f":{name} ACCEPT [0:0]" for name in built_in)
    yield from (f":{name} - [0:0]" for name in own)
    for name in (*built_in, *own):
        yield from chains.get(name, ())
    yield "COMMIT"
