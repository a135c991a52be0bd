"""The text of iptables-save, cut into tables and chains; a rule is parsed when a packet first reaches it.

Owns the layout of the file: ``*table``, ``:CHAIN POLICY [n:n]``, rules (with or without counters), ``COMMIT``, comments.
Strategy: one pass over the lines that only looks at their beginning. What is broken is kept where it stood: a bad rule line becomes a
rule with a *fault*, a table without COMMIT is *truncated*; whoever walks into either learns it there and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tracer.errors import Fault, ParseError
from tracer.netfilter.index import ChainIndex, pinned_matches
from tracer.netfilter.model import Rule, UnmodelledTarget
from tracer.netfilter.rule_text import parse_rule, strip_counters

_CHAIN = re.compile(r":(\S+) (ACCEPT|DROP|QUEUE|RETURN|-)(?: \[[0-9]+:[0-9]+\])?\s*", re.ASCII)
TABLES = ("raw", "mangle", "nat", "filter", "security", "broute")
BUILT_IN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
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
    _rules: dict[int, Rule] = field(default_factory=dict)
    _index: ChainIndex | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def rule(self, position: int) -> Rule:
        """Return the rule at *position*; a line that is no rule comes back with its *fault* and an unmodelled target."""
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
    """One iptables-save or ip6tables-save file. *truncated*: it ends inside a table, so tables may be missing altogether."""

    file: str
    lines: list[str]
    tables: dict[str, Table] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    truncated: bool = False
    indexed: bool = True

    @property
    def rule_count(self) -> int:
        """Return how many rules the dump holds."""
        return sum(len(c) for t in self.tables.values() for c in t.chains.values())


def parse_dump(text: str, file: str, *, indexed: bool = True) -> Dump:
    """Return the tables and chains of an iptables-save text; rules are not parsed yet.

    Never raises: what is wrong with the layout is in ``faults`` and in the ``truncated`` marks.
    Source: iptables-save(8), iptables 1.8.9.
    """
    lines = text.split("\n")
    dump = Dump(file, lines, indexed=indexed)
    table: Table | None = None
    members: dict[str, list[int]] = {}
    for number, line in enumerate(lines, 1):
        first = line[:1]
        if first == "-" or first == "[":
            start = 0 if first == "-" else line.find("] ") + 2
            if line.startswith("-A ", start) and table is not None:
                end = line.find(" ", start + 3)
                name = line[start + 3 :].rstrip() if end < 0 else line[start + 3 : end]
                numbers = members.get(name)
                if numbers is None:
                    numbers = members[name] = _chain_of(dump, table, name, number, line).numbers
                numbers.append(number)
            else:
                dump.faults.append(Fault(file=file, line=number, column=0, message="a rule outside a table, or not -A", text=line))
        elif first == ":":
            _declare(dump, table, members, line, number)
        elif first == "*":
            _end(dump, table, number)
            table, members = _begin(dump, line, number), {}
        elif line.startswith("COMMIT") and not line[6:].strip():
            table = None
        elif first and first != "#" and line.strip():
            dump.faults.append(Fault(file=file, line=number, column=0, message="not a line of iptables-save", text=line))
    if table is not None:
        _end(dump, table, len(lines))
        dump.truncated = True
    return dump


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
    name, policy = found[1], found[2]
    if policy == "-" and name in BUILT_IN.get(table.name, ()):
        policy = "ACCEPT"  # iptables-restore reads '-' as: leave the policy alone, and ACCEPT is what a new table has
    chain = table.chains.get(name)
    if chain is None:
        chain = table.chains[name] = Chain(name, None if policy == "-" else policy, table, number)
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
    faults = list(dump.faults)
    for table in dump.tables.values():
        for chain in table.chains.values():
            for number in chain.numbers:
                try:
                    parse_rule(dump.lines[number - 1], number, table.chains, file=file)
                except ParseError as error:
                    faults.extend(error.faults)
    return tuple(sorted(faults, key=lambda f: f.line or 0))
