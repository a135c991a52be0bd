"""A manifest's fields, read with every mistake noted: which object, which field, what is wrong with it, and what would be right.

Strategy: reading goes on behind a mistake, as whoever corrects a file wants to know all of them at once. A value that is wrong reads as
absent. Of a Secret nothing is read, so that no message quotes one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_network

from tracer.errors import Fault
from tracer.kube.near import nearest
from tracer.limits import SKETCH_MISTAKES
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.query import parse_address
from tracer.sketch.manifest import Manifest

_LABEL = pattern(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_PIECE = pattern(r"[a-z0-9-]{1,253}", re.ASCII)
_PORT_NAME = pattern(r"[a-z0-9-]{1,15}", re.ASCII)
_LABEL_VALUE = pattern(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_LABEL_KEY = pattern(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_LONGEST_NAME = 253
_QUOTED = 60
_WORDS = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list", float: "a number"}
_QUOTES = " Put it in quotation marks."
_NO_QUOTES = " Take its quotation marks away."


class Mistakes:
    """What is wrong with manifests, in the order of the files; of very many the first ones, and that there are more."""

    def __init__(self) -> None:
        self._faults: dict[Fault, None] = {}
        self._wrong: set[int] = set()

    def note(self, manifest: Manifest, path: str, message: str) -> None:
        """Note what is wrong with the field at *path* of *manifest*."""
        self._wrong.add(id(manifest))
        where = f"{manifest.said}: {path}" if path else manifest.said
        printable = f"{where}: {message}".encode(errors="backslashreplace").decode()
        if len(self._faults) < SKETCH_MISTAKES:
            self._faults.setdefault(Fault(file=manifest.file, line=manifest.line, column=None, message=printable))
        elif len(self._faults) == SKETCH_MISTAKES:
            more = f"more than {SKETCH_MISTAKES} mistakes: the others are not listed (limit SKETCH_MISTAKES)"
            self._faults.setdefault(Fault(file=manifest.file, line=None, column=None, message=more))

    def has(self, manifest: Manifest) -> bool:
        """Return whether something is wrong with *manifest*."""
        return id(manifest) in self._wrong

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return the mistakes, file by file and line by line."""
        return tuple(sorted(self._faults, key=lambda one: (one.file, one.line or 1 << 60)))

    def __bool__(self) -> bool:
        return bool(self._faults)


