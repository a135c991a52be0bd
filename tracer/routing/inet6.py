"""IPv6 of one stack: look-ups as results, source addresses, MASQUERADE's address, address types, the check of received packets.

Source: ipv6/route.c (ip6_route_output_flags, ip6_route_input, ip6_route_get_saddr), ip6_input.c, ip6_output.c (ip6_forward),
nf_nat_masquerade.c, xt_addrtype.c, nft_fib_ipv6.c.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from ipaddress import IPv6Address

from tracer.packet import Address
from tracer.routing.decide import Decider, Decision
from tracer.routing.flow import LOOPBACK, Flow
from tracer.routing.model import InterfaceAddress, Link, NextHop, ResultKind, Route, RouteResult, SourceCheck, SourceVerdict
from tracer.routing.source import select_address6
from tracer.routing.sysctl import Sysctls
from tracer.routing.tables import FamilyTables

_NO_ROUTE = (ResultKind.NONE, ResultKind.BLACKHOLE, ResultKind.UNREACHABLE, ResultKind.PROHIBIT)
_HERE = (ResultKind.LOCAL, ResultKind.ANYCAST)


class Inet6:
    """One stack's IPv6. *by_device* holds its addresses in the kernel's order, None when they were not recorded."""

    def __init__(
        self,
        tables: FamilyTables,
        links: Mapping[str, Link],
        by_device: Mapping[str, Sequence[InterfaceAddress]] | None,
        sysctls: Sysctls,
    ) -> None:
        self._tables = tables
        self._links = links
        self._by_device = by_device
        self._sysctls = sysctls
        self._decider = Decider(tables, links, lambda device: bool(sysctls.conf(6, device, "ignore_routes_with_linkdown")))

    # Look-ups

    def lookup(self, flow: Flow) -> tuple[RouteResult, ...]:
        """Return the ways *flow* can go; their shares sum to 1."""
        received = flow.iif is not None and flow.iif != LOOPBACK
        decision = self._decider.decide(_scoped(flow, received))
        hops: list[NextHop | None] = [hop for hop in decision.nexthops if hop.share > 0]
        return tuple(self._result(decision, flow, hop, received) for hop in hops or [None])

    def _result(self, decision: Decision, flow: Flow, hop: NextHop | None, received: bool) -> RouteResult:
        device, gateway = (None, None) if hop is None else (hop.device, hop.gateway)
        if decision.kind in _HERE:
            device, gateway = (flow.iif if received else LOOPBACK), None
        result = RouteResult(
            kind=decision.kind,
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
        return replace(result, source=self._preferred_source(decision, hop.device, flow.destination))

    def passed_over(self, destination: Address, chosen: Route | None) -> tuple[tuple[Route, str], ...]:
        """Return the routes that a look-up passed over since their devices do not work, and why. See :meth:`Decider.passed_over`."""
        return tuple(self._decider.passed_over(destination, chosen))

    # Source addresses

    def source_address(self, result: RouteResult, destination: IPv6Address) -> IPv6Address | None:
        """Return what the kernel writes into its own packet that goes by *result*; None if it has no address, or they are unknown."""
        route = result.route
        device = route.device if route is not None and result.kind in _HERE else result.device
        return self._preferred_source(Decision(kind=result.kind, route=route), device, destination)

    def _preferred_source(self, decision: Decision, device: str | None, destination: Address) -> IPv6Address | None:
        if decision.kind in _NO_ROUTE or decision.kind is ResultKind.UNKNOWN or not isinstance(destination, IPv6Address):
            return None
        if decision.route is not None and isinstance(decision.route.prefsrc, IPv6Address):
            return decision.route.prefsrc
        return self._select(device, destination)

    def masquerade_address(self, device: str, destination: IPv6Address) -> IPv6Address | None:
        """Return the address MASQUERADE writes for a packet that leaves through *device*; None: it drops the packet.

        Source: nf_nat_masquerade_ipv6().
        """
        return self._select(device, destination)

    def _select(self, device: str | None, destination: IPv6Address) -> IPv6Address | None:
        if self._by_device is None:
            return None
        return select_address6(
            self._by_device,
            device,
            destination,
            prefers_temporary=lambda name: (self._sysctls.conf(6, name, "use_tempaddr") or 0) >= 2,
            own_addresses_only=device is not None and bool(self._sysctls.conf(6, device, "use_oif_addrs_only")),
        )

    # Address types

    def address_type(self, address: IPv6Address, device: str | None = None) -> ResultKind | None:
        """Return what nftables' ``fib ADDRESS type`` says: local, unicast, multicast, anycast, or why it cannot be reached.

        None is its unspec. Source: __nft_fib6_eval_type().
        """
        decision = self._decider.decide(_type_flow(address, device))
        match decision.kind:
            case ResultKind.BLACKHOLE | ResultKind.PROHIBIT | ResultKind.UNREACHABLE | ResultKind.UNKNOWN:
                return decision.kind
            case ResultKind.NONE:
                return ResultKind.UNREACHABLE
            case _:
                return self._reachable_type(address, device, decision)

    def _reachable_type(self, address: IPv6Address, device: str | None, decision: Decision) -> ResultKind | None:
        if _is_anycast(decision, address):
            return ResultKind.ANYCAST
        if decision.kind is ResultKind.LOCAL and device is None:
            return ResultKind.LOCAL
        if device is not None and self._has(address, device):
            return ResultKind.LOCAL
        if address.is_multicast:
            return ResultKind.MULTICAST
        return ResultKind.UNICAST if _is_unicast(address) else None

    def _has(self, address: Address, device: str) -> bool:
        held = (self._by_device or {}).get(device, ())
        return any(own.address == address and not (own.tentative and not own.optimistic) for own in held)

    def is_local(self, address: IPv6Address) -> bool:
        """Return whether the stack itself takes packets to *address*: the local table's word."""
        found = self._decider.in_table(self._tables.local, Flow(destination=address))
        return found is not None and found.kind in _HERE

    def has_address_type(self, address: IPv6Address, types: Collection[ResultKind], device: str | None = None) -> bool | None:
        """Return whether xt_addrtype's mask of *types* matches; an unspecified address is spelled none. None: unknown.

        NB: the bits are not alternatives: multicast and unicast are conditions; local, anycast, prohibit and unreachable ask the tables.
        Source: match_type6() in xt_addrtype.c.
        """
        if ResultKind.MULTICAST in types and not address.is_multicast:
            return False
        if ResultKind.UNICAST in types and not _is_unicast(address):
            return False
        if ResultKind.NONE in types and int(address) != 0:
            return False
        asked = {ResultKind.LOCAL, ResultKind.ANYCAST, ResultKind.PROHIBIT, ResultKind.UNREACHABLE} & set(types)
        if not asked:
            return True
        found = self._by_route(address, device, ResultKind.LOCAL in types)
        return None if found is None else bool(asked & found)

    def _by_route(self, address: IPv6Address, device: str | None, local_wanted: bool) -> set[ResultKind] | None:
        decision = self._decider.decide(_type_flow(address, device))
        if decision.kind is ResultKind.UNKNOWN:
            return None
        if decision.kind in _NO_ROUTE:
            return {ResultKind.UNREACHABLE}
        found = {ResultKind.LOCAL} if device is not None and local_wanted and self._has(address, device) else set()
        if decision.kind is ResultKind.LOCAL and device is None:
            found.add(ResultKind.LOCAL)
        if _is_anycast(decision, address):
            found.add(ResultKind.ANYCAST)
        return found

    # Received packets

    def validate_source(self, flow: Flow) -> SourceVerdict:
        """Return whether a packet received on ``flow.iif`` is taken. IPv6 has no reverse-path filter of its own.

        Source: ip6_rcv_core(); ip6_forward() for what is not local.
        """
        source, destination = flow.source, flow.destination
        link = self._links.get(flow.iif or LOOPBACK)
        loopback = (flow.iif or LOOPBACK) == LOOPBACK or (link is not None and link.loopback)
        if source is None:
            return SourceVerdict(check=SourceCheck.UNKNOWN, reason="the packet's source address is not known")
        if not loopback and source.is_loopback:
            return SourceVerdict(check=SourceCheck.MARTIAN_SOURCE, reason=f"{source} came in through {flow.iif}")
        if not loopback and destination.is_loopback:
            return SourceVerdict(check=SourceCheck.MARTIAN_DESTINATION, reason=f"{destination} came in through {flow.iif}")
        if source.is_multicast:
            return SourceVerdict(check=SourceCheck.MARTIAN_SOURCE, reason=f"{source} is a multicast address")
        if destination.is_multicast and int(destination) >> 112 & 0xF in ((0,) if loopback else (0, 1)):
            return SourceVerdict(check=SourceCheck.MARTIAN_DESTINATION, reason=f"{destination} has a scope that stays in one node")
        return SourceVerdict(check=SourceCheck.OK)


