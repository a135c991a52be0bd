"""Where the rules of an answer stand after a file changed around them: the same rules, on other lines.

A rule is found again by its chain, its text and which of several alike it is. What cannot be found again has no new line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Protocol, TypeVar

from tracer.explain.dependencies.facets import dump_of, nft_of, virtual_servers_of
from tracer.ipvs.model import VirtualServers
from tracer.netfilter.dump import Chain, Dump
from tracer.netfilter.nft_model import NftChain, NftRuleset
from tracer.netfilter.rule_text import strip_counters
from tracer.patterns import pattern
from tracer.snapshot.node_files import BY_NAME, Holds
from tracer.trace import Step, Trace

T = TypeVar("T")
Identity = tuple[str, ...]
Lines = Mapping[int, int | None]
"""Old line → new line; None where there is none any more."""


def moved(before: bytes, after: bytes, name: str, wanted: Collection[int]) -> Lines:
    """Return where the rules, chains or servers on the *wanted* lines of *before* stand in *after*; *name* is the documented one."""
    old, new = _reader(before, name), _reader(after, name)
    if old is None or new is None:
        return dict.fromkeys(wanted)
    identities = {line: old.identity(line) for line in wanted}
    return {line: None if identity is None else new.line(identity) for line, identity in identities.items()}


class _Reader(Protocol):
    def identity(self, line: int) -> Identity | None: ...
    def line(self, identity: Identity) -> int | None: ...


def _reader(content: bytes, name: str) -> _Reader | None:
    holds = BY_NAME[name].holds if name in BY_NAME else None
    if holds is Holds.NFT:
        ruleset = nft_of(content, name)
        return _InNft(ruleset) if ruleset else None
    if holds is Holds.VIRTUAL_SERVERS:
        servers = virtual_servers_of(content, name)
        return _InServers(servers) if servers else None
    dump = dump_of(content, name) if holds is Holds.XTABLES else None
    return _InDump(dump) if dump else None


def _numbered(items: Iterable[tuple[str, int]]) -> Iterator[tuple[tuple[str, str], int]]:
    """Yield (text, which of several alike it is) and the line of each item."""
    counted: dict[str, int] = {}
    for text, line in items:
        counted[text] = counted.get(text, 0) + 1
        yield (text, str(counted[text])), line


class _InDump:
    """Rules and chains of an iptables dump."""

    def __init__(self, dump: Dump) -> None:
        self._dump = dump

    def identity(self, line: int) -> Identity | None:
        """Return what stands on *line*: table, chain, text and number."""
        table = max((t for t in self._dump.tables.values() if t.line <= line), key=lambda t: t.line, default=None)
        text = strip_counters(self._dump.lines[line - 1]) if 0 < line <= len(self._dump.lines) else ""
        name = text[1:].partition(" ")[0] if text.startswith(":") else text.removeprefix("-A ").partition(" ")[0]
        chain = table.chains.get(name) if table else None
        if table is None or chain is None:
            return None
        return next(((table.name, name, *rest) for rest, at in _numbered(self._items(chain)) if at == line), None)

    def line(self, identity: Identity) -> int | None:
        """Return where the same stands here."""
        table = self._dump.tables.get(identity[0])
        chain = table.chains.get(identity[1]) if table else None
        # NB: a chain without rules is false.
        return None if chain is None else next((at for rest, at in _numbered(self._items(chain)) if rest == identity[2:]), None)

    def _items(self, chain: Chain) -> Iterator[tuple[str, int]]:
        if chain.line is not None:
            yield ":", chain.line
        yield from ((strip_counters(chain.text(i)).rstrip(), number) for i, number in enumerate(chain.numbers))


class _InNft:
    """Rules and chains of an nft listing."""

    def __init__(self, ruleset: NftRuleset) -> None:
        self._chains = {(t.family, t.name, c.name): c for t in ruleset.tables for c in t.chains.values()}

    def identity(self, line: int) -> Identity | None:
        """Return what stands on *line*: table, chain, text and number."""
        above = ((key, c) for key, c in self._chains.items() if c.line is not None and c.line <= line)
        found = max(above, key=lambda pair: pair[1].line or 0, default=None)
        if found is None:
            return None
        return next(((*found[0], *rest) for rest, at in _numbered(self._items(found[1])) if at == line), None)

    def line(self, identity: Identity) -> int | None:
        """Return where the same stands here."""
        chain = self._chains.get((identity[0], identity[1], identity[2]))
        return next((at for rest, at in _numbered(self._items(chain)) if rest == identity[3:]), None) if chain is not None else None

    def _items(self, chain: NftChain) -> Iterator[tuple[str, int]]:
        if chain.line is not None:
            yield ":", chain.line
        yield from ((rule.text, rule.line) for rule in chain.rules if rule.line is not None)


class _InServers:
    """Virtual and real servers of IPVS."""

    def __init__(self, servers: VirtualServers) -> None:
        lines = [(s.text, s.line) for s in servers.servers] + [(r.text, r.line) for s in servers.servers for r in s.real_servers]
        self._lines: dict[Identity, int] = dict(_numbered(lines))
        self._identities = {line: identity for identity, line in self._lines.items()}

    def identity(self, line: int) -> Identity | None:
        """Return what stands on *line*."""
        return self._identities.get(line)

    def line(self, identity: Identity) -> int | None:
        """Return where the same stands here."""
        return self._lines.get(identity)


def surroundings_differ(before: bytes | None, after: bytes | None, lines: Iterable[int]) -> bool:
    """Return whether other lines stand around one of *lines* than before, as a page shows them; counters and dates do not count."""
    wanted = {n for line in lines for n in range(line - _NEIGHBOURS, line + _NEIGHBOURS + 1)}
    if not wanted or before is None or after is None:
        return False
    return _texts(before, wanted) != _texts(after, wanted)


def _texts(content: bytes, wanted: Collection[int]) -> list[bytes]:
    last = max(wanted)
    lines = content.split(b"\n", last)
    return [_COUNTERS.sub(b"", lines[n - 1]) for n in sorted(wanted) if 0 < n <= min(last, len(lines))]


_NEIGHBOURS = 3
_COUNTERS = pattern(rb" ?\[[0-9]+:[0-9]+\]| ?packets [0-9]+ bytes [0-9]+|^# .*")


def placed(trace: Trace) -> frozenset[tuple[str, int]]:
    """Return every file and line that *trace* names, in a step or in a sentence."""
    return frozenset(_named(trace))


_PLACE = pattern(r"(?<![^\s:(\[\"'])(?P<file>[^\s:(\[\"'/]*+/[^\s:(\[\"']++):(?P<line>[0-9]{1,9})", re.ASCII)


def _named(value: object) -> Iterator[tuple[str, int]]:
    if isinstance(value, str):
        yield from ((found["file"], int(found["line"])) for found in _PLACE.finditer(value))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _named(item)
    elif isinstance(value, Mapping):
        if isinstance(value.get("file"), str) and isinstance(value.get("line"), int):
            yield value["file"], value["line"]
        yield from _named(tuple(value.values()))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        if isinstance(value, Step) and value.file is not None and value.line is not None:
            yield value.file, value.line
        yield from _named(tuple(getattr(value, f.name) for f in dataclasses.fields(value)))


def relined(value: T, file: str, lines: Lines) -> T:
    """Return *value* (a trace or a part of one) with the lines of *file* as *lines* has them, in steps and in sentences."""
    return _relined(value, file, lines)  # type: ignore[return-value]


def _relined(value: object, file: str, lines: Lines) -> object:
    if isinstance(value, str):
        return re.sub(rf"(?<={re.escape(file)}:)[0-9]{{1,9}}", partial(_number, lines), value) if file in value else value
    if isinstance(value, tuple):
        made = [_relined(item, file, lines) for item in value]
        return value if all(a is b for a, b in zip(made, value, strict=True)) else type(value)(made)
    if isinstance(value, Mapping):
        made_items = {key: _relined(item, file, lines) for key, item in value.items()}
        if value.get("file") == file and isinstance(value.get("line"), int):
            made_items["line"] = lines.get(value["line"]) or value["line"]
        return made_items
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _dataclass(value, file, lines)
    return value


def _dataclass(value: object, file: str, lines: Lines) -> object:
    changed: dict[str, object] = {}
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        held = getattr(value, field.name)
        if field.init and (made := _relined(held, file, lines)) is not held and made != held:
            changed[field.name] = made
    if isinstance(value, Step) and value.file == file and value.line is not None:
        changed["line"] = lines.get(value.line) or value.line
    return dataclasses.replace(value, **changed) if changed else value  # type: ignore[type-var]


def _number(lines: Lines, found: re.Match[str]) -> str:
    return str(lines.get(int(found[0])) or found[0])
