"""IPv4's look at the addresses of a received packet: martians, reverse-path filter, the stack's own address from outside.

Source: ip_route_input_slow(), __mkroute_input() in route.c; fib_validate_source(), __fib_validate_source() in fib_frontend.c.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from tracer.packet import Address, unsaid, which
from tracer.routing.decide import Decider, Decision
from tracer.routing.flow import LOOPBACK, Flow
from tracer.routing.model import InterfaceAddress, ResultKind, RouteResult, SourceCheck, SourceVerdict, shown_device
from tracer.routing.sysctl import Sysctls, kernel_default
from tracer.routing.tables import FamilyTables

_LIMITED_BROADCAST = IPv4Address("255.255.255.255")
_ZERO = IPv4Address(0)
_SET_BY_OTHERS = ("rp_filter", "route_localnet")
"""What distributions (rp_filter: 1 or 2) and kube-proxy (route_localnet) set: unrecorded, the kernel's default says little."""


class Reception:
    """One received packet, ``flow.iif`` the device it came in through; *own* are the addresses of all devices, where they were recorded.

    Sysctls that were not recorded count as the kernel's default; where one that others set would change the verdict, both are told.
    """

    def __init__(
        self,
        tables: FamilyTables,
        decider: Decider,
        sysctls: Sysctls,
        by_device: Mapping[str, Sequence[InterfaceAddress]] | None,
        flow: Flow,
        own: frozenset[Address],
    ) -> None:
        self._tables = tables
        self._decider = decider
        self._sysctls = sysctls
        self._by_device = by_device
        self._flow = flow
        self._own = own
        self._device = flow.iif or LOOPBACK
        self._assumed: list[str] = []

    def verdict(self) -> SourceVerdict:
        """Return whether the kernel takes the packet."""
        check, reason = self._check()
        found = SourceVerdict(check=check, reason=reason, assumed=tuple(dict.fromkeys(self._assumed)))
        for key in _SET_BY_OTHERS:
            if (other := self._if_set(key, found)) is not None and other.check is not check:
                return replace(found, hinge=key, otherwise=other)
        return found

    def _if_set(self, key: str, found: SourceVerdict) -> SourceVerdict | None:
        """Return the verdict if *key* were 1, None where it was recorded or not asked for."""
        name = f"net.ipv4.conf.all.{key}"
        if found.check is SourceCheck.UNKNOWN or name not in found.assumed or self._sysctls.is_recorded(4, self._device, key):
            return None
        sysctls = Sysctls(values=ChainMap({name: "1"}, dict(self._sysctls.values)))
        check, reason = Reception(self._tables, self._decider, sysctls, self._by_device, self._flow, self._own)._check()
        return SourceVerdict(check=check, reason=reason)

    def _check(self) -> tuple[SourceCheck, str]:
        source, destination = self._flow.source, self._flow.destination
        if not isinstance(source, IPv4Address):
            return SourceCheck.UNKNOWN, "the packet's source address is not known"
        if source.is_multicast or source == _LIMITED_BROADCAST:
            return SourceCheck.MARTIAN_SOURCE, f"{source} is no unicast source"
        if destination == _LIMITED_BROADCAST or source == destination == _ZERO:
            return self._validate(destination=None, out=None) if source != _ZERO else (SourceCheck.OK, "")
        if source == _ZERO:
            return SourceCheck.MARTIAN_SOURCE, f"{source} is zero"
        if destination == _ZERO:
            return SourceCheck.MARTIAN_DESTINATION, f"{destination} is zero"
        if (loopback := self._loopback(source, destination)) is not None:
            return loopback
        if destination.is_multicast:
            return SourceCheck.OK, ""
        return self._by_route(destination)

    def _loopback(self, source: Address, destination: Address) -> tuple[SourceCheck, str] | None:
        if self._device == LOOPBACK or not (source.is_loopback or destination.is_loopback) or self._either("route_localnet"):
            return None
        if destination.is_loopback:
            return SourceCheck.MARTIAN_DESTINATION, f"{destination} came in through {shown_device(self._device)} without route_localnet"
        return SourceCheck.MARTIAN_SOURCE, f"{source} came in through {shown_device(self._device)} without route_localnet"

    def _by_route(self, destination: Address) -> tuple[SourceCheck, str]:
        decision = self._decider.decide(self._flow if self._flow.oif is None else replace(self._flow, oif=None))
        match decision.kind:
            case ResultKind.UNKNOWN:
                return SourceCheck.UNKNOWN, decision.unknown_reason or ""
            case ResultKind.LOCAL:
                return self._validate(destination=destination, out=None)
            case ResultKind.BROADCAST:
                return self._validate(destination=None, out=None)
            case ResultKind.UNICAST:
                ways = dict.fromkeys(hop.device for hop in decision.nexthops if hop.share > 0)
                verdicts = [self._validate(destination=destination, out=device) for device in ways]
                same = len({check for check, _ in verdicts}) == 1
                return verdicts[0] if same else (SourceCheck.UNKNOWN, "the check depends on the next hop")
            case _:
                # No route, or one that rejects: the packet ends there, its source is not looked at.
                return SourceCheck.OK, ""

    def _validate(self, *, destination: Address | None, out: str | None) -> tuple[SourceCheck, str]:
        """Return fib_validate_source()'s verdict; *out* is the device a forwarded packet leaves by, *destination* None stands for zero."""
        rp_filter = max(self._conf("all", "rp_filter"), self._conf(self._device, "rp_filter"))
        redirects = out == self._device and self._either("send_redirects")
        if rp_filter or redirects:
            return self._full(destination, out, rp_filter)
        if self._either("accept_local"):
            return SourceCheck.OK, ""
        if self._tables.custom_local_routes or self._tables.custom_rules:
            return self._full(destination, out, rp_filter)
        if self._is_own(self._flow.source):
            return SourceCheck.MARTIAN_SOURCE, f"{self._flow.source} is this stack's own address, and accept_local is not set"
        return SourceCheck.OK, ""

    def _full(self, destination: Address | None, out: str | None, rp_filter: int) -> tuple[SourceCheck, str]:
        """Return __fib_validate_source()'s verdict: where would a packet to the source go?

        NB: somebody outside may be anywhere: what the default route lets in is taken, what it does not is not known.
        """
        source = self._flow.source or _ZERO
        not_known = SourceCheck.UNKNOWN, f"{which(source)}, for which {shown_device(self._device)} is asked (rp_filter)"
        if rp_filter and unsaid(source):
            return not_known
        found = self._way_back(destination, out, rp_filter)
        return found if unsaid(source) is None or found[0] is SourceCheck.OK else not_known

    def _way_back(self, destination: Address | None, out: str | None, rp_filter: int) -> tuple[SourceCheck, str]:
        found = self._decider.decide(self._reversed(destination, out))
        if found.kind is ResultKind.UNKNOWN:
            return SourceCheck.UNKNOWN, found.unknown_reason or ""
        if found.kind in _NO_ROUTE:
            return self._last_resort(rp_filter, f"there is no route back to {self._flow.source}{by_what(found)}")
        if found.kind is ResultKind.LOCAL and not self._either("accept_local"):
            return SourceCheck.MARTIAN_SOURCE, f"{self._flow.source} is local to this stack, and accept_local is not set"
        if found.kind not in (ResultKind.UNICAST, ResultKind.LOCAL):
            return SourceCheck.MARTIAN_SOURCE, f"{self._flow.source} is a {found.kind} address here"
        if self._uses_device(found):
            return SourceCheck.OK, ""
        if self._by_device is not None and not any(a.address.version == 4 for a in self._by_device.get(self._device, ())):
            return self._last_resort(rp_filter, f"{shown_device(self._device)} has no IPv4 address")
        if rp_filter == 1:
            back = f"the way back to {self._flow.source}" + (f" from {destination}" if destination is not None else "")
            return SourceCheck.RP_FILTER, f"{back} is not through {shown_device(self._device)} (strict rp_filter){by_what(found)}"
        return SourceCheck.OK, ""

    def _reversed(self, destination: Address | None, out: str | None) -> Flow:
        flow = self._flow
        return Flow(
            destination=flow.source or flow.destination,
            source=destination or IPv4Address(0),
            iif=out or LOOPBACK,
            mark=flow.mark if self._either("src_valid_mark") else 0,
            protocol=flow.protocol,
            source_port=flow.destination_port,
            destination_port=flow.source_port,
            tos=flow.tos,
            uid=0,
        )

    def _uses_device(self, found: Decision) -> bool:
        if found.route is not None and any(hop.device == self._device for hop in found.route.nexthops):
            return True
        return found.kind is ResultKind.LOCAL and self._device == LOOPBACK

    def _last_resort(self, rp_filter: int, reason: str) -> tuple[SourceCheck, str]:
        return (SourceCheck.RP_FILTER, f"{reason} (rp_filter {rp_filter})") if rp_filter else (SourceCheck.OK, "")

    def _is_own(self, address: Address | None) -> bool:
        if self._by_device is None:
            # Without the addresses the local table tells: it has a local route for each.
            local = self._decider.in_table(self._tables.local, Flow(destination=address)) if address is not None else None
            return local is not None and local.kind is ResultKind.LOCAL
        return address in self._own

    def _conf(self, device: str, key: str) -> int:
        value = self._sysctls.inherited(4, device, key)
        if value is not None:
            return value
        name = f"net.ipv4.conf.{device}.{key}"
        self._assumed.append(name)
        return int(kernel_default(name) or 0)

    def _either(self, key: str) -> bool:
        return bool(self._conf("all", key)) or bool(self._conf(self._device, key))


def by_what(found: Decision | RouteResult) -> str:
    """Return what sends the way back elsewhere, or nowhere: the route with its device and table, and the policy rule that led there."""
    rule = found.rule if found.rule is not None and found.rule.priority not in _STOCK_RULES else None
    said = (f"route {found.route.to_text()!r}" if found.route is not None else "", f"policy rule {rule.to_text()!r}" if rule else "")
    what = ", by ".join(word for word in said if word)
    return f": {what}" if what else ""


_STOCK_RULES = (0, 32766, 32767)
"""The priorities of the rules that every stack has: tables local, main and default. Source: fib_default_rules_init() in fib_rules.c."""
_NO_ROUTE = (ResultKind.NONE, ResultKind.BLACKHOLE, ResultKind.UNREACHABLE, ResultKind.PROHIBIT)
