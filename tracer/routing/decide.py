"""One routing decision: the rules in order, a table, the route, and the next hops among which the flow's hash chooses.

Strategy: every step is the kernel's, family by family. Where the inputs cannot tell (a rule whose selector we cannot evaluate, a route with
an attribute we do not model), both ways are tried, and only if they differ the decision is unknown. Neighbour states are not asked.
Source: fib_rules.c, fib_trie.c, fib_semantics.c, ipv4/route.c, ip6_fib.c, ipv6/route.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address

from tracer.kept import Kept
from tracer.limits import KEPT_LOOKS
from tracer.packet import Address
from tracer.routing.flow import LOOPBACK, Flow, matches, unknown_because
from tracer.routing.model import DEFAULT_TABLE, LOCAL_TABLE, MAIN_TABLE, Link, NextHop, PolicyRule, ResultKind, Route, RouteType, RuleAction
from tracer.routing.parse import with_shares
from tracer.routing.tables import FamilyTables, RouteTable
from tracer.values import dataclass

_KERNELS_TABLES = (LOCAL_TABLE, MAIN_TABLE, DEFAULT_TABLE)
_REJECTS = {
    RouteType.BLACKHOLE: ResultKind.BLACKHOLE,
    RouteType.UNREACHABLE: ResultKind.UNREACHABLE,
    RouteType.PROHIBIT: ResultKind.PROHIBIT,
}
_RULE_REJECTS = {
    RuleAction.BLACKHOLE: ResultKind.BLACKHOLE,
    RuleAction.UNREACHABLE: ResultKind.UNREACHABLE,
    RuleAction.PROHIBIT: ResultKind.PROHIBIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the rules and tables say. *nexthops* carry the shares of this flow; IPv6's *first* is the one the search found."""

    kind: ResultKind
    route: Route | None = None
    rule: PolicyRule | None = None
    nexthops: tuple[NextHop, ...] = ()
    first: NextHop | None = None
    unknown_reason: str | None = None

    def same_way(self, other: Decision) -> bool:
        """Return whether both come to the same, whichever rule led there."""
        return (self.kind, self.route, self.nexthops) == (other.kind, other.route, other.nexthops) and self.kind is not ResultKind.UNKNOWN


def unknown(reason: str, route: Route | None = None, rule: PolicyRule | None = None) -> Decision:
    """Return a decision that nobody can take, and why."""
    return Decision(kind=ResultKind.UNKNOWN, route=route, rule=rule, unknown_reason=reason)


