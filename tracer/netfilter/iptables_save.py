"""The text of iptables-save, cut into tables and chains; a rule is parsed when a packet first reaches it.

Owns the layout of the file: ``*table``, ``:CHAIN POLICY [n:n]``, rules (with or without counters), ``COMMIT``, comments.
Strategy: one pass over the lines that only looks at their beginning. What is broken is kept where it stood: a bad rule line becomes a
rule with a *fault*, a table without COMMIT is *truncated*; whoever walks into either learns it there and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tracer.errors import Fault, Faults, ParseError
from tracer.netfilter.index import ChainIndex, pinned_matches
from tracer.netfilter.model import Rule, UnmodelledTarget
from tracer.netfilter.rule_shapes import ShapeReader
from tracer.netfilter.rule_text import parse_rule, strip_counters

_CHAIN = re.compile(r":(\S+) (ACCEPT|DROP|QUEUE|RETURN|-)(?: \[[0-9]+:[0-9]+\])?\s*", re.ASCII)
_OF_NFT = re.compile(r"\(nf_tables\)|xtables-save|-nft-save", re.ASCII)
_UNLISTED = re.compile(r"# Table `(\w+)' (?:is incompatible|contains incompatible base-chains), use 'nft' tool", re.ASCII)
_LEGACY = re.compile(r"# Warning: ip6?tables-legacy tables present", re.ASCII)
TABLES = ("raw", "mangle", "nat", "filter", "security", "broute")
BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
_HOOKS = frozenset(BUILT_IN["mangle"])
_LONG = 24  # chains of at least this many rules are looked up by index


@dataclass(slots=True)
class Chain:
    """One chain: *policy* is None for a user chain. Rules are parsed on first use and kept."""

    name: str
    policy: str | None
    table: Table
    line: int | None
    numbers: list[int] = field(default_factory=list)
    may_continue: bool = False
    _rules: dict[int, Rule] | None = None
    _index: ChainIndex | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def rule(self, position: int) -> Rule:
        """Return the rule at *position*; a line that is no rule comes back with its *fault* and an unmodelled target."""
        if self._rules is None:
            self._rules = {}
        found = self._rules.get(position)
        if found is None:
            found = self._rules[position] = self._parsed(self.numbers[position])
        return found

    def text(self, position: int) -> str:
        """Return the line of the rule at *position* as the dump has it."""
        return self.table.dump.lines[self.numbers[position] - 1]

    def _parsed(self, number: int) -> Rule:
        dump = self.table.dump
        line = dump.lines[number - 1]
        if dump.truncated and number == len(dump.lines):
            return self._faulty(number, "the dump is cut off in this line")
        try:
            return parse_rule(line, number, self.table.chains, file=dump.file)
        except ParseError as error:
            return self._faulty(number, error.faults[0].message)

    def _faulty(self, number: int, fault: str) -> Rule:
        text = strip_counters(self.table.dump.lines[number - 1]).rstrip()
        return Rule(text, number, self.name, pinned_matches(text), UnmodelledTarget("", text), fault=fault)

    @property
    def index(self) -> ChainIndex | None:
        """Return the index over this chain, or None for a short chain."""
        if self._index is None and self.table.dump.indexed and len(self.numbers) >= _LONG:
            self._index = ChainIndex([self.text(i) for i in range(len(self.numbers))])
        return self._index


@dataclass(slots=True)
class Table:
    """One table of a dump. *truncated*: its COMMIT is missing."""

    name: str
    dump: Dump
    line: int
    chains: dict[str, Chain] = field(default_factory=dict)
    truncated: bool = False


@dataclass(slots=True)
class Dump:
    """One iptables-save or ip6tables-save file. *truncated*: it ends inside a table, so tables may be missing altogether.

    *unlisted* are tables that iptables-save says it cannot list, or not in full, with the line that says so; *speaks_of_legacy* is the line
    that warns of tables of the legacy back end.
    """

    file: str
    lines: list[str]
    tables: dict[str, Table] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    truncated: bool = False
    indexed: bool = True
    unlisted: dict[str, int] = field(default_factory=dict)
    speaks_of_legacy: int | None = None
    _counts: dict[tuple[str, str], int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_legacy(self) -> bool:
        """Return whether the legacy back end holds these rules: the file is named so, or is not said to be of ``(nf_tables)``.

        NB: up to iptables 1.8.2 the nft back end calls itself xtables-save.
        """
        return "legacy" in self.file or any("Generated by" in x and not _OF_NFT.search(x) for x in self.lines[:1])

    @property
    def rule_count(self) -> int:
        """Return how many rules the dump holds."""
        return sum(len(c) for t in self.tables.values() for c in t.chains.values())

    def judged(self, question: Callable[[Dump], bool]) -> bool:
        """Return what *question* says of the dump as a whole: for who keeps account of what is asked of it."""
        return question(self)

    def count(self, table: str, prefix: str) -> int:
        """Return how many chains of *table* have rules and a name that begins with *prefix*."""
        if (table, prefix) not in self._counts:
            chains = self.tables[table].chains.items() if table in self.tables else ()
            self._counts[table, prefix] = sum(1 for name, chain in chains if name.startswith(prefix) and chain.numbers)
        return self._counts[table, prefix]


def parse_dump(text: str, file: str, *, indexed: bool = True) -> Dump:
    """Return the tables and chains of an iptables-save text; rules are not parsed yet.

    Never raises: what is wrong with the layout is in ``faults`` and in the ``truncated`` marks.
    Source: iptables-save(8), iptables 1.8.9.
    """
    lines = text.split("\n")
    dump = Dump(file, lines, indexed=indexed)
    table: Table | None = None
    members: dict[str, list[int]] = {}
    again, numbers = "\n", list[int]()  # how a rule of the same chain as the last one begins, and that chain's rules
    for number, line in enumerate(lines, 1):
        if line.startswith(again):
            numbers.append(number)
            continue
        first = line[:1]
        if first == "-" or first == "[":
            start = 0 if first == "-" else line.find("] ") + 2
            if line.startswith("-A ", start) and table is not None:
                end = line.find(" ", start + 3)
                name = line[start + 3 :].rstrip() if end < 0 else line[start + 3 : end]
                found = members.get(name)
                if found is None:
                    found = members[name] = _chain_of(dump, table, name, number, line).numbers
                found.append(number)
                again, numbers = f"-A {name} ", found
            else:
                dump.faults.append(Fault(file=file, line=number, column=0, message="a rule outside a table, or not -A", text=line))
        elif first == ":":
            name = line[1:-8]
            if table is not None and line.endswith(" - [0:0]") and _is_new_name(name, members):
                members[name] = numbers = []
                table.chains[name] = Chain(name, None, table, number, numbers)
                again = "\n"
            else:
                _declare(dump, table, members, line, number)
        elif first == "*":
            _end(dump, table, number)
            table, members, again = _begin(dump, line, number), {}, "\n"
        elif line.startswith("COMMIT") and not line[6:].strip():
            table, again = None, "\n"
        elif first == "#":
            _remark(dump, line, number)
        elif first and line.strip():
            dump.faults.append(Fault(file=file, line=number, column=0, message="not a line of iptables-save", text=line))
    if table is not None:
        _end(dump, table, len(lines))
        dump.truncated = True
    elif _lacks_its_end(lines):
        dump.truncated = True
        message = "the dump is cut off behind a table: iptables-save ends each with '# Completed'"
        dump.faults.append(Fault(file=file, line=len(lines), column=None, message=message))
    return dump


def _remark(dump: Dump, line: str, number: int) -> None:
    """Keep what a comment of iptables-save's says of rules that it does not list. Source: nft_is_table_compatible, xtables-save.c."""
    if found := _UNLISTED.match(line):
        dump.unlisted[found[1]] = number
    elif _LEGACY.match(line):
        dump.speaks_of_legacy = number


