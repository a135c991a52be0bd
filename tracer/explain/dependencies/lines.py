"""Where the rules of an answer stand after a file changed around them: the same rules, on other lines.

A rule is found again by its chain, its text and which of several alike it is. What cannot be found again has no new line.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TypeVar

from tracer.explain.dependencies.facets import dump_of, nft_of, virtual_servers_of
from tracer.netfilter.rule_text import strip_counters
from tracer.trace import Step, Trace

T = TypeVar("T")
Identity = tuple[str, ...]
Lines = Mapping[int, int | None]
"""Old line → new line; None where there is none any more."""


def moved(before: bytes, after: bytes, name: str) -> Lines:
    """Return for every line of a rule, chain or server in *before* where it stands in *after*; *name* is the file's documented one."""
    old, new = _places(before, name), _places(after, name)
    return {line: new.get(identity) for identity, line in old.items()}


def _places(content: bytes, name: str) -> Mapping[Identity, int]:
    """Return what stands on each line that a step or a finding may name, told apart by how many alike came before."""
    counted: dict[Identity, int] = {}
    found: dict[Identity, int] = {}
    for identity, line in _identities(content, name):
        number = counted[identity] = counted.get(identity, 0) + 1
        found[(*identity, str(number))] = line
    return found


def _identities(content: bytes, name: str) -> Iterator[tuple[Identity, int]]:
    if name.startswith("nft-ruleset"):
        yield from _of_nft(content, name)
    elif name == "ipvsadm-save.txt":
        servers = virtual_servers_of(content, name)
        for server in servers.servers if servers else ():
            yield (server.text,), server.line
            yield from (((server.text, real.text), real.line) for real in server.real_servers)
    elif name.endswith("-save.txt") and "tables" in name:
        dump = dump_of(content, name)
        for chain in (c for table in dump.tables.values() for c in table.chains.values()) if dump else ():
            table = chain.table
            yield from (((table.name, chain.name, ":"), line) for line in (chain.line,) if line is not None)
            yield from (((table.name, chain.name, strip_counters(chain.text(i)).rstrip()), n) for i, n in enumerate(chain.numbers))


def _of_nft(content: bytes, name: str) -> Iterator[tuple[Identity, int]]:
    ruleset = nft_of(content, name)
    for table in ruleset.tables if ruleset else ():
        for chain in table.chains.values():
            where = (table.family, table.name, chain.name)
            yield from (((*where, ":"), line) for line in (chain.line,) if line is not None)
            yield from (((*where, rule.text), rule.line) for rule in chain.rules if rule.line is not None)


def placed(trace: Trace) -> frozenset[tuple[str, int]]:
    """Return every file and line that *trace* names, in a step or in a sentence."""
    return frozenset(_named(trace))


_PLACE = re.compile(r"(?P<file>[^\s:(\[\"']+/[^\s:]+):(?P<line>[0-9]+)", re.ASCII)


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
        return re.sub(rf"(?<={re.escape(file)}:)[0-9]+", partial(_number, lines), value) if file in value else value
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
