"""The text of iptables-save, cut into tables and chains; a rule is parsed when a packet first reaches it.

Owns the layout of the file: ``*table``, ``:CHAIN POLICY [n:n]``, rules (with or without counters), ``COMMIT``, comments.
Strategy: one pass over the lines that only looks at their beginning. What is broken is kept where it stood: a bad rule line becomes a
rule with a *fault*, a table without COMMIT is *truncated*; whoever walks into either learns it there and nowhere else. Only where a line
has no place is the text read a second time, as somebody may have pasted it (``pasted.py``); what has no place then makes unknown what it
may be of (``placing.py``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tracer.errors import Fault, Faults, ParseError
from tracer.netfilter.dump import Chain, Dump, Table
from tracer.netfilter.hook_order import BUILT_IN_CHAINS, CHAINS_OF_TABLE
from tracer.netfilter.pasted import Pasted, read_paste
from tracer.netfilter.placing import Strays, place
from tracer.netfilter.rule_shapes import ShapeReader
from tracer.netfilter.rule_text import after_counters
from tracer.netfilter.split_text import SplitText
from tracer.patterns import pattern

_CHAIN = pattern(r":(\S+) (ACCEPT|DROP|QUEUE|RETURN|-)(?P<broken>[ \[].*)?", re.ASCII)
_COUNTED = pattern(r"(?: \[[0-9]+:[0-9]+\])?\s*", re.ASCII)
_UNLISTED = pattern(r"# Table `(\w+)' (?:is incompatible|contains incompatible base-chains), use 'nft' tool", re.ASCII)
_LEGACY = pattern(r"# Warning: ip6?tables-legacy tables present", re.ASCII)
TABLES = ("raw", "mangle", "nat", "filter", "security", "broute")
_HOOKS = frozenset(BUILT_IN_CHAINS)


def parse_dump(text: str, file: str, *, indexed: bool = True, is_kept: bool = True) -> Dump:
    """Return the tables and chains of an iptables-save text, or of what ``iptables -S`` prints; rules are not parsed yet.

    *is_kept*: its lines are asked for again and again, and each is kept as a string of its own.
    Never raises: what is wrong with the layout is in ``faults`` and in what the dump says that is not known.
    Source: iptables-save(8), iptables(8), iptables 1.8.9.
    """
    pasted = Pasted(text.split("\n") if is_kept else SplitText(text))
    dump = Dump(file, pasted.lines, indexed=indexed)
    strays = _read(dump, pasted)
    if strays.unplaced or strays.outside or "\x1b" in text:
        pasted = read_paste(pasted.lines)
        dump = Dump(file, pasted.lines, indexed=indexed, lists_all=pasted.lists_all)
        strays = _read(dump, pasted)
    place(dump, strays, pasted)
    return dump


def _read(dump: Dump, pasted: Pasted) -> Strays:
    """Read the layout into *dump*; return what has no place in it."""
    lines, begins, strays = dump.lines, pasted.begins, Strays()
    table: Table | None = None
    members: dict[str, list[int]] = {}
    again, numbers = "\n", list[int]()  # how a rule of the same chain as the last one begins, and that chain's rules
    for number, line in enumerate(lines, 1):
        if line.startswith(again):
            numbers.append(number)
            continue
        first = line[:1]
        if first == "-" or first == "[":
            start = 0 if first == "-" else after_counters(line)
            if line.startswith("-A ", start) and table is not None:
                end = line.find(" ", start + 3)
                name = line[start + 3 :].rstrip() if end < 0 else line[start + 3 : end]
                found = members.get(name)
                if found is None:
                    found = members[name] = _chain_of(dump, table, name, number, strays).numbers
                found.append(number)
                again, numbers = f"-A {name} ", found
            else:
                strays.add(number, is_outside=table is None)
                dump.fault(number, "a rule outside a table, or not -A")
        elif first == ":":
            if number in begins:
                _end(dump, table, number)
                table, members, again = _begin(dump, begins[number], number, strays), {}, "\n"
                table.is_listed = True
            name = line[1:-8]
            if table is not None and again == "\n" and line.endswith(" - [0:0]") and _is_new_name(name, members):
                members[name] = numbers = []
                table.chains[name] = Chain(name, None, table, number, numbers)
            else:
                _declare(dump, table, members, number, strays, is_late=again != "\n")
                again = "\n"
        elif first == "*":
            _end(dump, table, number)
            table, members, again = _begin(dump, line[1:].strip(), number, strays), {}, "\n"
        elif line.startswith("COMMIT") and not line[6:].strip():
            if table is not None:
                table.end = number
            table, again = None, "\n"
        elif first == "#":
            _remark(dump, line, number)
        elif first and line.strip():
            strays.add(number, is_outside=False)
            dump.fault(number, "not a line of iptables-save")
    _finish(dump, table)
    return strays


def _finish(dump: Dump, table: Table | None) -> None:
    """Mark a dump that ends too early."""
    if table is not None:
        _end(dump, table, len(dump.lines))
        dump.truncated = not table.is_listed
    elif _lacks_its_end(dump.lines):
        dump.truncated = True
        dump.fault(len(dump.lines), "the dump is cut off behind a table: iptables-save ends each with '# Completed'", None)


def _remark(dump: Dump, line: str, number: int) -> None:
    """Keep what a comment of iptables-save's says of rules that it does not list. Source: nft_is_table_compatible, xtables-save.c."""
    if found := _UNLISTED.match(line):
        dump.unlisted[found[1]] = number
    elif _LEGACY.match(line):
        dump.speaks_of_legacy = number


