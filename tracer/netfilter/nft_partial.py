"""What a listing of nft's leaves out: by the command that printed it, where that stands above it, and by its own look.

Owns four kinds: one table or family only (``nft list table …``), a listing that went through a filter (``| grep``), a base chain that lost
the line with its hook, and sets without their elements (``nft -t``). The last is known without the command, too: where no set of the
listing has an element, a chain that nothing jumps to can only be one that a map's elements named. Source: nft(8) 1.0.9, ``--terse``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from tracer.errors import Fault
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_deferred import Deferred
from tracer.netfilter.nft_rule_line import FAMILIES
from tracer.pasted import command, is_around, without_margin
from tracer.patterns import pattern

_WHOLE = frozenset(("tee", "less", "more", "cat"))
"""Programs that pass on all that they are given."""
_HOOK_NAME = pattern(
    r"(?:(?:filter|nat|mangle|raw|security|route)[-_])?(?:prerouting|input|forward|output|postrouting)(?:-post-dnat)?",
    re.ASCII | re.IGNORECASE,
)
"""Names of base chains: iptables' (POSTROUTING), kube-proxy's (nat-prerouting, filter-output-post-dnat), firewalld's (filter_INPUT)."""
_TAKEN_WHOLE = "the whole of nft list ruleset is wanted"

Commands = Sequence[tuple[int, str]]
"""Each command that was typed above a listing, with the number of its line."""


def listing_in(text: str) -> tuple[str, list[tuple[int, str]]]:
    """Return the listing that a pasted *text* holds, what is known to stand around its tables left blank, and the commands typed there.

    NB: only lines outside tables are looked at: a rule is never taken for a prompt.
    """
    lines, commands, outside = without_margin(text).split("\n"), list[tuple[int, str]](), True
    for place, line in enumerate(lines):
        shown = line.partition("#")[0].rstrip()
        if shown.endswith("{"):
            outside = False
        elif shown == "}":
            outside = True
        elif outside and is_around(line):
            if said := command(line):
                commands.append((place + 1, said))
            lines[place] = ""
    return "\n".join(lines), commands


def commented(text: str) -> list[tuple[int, str]]:
    """Return the commands typed behind a root's prompt (``# nft list ruleset``), which is a comment to nft, each with its line."""
    found, line, at = list[tuple[int, str]](), 1, 0
    while True:
        if text.startswith("#", at):
            end = text.find("\n", at)
            if said := command(text[at : end if end >= 0 else len(text)]):
                found.append((line, said))
        following = text.find("\n#", at) + 1
        if following <= 0:
            return found
        line += text.count("\n", at, following)
        at = following


def mark_what_is_left_out(ruleset: n.NftRuleset, commands: Commands) -> None:
    """Note in *ruleset* what its listing leaves out, as far as *commands* and the listing itself tell."""
    typed = [(line, said.split()) for line, said in commands if said.startswith("nft ")]
    if typed and not any(_lists_all(words) for _, words in typed):
        line, words = typed[0]
        said = " ".join(words)
        message = f"this is {said!r}, and what the node has beside it is not recorded: {_TAKEN_WHOLE}"
        ruleset.incomplete = ruleset.incomplete or _fault(ruleset, line, message, said)
    for table, chain in _without_hook(ruleset):
        message = (
            f"chain {chain.name} of table {table.family} {table.name} has rules and no hook, and nothing jumps to it: the line is missing"
        )
        ruleset.incomplete = ruleset.incomplete or _fault(ruleset, chain.line, message, chain.name)
    terse = next((line for line, words in typed if _is_terse(words)), None)
    if terse is not None or _looks_terse(ruleset):
        message = (
            "the sets and maps are listed without their elements (nft -t, --terse), and which they have is not recorded: "
            "nft list ruleset without -t is wanted"
        )
        ruleset.terse = _fault(ruleset, terse, message)
        for table in ruleset.tables:
            for found in table.sets.values():
                found.unlisted = not _has_elements(found)


def _fault(ruleset: n.NftRuleset, line: int | None, message: str, text: str = "") -> Fault:
    found = Fault(file=ruleset.file, line=line, column=None, message=message, text=text)
    ruleset.faults.append(found)
    return found


def _lists_all(words: list[str]) -> bool:
    """Whether a command prints every table: ``nft list ruleset``, without a family, through nothing that takes lines away."""
    *_, last = " ".join(words).rpartition("|")
    if "|" in words and last.split()[:1] and last.split()[0] not in _WHOLE:
        return False
    plain = [word for word in words[1:] if not word.startswith("-")]
    return plain[:2] == ["list", "ruleset"] and not (plain[2:] and plain[2] in FAMILIES)


def _is_terse(words: list[str]) -> bool:
    options = (word for word in words[1 : words.index("|") if "|" in words else None] if word.startswith("-"))
    return any(word == "--terse" or (not word.startswith("--") and "t" in word) for word in options)


def _has_elements(found: n.NftSet) -> bool:
    return isinstance(found.elements, Deferred) or len(found.elements) > 0


def _looks_terse(ruleset: n.NftRuleset) -> bool:
    sets = [found for table in ruleset.tables for found in table.sets.values()]
    if not sets or any(_has_elements(found) for found in sets):
        return False
    return any(_has_unnamed_chain(t) for t in ruleset.tables if any(s.value_type == "verdict" for s in t.sets.values()))


def _has_unnamed_chain(table: n.NftTable) -> bool:
    """Whether a chain of *table* has rules, and no packet gets there by what is listed."""
    named = {name for chain in table.chains.values() for name in _jumps(chain.rules)}
    return any(not chain.is_base and name not in named and len(chain.rules) for name, chain in table.chains.items())


def _without_hook(ruleset: n.NftRuleset) -> Iterator[tuple[n.NftTable, n.NftChain]]:
    """Chains with rules that are named as base chains are, and that no packet gets to. NB: rules are read only where there is a suspect."""
    for table in ruleset.tables:
        suspects = [c for name, c in table.chains.items() if not c.is_base and _HOOK_NAME.fullmatch(name) and len(c.rules)]
        named = {name for chain in table.chains.values() for name in _jumps(chain.rules)} if suspects else set[str]()
        yield from ((table, chain) for chain in suspects if chain.name not in named and not _is_mapped_to(table, chain.name))


def _is_mapped_to(table: n.NftTable, name: str) -> bool:
    verdicts = (found for found in table.sets.values() if found.value_type == "verdict")
    return any(isinstance(e.value, n.VerdictValue) and e.value.chain == name for found in verdicts for e in found.elements)


def _jumps(rules: Iterable[n.NftRule]) -> Iterator[str]:
    for rule in rules:
        for statement in rule.statements:
            if isinstance(statement, n.Verdict) and statement.value.chain:
                yield statement.value.chain
            elif isinstance(statement, n.VerdictMap) and isinstance(statement.map, n.SetLiteral):
                yield from (e.value.chain for e in statement.map.elements if isinstance(e.value, n.VerdictValue) and e.value.chain)
