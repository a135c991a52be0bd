"""Reading one API object's fields, typed: absent and null are the same, a wrong type is a ParseError that names object and field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NoReturn

from tracer.errors import Fault, ParseError
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.query import parse_address
from tracer.values import dataclass

Network = IPv4Network | IPv6Network
_NOTHING: Mapping[str, object] = {}
_DOTTED = pattern(r"[0-9.]{1,64}(?:/[0-9]{1,8})?", re.ASCII)
_ZEROS = pattern(r"(?<![0-9])0+(?=[0-9])", re.ASCII)
_NAMES = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
    float: "a number",
    type(None): "null",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an object was read: its file and its place among the file's objects (faults get their line from there)."""

    file: str = ""
    item: int | None = None


class Fields:
    """One mapping inside an API object; *above* and *key* are how to reach it, for messages.

    Large clusters have hundreds of thousands of these: what is as it should be is asked for in as few steps as can be.
    """

    __slots__ = ("_above", "_key", "_mapping", "_origin", "_owner")

    def __init__(
        self,
        mapping: Mapping[str, object],
        owner: str,
        origin: Origin,
        above: Fields | None = None,
        key: tuple[str, int | None] = ("", None),
    ) -> None:
        self._mapping = mapping
        self._owner = owner
        self._origin = origin
        self._above = above
        self._key = key

    @classmethod
    def of(cls, value: object, kind: str, origin: Origin | None = None) -> Fields:
        """Return the fields of the API object *value*. :raises ParseError: it is no object."""
        if not isinstance(value, Mapping):
            cls({}, kind, origin or Origin()).refuse("", f"is {_type_name(value)}, not an object")
        metadata = value.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        name, namespace = metadata.get("name"), metadata.get("namespace")
        owner = f"{kind} {namespace}/{name}" if isinstance(namespace, str) else f"{kind} {name}"
        return cls(value, owner[:200], origin or Origin())

    @property
    def _path(self) -> str:
        """Return how to reach the mapping from the object."""
        name, place = self._key
        above = self._above._path if self._above is not None else ""
        shown = name if place is None else f"{name}[{place}]"
        return f"{above}.{shown}" if above else shown

    def refuse(self, key: str, message: str) -> NoReturn:
        """Raise the ParseError that says what is wrong with the field *key*."""
        path = self._path
        where = f"{path}.{key}" if path and key else path or key
        text = f"{self._owner}: {where}: {message}" if where else f"{self._owner}: {message}"
        # What is refused may be half of a surrogate pair, which nobody could print.
        printable = text.encode(errors="backslashreplace").decode()
        raise ParseError(Fault(file=self._origin.file, line=None, column=None, message=printable))

    def has(self, key: str) -> bool:
        """Return whether the field is there and not null."""
        return self._mapping.get(key) is not None

    def _read(self, key: str, kind: type) -> object:
        value = self._mapping.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.refuse(key, f"is {_type_name(value)}, not {_NAMES[kind]}")
        if kind is str and not _is_text(value):
            self.refuse(key, "holds half of a surrogate pair")
        return value

    def text(self, key: str) -> str | None:
        """Return a string, or None when absent."""
        value = self._mapping.get(key)
        if type(value) is str and value.isascii():
            return value
        value = self._read(key, str)
        return value if isinstance(value, str) else None

    def text_or(self, key: str, default: str) -> str:
        """Return a string; *default* when absent or empty, as the API server's defaulting treats it."""
        return self.text(key) or default

    def name(self, key: str = "name") -> str:
        """Return a string that must be there and not be empty."""
        return self.text(key) or self.refuse(key, "is missing")

    def number(self, key: str, *, low: int = 0, high: int = 2**63 - 1) -> int | None:
        """Return a whole number from *low* to *high*, or None when absent."""
        value = self._mapping.get(key)
        if value is None:
            return None
        if type(value) is not int:
            value = self._read(key, int)
        if not isinstance(value, int):
            return None
        if not low <= value <= high:
            self.refuse(key, f"is {value}, not from {low} to {high}")
        return value

    def port(self, key: str) -> int | None:
        """Return a port number from 1 to 65535; None when absent or 0, which the API server uses for "none"."""
        return self.number(key, high=65535) or None

    def flag(self, key: str) -> bool | None:
        """Return a boolean, or None when absent."""
        value = self._mapping.get(key)
        if value is not None and type(value) is not bool:
            self._read(key, bool)
        return value if isinstance(value, bool) else None

    def nested(self, key: str) -> Fields:
        """Return the object under *key*; an empty one when absent."""
        value = self._mapping.get(key)
        if type(value) is not dict and value is not None:
            value = self._read(key, dict)
        return Fields(value if isinstance(value, dict) else _NOTHING, self._owner, self._origin, self, (key, None))

    def each(self, key: str) -> tuple[Fields, ...]:
        """Return the objects of the array under *key*."""
        return tuple([self._child(self._element(key, i, v, dict), key, i) for i, v in enumerate(self._array(key))])

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the strings of the array under *key*."""
        return tuple([str(self._element(key, i, v, str)) for i, v in enumerate(self._array(key))])

    def text_map(self, key: str) -> Mapping[str, str]:
        """Return the object under *key*, all of whose values must be strings (null counts as empty)."""
        child = self.nested(key)
        if any(not _is_text(k) for k in child._mapping):
            self.refuse(key, "a name in it holds half of a surrogate pair")
        return {k: child.text(k) or "" for k in child._mapping}

    def raw(self, key: str) -> object:
        """Return the value under *key* as it was decoded."""
        return self._mapping.get(key)

    def address(self, key: str) -> Address | None:
        """Return an IP address; None when absent or empty."""
        text = self.text(key)
        return self._address(key, text) if text else None

    def addresses(self, key: str) -> tuple[Address, ...]:
        """Return the IP addresses of the array under *key*, empty strings left out."""
        return tuple([parse_address(v) or self._address(f"{key}[{i}]", v) for i, v in enumerate(self.texts(key)) if v])

    def networks(self, key: str) -> tuple[Network, ...]:
        """Return the networks of the array under *key*; host bits are masked, as the API server's users write them."""
        return tuple(self._network(f"{key}[{i}]", v) for i, v in enumerate(self.texts(key)) if v)

    def network(self, key: str) -> Network:
        """Return the network under *key*, which must be there."""
        return self._network(key, self.name(key))

    def time(self, key: str) -> datetime | None:
        """Return an RFC 3339 time, or None when absent."""
        text = self.text(key)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.refuse(key, f"{text!r} is not an RFC 3339 time")
        return moment if moment.tzinfo else self.refuse(key, f"{text!r} has no time zone")

    def _array(self, key: str) -> list[object]:
        value = self._mapping.get(key)
        if value is not None and type(value) is not list:
            self._read(key, list)
        return value if isinstance(value, list) else []

    def _element(self, key: str, place: int, value: object, kind: type) -> object:
        if not isinstance(value, kind):
            self.refuse(f"{key}[{place}]", f"is {_type_name(value)}, not {_NAMES[kind]}")
        if kind is str and not _is_text(value):
            self.refuse(f"{key}[{place}]", "holds half of a surrogate pair")
        return value

    def _child(self, mapping: object, key: str, place: int) -> Fields:
        return Fields(mapping if isinstance(mapping, Mapping) else _NOTHING, self._owner, self._origin, self, (key, place))

    def _address(self, key: str, text: str) -> Address:
        return parse_address(text) or parse_address(_without_zeros(text)) or self.refuse(key, f"{text!r} is not an IP address")

    def _network(self, key: str, text: str) -> Network:
        try:
            return ip_network(_without_zeros(text.strip()), strict=False)
        except ValueError:
            self.refuse(key, f"{text!r} is not a network in CIDR notation")


def _without_zeros(text: str) -> str:
    """Return *text* without zeros before other digits where it is all digits and dots: objects of before 1.25 may hold 010.0.000.1.

    Kubernetes reads them as decimal numbers. Source: k8s.io/utils/net ParseIPSloppy, ParseCIDRSloppy.
    """
    return _ZEROS.sub("", text) if _DOTTED.fullmatch(text) else text


def _is_text(value: object) -> bool:
    return not isinstance(value, str) or value.isascii() or not any("\ud800" <= c <= "\udfff" for c in value)


def _type_name(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
