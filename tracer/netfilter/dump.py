"""The rules of iptables as one text lists them: tables, chains, and what of them is not known.

Owns what a dump says for certain and what it does not: a line that is broken, a chain whose end or policy was lost, a table that was not
read, a text that is no dump at all. A rule is parsed when a packet first reaches it. ``iptables_save.py`` reads the text, ``placing.py``
says what lines that it could not place make unknown.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from tracer.added import Added
from tracer.errors import Fault, Faults, ParseError
from tracer.limits import FAULTS
from tracer.netfilter.index import ChainIndex, pinned_matches
from tracer.netfilter.model import Rule, UnmodelledTarget
from tracer.netfilter.rule_text import parse_rule, strip_counters
from tracer.patterns import pattern
from tracer.values import dataclass

_OF_NFT = pattern(r"\(nf_tables\)|xtables-save|-nft-save", re.ASCII)
_FIRST_LINES = 20  # of these one is iptables-save's own first line, behind a prompt or a banner
_ADDRESS = pattern(r" -[sd] [0-9a-f]{0,4}[.:]", re.ASCII)
_LONG = 24  # chains of at least this many rules are looked up by index


@dataclass(frozen=True, slots=True)
class Unread:
    """What keeps a part of a dump from being known, in words, and the line where that stands, if it is one."""

    why: str
    line: int | None = None


@dataclass(slots=True)
class Chain:
    """One chain: *policy* is None for a user chain. Rules are parsed on first use and kept.

    *unread* says what is not known of it behind its rules: that there are more, or its policy.
    """

    name: str
    policy: str | None
    table: Table
    line: int | None
    numbers: list[int] = field(default_factory=list)
    may_continue: bool = False
    unread: Unread | None = None
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
        if number in dump.damaged:
            return Rule(line.strip(), number, self.name, (), UnmodelledTarget("", line), fault=dump.damaged[number])
        if number in dump.unfinished:
            return self._faulty(number, "its end may stand in the next line, which is no rule")
        if dump.truncated and number == dump.recorded_lines:
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
            lines = self.table.dump.lines
            self._index = ChainIndex([lines[number - 1] for number in self.numbers])
        return self._index


@dataclass(slots=True)
class Table:
    """One table of a dump, from *line* to *end*. *truncated*: its COMMIT is missing. *is_listed*: ``iptables -S`` printed it."""

    name: str
    dump: Dump
    line: int
    chains: dict[str, Chain] = field(default_factory=dict)
    truncated: bool = False
    end: int | None = None
    is_listed: bool = False

    def maker(self, line: int | None) -> str:
        """Return whose programming the rule on *line* models; without a line, the table's."""
        dump = self.dump
        if dump.added is not None:
            return dump.added.by if dump.added.has(line) else dump.made_as
        text = dump.lines[line - 1] if line is not None and dump.makers else ""
        return next((maker for word, maker in dump.makers.items() if word in text), dump.made_as)

    def position(self, chain: str, line: int) -> int | None:
        """Return the place of the rule on *line* in *chain*, from 1 on; None where it has none there, or was recorded."""
        numbers = self.chains[chain].numbers if chain in self.chains else []
        if self.dump.added is not None:
            return numbers.index(line) + 1 if self.dump.added.has(line) and line in numbers else None
        at = bisect_left(numbers, line)
        return at + 1 if at < len(numbers) and numbers[at] == line else None


@dataclass(slots=True)
class Dump:
    """One iptables-save or ip6tables-save file. *truncated*: it ends inside a table, so tables may be missing altogether.

    *unread* are tables of which nothing is known for certain, though the file has, or may have, something of them; *illegible* says why
    nothing at all can be read of it. *damaged* are lines that belong to a chain and cannot be read, *unfinished* are rules whose end may
    stand in such a line. *lists_all* is whether the command
    that printed it lists all tables (False: only those it was asked for), None where the file does not tell.
    *unlisted* are tables that iptables-save says it cannot list, or not in full, with the line that says so; *speaks_of_legacy* is the line
    that warns of tables of the legacy back end. *made_as* says whose programming it models, "" where the text was recorded;
    *makers* are others, by a word that is in each of their rules. *added* are lines behind the recorded ones that a what-if question adds:
    the numbers of a chain are then in the order of its rules, and not of lines.
    """

    file: str
    lines: Sequence[str]
    tables: dict[str, Table] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    truncated: bool = False
    indexed: bool = True
    unlisted: dict[str, int] = field(default_factory=dict)
    speaks_of_legacy: int | None = None
    unread: dict[str, Unread] = field(default_factory=dict)
    illegible: Unread | None = None
    damaged: dict[int, str] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)
    lists_all: bool | None = None
    made_as: str = ""
    makers: Mapping[str, str] = field(default_factory=dict)
    added: Added | None = None
    _family: str | None = field(default=None, compare=False, repr=False)
    _counts: dict[tuple[str, str], int] = field(default_factory=dict, compare=False, repr=False)
    _judgements: dict[Callable[[Dump], bool], bool] = field(default_factory=dict, compare=False, repr=False)

    @property
    def recorded_lines(self) -> int:
        """Return how many lines were recorded."""
        return len(self.lines) if self.added is None else self.added.behind

    @property
    def is_legacy(self) -> bool:
        """Return whether the legacy back end holds these rules: the file is named so, or is not said to be of ``(nf_tables)``.

        NB: up to iptables 1.8.2 the nft back end calls itself xtables-save.
        """
        return "legacy" in self.file or bool(self.header and not _OF_NFT.search(self.header))

    @property
    def header(self) -> str:
        """Return iptables-save's own first line, "" where the text does not have it."""
        return next((x for x in self.lines[:_FIRST_LINES] if "Generated by" in x), "")

    @property
    def family(self) -> str | None:
        """Return the family of its first address, else of the program that printed it, as in a Step; None where it does not say.

        NB: xtables-save prints both. A first line that was typed or copied by hand may name the other program.
        """
        if not self.header:
            return None
        if self._family is None:
            found = next((found for line in self.lines if (found := _ADDRESS.search(line))), None)
            self._family = ("ip6" if ":" in found[0] else "ip") if found else ""
        return self._family or ("ip6" if "ip6tables" in self.header else "ip" if "iptables" in self.header else None)

    @property
    def rule_count(self) -> int:
        """Return how many rules the dump holds."""
        return sum(len(c) for t in self.tables.values() for c in t.chains.values())

    @property
    def is_empty(self) -> bool:
        """Return whether the text says nothing of any table."""
        return not self.tables and not self.unread and not self.unlisted and self.illegible is None

    def fault(self, line: int | None, message: str, column: int | None = 0) -> None:
        """Keep a fault of the layout, while there are not too many."""
        if len(self.faults) > FAULTS:
            return
        text = self.lines[line - 1] if line is not None and column is not None and line <= len(self.lines) else ""
        self.faults.append(Fault(file=self.file, line=line, column=column if text else None, message=message, text=text))

    def judged(self, question: Callable[[Dump], bool]) -> bool:
        """Return what *question* says of the dump as a whole, asked once: for who keeps account of what is asked of it."""
        if question not in self._judgements:
            self._judgements[question] = question(self)
        return self._judgements[question]

    def count(self, table: str, prefix: str) -> int:
        """Return how many chains of *table* have rules and a name that begins with *prefix*."""
        if (table, prefix) not in self._counts:
            chains = self.tables[table].chains.items() if table in self.tables else ()
            self._counts[table, prefix] = sum(1 for name, chain in chains if name.startswith(prefix) and chain.numbers)
        return self._counts[table, prefix]
