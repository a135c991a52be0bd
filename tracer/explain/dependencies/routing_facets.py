"""What of a node's routing an answer rests on: the routes to the addresses it asked about, the devices it met, what all look-ups share.

A new pod on a node brings a device, a route and addresses; who asked about none of them is not touched.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from tracer.explain.dependencies.facets import once
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.routing import RouteType, Routing
from tracer.snapshot.node_files import HELD_ADDRESSES, ROUTING, names
from tracer.values import dataclass

_ARGUMENTS = {file.name: file.word for file in ROUTING}
ROUTING_FILES = names(ROUTING)
HOLDING_FILES = names(HELD_ADDRESSES)
_VIRTUAL_KINDS = ("dummy",)
_OF_DEVICE = pattern(r"net\.ipv[46]\.(?:conf|neigh)\.(?P<device>.+)\.[a-z0-9_]+", re.ASCII)
_COUNTS_BY_ITSELF = frozenset({"net.netfilter.nf_conntrack_count"})


def _read(content: bytes | None, name: str) -> Routing | None:
    if content is None:
        return None
    return once("routing", content, name, lambda text: Routing.from_texts("", **_argument(name, text)))


def _argument(name: str, text: str) -> dict[str, Any]:
    return {_ARGUMENTS[name]: text}


@dataclass(frozen=True, slots=True)
class Common:
    """What every look-up may meet: policy rules, settings of no device, which addresses there are, and which files cannot be read."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return it, as far as the file has it. NB: link-local addresses come with every device and are left to the devices."""
        routing = _read(content, name)
        if routing is None:
            return None
        held = tuple(dict.fromkeys((a.address, a.prefix, a.secondary) for a in routing.addresses if not a.address.is_link_local))
        foreign = tuple(
            any(r.type is RouteType.LOCAL and r.protocol != "kernel" and not r.inferred for r in routing.routes(v)) for v in (4, 6)
        )
        settings = {key: value for key, value in routing.sysctls.values.items() if _is_common(key)}
        return (routing.rules(4), routing.rules(6), held, foreign, settings, routing.missing, *(routing.lists_addresses(v) for v in (4, 6)))


def _is_common(key: str) -> bool:
    found = _OF_DEVICE.fullmatch(key)
    return key not in _COUNTS_BY_ITSELF and (found is None or found["device"] in ("all", "default"))


@dataclass(frozen=True, slots=True)
class Covering:
    """The routes to an address, in every table."""

    address: Address

    def of(self, content: bytes | None, name: str) -> object:
        """Return the routes that cover the address."""
        routing = _read(content, name)
        if routing is None:
            return None
        return [replace(r, index=-1) for r in routing.routes(self.address.version) if self.address in r.destination]


@dataclass(frozen=True, slots=True)
class Device:
    """A device: its link, the ports of it when it is a bridge, its addresses and settings."""

    name: str

    def of(self, content: bytes | None, name: str) -> object:
        """Return all of it that the file has."""
        routing = _read(content, name)
        if routing is None:
            return None
        spelled = self.name.replace(".", "/")
        mine = {k: v for k, v in routing.sysctls.values.items() if (f := _OF_DEVICE.fullmatch(k)) and f["device"] in (self.name, spelled)}
        held = tuple(a for a in routing.addresses if a.device == self.name)
        return (routing.link(self.name), routing.bridge_ports(self.name), held, mine)


@dataclass(frozen=True, slots=True)
class Neighbouring:
    """What the stack knows of who has an address on its links."""

    address: Address

    def of(self, content: bytes | None, name: str) -> object:
        """Return the entries, of every device."""
        routing = _read(content, name)
        return None if routing is None else routing.neighbours_at(self.address)


@dataclass(frozen=True, slots=True)
class Devices:
    """Every device with its addresses: for who looks through all of them."""

    def of(self, content: bytes | None, name: str) -> object:
        """Return links and addresses."""
        routing = _read(content, name)
        return None if routing is None else (routing.links, routing.addresses)


@dataclass(frozen=True, slots=True)
class Holding:
    """Which devices of the node hold an address; devices that stand for no link of the node are told apart."""

    address: Address

    def of(self, content: bytes | None, name: str) -> object:
        """Return the devices, and those that are virtual."""
        routing = _read(content, name)
        if routing is None:
            return None
        virtual = frozenset(link.name for link in routing.links if link.loopback or link.kind in _VIRTUAL_KINDS)
        return ([a.device for a in routing.addresses if a.address == self.address], virtual)