class Decider:
    """Takes decisions for one family of one stack. *ignores_linkdown* says whether routes over a device without carrier are skipped."""

    def __init__(self, tables: FamilyTables, links: Mapping[str, Link], ignores_linkdown: Callable[[str], bool]) -> None:
        self._tables = tables
        self._links = links
        self._ignores_linkdown = ignores_linkdown
        self._vrfs = frozenset(link.name for link in links.values() if link.kind == "vrf")
        self._found: Kept[tuple[Address, int, bool], Decision] = Kept(KEPT_LOOKS)

    def decide(self, flow: Flow) -> Decision:
        """Return the kernel's decision for *flow*."""
        if self._tables.version == 4 and not self._tables.custom_rules:
            return self._without_rules(flow)
        return _Walk(self, flow).from_position(0)

    def _without_rules(self, flow: Flow) -> Decision:
        """What the tables say, where no rule asks for more than they do: that goes by the destination."""
        if flow.oif is not None or type(flow.destination) is not IPv4Address:
            return self._searched(flow)
        key = flow.destination, flow.tos & 0xFC, flow.ignore_linkdown
        return self._found.get(key) or self._found.put(key, self._searched(flow))

    def _searched(self, flow: Flow) -> Decision:
        decision = self.in_table(self._tables.merged, flow)
        last = self._tables.tables.get(DEFAULT_TABLE)
        if decision is None and last is not None:
            decision = self.in_table(last, flow)
        return decision or self.nothing()

    def nothing(self) -> Decision:
        """Return the decision when no table had a route: none, or unknown when the routes were not recorded."""
        if not self._tables.complete:
            return unknown("the routes of this stack were not recorded; only its addresses are known")
        return Decision(kind=ResultKind.NONE)

    @property
    def rules(self) -> tuple[PolicyRule, ...]:
        """Return the rules in the order they are asked."""
        return self._tables.rules

    def position_of(self, priority: int) -> int | None:
        """Return where a goto to *priority* lands, None if no rule has it."""
        return self._tables.positions.get(priority)

    def matches(self, rule: PolicyRule, flow: Flow) -> bool | None:
        """Return whether *rule* matches, VRF rules included: those want a device that belongs to one."""
        if not rule.l3mdev:
            return matches(rule, flow)
        devices = (self._links.get(name) for name in (flow.iif, flow.oif) if name)
        in_vrf = any(link.name in self._vrfs or link.master in self._vrfs for link in devices if link is not None)
        return None if in_vrf else rule.inverted

    def apply(self, rule: PolicyRule, flow: Flow) -> Decision | None:
        """Return what a matching *rule* decides, None if the next rule is to be asked (no route, throw, suppressed)."""
        if rule.action in _RULE_REJECTS:
            return Decision(kind=_RULE_REJECTS[rule.action], rule=rule)
        if rule.action is RuleAction.OTHER or rule.table is None:
            return unknown(f"policy rule {rule.to_text()!r} has an action that is not modelled", rule=rule)
        table = self._tables.tables.get(rule.table)
        if table is None and not self._tables.lists_all and rule.table not in _KERNELS_TABLES:
            return unknown(
                f"policy rule {rule.to_text()!r} asks a table that was not listed (ip route shows main; table all shows every one)",
                rule=rule,
            )
        found = self.in_table(table, flow) if table is not None else None
        if found is None or found.kind is ResultKind.UNKNOWN:
            return found
        suppressed = found.kind not in _REJECTS.values() and self._suppressed(rule, found)
        if suppressed is None:
            return unknown(f"policy rule {rule.to_text()!r} suppresses a device group that was not recorded", rule=rule)
        if suppressed:
            return None
        return Decision(kind=found.kind, route=found.route, rule=rule, nexthops=found.nexthops, first=found.first)

    def _suppressed(self, rule: PolicyRule, found: Decision) -> bool | None:
        if found.route is None:
            return False
        if rule.suppress_prefixlength is not None and found.route.destination.prefixlen <= rule.suppress_prefixlength:
            return True
        if rule.suppress_group is None or found.route.device is None:
            return False
        link = self._links.get(found.route.device)
        return None if link is None or link.group is None else link.group == rule.suppress_group

    def in_table(self, table: RouteTable, flow: Flow) -> Decision | None:
        """Return what *table* says of *flow*, None if nothing there covers it or a throw route sends on."""
        found = self._search4(table, flow) if self._tables.version == 4 else self._search6(table, flow)
        return None if found is None or (found.route is not None and found.route.type is RouteType.THROW) else found

    # IPv4: fib_table_lookup(), fib_select_path()

    def _search4(self, table: RouteTable, flow: Flow) -> Decision | None:
        for routes in table.candidates(flow.destination):
            for position, route in enumerate(routes):
                if route.tos and route.tos != flow.tos & 0xFC:
                    continue
                if route.unmodelled:
                    return _not_modelled(route)
                if route.type in _REJECTS or route.type is RouteType.THROW:
                    return Decision(kind=_REJECTS.get(route.type, ResultKind.NONE), route=route)
                if decision := self._through4(route, routes[position + 1 :], flow):
                    return decision
        return None

    def _through4(self, route: Route, later: list[Route], flow: Flow) -> Decision | None:
        usable = tuple(self._usable(route, hop, flow) for hop in route.nexthops)
        if flow.oif:
            hop = next((hop for hop, use in zip(route.nexthops, usable, strict=True) if use and hop.device == flow.oif), None)
            return None if hop is None else _decision(route, (hop,))
        if not any(usable):
            return None
        if len(route.nexthops) == 1:
            if self._undecided_default(route, later):
                return unknown("several default routes have the same metric: the kernel asks which gateway answers", route)
            return _decision(route, route.nexthops)
        # A device that lost its carrier counts as dead for the shares only if such routes are ignored.
        return _decision(route, with_shares(route.nexthops, usable))

    def _undecided_default(self, route: Route, later: list[Route]) -> bool:
        # fib_select_default(): only gateways of the same metric and TOS are rivals.
        if route.destination.prefixlen or route.type is not RouteType.UNICAST or route.gateway is None:
            return False
        return any(rival.gateway is not None and _rank(rival) == _rank(route) for rival in later)

    def _usable(self, route: Route, hop: NextHop, flow: Flow) -> bool:
        if hop.dead or self._is_down(route, hop):
            return False
        skipped = hop.linkdown and not flow.ignore_linkdown
        return not (skipped and hop.device is not None and self._ignores_linkdown(hop.device))

    def _is_down(self, route: Route, hop: NextHop) -> bool:
        """Whether the device is shut: the kernel flushes what leads over it, or marks one of several next hops dead.

        NB: the routes to a shut device's own addresses stay. Source: fib_sync_down_dev(), fib_add_ifaddr(), rt6_disable_ip().
        """
        link = self._links.get(hop.device or "")
        return route.type is RouteType.UNICAST and link is not None and link.is_down

    # What a search passes over

    @cached_property
    def _passes_over_some(self) -> bool:
        return any(self._why_unusable(route, hop) for route in self._tables.routes for hop in route.nexthops)

    def _why_unusable(self, route: Route, hop: NextHop) -> str | None:
        if hop.dead:
            return "it is marked dead"
        if self._is_down(route, hop):
            return f"{hop.device} is shut"
        if hop.linkdown and hop.device is not None and self._ignores_linkdown(hop.device):
            return f"{hop.device} has no carrier, and ignore_routes_with_linkdown is set"
        return None

    def passed_over(self, destination: Address, chosen: Route | None) -> Iterator[tuple[Route, str]]:
        """Yield the routes, more exact than *chosen* or as exact, that would lead to *destination* if their devices worked, and why not."""
        if not self._passes_over_some:
            return
        for table in self._tables.tables.values():
            for route in (r for routes in table.candidates(destination) for r in routes):
                reasons = [self._why_unusable(route, hop) for hop in route.nexthops]
                shorter = chosen is not None and route.destination.prefixlen < chosen.destination.prefixlen
                if reasons and all(reasons) and not shorter:
                    yield route, str(reasons[0])

    # IPv6: fib6_table_lookup(), find_rr_leaf(), fib6_select_path()

    def _search6(self, table: RouteTable, flow: Flow) -> Decision | None:
        backtracking = False
        for routes in table.candidates(flow.destination):
            for group in _source_groups(routes, flow, backtracking):
                if decision := self._best6(group, flow):
                    return decision
                backtracking = True
        return None

    def _best6(self, routes: list[Route], flow: Flow) -> Decision | None:
        """Return the best route of one prefix: the smallest metric that has a usable one; beyond that metric, the best score."""
        lowest = routes[0].metric
        for group in ([r for r in routes if r.metric == lowest], [r for r in routes if r.metric != lowest]):
            best, best_score = None, -1
            for route in group:
                for position, hop in enumerate(route.nexthops):
                    score = self._score6(route, hop, flow)
                    if score > best_score:
                        best, best_score = (route, position), score
            if best is not None:
                return self._through6(*best, flow)
        return None

    def _score6(self, route: Route, hop: NextHop, flow: Flow) -> int:
        if not self._usable(route, hop, flow):
            return -1
        on_device = flow.device_scope is None or hop.device == flow.device_scope
        if not on_device and flow.strict_device:
            return -1
        return (2 if on_device else 0) | (route.preference + 2) << 2

    def _through6(self, route: Route, position: int, flow: Flow) -> Decision:
        if route.unmodelled:
            return _not_modelled(route)
        if route.type in _REJECTS or route.type is RouteType.THROW:
            return Decision(kind=_REJECTS.get(route.type, ResultKind.NONE), route=route)
        first = route.nexthops[position]
        if route.type is RouteType.UNICAST and first.device == LOOPBACK and not flow.destination.is_loopback:
            # fib6_is_reject(): a route over loopback would loop; it is kept as one that rejects.
            return Decision(kind=ResultKind.UNREACHABLE, route=route)
        if len(route.nexthops) == 1:
            return _decision(route, route.nexthops)
        hops = with_shares(route.nexthops, tuple(self._usable(route, hop, flow) for hop in route.nexthops))
        # Those that do not fit the device leave their part to the one that the search found.
        # NB: before Linux 6.15 (and its stable branches) the search's find also took the part of those before it.
        taken = [n for n, hop in enumerate(hops) if n != position and self._score6(route, hop, flow) < 0]
        return _decision(route, _moved(hops, position, taken), first)


