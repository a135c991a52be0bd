"""A node's recorded nftables rules as kube-proxy would leave them: a difference of two models of its tables, put on what is there.

Strategy: as with iptables (``iptables_changes``): chains and elements that the model has alike before and after stay as they were recorded.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from tracer.added import Added
from tracer.kubeproxy.drift.nft_meaning import key_meaning, rule_meaning
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_rules import NftRules
from tracer.netfilter.nft_text import parse_text

TABLE = "kube-proxy"


def changed_rules(rules: NftRules, before: str, after: str, *, by: str, file: str, behind: int) -> NftRules:
    """Return *rules* with what is different between kube-proxy's tables *before* and *after*, as texts; themselves where nothing is.

    *behind*: how many lines the recorded listing has.
    """
    if before == after:
        return rules
    added = Added(behind=behind, by=by, file=file)
    was, now = _tables(before, 0), _tables(after, behind)
    tables = []
    for table in rules.ruleset.tables:
        key = (table.family, table.name)
        is_own = key in was and key in now
        tables.append(_changed(table, was[key], now[key], added) if is_own else table)
    return _with(rules, tables)


def with_tables(rules: NftRules | None, after: str, *, by: str, file: str, annotate: object) -> NftRules:
    """Return *rules* with kube-proxy's tables of the text *after* in the place of its own."""
    from tracer.netfilter.nft_rules import NftRules as Rules

    made = Rules.from_listing(after, file, annotate)  # type: ignore[arg-type]
    for table in made.ruleset.tables:
        table.made_as = by
    return made if rules is None else _with(rules, [*without_own(rules).ruleset.tables, *made.ruleset.tables])


def without_own(rules: NftRules) -> NftRules:
    """Return *rules* without kube-proxy's tables."""
    return _with(rules, [t for t in rules.ruleset.tables if t.name != TABLE or t.family not in ("ip", "ip6")])


def _with(rules: NftRules, tables: list[n.NftTable]) -> NftRules:
    return NftRules(replace(rules.ruleset, tables=tables), rules.annotate)


def _tables(text: str, behind: int) -> Mapping[tuple[str, str], n.NftTable]:
    parsed = parse_text("\n" * behind + text, "the model")
    return {(table.family, table.name): table for table in parsed.tables}


def _changed(table: n.NftTable, was: n.NftTable, now: n.NftTable, added: Added) -> n.NftTable:
    chains, sets = dict(table.chains), dict(table.sets)
    for name in dict.fromkeys((*was.chains, *now.chains)):
        old, new = was.chains.get(name), now.chains.get(name)
        if old is not None and new is not None and _meanings(old) == _meanings(new):
            continue
        if new is None:
            chains.pop(name, None)
        else:
            chains[name] = _chain(chains.get(name), new)
    for name in dict.fromkeys((*was.sets, *now.sets)):
        old_set, new_set = was.sets.get(name), now.sets.get(name)
        if new_set is None:
            sets.pop(name, None)
        elif old_set is None or name not in sets:
            sets[name] = replace(new_set, line=None)
        else:
            sets[name] = _set(sets[name], old_set, new_set)
    return replace(table, chains=chains, sets=sets, added=added)


def _meanings(chain: n.NftChain) -> list[Hashable]:
    return [rule_meaning(rule) for rule in chain.rules]


def _chain(recorded: n.NftChain | None, new: n.NftChain) -> n.NftChain:
    """The chain *new*; a rule that stands there already is the recorded one."""
    if recorded is None:
        return new
    held = {rule_meaning(rule): rule for rule in recorded.rules}
    return replace(recorded, rules=[held.get(rule_meaning(rule), rule) for rule in new.rules])


def _set(recorded: n.NftSet, old: n.NftSet, new: n.NftSet) -> n.NftSet:
    """The recorded set or map with the elements that come and go."""
    was, now = _elements(old), _elements(new)
    if {k: e.value for k, e in was.items()} == {k: e.value for k, e in now.items()}:
        return recorded
    held = _elements(recorded)
    for key in was:
        if key not in now:
            held.pop(key, None)
    for key, element in now.items():
        if key not in was or was[key].value != element.value:
            held[key] = element
    return replace(recorded, elements=list(held.values()))


def _elements(found: n.NftSet) -> dict[Hashable, n.Element]:
    types: Sequence[str] = found.key_types
    return {key_meaning(element, types): element for element in found.elements}
