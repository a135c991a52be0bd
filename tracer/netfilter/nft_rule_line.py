"""One line of a chain's block: its rule, or the header that makes it a base chain.

Source: nft(8) 1.0.9; chain_print_declaration and rule_print in rule.c of nftables.
"""

from __future__ import annotations

import re

from tracer.errors import Fault, ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.model import Hook
from tracer.netfilter.nft_statements import parse_statements
from tracer.netfilter.nft_words import priority
from tracer.patterns import pattern

FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
XTABLES = frozenset({"raw", "mangle", "nat", "filter", "security"})
_COUNTED = pattern(r"\bcounter packets [0-9]+ bytes [0-9]+", re.ASCII)
_HANDLE = pattern(r"(?<![ \t])[ \t]+# handle ([0-9]{1,20})$", re.ASCII)
_COMMENT = pattern(r"(?:^|\s)# ", re.ASCII)
_BASE = pattern(
    r"type (?P<type>\S+) hook (?P<hook>\S+)(?: devices? (?:= )?(?P<devices>\{[^}]*\}|\S+))?\s+priority (?P<priority>.+)", re.ASCII
)

_TYPES = frozenset(("filter", "nat", "route"))
_HOOKS = frozenset((*(hook.value for hook in Hook), "ingress", "egress"))
_POLICIES = frozenset(("accept", "drop"))


class BadHeader(Exception):
    """A base chain's header says something that is not known."""


def without_counts(text: str) -> str:
    """Return a rule's text with its counters' values left out."""
    return _COUNTED.sub("counter", text)


def base_header(chain: n.NftChain, text: str, family: str) -> None:
    """Read ``type … hook … priority …; policy …;`` into *chain*. :raises BadHeader: a part of it is not known."""
    for part in filter(None, (p.strip() for p in text.split(";"))):
        if part.startswith("policy "):
            if part[7:] not in _POLICIES:
                raise BadHeader(f"the policy {part[7:]!r} is not known")
            chain.policy = part[7:]
        elif part.startswith("comment "):
            chain.comment = part[8:].strip('" ')
        elif part.startswith("flags "):
            continue  # offload
        elif found := _BASE.fullmatch(part):
            if found["type"] not in _TYPES or found["hook"] not in _HOOKS:
                raise BadHeader(f"{part!r} names no type or no hook of a chain")
            chain.type, chain.hook = found["type"], found["hook"]
            chain.devices = tuple(re.findall(r'[^\s{},"]+', found["devices"] or ""))
            chain.priority = priority(found["priority"], family)
            if chain.priority is None:
                raise BadHeader(f"the priority {found['priority']!r} is not known")
        else:
            raise BadHeader(f"{part!r} is not known of a chain")
    if chain.hook and chain.policy is None:
        chain.policy = "accept"


def read_rule(line: str, number: int, table: n.NftTable, ruleset: n.NftRuleset) -> n.NftRule:
    """Return the rule of one line; one that cannot be read has its *fault*, and *ruleset* gets it too."""
    text, handle = line.strip(), None
    if found := _HANDLE.search(text):
        handle, text = int(found[1]), text[: found.start()]
    shown = without_counts(text)
    if _is_xtables(table) and (said := _COMMENT.search(text)) and _COUNTED.search(text, said.end()):
        message = "nft prints a match of iptables only as a comment, and what it asks is not known"
        ruleset.faults.append(Fault(file=ruleset.file, line=number, column=text.find("#"), message=message, text=text))
        return n.NftRule(shown, (), line=number, handle=handle, fault=message)
    try:
        statements, comment = parse_statements(text, table.family)
    except ParseError as error:
        first = error.faults[0]
        ruleset.faults.append(Fault(file=ruleset.file, line=number, column=first.column, message=first.message, text=text))
        return n.NftRule(shown, (), line=number, handle=handle, fault=first.message)
    if _lacks_target(line, table):
        statements = (*statements, n.UnmodelledStatement("xt", "a target of iptables that nft does not print"))
    return n.NftRule(shown, statements, comment, handle, number)


def _lacks_target(line: str, table: n.NftTable) -> bool:
    """Whether nft left out the target of a rule of iptables-nft: nothing follows its counter but a blank (seen of ip6 MASQUERADE)."""
    return _is_xtables(table) and line.endswith(" ") and line.rstrip()[-1:].isdigit()


def _is_xtables(table: n.NftTable) -> bool:
    return table.name in XTABLES and table.family in ("ip", "ip6")