def _lacks_its_end(lines: Sequence[str]) -> bool:
    """Whether the dump has iptables-save's first line and not its last one. Source: do_output in iptables-save.c, xtables-save.c."""
    if not next((line for line in lines if line.strip()), "").startswith("# Generated by "):
        return False
    last = next((line for line in reversed(lines) if line.strip()), "")
    return not last.startswith(("# Completed on ", "# Table `", "# Warning: "))


def _is_new_name(name: str, members: dict[str, list[int]]) -> bool:
    """Whether a declaration of *name* is the usual one: of a user chain, for the first time. Anything else is read with care."""
    return name not in members and name not in _HOOKS and name != "" and " " not in name and name.isprintable()


def _begin(dump: Dump, name: str, number: int, strays: Strays) -> Table:
    table = Table(name, dump, number)
    if name not in TABLES:
        dump.fault(number, f"no table is called {name!r}" if name else "which table this lists is not said", 1)
    if name in dump.tables:
        dump.fault(number, f"table {name!r} appears twice", 1)
        strays.again.append(table)
    else:
        dump.tables[name] = table
    return table


def _declare(dump: Dump, table: Table | None, members: dict[str, list[int]], number: int, strays: Strays, *, is_late: bool) -> None:
    """Take a declaration that is not the usual one; one that is broken behind its policy still says what it is for."""
    found = _CHAIN.fullmatch(dump.lines[number - 1])
    built_in = CHAINS_OF_TABLE.get(table.name, ()) if table is not None else ()
    # Only built-in chains have a policy, so a name of another table's, or of none, is no name.
    is_fit = found is not None and (found[2] == "-" or not built_in or found[1] in built_in)
    if table is None or found is None or not is_fit:
        strays.add(number, is_outside=table is None)
        dump.fault(number, "not a chain declaration of a table")
        return
    if found["broken"] and not _COUNTED.fullmatch(found["broken"]):
        dump.fault(number, "not a chain declaration of a table: read as far as its policy")
    name, policy = found[1], found[2]
    if policy == "-":
        # iptables-restore reads '-' of a built-in chain as: leave the policy alone, and ACCEPT is what a new table has.
        policy = "ACCEPT" if name in built_in else None
    if is_late or (name in table.chains and name in built_in):
        strays.late.append(number)
        dump.fault(number, "a chain is declared behind rules, or twice: the first line of another table may be missing")
    chain = table.chains.get(name)
    if chain is None:
        chain = table.chains[name] = Chain(name, policy, table, number)
    members[name] = chain.numbers


def _chain_of(dump: Dump, table: Table, name: str, number: int, strays: Strays) -> Chain:
    chain = table.chains.get(name)
    if chain is None:
        dump.fault(number, f"chain {name!r} was not declared", 3)
        chain = table.chains[name] = Chain(name, "ACCEPT" if name in CHAINS_OF_TABLE.get(table.name, ()) else None, table, None)
        strays.undeclared.append(chain)
    return chain


def _end(dump: Dump, table: Table | None, number: int) -> None:
    """Mark a table without COMMIT: the chain its last rule is in, and every chain still without rules, may go on beyond the end."""
    if table is None:
        return
    table.end = number
    if table.is_listed:
        return
    table.truncated = True
    for name in CHAINS_OF_TABLE.get(table.name, ()):
        if name not in table.chains and not any(c.numbers for c in table.chains.values()):
            table.chains[name] = Chain(name, "ACCEPT", table, None, may_continue=True)
    dump.fault(number, f"table {table.name} has no COMMIT: the dump is cut off", None)
    last = max((c.numbers[-1] for c in table.chains.values() if c.numbers), default=0)
    for chain in table.chains.values():
        chain.may_continue = not chain.numbers or chain.numbers[-1] == last


def check(text: str, file: str) -> tuple[Fault, ...]:
    """Return every fault of a dump: of its layout, and of each rule, strictly parsed."""
    dump = parse_dump(text, file, indexed=False, is_kept=False)
    faults = Faults(dump.faults)
    for table in dump.tables.values():
        reader = ShapeReader(table.chains, file)
        for chain in table.chains.values():
            for number in chain.numbers:
                if number in dump.damaged:
                    continue
                try:
                    reader.check(dump.lines[number - 1], number)
                except ParseError as error:
                    faults.extend(error.faults)
        # Chains know their table: without this the whole dump would stay until somebody looks for such circles.
        table.chains.clear()
    return tuple(sorted(faults, key=lambda f: f.line or 0))
