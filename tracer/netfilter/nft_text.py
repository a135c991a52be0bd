"""``nft list ruleset`` as text (and the ``add …`` commands that scripts are made of) to the model.

Strategy: a listing as nft prints it is cut by ``nft_listing`` without reading its rules. Anything else (scripts, other indentation, a
listing that is cut off) is read here in full, line by line. What cannot be read stays where it stood: a rule with its *fault*, a set marked
*unread*; what may hide whole chains makes the rule set *incomplete*. Includes are such: their files are not in a snapshot.
Source: nft(8) 1.0.9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import field

from tracer.errors import Fault, ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_listing import ASKED_BY_NAME, NotAListing, cut_listing
from tracer.netfilter.nft_partial import commented, listing_in, mark_what_is_left_out
from tracer.netfilter.nft_rule_line import FAMILIES, BadHeader, base_header, read_rule
from tracer.netfilter.nft_sets import read_set
from tracer.patterns import pattern
from tracer.values import dataclass

_QUOTED = pattern(r'"[^"]*"')
_SHOWN = 100
"""How much of a line that cannot be placed is told."""


def parse_text(text: str, file: str) -> n.NftRuleset:
    """Return the rule set that *text* lists; it keeps every fault, with line and caret. Never raises."""
    try:
        ruleset, commands = cut_listing(text, file), commented(text)
    except NotAListing:
        ruleset, commands = _pasted(text, file)
    mark_what_is_left_out(ruleset, commands)
    return ruleset


def _pasted(text: str, file: str) -> tuple[n.NftRuleset, list[tuple[int, str]]]:
    """The rule set of a text that is not laid out as nft prints it, at least not from its first line on."""
    listing, commands = listing_in(text)
    if listing != text:
        with suppress(NotAListing):
            return cut_listing(listing, file), commands
    reader = _Reader(n.NftRuleset(file))
    reader.read(listing.split("\n"))
    reader.mark_dynamic_sets()
    return reader.ruleset, commands


@dataclass(slots=True)
class _Reader:
    ruleset: n.NftRuleset
    blocks: dict[tuple[str, str], int] = field(default_factory=dict)

    def read(self, lines: list[str]) -> None:
        statements = _joined(lines)
        for number_, line in statements:
            words = line.split()
            if words[0] == "table" and line.endswith(" {") and len(words) in (3, 4) and _named(words[1:-1])[0] in FAMILIES:
                self.table_block(words, number_, statements)
            elif words[0] == "table" and len(words) in (2, 3) and "{" not in line and _named(words[1:])[0] in FAMILIES:
                self.table(*_named(words[1:]), number_)
            elif words[0] in ("add", "create", "insert") and len(words) >= 3:
                self.command(words, line, number_)
            elif words[0] in ("flush", "destroy", "delete"):
                self.removal(words, line, number_)
            else:
                said = f"{line.strip()[:_SHOWN]!r} is not a table, and not a command that adds something"
                self.lost(number_, line, f"{said}: it may hold further rules")

    def mark_dynamic_sets(self) -> None:
        """Give every set that a rule updates the flag ``dynamic``, as the kernel does: scripts leave it out."""
        for table in self.ruleset.tables:
            statements = (s for chain in table.chains.values() for rule in chain.rules for s in rule.statements)
            for name in {s.set for s in statements if isinstance(s, n.SetUpdate)}:
                if (found := table.sets.get(name)) is not None:
                    found.flags = tuple(sorted({*found.flags, "dynamic"}))

    def fault(self, line: int, text: str, message: str, column: int = 0) -> Fault:
        found = Fault(file=self.ruleset.file, line=line, column=column, message=message, text=text)
        self.ruleset.faults.append(found)
        return found

    def lost(self, line: int, text: str, message: str) -> None:
        """Note a fault behind which whole chains may be missing."""
        found = self.fault(line, text, message)
        self.ruleset.incomplete = self.ruleset.incomplete or found

    def table(self, family: str, name: str, line: int) -> n.NftTable:
        found = next((t for t in self.ruleset.tables if (t.family, t.name) == (family, name)), None)
        if found is None:
            found = n.NftTable(family, name, line=line)
            self.ruleset.tables.append(found)
        return found

    # -- blocks of a listing ------------------------------------------------------------------------------------------------------

    def table_block(self, words: list[str], line: int, lines: Iterator[tuple[int, str]]) -> None:
        family, name = _named(words[1:-1])
        if family not in FAMILIES:
            self.lost(line, f"table {family} {name} {{", f"{family!r} is no family: which packets the table is for is not known")
        if (first := self.blocks.setdefault((family, name), line)) != line:
            message = f"table {family} {name} stands here and at line {first}: these are two listings, and which is the node's is not said"
            self.lost(line, f"table {family} {name} {{", message)
        table = self.table(family, name, line)
        for at, text in lines:
            if text == "}":
                return
            kind, _, rest = text.partition(" ")
            if kind == "chain" and text.endswith("{"):
                chain = table.chains.setdefault(rest[:-1].strip(), n.NftChain(rest[:-1].strip(), line=at))
                self.chain_block(table, chain, lines)
            elif kind in ("set", "map") and text.endswith("{"):
                self.set_block(table, kind, rest[:-1].strip(), at, lines)
            elif kind == "comment":
                table.comment = rest.strip().strip('"')
            elif kind == "flags":
                table.flags = tuple(rest.rstrip(";").replace(",", " ").split())
            elif text.endswith("{") and kind in ASKED_BY_NAME:
                _skip_block(lines)
            else:
                self.lost(at, text, "not a part of a table")
        self.lost(line, f"table {family} {name} {{", f"the listing is cut off in table {family} {name}")

    def chain_block(self, table: n.NftTable, chain: n.NftChain, lines: Iterator[tuple[int, str]]) -> None:
        rules = list(chain.rules)
        chain.rules = rules
        last = 0
        for at, text in lines:
            last = at
            if text == "}":
                return
            if text.startswith("type ") or " hook " in _QUOTED.sub("", text):  # no rule begins like this, and none has that word
                self.base(table, chain, text, at)
            elif text.startswith("comment ") and text.count('"') == 2 and not rules:
                chain.comment = text[8:].strip().rstrip(";").strip('"')
            elif text.startswith("policy "):
                self.base(table, chain, text, at)
            else:
                rules.append(self.rule(table, text, at))
        rules[-1:] = [n.NftRule(rules[-1].text if rules else "", (), line=last or None, fault="the listing is cut off in this chain")]

    def base(self, table: n.NftTable, chain: n.NftChain, text: str, line: int) -> None:
        try:
            base_header(chain, text, table.family)
        except BadHeader as bad:
            self.lost(line, text, str(bad))

    def rule(self, table: n.NftTable, text: str, line: int) -> n.NftRule:
        return read_rule(text, line, table, self.ruleset)

    def set_block(self, table: n.NftTable, kind: str, name: str, line: int, lines: Iterator[tuple[int, str]]) -> None:
        parts = []
        for _, text in lines:
            if text == "}":
                break
            parts.append(text)
        self.set(table, kind, name, "\n".join(parts), line)

    # -- sets ---------------------------------------------------------------------------------------------------------------------

    def set(self, table: n.NftTable, kind: str, name: str, body: str, line: int) -> None:
        found = table.sets.setdefault(name, n.NftSet(name, (), line=line))
        try:
            read_set(found, body, table.family)
        except ParseError as error:
            found.unread = True
            first = error.faults[0]
            self.fault(line + (first.line or 1), first.text, first.message, first.column or 0)
        if kind == "map" and found.value_type is None:
            found.value_type = "verdict"

    # -- commands -----------------------------------------------------------------------------------------------------------------

    def command(self, words: list[str], line: str, at: int) -> None:
        what = words[1]
        if words[2] not in FAMILIES:
            words = [*words[:2], "ip", *words[2:]]
            line = " ".join(words)
        if len(words) < 4:
            self.lost(at, line, f"{what!r} cannot be added")
            return
        table = self.table(words[2], words[3].strip('"'), at)
        rest = line.split(None, 4)[4] if len(words) > 4 else ""
        if what == "table":
            found = re.search(r'comment "([^"]*)"', rest)
            table.comment = found[1] if found else table.comment
        elif what == "chain" and rest:
            self.chain_command(table, rest, at)
        elif what in ("set", "map", "element") and rest:
            name, _, body = rest.partition(" ")
            body = body.strip().removeprefix("{").removesuffix("}")
            self.set(table, what, name, f"elements = {{ {body} }}" if what == "element" else body, at)
        elif what == "rule" and rest:
            self.rule_command(words[0], table, rest, at)
        elif what not in ("counter", "quota", "limit", "ct", "flowtable", "secmark", "synproxy"):
            self.lost(at, line, f"{what!r} cannot be added")

    def rule_command(self, verb: str, table: n.NftTable, rest: str, at: int) -> None:
        name, _, text = rest.partition(" ")
        chain = table.chains.setdefault(name, n.NftChain(name, line=at))
        rules = list(chain.rules)
        placed = re.match(r"(?:position|index|handle) [0-9]+ ", text.strip(), re.ASCII)
        if placed:
            self.lost(at, text, "where a rule is put by position, index or handle is not followed")
        rule = self.rule(table, text.strip()[placed.end() if placed else 0 :], at)
        rules.insert(0 if verb == "insert" else len(rules), rule)
        chain.rules = rules

    def removal(self, words: list[str], line: str, at: int) -> None:
        """``flush ruleset``, and what is done to a whole table; of anything else the effect is not followed."""
        if words[1:2] == ["ruleset"]:
            self.ruleset.tables.clear()
            self.blocks.clear()
        elif words[1:2] == ["table"] and len(words) in (3, 4):
            key = _named(words[2:])
            self.blocks.pop(key, None)
            for table in [t for t in self.ruleset.tables if (t.family, t.name) == key]:
                if words[0] != "flush":
                    self.ruleset.tables.remove(table)
                for chain in table.chains.values():
                    chain.rules = []
        else:
            self.lost(at, line, "what this command takes away is not followed")

    def chain_command(self, table: n.NftTable, rest: str, at: int) -> None:
        name, _, body = rest.partition(" ")
        chain = table.chains.setdefault(name, n.NftChain(name, line=at))
        chain.rules = list(chain.rules)
        body = body.strip().removeprefix("{").removesuffix("}").strip()
        if body:
            self.base(table, chain, body, at)


def _named(words: list[str]) -> tuple[str, str]:
    """The family and name of a table: without a family it is ip."""
    family, name = (words[0], words[1]) if len(words) > 1 else ("ip", words[0])
    return family, name.strip('"')


def _joined(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of each line that says something; a line whose braces are open is joined with what closes them.

    NB: the brace that opens a table, chain or set ends its line and stays open: the block's lines follow one by one.
    """
    pending, start, depth = "", 0, 0
    for number_, raw in enumerate(lines, 1):
        text = raw.strip()
        if not pending and (not text or (text.startswith("#") and "handle" not in text)):
            continue
        text = _bare(text)
        if raw.endswith(" ") and text[-1:].isdigit():
            text += " "  # what read_rule knows an unprinted target by
        bare = _QUOTED.sub("", text)
        depth += bare.count("{") - bare.count("}")
        pending = f"{pending}\n{text}" if pending else text
        start = start or number_
        opens = not pending.count("\n") and bare.endswith("{") and "=" not in bare and _opens_block(bare)
        if depth > 0 and not opens and bare != "}":
            continue
        yield start, pending
        pending, start, depth = "", 0, 0
    if pending:
        yield start, pending


def _bare(text: str) -> str:
    """The line without a comment behind what opens or closes a block, or ends a declaration (``{ # progname firewalld``)."""
    if "#" not in text:
        return text
    place = _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), text).find("#")
    front = text[:place].rstrip() if place > 0 else ""
    return front if front.endswith(("{", "}", ";")) else text


def _opens_block(text: str) -> bool:
    return text.split(None, 1)[0] in ("table", "chain", "set", "map", "counter", "quota", "limit", "ct", "flowtable", "secmark", "synproxy")


def _skip_block(lines: Iterator[tuple[int, str]]) -> None:
    for _, text in lines:
        if text == "}":
            return
