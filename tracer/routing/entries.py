"""Typed reading of the objects that ``ip -j`` prints, or that ``ip_text`` makes of text: accesses check, and a fault names the entry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address

from tracer.errors import Fault, ParseError
from tracer.json_values import load_json
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.routing import ip_text, proc_text
from tracer.routing.model import Network

_INTEGER = pattern(r"-?(?:0[xX][0-9a-fA-F]{1,40}|[0-9]{1,40})", re.ASCII)
_MASK = pattern(r"[0-9]{1,3}", re.ASCII)


def load_entries(text: str, file: str, kind: str) -> tuple[Entry, ...]:
    """Return the objects of the JSON array in *text*, or of what ``ip`` prints for people. *kind*: what it lists (``route``, …).

    Empty objects are left out: ``ip -j addr show dev X`` prints one for each device that is not X.
    :raises ParseError: *text* is neither; the fault has line and column.
    """
    listed = [] if text.lstrip()[:1] in ("[", "{") else ip_text.lines_of(text)
    if not ip_text.is_json(listed):
        read = proc_text.routes if kind == "route" and proc_text.is_routes(listed) else ip_text.READERS[kind]
        return entries_of(read(listed, file), file)
    if listed:
        text = "\n" * (listed[0][0] - 1) + "\n".join(shown for _, shown in listed)
    try:
        value = load_json(text)
    except json.JSONDecodeError as error:
        lines = text.splitlines() or [""]
        shown = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
        fault = Fault(file=file, line=error.lineno, column=error.colno - 1, message=f"not JSON: {error.msg}", text=shown)
        raise ParseError(fault) from None
    except ValueError as error:
        raise ParseError(Fault(file=file, line=None, column=None, message=f"not JSON: {error}")) from None
    if not isinstance(value, list):
        raise ParseError(Fault(file=file, line=1, column=0, message="not a JSON array"))
    entries = []
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise ParseError(Fault(file=file, line=None, column=None, message=f"entry {index} is not an object"))
        if item:
            entries.append(Entry(item, file, index))
    return tuple(entries)


def entries_of(read: Iterable[tuple[int, Mapping[str, object]]], file: str) -> tuple[Entry, ...]:
    """Return the objects that a reader of text made, with their lines."""
    return tuple(Entry(fields, file, index, line=line or None) for index, (line, fields) in enumerate(read))


class Entry:
    """One JSON object of a file, read field by field; *seen* remembers which fields somebody asked for."""

    __slots__ = ("file", "index", "line", "seen", "values", "where")

    def __init__(self, values: Mapping[str, object], file: str, index: int, where: str = "", line: int | None = None) -> None:
        self.line = line
        self.values = values
        self.file = file
        self.index = index
        self.where = where
        self.seen: set[str] = set()

    def fail(self, message: str) -> ParseError:
        """Return the error that says *message* about this entry."""
        return ParseError(Fault(file=self.file, line=self.line, column=None, message=f"entry {self.index}{self.where}: {message}"))

    def has(self, key: str) -> bool:
        """Return whether the field is there, whatever its value (``ip`` prints flags as null)."""
        self.seen.add(key)
        return key in self.values

    def flag(self, key: str) -> bool:
        """Return whether a flag is set: present, and neither false nor 0."""
        self.seen.add(key)
        return key in self.values and self.values[key] is not False and self.values[key] != 0

    def text(self, key: str) -> str | None:
        """Return a text field, None if absent; numbers come as their text. :raises ParseError: anything else."""
        self.seen.add(key)
        value = self.values.get(key)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise self.fail(f"{key} is not text")

    def integer(self, key: str, default: int | None = None, *, low: int = 0, high: int = 0xFFFFFFFF) -> int | None:
        """Return a whole number (JSON number, or decimal or hexadecimal text). :raises ParseError: not one in range."""
        text = self.text(key)
        if text is None:
            return default
        if not _INTEGER.fullmatch(text):
            raise self.fail(f"{key} {text!r} is not a whole number")
        number = int(text, 16 if "x" in text.lower() else 10)
        if not low <= number <= high:
            raise self.fail(f"{key} {number} is not in {low} to {high}")
        return number

    def required(self, key: str) -> str:
        """Return a text field that must be there. :raises ParseError: absent or not text."""
        value = self.text(key)
        if value is None:
            raise self.fail(f"{key} is missing")
        return value

    def address(self, key: str) -> Address | None:
        """Return an address field, None if absent. :raises ParseError: not an address."""
        text = self.text(key)
        return None if text is None else self.as_address(key, text)

    def as_address(self, key: str, text: str) -> Address:
        """Return *text* as an address. :raises ParseError: it is none."""
        try:
            return ip_address(text)
        except ValueError:
            raise self.fail(f"{key} {text!r} is not an address") from None

    def prefix(self, key: str, text: str, version: int) -> Network:
        """Return *text* (``default``, ``all``, an address, a prefix) as a network. :raises ParseError: it is none of *version*."""
        if text in ("default", "all", "any"):
            return IPv4Network((0, 0)) if version == 4 else IPv6Network((0, 0))
        base, slash, length = text.partition("/")
        address = self.as_address(key, base)
        if address.version != version or (slash and not (_MASK.fullmatch(length) and int(length) <= address.max_prefixlen)):
            raise self.fail(f"{key} {text!r} is not an IPv{version} prefix")
        bits = int(length) if slash else address.max_prefixlen
        mask = ((1 << bits) - 1) << (address.max_prefixlen - bits)
        if version == 4:
            return IPv4Network((int(address) & mask, bits))
        return IPv6Network((int(address) & mask, bits))

    def children(self, key: str) -> tuple[Entry, ...]:
        """Return a field's array of objects. :raises ParseError: it is something else."""
        self.seen.add(key)
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.fail(f"{key} is not an array of objects")
        return tuple(Entry(item, self.file, self.index, f"{self.where} {key}[{n}]", self.line) for n, item in enumerate(value) if item)

    def child(self, key: str) -> Entry | None:
        """Return a field's object, None if absent. :raises ParseError: it is something else."""
        self.seen.add(key)
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.fail(f"{key} is not an object")
        return Entry(value, self.file, self.index, f"{self.where} {key}", self.line)

    def words(self, key: str) -> tuple[str, ...]:
        """Return a field's array of texts, empty if absent. :raises ParseError: it is something else."""
        self.seen.add(key)
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fail(f"{key} is not an array of words")
        return tuple(value)

    def unseen(self, harmless: frozenset[str]) -> tuple[str, ...]:
        """Return the fields nobody asked for that are not *harmless*, sorted."""
        return tuple(sorted(key for key in self.values if key not in self.seen and key not in harmless))
