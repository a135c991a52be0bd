"""The native nftables chains of one node, ready for its hooks.

Owns which tables count: those of the packet's family and ``inet``; the tables that iptables-nft keeps are left to iptables-save's own
listing, which is complete where ``nft`` prints only what it understands. Owns the order among equals: the kernel puts a chain that was
registered later before one of the same priority. Source: nf_hook_entries_grow (netfilter/core.c), Linux 6.18; modes.md, kernel fact 15.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from tracer.netfilter import nft_model as n
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_evaluate import NftAnnotator, NftBaseChain, no_names
from tracer.netfilter.nft_rule_line import XTABLES
from tracer.netfilter.nft_values import Indexes
from tracer.packet import Family

_XTABLES_CHAINS = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})


@dataclass(slots=True)
class NftRules:
    """A rule set with what its chains share."""

    ruleset: n.NftRuleset
    annotate: NftAnnotator = no_names
    _indexes: dict[int, Indexes] = field(default_factory=dict)

    def chains(self, hook: Hook, family: Family, listed: Container[tuple[str, str]]) -> list[tuple[int, NftBaseChain]]:
        """Return the base chains of *hook*, each with its table's position; *listed* are (family, table) that iptables-save lists."""
        found: list[tuple[int, NftBaseChain]] = []
        for position, table in enumerate(self.ruleset.tables):
            if table.family not in (family.value, "inet") or (is_xtables(table) and (table.family, table.name) in listed):
                continue
            indexes = self._indexes.setdefault(id(table), {})
            chains = [c for c in table.chains.values() if c.hook == hook.value]
            found += [(position, NftBaseChain(c, table, self.ruleset.file, indexes, self.annotate)) for c in reversed(chains)]
        return found

    def position(self, family: str, name: str) -> int:
        """Return where a table stands in the listing, which is the order of making; -1 when it is not in it."""
        return next((i for i, t in enumerate(self.ruleset.tables) if (t.family, t.name) == (family, name)), -1)


def is_xtables(table: n.NftTable) -> bool:
    """Return whether *table* is one that iptables-nft keeps: its name, and chains named as the built-in ones."""
    if table.family not in ("ip", "ip6") or table.name not in XTABLES:
        return False
    return all(chain.name in _XTABLES_CHAINS for chain in table.chains.values() if chain.is_base)