def _rank(route: Route) -> tuple[int, int, int, str, RouteType]:
    return (route.metric, route.tos, route.scope, route.table, route.type)


def _moved(hops: tuple[NextHop, ...], position: int, taken: list[int]) -> tuple[NextHop, ...]:
    extra = sum((hops[n].share for n in taken), Fraction(0))
    shares = [Fraction(0) if n in taken else hop.share for n, hop in enumerate(hops)]
    shares[position] += extra
    return tuple(replace(hop, share=share) for hop, share in zip(hops, shares, strict=True))


def _source_groups(routes: list[Route], flow: Flow, backtracking: bool) -> list[list[Route]]:
    """Return the routes of one destination in groups: those of the longest source prefix that holds the flow's source first.

    NB: where a destination has routes for certain sources, its routes for all sources are found only by backtracking, not by the first
    descent; the default route is where every descent ends. Source: fib6_node_lookup(), fib6_node_lookup_1(), fib6_backtrack().
    """
    lengths: dict[int, list[Route]] = {}
    for route in routes:
        prefix = route.source_prefix
        if prefix is None or prefix.prefixlen == 0:
            lengths.setdefault(0, []).append(route)
        elif (flow.source or IPv6Address(0)) in prefix:
            lengths.setdefault(prefix.prefixlen, []).append(route)
    if not backtracking and not any(lengths) and routes[0].destination.prefixlen and any(route.source_prefix for route in routes):
        return []
    return [lengths[length] for length in sorted(lengths, reverse=True)]


