"""Where a pod's address and devices lie in what a stack holds of routing: two pods in one cell get the same answers.

All that routing can compare an IPv4 address with stands in its files: it is in a network there, or it is an address there. So two addresses
that are in the same networks, and stand nowhere but in routes to them alone and in their neighbour entries, cannot be told apart; nor can
two devices of which the files say the same. (Over IPv6 the kernel also counts how many bits two addresses have in common; there each
question is asked again.)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from tracer.patterns import pattern
from tracer.routing import Routing
from tracer.routing.model import Link, RouteType
from tracer.simulate.stencil import Own

_CONF = pattern(r"(?P<before>net\.[a-z0-9]+\.(?:conf|neigh)\.)(?P<device>.+)(?P<behind>\.[a-z0-9_]+)", re.ASCII)
Cell = tuple[object, ...]
Setting = tuple[str, str, str]
"""A setting of a device: its name before and behind the device's, and its value."""


class Cells:
    """The cells of one stack's routing."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._networks: dict[int, dict[int, int]] = {}
        self._ids = {id(route) for route in routing.routes(4)}
        self._literals: Counter[IPv4Address] = Counter()
        self._devices: dict[str, Counter[object]] = {}
        self._leading: dict[str, set[object]] = {}
        for network in self._found():
            if network.prefixlen == network.max_prefixlen:
                self._literals[network.network_address] += 1
            else:
                held = self._networks.setdefault(network.prefixlen, {})
                held.setdefault(int(network.network_address) >> (32 - network.prefixlen), len(held))
        self._settings = settings_by_device(routing.sysctls.values)
        self._ported = frozenset(link.master for link in routing.links) | {link.lies_on for link in routing.links}
        self._kept: dict[tuple[str, str], Cell | None] = {}

    def _found(self) -> Iterator[IPv4Network]:
        """Every IPv4 network and address that the files have; devices are noted beside them."""
        held_by = {(held.address, held.device) for held in self._routing.addresses}
        for route in self._routing.routes(4):
            for hop in route.nexthops:
                # That an address of the device is the node's own says nothing of what lies behind it.
                is_its_own = route.type is RouteType.LOCAL and (route.destination.network_address, hop.device) in held_by
                if hop.device is not None and not is_its_own:
                    self._leading.setdefault(hop.device, set()).add(route.destination)
                if isinstance(hop.gateway, IPv4Address):
                    yield IPv4Network(hop.gateway)
            for one in (route.destination, route.source_prefix):
                if isinstance(one, IPv4Network):
                    yield one
            if isinstance(route.prefsrc, IPv4Address):
                yield IPv4Network(route.prefsrc)
        for rule in self._routing.rules(4):
            yield from (one for one in (rule.source, rule.destination) if isinstance(one, IPv4Network))
            for device in (rule.iif, rule.oif):
                if device is not None:
                    self._note(device, ("rule", rule))
        for held in self._routing.addresses:
            if isinstance(held.address, IPv4Address):
                self._note(held.device, ("address", held.address, held.prefix))
                yield from (IPv4Network(held.address), held.network)  # type: ignore[misc]
                yield from (IPv4Network(one) for one in (held.peer, held.broadcast) if isinstance(one, IPv4Address))

    def _note(self, device: str, what: object) -> None:
        self._devices.setdefault(device, Counter())[what] += 1

    def of(self, own: Own) -> Cell | None:
        """Return the cell of *own*; None where it has none, as its addresses stand in places of which nobody knows the meaning."""
        if own.pod.key not in self._kept:
            self._kept[own.pod.key] = self._cell(own)
        return self._kept[own.pod.key]

    def _cell(self, own: Own) -> Cell | None:
        addresses = [address for address in own.addresses if isinstance(address, IPv4Address)]
        for address in addresses:
            to_it = sum(id(route) in self._ids and route.destination.network_address == address for route in own.routes)
            if self._literals[address] != to_it:
                return None
        if not all(self._is_alone(link, addresses) for link in own.links):
            return None
        within = tuple(
            tuple(
                (length, place) for length, held in self._networks.items() if (place := held.get(int(address) >> (32 - length))) is not None
            )
            for address in addresses
        )
        named = [link.name for link in own.links]
        known = tuple(
            tuple(
                (named.index(entry.device) if entry.device in named else entry.device, entry.states, entry.mac is None)
                for entry in self._routing.neighbours_at(address)
            )
            for address in addresses
        )
        return within, known, tuple(self._of_device(link) for link in own.links)

    def _is_alone(self, link: Link, addresses: list[IPv4Address]) -> bool:
        """Whether nothing but *addresses* lies behind a device: what else does tells it from every other, as does what lies on it."""
        if link.name in self._ported:
            return False
        return self._leading.get(link.name, set()) <= {IPv4Network(address) for address in addresses}

    def _of_device(self, link: Link) -> object:
        """What the stack says of a device. NB: its own stack holds it; in another node's one of that name is another."""
        told = frozenset(self._devices.get(link.name, Counter()).items())
        return told, self._settings.get(link.name), link.name in self._leading, self._routing.link(link.name) is link


def settings_by_device(values: Mapping[str, str]) -> dict[str, frozenset[Setting]]:
    """Return the settings of each device, by its name with its own dots."""
    found: dict[str, set[Setting]] = {}
    for name, value in values.items():
        match = _CONF.fullmatch(name)
        if match:
            found.setdefault(match["device"].replace("/", "."), set()).add((match["before"], match["behind"], value))
    return {device: frozenset(held) for device, held in found.items()}