def _is_unicast(address: IPv6Address) -> bool:
    return not address.is_multicast and int(address) != 0 and address.ipv4_mapped is None


def _is_anycast(decision: Decision, address: IPv6Address) -> bool:
    """Return whether *address* counts as anycast: routed so, or the subnet's own address on the link.

    Source: ipv6_anycast_destination().
    """
    route = decision.route
    if decision.kind is ResultKind.ANYCAST or route is None:
        return decision.kind is ResultKind.ANYCAST
    own = decision.kind is ResultKind.LOCAL and route.protocol == "kernel"
    on_link = decision.first is not None and decision.first.gateway is None
    return on_link and not own and route.destination.prefixlen < 127 and route.destination.network_address == address


def _type_flow(address: IPv6Address, device: str | None) -> Flow:
    # Both ask with a flow of zeroes: no source, mark, protocol or ports.
    return _scoped(Flow(destination=address, oif=device, protocol=0, source_port=0, destination_port=0, uid=0), False)


def _scoped(flow: Flow, received: bool) -> Flow:
    """Return *flow* with the device the search prefers or insists on. Source: ip6_route_output_flags(), ip6_route_input_lookup()."""
    destination = flow.destination
    strict = destination.is_multicast or destination.is_link_local or destination.is_loopback
    if received:
        return replace(flow, oif=None, device_scope=flow.iif, strict_device=strict)
    return replace(flow, device_scope=flow.oif, strict_device=bool(flow.oif) and (strict or flow.source is None))