def _lacks_its_end(lines: list[str]) -> bool:
    """Whether the dump has iptables-save's first line and not its last one. Source: do_output in iptables-save.c, xtables-save.c."""
    if not lines[0].startswith("# Generated by "):
        return False
    last = next((line for line in reversed(lines) if line.strip()), "")
    return not last.startswith(("# Completed on ", "# Table `", "# Warning: "))


def _is_new_name(name: str, members: dict[str, list[int]]) -> bool:
    """Whether a declaration of *name* is the usual one: of a user chain, for the first time. Anything else is read with care."""
    return name not in members and name not in _HOOKS and name != "" and " " not in name and name.isprintable()


def _begin(dump: Dump, line: str, number: int) -> Table:
    name = line[1:].strip()
    if name not in TABLES:
        dump.faults.append(Fault(file=dump.file, line=number, column=1, message=f"no table is called {name!r}", text=line))
    if name in dump.tables:
        dump.faults.append(Fault(file=dump.file, line=number, column=1, message=f"table {name!r} appears twice", text=line))
    table = dump.tables[name] = Table(name, dump, number)
    return table


def _declare(dump: Dump, table: Table | None, members: dict[str, list[int]], line: str, number: int) -> None:
    found = _CHAIN.fullmatch(line)
    if table is None or not found:
        dump.faults.append(Fault(file=dump.file, line=number, column=0, message="not a chain declaration of a table", text=line))
        return
    name, policy = found.groups()
    if policy == "-":
        # iptables-restore reads '-' of a built-in chain as: leave the policy alone, and ACCEPT is what a new table has.
        policy = "ACCEPT" if name in BUILT_IN.get(table.name, ()) else None
    chain = table.chains.get(name)
    if chain is None:
        chain = table.chains[name] = Chain(name, policy, table, number)
    members[name] = chain.numbers


def _chain_of(dump: Dump, table: Table, name: str, number: int, line: str) -> Chain:
    chain = table.chains.get(name)
    if chain is None:
        dump.faults.append(Fault(file=dump.file, line=number, column=3, message=f"chain {name!r} was not declared", text=line))
        chain = table.chains[name] = Chain(name, "ACCEPT" if name in BUILT_IN.get(table.name, ()) else None, table, None)
    return chain


def _end(dump: Dump, table: Table | None, number: int) -> None:
    """Mark a table without COMMIT: the chain its last rule is in, and every chain still without rules, may go on beyond the end."""
    if table is None:
        return
    table.truncated = True
    for name in BUILT_IN.get(table.name, ()):
        if name not in table.chains and not any(c.numbers for c in table.chains.values()):
            table.chains[name] = Chain(name, "ACCEPT", table, None)
    message = f"table {table.name} has no COMMIT: the dump is cut off"
    dump.faults.append(Fault(file=dump.file, line=number, column=None, message=message))
    last = max((c.numbers[-1] for c in table.chains.values() if c.numbers), default=0)
    for chain in table.chains.values():
        chain.may_continue = not chain.numbers or chain.numbers[-1] == last


def check(text: str, file: str) -> tuple[Fault, ...]:
    """Return every fault of a dump: of its layout, and of each rule, strictly parsed."""
    dump = parse_dump(text, file, indexed=False)
    faults = Faults(dump.faults)
    for table in dump.tables.values():
        reader = ShapeReader(table.chains, file)
        for chain in table.chains.values():
            for number in chain.numbers:
                try:
                    reader.check(dump.lines[number - 1], number)
                except ParseError as error:
                    faults.extend(error.faults)
    return tuple(sorted(faults, key=lambda f: f.line or 0))
