"""Routing facts of which a few are others: routes and addresses that go, come, or are another's twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from ipaddress import ip_network

from tracer.errors import Fault
from tracer.packet import Address
from tracer.routing.model import HOST, LOCAL_TABLE, InterfaceAddress, Link, Neighbour, NextHop, PolicyRule, Route, RouteType
from tracer.routing.recorded import Facts
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """A device *name* that is as the device *like* is; where that leads to *instead*, it leads to *address*, family by family."""

    like: str
    name: str
    instead: tuple[Address, ...]
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsChange:
    """What is other: routes of which *goes* says so are gone, *device* holds the addresses *held* alone (None: those of before, "" no such
    device), *twins* are new devices, *settings* are sysctls with their values."""

    goes: Callable[[Route], bool] = lambda _: False
    device: str = ""
    held: tuple[Address, ...] | None = None
    twins: tuple[Twin, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


class ChangedFacts:
    """The facts of *base* with a *change*."""

    def __init__(self, base: Facts, change: FactsChange) -> None:
        self._base = base
        self._change = change

    @cached_property
    def links(self) -> tuple[Link, ...] | None:
        """Return the devices."""
        held, change = self._base.links, self._change
        if held is None:
            return None
        found = list(held)
        if change.held is not None:
            found = [link for link in found if link.name != change.device or change.held]
            if change.held and not any(link.name == change.device for link in found):
                found.append(Link(name=change.device, index=_next(found), flags=("BROADCAST", "NOARP"), kind="dummy"))
        for twin in change.twins:
            like = next((link for link in held if link.name == twin.like), None)
            found += [replace(like, name=twin.name, index=_next(found), peer_index=None)] if like is not None else []
        return tuple(found)

    @cached_property
    def addresses(self) -> tuple[InterfaceAddress, ...] | None:
        """Return the addresses of the devices."""
        held, change = self._base.addresses, self._change
        if held is None:
            return None
        found = [a for a in held if change.held is None or a.device != change.device or a.address in change.held]
        there = {a.address for a in found if a.device == change.device}
        missing = [a for a in change.held or () if a not in there]
        found += [InterfaceAddress(address=a, prefix=a.max_prefixlen, device=change.device) for a in missing]
        return (*found, *(replace(a, device=twin.name) for twin in change.twins for a in held if a.device == twin.like))

    @cached_property
    def routes4(self) -> tuple[Route, ...] | None:
        """Return the IPv4 routes."""
        return self._routes(self._base.routes4, 4)

    @cached_property
    def routes6(self) -> tuple[Route, ...] | None:
        """Return the IPv6 routes."""
        return self._routes(self._base.routes6, 6)

    def _routes(self, held: tuple[Route, ...] | None, version: int) -> tuple[Route, ...] | None:
        if held is None:
            return None
        change, found = self._change, [route for route in held if not self._change.goes(route)]
        if change.held is not None:
            found = [r for r in found if r.device != change.device or (r.destination.network_address in change.held)]
            there = {r.destination.network_address for r in found if r.device == change.device}
            found += [_local(a, change.device) for a in change.held if a.version == version and a not in there]
        return (*found, *(route for twin in change.twins for route in _twins(twin, held)))

    @cached_property
    def sysctl(self) -> Mapping[str, str] | None:
        """Return the values of sysctl; a twin has its device's."""
        held = self._base.sysctl
        if held is None:
            return dict(self._change.settings) or None
        found = {**held, **self._change.settings}
        for twin in self._change.twins:
            found |= {key.replace(f".{twin.like}.", f".{twin.name}."): value for key, value in held.items() if f".{twin.like}." in key}
        return found

    @property
    def rules4(self) -> tuple[PolicyRule, ...] | None:
        """Return the IPv4 policy rules."""
        return self._base.rules4

    @property
    def rules6(self) -> tuple[PolicyRule, ...] | None:
        """Return the IPv6 policy rules."""
        return self._base.rules6

    @property
    def neighbours(self) -> tuple[Neighbour, ...] | None:
        """Return the neighbours."""
        return self._base.neighbours

    @property
    def address_versions(self) -> frozenset[int]:
        """Return the IP versions whose addresses are all listed."""
        return self._base.address_versions

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the names of what could not be read."""
        return self._base.missing

    @property
    def faults(self) -> Mapping[str, tuple[Fault, ...]]:
        """Return what is wrong with the texts."""
        return self._base.faults

    def unshown(self, version: int) -> str | None:
        """Return what is assumed of the routes of IP *version*."""
        return self._base.unshown(version)


def _next(links: Sequence[Link]) -> int:
    return max((link.index for link in links), default=0) + 1


def _local(address: Address, device: str) -> Route:
    return Route(
        destination=ip_network(address),
        type=RouteType.LOCAL,
        type_text="local",
        table=LOCAL_TABLE,
        nexthops=(NextHop(device=device),),
        prefsrc=address if address.version == 4 else None,
        scope=HOST,
        protocol="kernel",
        inferred=True,
    )


def _twins(twin: Twin, held: Iterable[Route]) -> Iterable[Route]:
    """Yield the routes of a twin: those of the device that it is like, to its own address."""
    for route in held:
        if route.device != twin.like or len(route.nexthops) > 1:
            continue
        is_host = route.destination.prefixlen == route.destination.max_prefixlen and route.destination.network_address in twin.instead
        own = next((a for a in twin.addresses if a.version == route.destination.version), None)
        if is_host and own is None:
            continue
        destination = ip_network(own) if is_host and own is not None else route.destination
        yield replace(route, destination=destination, nexthops=(replace(route.nexthops[0], device=twin.name),), file="", index=-1)
