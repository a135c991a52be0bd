"""Routes that the kernel itself keeps for a stack's addresses, for stacks whose routes were not recorded.

Source: fib_add_ifaddr() in fib_frontend.c, addrconf_prefix_route(), __ipv6_ifa_notify() in addrconf.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from tracer.packet import Address
from tracer.routing.model import (
    HOST,
    LINK_SCOPE,
    LOCAL_TABLE,
    MAIN_TABLE,
    SOME_DEVICE,
    InterfaceAddress,
    Link,
    Network,
    NextHop,
    Route,
    RouteType,
    is_since,
)

_LOOPBACKS = (
    InterfaceAddress(address=IPv4Address("127.0.0.1"), prefix=8, device="lo", scope=HOST),
    InterfaceAddress(address=IPv6Address("::1"), prefix=128, device="lo", scope=HOST),
)
"""What every stack has on its loopback device."""
_LOWEST = "the lowest address of a network, which kernels before 5.14 take for one of broadcasts"


def routes_of(
    addresses: Iterable[InterfaceAddress], links: Mapping[str, Link], version: int, kernel: str | None = None
) -> tuple[Route, ...]:
    """Return the local, connected and broadcast routes of *addresses*; devices known to be down have none but in IPv4's local table.

    Until *kernel* 5.14 a network's lowest address is one for broadcasts, too: what goes there is unknown, unless it is known to be later.
    """
    found: list[Route] = []
    is_lowest_plain = is_since(kernel, (5, 14))
    devices: dict[str, None] = {}
    for address in addresses:
        if address.address.version != version:
            continue
        link = links.get(address.device)
        up = link is None or link.up or not link.flags
        devices.setdefault(address.device)
        found.extend(_routes4(address, up, is_lowest_plain=is_lowest_plain is True) if version == 4 else _routes6(address, up))
    if version == 6:
        multicast = IPv6Network("ff00::/8")
        found.extend(_route(multicast, RouteType.MULTICAST, LOCAL_TABLE, device, metric=256) for device in devices if device != "lo")
    # What is not certain is met before another route to the same address.
    return tuple(sorted(found, key=lambda route: not route.unmodelled))


def sending_from(routes: Iterable[Route], own: Iterable[Address], version: int) -> Iterator[InterfaceAddress]:
    """Yield the addresses that *routes* send from, which the kernel takes of the stack's own only, and those of *own* beside them.

    A connected route that the kernel made tells the prefix as well. An address of *own* is at the device of the connected route that
    covers it, else at some device (``SOME_DEVICE``).
    """
    found = {held.address: held for held in _LOOPBACKS if held.address.version == version}
    connected: list[Route] = []
    others: list[Route] = []
    for route in routes:
        is_connected = route.table == MAIN_TABLE and route.type is RouteType.UNICAST and route.device is not None and route.gateway is None
        (connected if is_connected and route.destination.prefixlen else others).append(route)
    for route in (*connected, *others):
        if route.prefsrc is not None and route.device is not None:
            is_kernels = route.protocol == "kernel" and route.prefsrc in route.destination
            bits = route.destination.prefixlen if is_kernels else route.prefsrc.max_prefixlen
            found.setdefault(route.prefsrc, InterfaceAddress(address=route.prefsrc, prefix=bits, device=route.device))
    for address in own:
        if address.version == version:
            at = next((route.device for route in connected if route.device is not None and address in route.destination), SOME_DEVICE)
            found.setdefault(address, InterfaceAddress(address=address, prefix=address.max_prefixlen, device=at))
    yield from found.values()


def _routes4(address: InterfaceAddress, up: bool, *, is_lowest_plain: bool) -> Iterator[Route]:
    own = address.address
    yield _route(_host(own), RouteType.LOCAL, LOCAL_TABLE, address.device, prefsrc=own, scope=HOST)
    if not up or (address.prefix == 32 and address.peer is None) or address.secondary:
        return
    if address.device == "lo":
        yield _route(address.network, RouteType.LOCAL, LOCAL_TABLE, address.device, prefsrc=own, scope=HOST)
    elif not address.noprefixroute:
        yield _route(address.network, RouteType.UNICAST, MAIN_TABLE, address.device, prefsrc=own, scope=LINK_SCOPE)
    if address.prefix < 31 and address.device != "lo" and not is_lowest_plain:
        lowest = _route(_host(address.network.network_address), RouteType.BROADCAST, LOCAL_TABLE, address.device, prefsrc=own)
        yield replace(lowest, scope=LINK_SCOPE, unmodelled=(_LOWEST,))
    if address.prefix < 31:
        last = address.network.broadcast_address
        yield _route(_host(last), RouteType.BROADCAST, LOCAL_TABLE, address.device, prefsrc=own, scope=LINK_SCOPE)


def _routes6(address: InterfaceAddress, up: bool) -> Iterator[Route]:
    if not up or (address.tentative and not address.optimistic):
        return
    yield _route(_host(address.address), RouteType.LOCAL, LOCAL_TABLE, address.device)
    if address.device != "lo" and not address.noprefixroute:
        yield _route(address.network, RouteType.UNICAST, MAIN_TABLE, address.device, metric=256)


def _host(address: Address) -> Network:
    return ip_network(address)


def _route(
    destination: Network, type_: RouteType, table: str, device: str, *, prefsrc: Address | None = None, scope: int = 0, metric: int = 0
) -> Route:
    return Route(
        destination=destination,
        type=type_,
        type_text=type_.value,
        table=table,
        nexthops=(NextHop(device=device),),
        prefsrc=prefsrc,
        scope=scope,
        metric=metric,
        protocol="kernel",
        inferred=True,
    )
