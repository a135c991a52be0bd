"""A stack's routing that notes which addresses and devices are asked about."""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import IPv4Address, IPv6Address

from tracer.explain.dependencies.facets import Facet, Presence, Whole
from tracer.explain.dependencies.routing_facets import ROUTING_FILES, Common, Covering, Device, Devices, Neighbouring
from tracer.packet import Address, Protocol
from tracer.routing import InterfaceAddress, Link, Neighbour, PolicyRule, Route, RouteResult, Routing, SourceVerdict
from tracer.snapshot.node_files import IP6_ROUTE, IP_ADDR, IP_LINK, IP_NEIGH, IP_ROUTE, names

Note = Callable[[str, Facet], None]


class WatchedRouting(Routing):
    """Answers as *routing* does. What is not overridden here is worked out of what is."""

    def __init__(self, routing: Routing, note: Note) -> None:
        super().__init__(routing.node, routing._facts, kernel=routing._kernel)
        self._inner = routing
        self._note = note
        for file in ROUTING_FILES:
            note(file, Presence())
            note(file, Common())

    def _asked(self, *addresses: Address | None, devices: Collection[str | None] = ()) -> None:
        asked = [address for address in addresses if address is not None]
        # NB: a route counts only while its device works, so the devices of those that were not taken decide as well.
        devices = {*devices, *(device for address in asked for device in self._inner.devices_towards(address))}
        for file in ROUTING_FILES:
            for address in asked:
                self._note(file, Covering(address))
            for device in devices:
                if device is not None:
                    self._note(file, Device(device))

    @property
    def inferred_from(self) -> str:
        """Return what stood in for missing files, where they were inferred."""
        return self._inner.inferred_from

    @property
    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """Return the stack's addresses."""
        self._note(IP_ADDR.name, Devices())
        return self._inner.addresses

    def lists_addresses(self, version: int) -> bool:
        """Return whether the stack's addresses of IP *version* were recorded."""
        self._note(IP_ADDR.name, Devices())
        return self._inner.lists_addresses(version)

    def neighbours_at(self, address: Address) -> tuple[Neighbour, ...]:
        """Return what the stack knows of who has *address*."""
        self._note(IP_NEIGH.name, Neighbouring(address))
        return self._inner.neighbours_at(address)

    def passed_over(self, destination: Address, chosen: Route | None) -> tuple[tuple[Route, str], ...]:
        """Return the routes that look-ups pass over."""
        self._asked(destination)
        return self._inner.passed_over(destination, chosen)

    def devices_towards(self, address: Address) -> tuple[str, ...]:
        """Return the devices of the routes that cover *address*."""
        self._asked(address)
        return self._inner.devices_towards(address)

    def addresses_of(self, device: str) -> tuple[InterfaceAddress, ...]:
        """Return the addresses of one device."""
        self._asked(devices=(device,))
        return self._inner.addresses_of(device)

    @property
    def links(self) -> tuple[Link, ...]:
        """Return the stack's devices."""
        self._note(IP_LINK.name, Devices())
        self._note(IP_ADDR.name, Devices())
        return self._inner.links

    def link(self, name: str) -> Link | None:
        """Return one device."""
        self._asked(devices=(name,))
        return self._inner.link(name)

    def bridge_ports(self, bridge: str) -> tuple[Link, ...]:
        """Return the devices whose master is *bridge*."""
        self._asked(devices=(bridge,))
        return self._inner.bridge_ports(bridge)

    def crosses(self, device: str | None, names: Collection[str]) -> bool | None:
        """Return whether what passes by *device* passes by one of *names*: what is a port of what, every device says."""
        self._note(IP_LINK.name, Devices())
        self._note(IP_ADDR.name, Devices())
        return self._inner.crosses(device, names)

    def device_of(self, address: Address) -> str | None:
        """Return the device that holds *address*."""
        found = self._inner.device_of(address)
        self._asked(address, devices=(found,))
        return found

    def routes(self, version: int) -> tuple[Route, ...]:
        """Return the family's routes."""
        for file in names((IP_ADDR, IP_ROUTE, IP6_ROUTE)):
            self._note(file, Whole())
        return self._inner.routes(version)

    def rules(self, version: int) -> tuple[PolicyRule, ...]:
        """Return the family's policy rules, which are common to all."""
        return self._inner.rules(version)

    def lookup(
        self,
        destination: Address,
        *,
        source: Address | None = None,
        mark: int = 0,
        iif: str | None = None,
        oif: str | None = None,
        protocol: Protocol | int | None = None,
        source_port: int | None = None,
        destination_port: int | None = None,
        tos: int = 0,
        uid: int | None = None,
    ) -> tuple[RouteResult, ...]:
        """Return the ways a packet to *destination* can go."""
        found = self._inner.lookup(
            destination,
            source=source,
            mark=mark,
            iif=iif,
            oif=oif,
            protocol=protocol,
            source_port=source_port,
            destination_port=destination_port,
            tos=tos,
            uid=uid,
        )
        self._asked(destination, source, devices=(iif, oif, *(result.device for result in found)))
        return found

    def source_address(self, result: RouteResult, destination: Address) -> Address | None:
        """Return the source address of the stack's own packet."""
        self._asked(destination, devices=(result.device,))
        return self._inner.source_address(result, destination)

    def masquerade_address(self, device: str, result: RouteResult, destination: Address) -> Address | None:
        """Return what MASQUERADE writes as the source."""
        self._asked(destination, devices=(device, result.device))
        return self._inner.masquerade_address(device, result, destination)

    def asking_address(self, device: str, target: Address) -> Address | None:
        """Return the address by which the stack asks who has *target*."""
        self._asked(target, devices=(device,))
        return self._inner.asking_address(device, target)

    def is_local(self, address: Address) -> bool:
        """Return whether the stack itself takes packets to *address*."""
        self._asked(address)
        return self._inner.is_local(address)

    def address_type(self, address: Address, device: str | None = None) -> str:
        """Return the address's type."""
        self._asked(address, devices=(device,))
        return self._inner.address_type(address, device)

    def has_address_type(self, address: Address, types: Collection[str], device: str | None = None) -> bool | None:
        """Return whether ``-m addrtype`` matches."""
        self._asked(address, devices=(device,))
        return self._inner.has_address_type(address, types, device)

    def validate_source(
        self,
        source: Address,
        device: str,
        destination: Address,
        *,
        mark: int = 0,
        protocol: Protocol | int | None = None,
        source_port: int | None = None,
        destination_port: int | None = None,
        tos: int = 0,
    ) -> SourceVerdict:
        """Return whether the kernel takes a packet that came in through *device*."""
        self._asked(source, destination, IPv4Address(0) if source.version == 4 else IPv6Address(0), devices=(device,))
        return self._inner.validate_source(
            source,
            device,
            destination,
            mark=mark,
            protocol=protocol,
            source_port=source_port,
            destination_port=destination_port,
            tos=tos,
        )

    def forwarding(self, version: int, device: str | None = None) -> bool | None:
        """Return whether packets are forwarded."""
        self._asked(devices=(device,))
        return self._inner.forwarding(version, device)

    def rp_filter(self, device: str) -> int | None:
        """Return the larger of all's and *device*'s rp_filter."""
        self._asked(devices=(device,))
        return self._inner.rp_filter(device)

    def accept_local(self, device: str) -> bool | None:
        """Return whether packets with the stack's own addresses as source are taken."""
        self._asked(devices=(device,))
        return self._inner.accept_local(device)

    def route_localnet(self, device: str) -> bool | None:
        """Return whether 127.0.0.0/8 is routed on *device*."""
        self._asked(devices=(device,))
        return self._inner.route_localnet(device)
