"""IPv4 of one stack: look-ups as results, source addresses, MASQUERADE's address, address types, the check of received packets.

Source: route.c (ip_route_output_key_hash_rcu, ip_route_input_slow), fib_frontend.c (fib_validate_source, inet_dev_addr_type),
fib_semantics.c (fib_result_prefsrc, fib_select_multipath), nf_nat_masquerade.c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network

from tracer.packet import Address
from tracer.routing.decide import Decider, Decision
from tracer.routing.flow import LOOPBACK, Flow
from tracer.routing.model import (
    LINK_SCOPE,
    UNIVERSE,
    InterfaceAddress,
    Link,
    NextHop,
    ResultKind,
    Route,
    RouteResult,
    SourceVerdict,
    Supposition,
    is_since,
    shown_device,
)
from tracer.routing.reception import Reception
from tracer.routing.source import select_address
from tracer.routing.sysctl import Sysctls
from tracer.routing.tables import FamilyTables

LIMITED_BROADCAST = IPv4Address("255.255.255.255")
_LOCAL_MULTICAST = IPv4Network("224.0.0.0/24")
# Since Linux 5.3 the rest of 0.0.0.0/8 is like any other address.
_ZERO = IPv4Address(0)


class Inet:
    """One stack's IPv4. *by_device* holds its addresses in the kernel's order, None when they were not recorded."""

    def __init__(
        self,
        tables: FamilyTables,
        links: Mapping[str, Link],
        by_device: Mapping[str, Sequence[InterfaceAddress]] | None,
        sysctls: Sysctls,
        kernel: str | None,
    ) -> None:
        self._tables = tables
        self._links = links
        self._by_device = by_device
        self._sysctls = sysctls
        self._decider = Decider(tables, links, lambda device: bool(sysctls.either(4, device, "ignore_routes_with_linkdown")))
        self._prefers_source_nexthop = is_since(kernel, (6, 16))

    # Look-ups

    def lookup(self, flow: Flow) -> tuple[RouteResult, ...]:
        """Return the ways *flow* can go; their shares sum to 1."""
        if flow.iif is not None and flow.iif != LOOPBACK:
            return self._received(flow)
        return self._sent(flow)

    def _received(self, flow: Flow) -> tuple[RouteResult, ...]:
        if flow.destination == LIMITED_BROADCAST:
            return (RouteResult(kind=ResultKind.BROADCAST, destination=flow.destination, device=flow.iif, source=flow.source),)
        if flow.destination.is_multicast:
            return (RouteResult(kind=ResultKind.MULTICAST, destination=flow.destination, device=flow.iif, source=flow.source),)
        decision = self._decider.decide(replace(flow, oif=None))
        return tuple(self._result(decision, flow, hop) for hop in _ways(decision))

    def _sent(self, flow: Flow) -> tuple[RouteResult, ...]:
        if flow.destination == _ZERO:
            own = flow.source or IPv4Address("127.0.0.1")
            return (RouteResult(kind=ResultKind.LOCAL, destination=own, device=LOOPBACK, source=own),)
        if flow.destination.is_multicast or flow.destination == LIMITED_BROADCAST:
            if len(devices := self._without_lookup(flow)) > 1:
                reason = f"{flow.source} is on several devices; the kernel takes the one that got it last"
                return (RouteResult(kind=ResultKind.UNKNOWN, destination=flow.destination, source=flow.source, unknown_reason=reason),)
            if devices:
                return self._checked(self._on_device(flow, devices[0]))
            if flow.oif and flow.source is None:
                flow = replace(flow, source=self._select(flow.oif, None, UNIVERSE))
        decision = self._decider.decide(flow)
        if flow.oif and decision.kind in _NO_ROUTE:
            # Whatever the tables said, a device that was asked for is tried: the destination may be on its link.
            return self._checked(self._on_device(flow, flow.oif))
        if flow.source is not None and len(decision.nexthops) > 1:
            chosen = self._source_nexthops(decision, flow.source)
            if chosen is None:
                reason = "which next hop a known source address prefers depends on the kernel's version (6.16), which was not recorded"
                decision = Decision(kind=ResultKind.UNKNOWN, route=decision.route, rule=decision.rule, unknown_reason=reason)
            else:
                decision = replace(decision, nexthops=chosen)
        return tuple(way for hop in _ways(decision) for way in self._checked(self._result(decision, flow, hop)))

    def _checked(self, result: RouteResult) -> tuple[RouteResult, ...]:
        """Return *result*, refused if a loopback source would leave the stack; both where nobody knows. Source: __mkroute_output()."""
        loopback = result.source is not None and result.source.is_loopback
        if not loopback or result.kind is ResultKind.LOCAL or result.device is None or self._is_loopback(result.device):
            return (result,)
        key = "route_localnet"
        if self._sysctls.either(4, result.device, key):
            return (result,)
        reason = f"a 127.0.0.0/8 source may not leave through {shown_device(result.device)} without route_localnet"
        refused = replace(result, kind=ResultKind.INVALID, invalid_reason=reason)
        if self._sysctls.is_recorded(4, result.device, key):
            return (refused,)
        half = result.share / 2
        return (
            replace(result, share=half, supposes=Supposition(key=key, is_set=True)),
            replace(refused, share=half, supposes=Supposition(key=key, is_set=False)),
        )

    def _is_loopback(self, device: str) -> bool:
        link = self._links.get(device)
        return device == LOOPBACK if link is None else link.loopback

    def _without_lookup(self, flow: Flow) -> Sequence[str]:
        """Return the devices a multicast or limited broadcast packet may leave by without asking any table; none if one is asked."""
        if flow.oif:
            return [flow.oif] if flow.destination in _LOCAL_MULTICAST or flow.destination == LIMITED_BROADCAST else []
        if flow.source is None:
            return []
        held = self._by_device or {}
        return [device for device, addresses in held.items() if any(address.address == flow.source for address in addresses)]

    def _on_device(self, flow: Flow, device: str) -> RouteResult:
        kind = _kind_by_address(flow.destination) or ResultKind.UNICAST
        source = flow.source or self._select(device, None, LINK_SCOPE)
        return RouteResult(kind=kind, destination=flow.destination, device=device, source=source, inferred=not self._tables.complete)

    def _result(self, decision: Decision, flow: Flow, hop: NextHop | None) -> RouteResult:
        kind = decision.kind
        if kind in (ResultKind.UNICAST, ResultKind.LOCAL):
            kind = _kind_by_address(flow.destination) or kind
        device, gateway = (None, None) if hop is None else (hop.device, hop.gateway)
        received = flow.iif is not None and flow.iif != LOOPBACK
        if decision.kind is ResultKind.LOCAL or (received and kind is ResultKind.BROADCAST):
            device, gateway = (flow.iif if received else LOOPBACK), None
        elif kind is ResultKind.BROADCAST or (kind is ResultKind.MULTICAST and _is_short(decision.route)):
            # Broadcasts never go to a gateway; nor do multicasts that only a default route covers. Source: __mkroute_output().
            gateway = None
        result = RouteResult(
            kind=kind,
            destination=flow.destination,
            route=decision.route,
            rule=decision.rule,
            device=device,
            gateway=gateway,
            source=flow.source,
            share=Fraction(1) if hop is None else hop.share,
            inferred=decision.route.inferred if decision.route is not None else False,
            unknown_reason=decision.unknown_reason,
            linkdown=hop is not None and hop.linkdown,
        )
        if flow.source is not None or received or hop is None:
            return result
        return replace(result, source=self._preferred_source(decision, hop, flow.destination))

    # Multipath

    def _source_nexthops(self, decision: Decision, source: Address) -> tuple[NextHop, ...] | None:
        """Return the next hops with the shares a packet with *source* has; None when that depends on an unknown kernel version.

        From Linux 6.16 a next hop whose own preferred source is the packet's source is taken before all others.
        Source: fib_select_multipath().
        """
        hops = decision.nexthops
        scope = decision.route.scope if decision.route is not None else UNIVERSE
        own = [hop.share > 0 and self._select(hop.device, _v4(hop.gateway), scope) == source for hop in hops]
        if not any(own) or all(mine or not hop.share for mine, hop in zip(own, hops, strict=True)):
            return hops
        if self._prefers_source_nexthop is None:
            return None
        return _by_source(hops, own) if self._prefers_source_nexthop else hops

    def passed_over(self, destination: Address, chosen: Route | None) -> tuple[tuple[Route, str], ...]:
        """Return the routes that a look-up passed over since their devices do not work, and why. See :meth:`Decider.passed_over`."""
        return tuple(self._decider.passed_over(destination, chosen))

    # Source addresses

    def source_address(self, result: RouteResult, destination: IPv4Address) -> IPv4Address | None:
        """Return what the kernel writes into its own packet that goes by *result*; None if it has no address, or they are unknown."""
        if result.route is None:
            return self._select(result.device, None, LINK_SCOPE) if result.kind is not ResultKind.LOCAL else destination
        hop = NextHop(device=result.route.device if result.kind is ResultKind.LOCAL else result.device, gateway=result.gateway)
        return self._preferred_source(Decision(kind=result.kind, route=result.route), hop, destination)

    def _preferred_source(self, decision: Decision, hop: NextHop, destination: Address) -> IPv4Address | None:
        if (route := decision.route) is None:
            return None
        if route.prefsrc is not None:
            return _v4(route.prefsrc)
        if decision.kind is ResultKind.LOCAL:
            return _v4(destination)
        return self._select(hop.device, _v4(hop.gateway), route.scope)

    def masquerade_address(self, device: str, result: RouteResult, destination: IPv4Address) -> IPv4Address | None:
        """Return the address MASQUERADE writes for a packet that leaves through *device* by *result*; None: it drops the packet.

        Source: nf_nat_masquerade_ipv4().
        """
        gateway = _v4(result.gateway)
        return self._select(device, gateway if gateway is not None else destination, UNIVERSE)

    def asking_address(self, device: str, target: IPv4Address) -> IPv4Address | None:
        """Return the address by which an ARP request on *device* asks for *target*, where the packet's own is not taken.

        Source: arp_solicit(), inet_select_addr().
        """
        return self._select(device, target, LINK_SCOPE)

    def _select(self, device: str | None, towards: IPv4Address | None, scope: int) -> IPv4Address | None:
        if self._by_device is None:
            return None
        route_localnet = device is not None and bool(self._sysctls.either(4, device, "route_localnet"))
        return select_address(self._by_device, device, towards, scope, route_localnet)

    # Address types

    def address_type(self, address: IPv4Address, device: str | None = None) -> ResultKind:
        """Return local, broadcast, multicast or unicast: what the local table says of *address* (on *device*, if given).

        Source: __inet_dev_addr_type().
        """
        if address in (_ZERO, LIMITED_BROADCAST):
            return ResultKind.BROADCAST
        if address.is_multicast:
            return ResultKind.MULTICAST
        found = self._decider.in_table(self._tables.local, Flow(destination=address))
        if found is None or found.kind in _NO_ROUTE:
            return ResultKind.UNICAST
        if device is not None and found.first is not None and found.first.device != device:
            return ResultKind.UNICAST
        return found.kind

    # Received packets

    def validate_source(self, flow: Flow) -> SourceVerdict:
        """Return whether a packet received on ``flow.iif`` is taken. Source: ip_route_input_slow(), fib_validate_source()."""
        return Reception(self._tables, self._decider, self._sysctls, self._by_device, flow, self._own).verdict()

    @cached_property
    def _own(self) -> frozenset[Address]:
        return frozenset(held.address for addresses in (self._by_device or {}).values() for held in addresses)


_NO_ROUTE = (ResultKind.NONE, ResultKind.BLACKHOLE, ResultKind.UNREACHABLE, ResultKind.PROHIBIT)


def _ways(decision: Decision) -> Sequence[NextHop | None]:
    return [hop for hop in decision.nexthops if hop.share > 0] if decision.nexthops else [None]


def _is_short(route: Route | None) -> bool:
    return route is not None and route.destination.prefixlen < 4


def _kind_by_address(destination: Address) -> ResultKind | None:
    if destination == LIMITED_BROADCAST:
        return ResultKind.BROADCAST
    return ResultKind.MULTICAST if destination.is_multicast else None


def _v4(address: Address | None) -> IPv4Address | None:
    return address if isinstance(address, IPv4Address) else None


def _by_source(hops: tuple[NextHop, ...], own: list[bool]) -> tuple[NextHop, ...]:
    """Return the shares when only *own* next hops are taken: each what lies below its bound, the first also what lies above the last."""
    bound, below = Fraction(0), Fraction(0)
    shares = []
    for hop, mine in zip(hops, own, strict=True):
        bound += hop.share
        shares.append(bound - below if mine else Fraction(0))
        below = bound if mine else below
    shares[own.index(True)] += 1 - below
    return tuple(replace(hop, share=share) for hop, share in zip(hops, shares, strict=True))
