"""Values with one pod's addresses and names in them, as they are with another's: cut once, filled as often as there are others.

What does not speak of the pod is shared, not copied. Texts are cut at whole words, so that 10.1.0.2 is not found in 10.1.0.23.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

from tracer.frozen import changed
from tracer.kube.pod import Pod
from tracer.packet import Address
from tracer.routing.model import Link, Route
from tracer.trace import Place
from tracer.values import dataclass


class CannotCutError(Exception):
    """A value of a kind that nobody knows how to look into."""


@dataclass(frozen=True, slots=True)
class Own:
    """What is a pod's own in a walk: the Pod, its addresses, its names; and on its node the routes to it, and its devices there.

    *words* are what texts call them by: namespace and name, the name alone, then addresses, devices and link-layer addresses.
    """

    pod: Pod
    routes: tuple[Route, ...] = ()
    links: tuple[Link, ...] = ()
    macs: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, pod: Pod, routes: Sequence[Route] = (), links: Sequence[Link] = (), macs: Sequence[str] = ()) -> Own:
        """Return what is *pod*'s own."""
        words = (f"{pod.namespace}/{pod.name}", pod.name, *map(str, pod.ips), *(link.name for link in links), *macs)
        return cls(pod, tuple(routes), tuple(links), tuple(macs), words)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return its addresses."""
        return self.pod.ips

    @property
    def shape(self) -> tuple[int, ...]:
        """Return how much of each it has: only what has the same shape can be put in for it."""
        return len(self.routes), len(self.links), len(self.macs), *(address.version for address in self.pod.ips)


_NAME = r"(?<![\w./-])({})(?![\w-]|\.\w)"
_DEVICE = r"(?<![\w-])({})(?![\w+-]|\.\d)"
_V4, _V6 = r"(?<![\w.-])({})(?![\w-]|\.\w{})", r"(?<![\w:.])({})(?!\w|[:.]\w{})"
_BARE = 1
"""Which of ``Own.words`` is a name alone: other things may be called so, so it counts only in a Place, and behind the namespace."""

Fill = Callable[[Own], Any]


@dataclass(frozen=True)
class Stencil:
    """What :meth:`Cutter.cut` made of a value; *fill* is None where the value does not speak of the pod."""

    value: Any
    fill: Fill | None

    def filled(self, own: Own) -> Any:
        """Return the value as it is with *own* in the place of the pod that it was cut for."""
        return self.value if self.fill is None else self.fill(own)


class Cutter:
    """Cuts values for *own*. *is_opaque* says what is the same for every pod, whatever is in it.

    *networks* are those that it met: an address may be in one, and another's not.
    """

    def __init__(self, own: Own, is_opaque: Callable[[object], bool] = lambda value: False) -> None:
        self._own, self._is_opaque = own, is_opaque
        self._addresses = {address: place for place, address in enumerate(own.addresses)}
        self._words = {word: place for place, word in enumerate(own.words) if place != _BARE}
        devices = (_DEVICE.format(re.escape(word)) for word in (*(link.name for link in own.links), *own.macs))
        self._pattern = re.compile("|".join((_NAME.format(re.escape(own.words[0])), *map(_spelled, own.addresses), *devices)))
        self._held = {id(one): (kind, place) for kind in ("routes", "links") for place, one in enumerate(getattr(own, kind))}
        self._known: dict[int, tuple[object, Fill | None]] = {}
        self.networks: set[IPv4Network | IPv6Network] = set()

    def cut(self, value: Any) -> Stencil:
        """Return the stencil of *value*. :raises CannotCutError: a part of it is of a kind that is not known."""
        return Stencil(value, self._fill(value))

    def place(self, address: Address | None) -> int | None:
        """Return which of the pod's addresses *address* is, None where it is none."""
        return None if address is None else self._addresses.get(address)

    def _fill(self, value: Any) -> Fill | None:
        if value is None or isinstance(value, (bool, int, float, bytes, Fraction, Enum, datetime)):
            return None
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (IPv4Address, IPv6Address)):
            place = self._addresses.get(value)
            return None if place is None else lambda own: own.addresses[place]
        known = self._known.get(id(value))
        if known is None:
            known = self._known[id(value)] = value, self._inside(value)  # the value is held: its id stays its own
        return known[1]

    def _inside(self, value: Any) -> Fill | None:
        if isinstance(value, Pod):
            return (lambda own: own.pod) if value is self._own.pod else None
        if id(value) in self._held:
            kind, at = self._held[id(value)]
            return lambda own: getattr(own, kind)[at]
        if self._is_opaque(value):
            return None
        if isinstance(value, (IPv4Network, IPv6Network)):
            if value.prefixlen != value.max_prefixlen:
                self.networks.add(value)
                return None
            place = self._addresses.get(value.network_address)
            return None if place is None else lambda own: ip_network(own.addresses[place])
        if isinstance(value, tuple):
            return self._tuple(value)
        if isinstance(value, (list, frozenset)):
            return self._collection(value)
        if isinstance(value, Mapping):
            return self._mapping(value)
        if hasattr(value, "fullmatch") and self._fill(value.pattern) is None:  # a pattern, compiled or not
            return None
        if is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value)
        raise CannotCutError(type(value).__name__)

    def _text(self, value: str) -> Fill | None:
        place = self._words.get(value)
        if place is not None:
            return lambda own: own.words[place]
        found = list(self._pattern.finditer(value)) if any(word in value for word in self._words) else []
        if not found:
            return None
        places = [self._words[match.group()] for match in found]
        plain = [value[a:b] for a, b in zip((0, *(m.end() for m in found)), (*(m.start() for m in found), len(value)), strict=True)]

        def fill(own: Own) -> str:
            parts = [plain[0]]
            for at, rest in zip(places, plain[1:], strict=True):
                parts += (own.words[at], rest)
            return "".join(parts)

        return fill

    def _tuple(self, value: tuple[Any, ...]) -> Fill | None:
        held = [(place, fill) for place, item in enumerate(value) if (fill := self._fill(item)) is not None]
        held += [(place, _bare) for place in range(1, len(value)) if value[place - 1 : place + 1] == self._own.pod.key]
        if not held:
            return None
        make = type(value)._make if hasattr(value, "_make") else tuple

        def filled(own: Own) -> Any:
            items = list(value)
            for place, one in held:
                items[place] = one(own)
            return make(items)

        return filled

    def _collection(self, value: list[Any] | frozenset[Any]) -> Fill | None:
        cut = self._tuple(tuple(value))
        return None if cut is None else lambda own: type(value)(cut(own))

    def _mapping(self, value: Mapping[Any, Any]) -> Fill | None:
        cut = self._tuple(tuple(value.items()))
        return None if cut is None else lambda own: dict(cut(own))

    def _dataclass(self, value: Any) -> Fill | None:
        held = {field.name: fill for field in fields(value) if (fill := self._fill(getattr(value, field.name))) is not None}
        if isinstance(value, Place) and (value.kind, value.namespace, value.name) == ("pod", *self._own.pod.key):
            held["name"] = _bare
        if not held:
            return None
        return lambda own: changed(value, **{name: fill(own) for name, fill in held.items()})


def _bare(own: Own) -> str:
    return own.words[_BARE]


def _spelled(address: Address) -> str:
    """NB: the first address of a network is also how the network is called; where it is, it is not the pod's."""
    of_networks = [n for n in range(address.max_prefixlen) if int(address) % 2 ** (address.max_prefixlen - n) == 0]
    networks = f"|/(?:{'|'.join(map(str, of_networks))})(?!\\d)" if of_networks else ""
    return (_V4 if address.version == 4 else _V6).format(re.escape(str(address)), networks)
