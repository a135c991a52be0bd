"""A listing exactly as nft prints it, cut into chains and sets by its indentation; rules are parsed when a packet reaches their chain.

Owns only that one layout: tables at the margin, their parts one tab in, rules two. Anything else is ``NotAListing``, and is read in full.
Source: do_list_ruleset, table_print, chain_print_declaration and set_print in rule.c, nftables 1.0.6 to 1.1.
"""

from __future__ import annotations

import re

from tracer.errors import ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_deferred import Deferred
from tracer.netfilter.nft_rule_line import FAMILIES, BadHeader, base_header, read_rule
from tracer.netfilter.nft_sets import defer_set
from tracer.patterns import pattern
from tracer.values import dataclass

_TABLE = pattern(r"table (\S+) (\S+) \{(?: #[^\n]*)?\n", re.ASCII)
_BLOCK = pattern(r"\t(\S+) (?:(\S+) )*?(\S+) \{(?: #[^\n]*)?\n", re.ASCII)
_SAID = pattern(r'\t(?:comment "([^"\n]*)"|flags ([^\n;]*));?\n', re.ASCII)
ASKED_BY_NAME = frozenset({"counter", "quota", "limit", "ct", "flowtable", "secmark", "synproxy", "tunnel"})
"""What a table may hold that no walk asks by itself."""


class NotAListing(Exception):
    """The text is not laid out as nft prints listings."""


def cut_listing(text: str, file: str) -> n.NftRuleset:
    """Return the rule set of a listing, its rules and elements not yet read. :raises NotAListing: it is not laid out as nft prints it."""
    return _Cutter(text, n.NftRuleset(file)).cut()


@dataclass(slots=True)
class _Cutter:
    text: str
    ruleset: n.NftRuleset
    at: int = 0
    line: int = 1

    def cut(self) -> n.NftRuleset:
        text = self.text
        while self.at < len(text):
            if text.startswith(("#", "\n"), self.at):
                self.skip(text.find("\n", self.at) + 1)
            elif found := _TABLE.match(text, self.at):
                self.table(found)
            else:
                raise NotAListing
        return self.ruleset

    def skip(self, to: int) -> None:
        """Go on at offset *to*; 0 is what a search that found nothing gives."""
        if to <= 0:
            to = len(self.text)
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def table(self, found: re.Match[str]) -> None:
        family, name = found.groups()
        if family not in FAMILIES or any((t.family, t.name) == (family, name) for t in self.ruleset.tables):
            raise NotAListing
        table = n.NftTable(family, name, line=self.line)
        self.ruleset.tables.append(table)
        self.skip(found.end())
        while not self.text.startswith("}", self.at):
            if self.text.startswith("\n", self.at):
                self.skip(self.at + 1)
            elif said := _SAID.match(self.text, self.at):
                table.comment = said[1] if said[1] is not None else table.comment
                table.flags = tuple(said[2].replace(",", " ").split()) if said[2] is not None else table.flags
                self.skip(said.end())
            elif block := _BLOCK.match(self.text, self.at):
                self.block(table, block)
            else:
                raise NotAListing
        if not self.text.startswith(("}\n", "}"), self.at) or self.text[self.at + 1 : self.at + 2] not in ("", "\n"):
            raise NotAListing
        self.skip(self.at + 2)

    def block(self, table: n.NftTable, head: re.Match[str]) -> None:
        end = self.text.find("\n\t}\n", head.end() - 1)
        if end < 0:
            raise NotAListing
        kind, name, line = head[1], head[3], self.line
        body = slice(head.end(), max(end, head.end() - 1))
        if kind == "chain" and head[2] is None:
            self.chain(table, name, line, body)
        elif kind in ("set", "map") and head[2] is None:
            self.set(table, kind, name, line, self.text[body])
        elif kind not in ASKED_BY_NAME:
            raise NotAListing
        self.skip(end + 4)

    def chain(self, table: n.NftTable, name: str, line: int, body: slice) -> None:
        chain = n.NftChain(name, line=line)
        if name in table.chains:
            raise NotAListing
        table.chains[name] = chain
        if self.text.startswith("\t\tcomment ", body.start) or self.text.find("\t\ttype ", body.start, body.stop) >= 0:
            self.headers(table, chain, body)
        text, ruleset = self.text, self.ruleset
        chain.rules = Deferred(lambda: _rules(text[body], line + 1, table, ruleset))

    def headers(self, table: n.NftTable, chain: n.NftChain, body: slice) -> None:
        for place, line in enumerate(self.text[body].split("\n")):
            if line.startswith("\t\ttype "):
                try:
                    base_header(chain, line.strip(), table.family)
                except BadHeader:
                    raise NotAListing from None
            elif place == 0 and _is_comment(line):
                chain.comment = line.strip()[9:-1]

    def set(self, table: n.NftTable, kind: str, name: str, line: int, body: str) -> None:
        found = n.NftSet(name, (), line=line)
        if name in table.sets:
            raise NotAListing
        table.sets[name] = found
        try:
            defer_set(found, body, table.family, line + 1, self.ruleset)
        except ParseError:
            raise NotAListing from None
        if kind == "map" and found.value_type is None:
            found.value_type = "verdict"


def _is_comment(line: str) -> bool:
    return line.startswith('\t\tcomment "') and line.endswith('"') and line.count('"') == 2


def _rules(body: str, line: int, table: n.NftTable, ruleset: n.NftRuleset) -> tuple[n.NftRule, ...]:
    """The rules of a chain's block, whose first line is number *line*. NB: a comment there is the chain's, further down a rule's."""
    found = []
    for number, text in enumerate(body.split("\n"), line):
        is_header = text.startswith("\t\ttype ") or (number == line and _is_comment(text))
        if text and not text.isspace() and not is_header:
            found.append(read_rule(text, number, table, ruleset))
    return tuple(found)
