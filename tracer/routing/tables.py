"""Routing tables: longest prefix first, a dictionary for each prefix length, so a look-up costs as many steps as there are lengths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

from tracer.packet import Address
from tracer.routing.model import DEFAULT_TABLE, LOCAL_TABLE, MAIN_TABLE, PolicyRule, Route, RouteType, RuleAction
from tracer.values import dataclass


class RouteTable:
    """The routes of one table (or of IPv4's local and main in one), in the order the kernel tries them."""

    def __init__(self, routes: Iterable[Route], version: int) -> None:
        self._bits = 32 if version == 4 else 128
        by_length: dict[int, dict[int, list[Route]]] = defaultdict(lambda: defaultdict(list))
        for route in routes:
            network = route.destination
            by_length[network.prefixlen][int(network.network_address)].append(route)
        order = _order4 if version == 4 else _order6
        for prefixes in by_length.values():
            for same in prefixes.values():
                if len(same) > 1:
                    same.sort(key=order)
        self._lengths = sorted(by_length, reverse=True)
        self._by_length = {length: dict(prefixes) for length, prefixes in by_length.items()}

    def candidates(self, address: Address) -> Iterator[list[Route]]:
        """Yield the routes that cover *address*, those of the longest prefix first, each list in the kernel's order."""
        number = int(address)
        for length in self._lengths:
            shift = self._bits - length
            if routes := self._by_length[length].get(number >> shift << shift):
                yield routes

    def __bool__(self) -> bool:
        return bool(self._lengths)


def _order4(route: Route) -> tuple[int, int, int]:
    # fib_insert_alias(): by table (local's 255 before main's 254), then the larger TOS, then the smaller metric, then first come.
    return (0 if route.table == LOCAL_TABLE else 1, -route.tos, route.metric)


def _order6(route: Route) -> tuple[int, int]:
    return (-route.source_prefix.prefixlen if route.source_prefix is not None else 0, route.metric)


@dataclass(frozen=True, kw_only=True)
class FamilyTables:
    """One family's rules and tables. *complete* is False when the routes were not recorded and only derived from addresses."""

    version: int
    rules: tuple[PolicyRule, ...]
    routes: tuple[Route, ...]
    complete: bool = True

    @cached_property
    def tables(self) -> dict[str, RouteTable]:
        """Return every table by its name."""
        grouped: dict[str, list[Route]] = defaultdict(list)
        for route in self.routes:
            grouped[route.table].append(route)
        return {name: RouteTable(routes, self.version) for name, routes in grouped.items()}

    @cached_property
    def lists_all(self) -> bool:
        """Return whether every table was listed: a listing of them all holds the local one, which no stack lacks."""
        recorded = [route for route in self.routes if not route.inferred]
        return not recorded or any(route.table == LOCAL_TABLE for route in recorded)

    @cached_property
    def custom_rules(self) -> bool:
        """Return whether the rules differ from the kernel's own."""
        return [_shape(rule) for rule in self.rules] != [_shape(rule) for rule in default_rules(self.version)]

    @cached_property
    def asks_more_than_addresses(self) -> bool:
        """Return whether a policy rule looks at a packet's protocol, its ports or its user."""
        asked = ((rule.protocol, rule.source_ports, rule.destination_ports, rule.uids) for rule in self.rules)
        return any(field is not None for fields in asked for field in fields)

    @cached_property
    def merged(self) -> RouteTable:
        """Return local and main as one table.

        NB: until somebody adds a rule, IPv4 keeps both in one trie: a longer prefix of main wins over a shorter one of local.
        Source: fib_trie_table(), fib_unmerge() in fib_frontend.c, fib_lookup() in ip_fib.h.
        """
        return RouteTable((route for route in self.routes if route.table in (LOCAL_TABLE, MAIN_TABLE)), self.version)

    @cached_property
    def custom_local_routes(self) -> bool:
        """Return whether somebody other than the kernel added a local route (fib_has_custom_local_routes)."""
        return any(route.type is RouteType.LOCAL and route.protocol != "kernel" and not route.inferred for route in self.routes)

    @cached_property
    def positions(self) -> dict[int, int]:
        """Return the position of the first rule of each priority, where a goto lands."""
        found: dict[int, int] = {}
        for position, rule in enumerate(self.rules):
            found.setdefault(rule.priority, position)
        return found

    @property
    def local(self) -> RouteTable:
        """Return the table that address types are read from; with no rules of their own that is the merged one."""
        if self.version == 4 and not self.custom_rules:
            return self.merged
        return self.tables.get(LOCAL_TABLE) or RouteTable((), self.version)


def _shape(rule: PolicyRule) -> str:
    return rule.to_text() if not rule.unmodelled else ""


def default_rules(version: int) -> tuple[PolicyRule, ...]:
    """Return the rules a fresh network namespace has. Source: fib_default_rules_init(), fib6_rules_net_init()."""
    names = ((0, LOCAL_TABLE), (32766, MAIN_TABLE), *(((32767, DEFAULT_TABLE),) if version == 4 else ()))
    return tuple(PolicyRule(priority=priority, action=RuleAction.TABLE, table=table) for priority, table in names)
