"""The native nftables chains of one node, ready for its hooks.

Owns which tables count: those of the packet's family and ``inet``; the tables that iptables-nft keeps are left to iptables-save's own
listing, which is complete where ``nft`` prints only what it understands. Owns the order among equals: the kernel puts a chain that was
registered later before one of the same priority. Source: nf_hook_entries_grow (netfilter/core.c), Linux 6.18; modes.md, kernel fact 15.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import field, replace

from tracer.errors import ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.hook_order import BUILT_IN_CHAINS
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_evaluate import NftAnnotator, NftBaseChain, Parts, no_names
from tracer.netfilter.nft_json import parse_json
from tracer.netfilter.nft_rule_line import XTABLES
from tracer.netfilter.nft_text import parse_text
from tracer.netfilter.nft_values import Indexes
from tracer.packet import Family
from tracer.values import dataclass

_DEVICE_HOOKS = {("ingress", Hook.PREROUTING): -(1 << 32), ("egress", Hook.POSTROUTING): 1 << 32}


@dataclass(slots=True)
class NftRules:
    """A rule set with what its chains share."""

    ruleset: n.NftRuleset
    annotate: NftAnnotator = no_names
    _indexes: dict[int, Indexes] = field(default_factory=dict)
    _parts: Parts = field(default_factory=dict)

    @classmethod
    def from_listing(cls, text: str, file: str, annotate: NftAnnotator | None = None) -> NftRules:
        """Return the rules of ``nft list ruleset``, or of its JSON form where *text* is JSON. What cannot be read is incomplete.

        The file's name decides where the text does not tell.
        """
        annotate = annotate or no_names
        is_json = text.startswith("{") if text[:1] in ("{", "t") else file.endswith(".json")
        if not is_json:
            return cls(parse_text(text, file), annotate)
        try:
            return cls(parse_json(text, file), annotate)
        except ParseError as error:
            return cls(n.NftRuleset(file, [], list(error.faults), error.faults[0]), annotate)

    def chains(self, hook: Hook, family: Family, listed: Container[tuple[str, str]]) -> list[tuple[int, NftBaseChain]]:
        """Return the base chains of *hook*, each with its table's position; *listed* are (family, table) that iptables-save lists."""
        found: list[tuple[int, NftBaseChain]] = []
        for position, table in enumerate(self.ruleset.tables):
            held = (table.family, table.name) in listed and table.name in XTABLES
            chains = self._of_table(table, hook, family)
            found += [(position, c) for c in chains if not (held and c.chain.name in BUILT_IN_CHAINS)]
        return found

    def _of_table(self, table: n.NftTable, hook: Hook, family: Family) -> Iterator[NftBaseChain]:
        indexes = self._indexes.setdefault(id(table), {})
        for chain in reversed(table.chains.values()):
            made = NftBaseChain(chain, table, self.ruleset.file, indexes, self.annotate, parts=self._parts)
            if table.family in (family.value, "inet") and chain.hook == hook.value:
                yield made
            elif table.family in ("netdev", "inet") and (chain.hook, hook) in _DEVICE_HOOKS:
                asked = chain if chain.devices else _not_modelled(chain, "the listing does not say which devices it is for")
                if chain.devices or chain.rules or chain.policy == "drop":
                    yield replace(made, chain=asked, offset=_DEVICE_HOOKS[chain.hook or "", hook])
            elif table.family == "bridge" and chain.hook == hook.value and (chain.rules or chain.policy == "drop"):
                yield replace(made, chain=_not_modelled(chain, "rules of bridges have no model"), bridging=True)

    def position(self, family: str, name: str) -> int:
        """Return where a table stands in the listing, which is the order of making; -1 when it is not in it."""
        return next((i for i, t in enumerate(self.ruleset.tables) if (t.family, t.name) == (family, name)), -1)


def _not_modelled(chain: n.NftChain, why: str) -> n.NftChain:
    """A chain as one rule that cannot be told."""
    rule = n.NftRule(f"chain {chain.name}", (), line=chain.line, fault=why)
    return replace(chain, rules=(rule,), policy="accept")


def is_xtables(table: n.NftTable) -> bool:
    """Return whether *table* is one that iptables-nft keeps: its name, and chains named as the built-in ones."""
    if table.family not in ("ip", "ip6") or table.name not in XTABLES:
        return False
    return all(chain.name in BUILT_IN_CHAINS for chain in table.chains.values() if chain.is_base)
