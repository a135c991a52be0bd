"""``nft list ruleset`` as text (and the ``add …`` commands that scripts are made of) to the model.

Strategy: the listing is cut line by line into tables, chains and sets; a rule goes to ``nft_statements``, a set's block to its element
parser. What cannot be read stays where it stood: a rule with its *fault*, a set marked *unread*.
Source: nft(8) 1.0.9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tracer.errors import Fault, ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_statements import _Parser, parse_statements
from tracer.netfilter.nft_words import Token, number, priority, seconds, tokens

_COUNTED = re.compile(r"\bcounter packets [0-9]+ bytes [0-9]+", re.ASCII)
_FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
_QUOTED = re.compile(r'"[^"]*"')
_BASE = re.compile(
    r"type (?P<type>\S+) hook (?P<hook>\S+)(?: device \"?(?P<device>[^\s\"]+)\"?)?(?: devices = [^;]*?)?"
    r" priority (?P<priority>[^;]+?)\s*;?$",
    re.ASCII,
)


def without_counts(text: str) -> str:
    """Return a rule's text with its counters' values left out."""
    return _COUNTED.sub("counter", text)


def parse_text(text: str, file: str) -> tuple[n.NftRuleset, tuple[Fault, ...]]:
    """Return the rule set that *text* lists, and every fault, with line and caret. Never raises."""
    reader = _Reader(file)
    reader.read(text.split("\n"))
    ruleset = n.NftRuleset(file, list(reader.tables.values()))
    ruleset.mark_dynamic_sets()
    return ruleset, tuple(reader.faults)


@dataclass(slots=True)
class _Reader:
    file: str
    tables: dict[tuple[str, str], n.NftTable] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def read(self, lines: list[str]) -> None:
        statements = _joined(lines)
        for number_, line in statements:
            words = line.split()
            if words[0] == "table" and line.endswith("{"):
                self.table_block(words, number_, statements)
            elif words[0] in ("add", "create", "insert") and len(words) >= 4:
                self.command(words, line, number_)
            elif words[0] not in ("flush", "destroy", "delete"):
                self.fault(number_, line, "not a table, and not a command that adds something")

    def fault(self, line: int, text: str, message: str, column: int = 0) -> None:
        self.faults.append(Fault(file=self.file, line=line, column=column, message=message, text=text))

    def table(self, family: str, name: str, line: int) -> n.NftTable:
        return self.tables.setdefault((family, name), n.NftTable(family, name, line=line))

    # -- blocks of a listing ------------------------------------------------------------------------------------------------------

    def table_block(self, words: list[str], line: int, lines: Iterator[tuple[int, str]]) -> None:
        family, name = (words[1], words[2]) if words[1] in _FAMILIES else ("ip", words[1])
        table = self.table(family, name.strip('"'), line)
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
            elif text.endswith("{"):
                _skip_block(lines)  # counters, quotas, flow tables, helpers: nothing a walk asks by itself
            else:
                self.fault(at, text, "not a part of a table")
        self.fault(line, "", f"table {family} {name} is cut off")
        for chain in table.chains.values():
            chain.rules.append(n.NftRule("", (), fault="the listing is cut off here"))

    def chain_block(self, table: n.NftTable, chain: n.NftChain, lines: Iterator[tuple[int, str]]) -> None:
        for at, text in lines:
            if text == "}":
                return
            if text.startswith("type ") and " hook " in text:
                self.base(table, chain, text, at)
            elif text.startswith("comment ") and text.count('"') == 2:
                chain.comment = text[8:].strip().rstrip(";").strip('"')
            elif text.startswith("policy "):
                chain.policy = text[7:].rstrip("; ")
            else:
                chain.rules.append(self.rule(table, text, at))

    def base(self, table: n.NftTable, chain: n.NftChain, text: str, line: int) -> None:
        for part in text.split(";"):
            part = part.strip()
            if part.startswith("policy "):
                chain.policy = part[7:]
            elif part.startswith("comment "):
                chain.comment = part[8:].strip('" ')
            elif part and (found := _BASE.fullmatch(part)):
                chain.type, chain.hook, chain.device = found["type"], found["hook"], found["device"]
                chain.priority = priority(found["priority"], table.family)
                if chain.priority is None:
                    self.fault(line, text, f"the priority {found['priority']!r} is not known")
                    chain.rules.append(n.NftRule(text, (), line=line, fault="the chain's priority is not known"))
            elif part:
                self.fault(line, text, f"{part!r} is not known of a chain")
        if chain.hook and chain.policy is None:
            chain.policy = "accept"

    def rule(self, table: n.NftTable, text: str, line: int) -> n.NftRule:
        handle = None
        if found := re.search(r"\s+# handle ([0-9]+)$", text):
            handle, text = int(found[1]), text[: found.start()]
        shown = without_counts(text)
        try:
            statements, comment = parse_statements(text, table.family)
        except ParseError as error:
            self.fault(line, text, error.faults[0].message, error.faults[0].column or 0)
            return n.NftRule(shown, (), line=line, handle=handle, fault=error.faults[0].message)
        return n.NftRule(shown, statements, comment, handle, line)

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
            _SetReader(found, body, tokens(body), table.family).read()
        except ParseError as error:
            found.unread = True
            first = error.faults[0]
            self.fault(line + (first.line or 1), first.text, first.message, first.column or 0)
        if kind == "map" and found.value_type is None:
            found.value_type = "verdict"

    # -- commands -----------------------------------------------------------------------------------------------------------------

    def command(self, words: list[str], line: str, at: int) -> None:
        what, family = words[1], words[2]
        if family not in _FAMILIES:
            words = [*words[:2], "ip", *words[2:]]
            family = "ip"
            line = " ".join(words)
        table = self.table(family, words[3].strip('"'), at)
        rest = line.split(None, 4)[4] if len(line.split(None, 4)) > 4 else ""
        if what == "table":
            found = re.search(r'comment "([^"]*)"', rest)
            table.comment = found[1] if found else table.comment
        elif what == "chain":
            self.chain_command(table, rest, at)
        elif what in ("set", "map", "element") and rest:
            name, _, body = rest.partition(" ")
            body = body.strip().removeprefix("{").removesuffix("}")
            self.set(table, what, name, f"elements = {{ {body} }}" if what == "element" else body, at)
        elif what == "rule" and rest:
            name, _, text = rest.partition(" ")
            chain = table.chains.setdefault(name, n.NftChain(name, line=at))
            rule = self.rule(table, re.sub(r"^(?:position|index|handle) [0-9]+ ", "", text.strip()), at)
            chain.rules.insert(0, rule) if words[0] == "insert" else chain.rules.append(rule)
        else:
            self.fault(at, line, f"{what!r} cannot be added")

    def chain_command(self, table: n.NftTable, rest: str, at: int) -> None:
        name, _, body = rest.partition(" ")
        chain = table.chains.setdefault(name, n.NftChain(name, line=at))
        body = body.strip().removeprefix("{").removesuffix("}").strip()
        if body:
            self.base(table, chain, body, at)


@dataclass(slots=True)
class _SetReader:
    """Reads the body of a set or map."""

    found: n.NftSet
    text: str
    words: list[Token]
    family: str
    at: int = 0

    def read(self) -> None:
        parser = _Parser(self.text, self.words, self.family)
        while parser.at < len(self.words):
            word = parser.take().text
            match word:
                case ";":
                    continue
                case "type":
                    self.types(parser)
                case "typeof":
                    self.typeof(parser)
                case "flags":
                    self.found.flags = self.flags(parser)
                case "timeout" | "gc-interval":
                    value = seconds(parser.take("a time").text)
                    self.found.timeout = value if word == "timeout" else self.found.timeout
                case "size":
                    self.found.size = number(parser.take("a number").text)
                case "comment":
                    self.found.comment = parser.take("the comment").text
                case "policy":
                    parser.take()
                case "counter" | "auto-merge":
                    self.found.auto_merge = self.found.auto_merge or word == "auto-merge"
                case "elements":
                    parser.expect("=")
                    parser.expect("{")
                    self.found.elements.extend(parser.elements("").elements)
                case _:
                    parser.at -= 1
                    raise parser.error(f"{word!r} is not known of a set")

    def flags(self, parser: _Parser) -> tuple[str, ...]:
        flags = [parser.take("a flag").text]
        while parser.accept(","):
            flags.append(parser.take("a flag").text)
        return tuple(flags)

    def types(self, parser: _Parser) -> None:
        keys = [parser.take("a type").text]
        while parser.accept("."):
            keys.append(parser.take("a type").text)
        self.found.key_types = tuple(keys)
        if parser.accept(":"):
            values = [parser.take("a type").text]
            while parser.accept("."):
                values.append(parser.take("a type").text)
            self.found.value_type = " . ".join(values)

    def typeof(self, parser: _Parser) -> None:
        self.found.key_types = ("typeof " + parser.rest(lambda w: w in _SET_WORDS or w in (";", ":")),)
        if parser.accept(":"):
            self.found.value_type = parser.rest(lambda w: w in _SET_WORDS or w == ";")


_SET_WORDS = frozenset(
    {"flags", "timeout", "gc-interval", "size", "comment", "policy", "counter", "auto-merge", "elements", "type", "typeof"}
)


def _joined(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of each line that says something; a line whose braces are open is joined with what closes them.

    NB: the brace that opens a table, chain or set ends its line and stays open: the block's lines follow one by one.
    """
    pending, start, depth = "", 0, 0
    for number_, raw in enumerate(lines, 1):
        text = raw.strip()
        if not pending and (not text or (text.startswith("#") and "handle" not in text)):
            continue
        text = re.sub(r"\s+# handle [0-9]+$", "", text) if text.endswith("{") else text
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


def _opens_block(text: str) -> bool:
    return text.split(None, 1)[0] in ("table", "chain", "set", "map", "counter", "quota", "limit", "ct", "flowtable", "secmark", "synproxy")


def _skip_block(lines: Iterator[tuple[int, str]]) -> None:
    for _, text in lines:
        if text == "}":
            return