class Checked:
    """One object inside a manifest; *path* is how to reach it."""

    __slots__ = ("_manifest", "_mapping", "_mistakes", "path")

    def __init__(self, manifest: Manifest, mapping: Mapping[str, object], mistakes: Mistakes, path: str = "") -> None:
        self._manifest, self._mapping, self._mistakes, self.path = manifest, mapping, mistakes, path

    def at(self, key: str) -> str:
        """Return how to reach the field *key*."""
        return f"{self.path}.{key}" if self.path and key else self.path or key

    def wrong(self, key: str, message: str) -> None:
        """Note what is wrong with the field *key*."""
        self._mistakes.note(self._manifest, self.at(key), message)

    def has(self, key: str) -> bool:
        """Return whether the field is there and not null."""
        return self._mapping.get(key) is not None

    def raw(self, key: str) -> object:
        """Return the field as it was written."""
        return self._mapping.get(key)

    def spelling(self, names: Collection[str]) -> None:
        """Note every field that is one of *names* but for its capitals: what else is not known is left alone."""
        known = {name.lower(): name for name in names}
        for key in map(str, self._mapping):
            right = known.get(key.lower(), key)
            if right != key:
                self.wrong(key[:_QUOTED], f"there is no field of this name. Did you mean {right}?")

    def only(self, names: Collection[str]) -> None:
        """Note every field that is none of *names*, with the one that is meant where it looks like it."""
        for key in self._mapping:
            if key not in names:
                near = nearest(str(key), names, count=1)
                meant = f" Did you mean {near[0]}?" if near else ""
                self.wrong(str(key)[:_QUOTED], f"there is no field of this name.{meant}")

    def text(self, key: str) -> str | None:
        """Return a text; None where it is absent or wrong."""
        value = self._read(key, str)
        if not isinstance(value, str):
            return None
        if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
            self.wrong(key, "holds half of a surrogate pair")
            return None
        return value

    def number(self, key: str, low: int, high: int) -> int | None:
        """Return a whole number from *low* to *high*; None where it is absent or wrong."""
        value = self._read(key, int)
        if not isinstance(value, int):
            return None
        if not low <= value <= high:
            self.wrong(key, f"{value} is not from {low:,} to {high:,}.")
            return None
        return value

    def port(self, key: str) -> int | None:
        """Return a port number; None where it is absent or wrong."""
        value = self._read(key, int)
        if isinstance(value, int) and not 1 <= value <= 65535:
            self.wrong(key, f"{value} is no port: ports are 1 to 65535.")
            return None
        return value if isinstance(value, int) else None

    def flag(self, key: str) -> bool | None:
        """Return true or false; None where it is absent or wrong."""
        value = self._read(key, bool)
        return value if isinstance(value, bool) else None

    def word(self, key: str, words: Collection[str]) -> str | None:
        """Return one of *words*; None where it is absent or wrong."""
        value = self.text(key)
        if value is None or value in words:
            return value
        near = [one for one in words if one.lower() == value.lower()] or nearest(value, words, count=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        self.wrong(key, f"{value[:_QUOTED]!r} is not {_either(tuple(words))}.{meant}")
        return None

    def nested(self, key: str) -> Checked:
        """Return the object under *key*; an empty one where it is absent or wrong."""
        value = self._read(key, dict)
        return Checked(self._manifest, value if isinstance(value, dict) else {}, self._mistakes, self.at(key))

    def each(self, key: str) -> tuple[Checked, ...]:
        """Return the objects of the list under *key*."""
        return tuple(self._each(key))

    def _each(self, key: str) -> Iterator[Checked]:
        for place, value in enumerate(self.values(key)):
            if isinstance(value, dict):
                yield Checked(self._manifest, value, self._mistakes, f"{self.at(key)}[{place}]")
            else:
                self.wrong(f"{key}[{place}]", f"is {_kind(value)}, not an object.")

    def values(self, key: str) -> list[object]:
        """Return the list under *key*, empty where it is absent or wrong."""
        value = self._read(key, list)
        return value if isinstance(value, list) else []

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the texts of the list under *key*."""
        found = []
        for place, value in enumerate(self.values(key)):
            if isinstance(value, str):
                found.append(value)
            else:
                self.wrong(f"{key}[{place}]", f"is {_kind(value)}, not a text.")
        return tuple(found)

    def address(self, key: str) -> Address | None:
        """Return an IP address; None where it is absent, empty or wrong."""
        text = self.text(key)
        return self.address_of(key, text) if text else None

    def address_of(self, key: str, text: str) -> Address | None:
        """Return the address that *text* is, None where it is none, which is noted of *key*."""
        found = parse_address(text)
        if found is None:
            self.wrong(key, f"{text[:_QUOTED]!r} is not an IP address.")
        return found

    def networks(self, key: str) -> None:
        """Note what in the list under *key* is no network in CIDR notation."""
        for place, text in enumerate(self.texts(key)):
            try:
                ip_network(text.strip(), strict=False)
            except ValueError:
                self.wrong(f"{key}[{place}]", f"{text[:_QUOTED]!r} is not a network like 203.0.113.0/24.")
            else:
                if "/" not in text:
                    self.wrong(f"{key}[{place}]", f"{text[:_QUOTED]!r} is an address, and a network like {text.strip()}/32 is wanted.")

    def labels(self, key: str) -> Mapping[str, str]:
        """Return labels, or what selects them; those that are wrong are left out."""
        found = {}
        for name, value in self.nested(key)._mapping.items():
            path = f"{key}[{str(name)[:_QUOTED]}]"
            if not _LABEL_KEY.fullmatch(str(name)):
                self.wrong(path, "is not a label's name: letters, digits, -, _ and . after an optional domain and a slash.")
            elif not isinstance(value, str):
                quotes = _QUOTES if isinstance(value, bool | int | float) else ""
                self.wrong(path, f"is {_kind(value)}, not a text.{quotes}")
            elif not _LABEL_VALUE.fullmatch(value):
                self.wrong(path, f"{value[:_QUOTED]!r} is not a label's value: at most 63 letters, digits, -, _ and .")
            else:
                found[str(name)] = value
        return found

    def name(self, key: str = "name", *, is_subdomain: bool = False) -> str | None:
        """Return a name that must be there: a DNS label, or several with dots between."""
        value = self.text(key)
        if value:
            return value if self.is_name(key, value, is_subdomain=is_subdomain) else None
        if not self.has(key) or value == "":
            self.wrong(key, "is missing.")
        return None

    def is_name(self, key: str, value: str, *, is_subdomain: bool = False) -> bool:
        """Return whether *value* is a name, and note of *key* where it is none."""
        if is_subdomain:
            pieces = value.split(".") if len(value) <= _LONGEST_NAME else [""]
            is_right = all(_PIECE.fullmatch(one) and not one.startswith("-") and not one.endswith("-") for one in pieces)
        else:
            is_right = _LABEL.fullmatch(value) is not None
        if not is_right:
            wanted = f"{_LONGEST_NAME} small letters, digits, dots and -" if is_subdomain else "63 small letters, digits and -"
            self.wrong(key, f"{value[:_QUOTED]!r} is not a name: at most {wanted}, with a letter or digit at each end.")
        return is_right

    def port_name(self, key: str, value: str) -> None:
        """Note of *key* where *value* is no name of a container's port. Source: apimachinery validation.IsValidPortName."""
        letters = any(one.isalpha() for one in value)
        if not _PORT_NAME.fullmatch(value) or not letters or "--" in value or value[0] == "-" or value[-1] == "-":
            self.wrong(key, f"{value[:_QUOTED]!r} is not a port's name: at most 15 small letters, digits and -, with a letter among them.")

    def _read(self, key: str, kind: type) -> object:
        value = self._mapping.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            hint = _QUOTES if kind is str and isinstance(value, bool | int | float) else ""
            hint = _NO_QUOTES if isinstance(value, str) and ((kind is int and value.isdigit()) or _is_flag(kind, value)) else hint
            self.wrong(key, f"is {_kind(value)}, not {_WORDS[kind]}.{hint}")
            return None
        return value


def _is_flag(kind: type, value: str) -> bool:
    return kind is bool and value in ("true", "false")


def _kind(value: object) -> str:
    return "nothing" if value is None else _WORDS.get(type(value), "something else")


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]