def _decision(route: Route, hops: tuple[NextHop, ...], first: NextHop | None = None) -> Decision:
    return Decision(kind=ResultKind(route.type.value), route=route, nexthops=hops, first=first or hops[0])


def _not_modelled(route: Route) -> Decision:
    return unknown(f"route {route.to_text()!r} has {', '.join(route.unmodelled)}, which is not modelled", route)


class _Walk:
    """The walk over the rules for one flow; remembers what it decided from each position, since unknown matches try two ways."""

    __slots__ = ("_decided", "_decider", "_flow")

    def __init__(self, decider: Decider, flow: Flow) -> None:
        self._decider = decider
        self._flow = flow
        self._decided: dict[int, Decision] = {}

    def from_position(self, position: int) -> Decision:
        """Return the decision when the rules are asked from *position* on."""
        start = position
        if start not in self._decided:
            self._decided[start] = self._walk(position)
        return self._decided[start]

    def _walk(self, position: int) -> Decision:
        rules = self._decider.rules
        while position < len(rules):
            matched = self._decider.matches(rules[position], self._flow)
            if matched is None:
                return self._either(position)
            following, decision = self._taken(position) if matched else (position + 1, None)
            if decision is not None:
                return decision
            position = following
        return self._decider.nothing()

    def _taken(self, position: int) -> tuple[int, Decision | None]:
        """Return where to go on, or the decision, when the rule at *position* matches."""
        rule = self._decider.rules[position]
        if rule.action is RuleAction.GOTO:
            target = self._decider.position_of(rule.goto) if rule.goto is not None else None
            # The kernel refuses jumps backwards; an input that has one gets no loop from us.
            return (position + 1 if target is None or target <= position else target), None
        if rule.action is RuleAction.NOP:
            return position + 1, None
        return position + 1, self._decider.apply(rule, self._flow)

    def _either(self, position: int) -> Decision:
        rule = self._decider.rules[position]
        if not self._decided:
            # From the last unknown rule backwards, so that many of them do not nest.
            for later in range(len(self._decider.rules) - 1, position, -1):
                if self._decider.matches(self._decider.rules[later], self._flow) is None:
                    self.from_position(later)
        no = self.from_position(position + 1)
        following, yes = self._taken(position)
        yes = yes or self.from_position(following)
        return no if no.same_way(yes) else unknown(unknown_because(rule, self._flow), rule=rule)
