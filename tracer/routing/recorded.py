"""What was recorded of one stack, parsed once and on first use.

A text that is absent, blank, or cannot be parsed is None; the faults of the last kind are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Protocol, TypeVar

from tracer.errors import Fault, ParseError
from tracer.packet import Address
from tracer.routing import ip_text, proc_text
from tracer.routing.infer import routes_of, sending_from
from tracer.routing.model import LOCAL_TABLE, InterfaceAddress, Link, Neighbour, PolicyRule, Route
from tracer.routing.parse import (
    address_versions,
    kernel_addresses,
    never_empty,
    parse_addresses,
    parse_kernel_routes,
    parse_links,
    parse_neighbours,
    parse_routes,
    parse_rules,
    parse_sysctl,
)
from tracer.routing.tables import default_rules

T = TypeVar("T")
_AS_TEXT = ("sysctl", "proc")


class Facts(Protocol):
    """What a stack is made of; None for what is not known."""

    @property
    def links(self) -> tuple[Link, ...] | None: ...
    @property
    def addresses(self) -> tuple[InterfaceAddress, ...] | None: ...
    @property
    def routes4(self) -> tuple[Route, ...] | None: ...
    @property
    def routes6(self) -> tuple[Route, ...] | None: ...
    @property
    def rules4(self) -> tuple[PolicyRule, ...] | None: ...
    @property
    def rules6(self) -> tuple[PolicyRule, ...] | None: ...
    @property
    def sysctl(self) -> Mapping[str, str] | None: ...
    @property
    def neighbours(self) -> tuple[Neighbour, ...] | None: ...
    @property
    def address_versions(self) -> frozenset[int]: ...
    @property
    def missing(self) -> tuple[str, ...]: ...
    @property
    def faults(self) -> Mapping[str, tuple[Fault, ...]]: ...
    def unshown(self, version: int) -> str | None: ...


class Recorded:
    """The files of one stack. *texts* is keyed ``ip_addr ip_link ip_route ip6_route ip_rule ip6_rule sysctl ip_neigh``.

    Where nothing but ``cat`` ran, ``ip_route`` and ``ip6_route`` are what /proc/net has in their place, and ``proc_net_fib_trie`` and
    ``proc_net_if_inet6`` say the rest.

    *own* gives, when asked, the addresses that the stack is otherwise known to have. It is asked where routes are listed without table
    local and no file lists the addresses: they are local then, as those are that the routes send from.
    """

    def __init__(
        self,
        texts: Mapping[str, str | None],
        *,
        folder: str = "",
        kernel: str | None = None,
        own: Callable[[], tuple[Address, ...]] = tuple,
    ) -> None:
        self._texts = {name: text for name, text in texts.items() if text is not None and text.strip()}
        self._folder = folder
        self._kernel = kernel
        self._own = own
        self.faults: dict[str, tuple[Fault, ...]] = {}

    def _parsed(self, name: str, parse: Callable[[str, str], T]) -> T | None:
        text = self._texts.get(name)
        if text is None:
            return None
        file = f"{self._folder}{name.replace('_', '-')}.{'txt' if name.startswith(_AS_TEXT) else 'json'}"
        try:
            return parse(text, file)
        except ParseError as error:
            self.faults[name] = error.faults
            return None

    @cached_property
    def addresses(self) -> tuple[InterfaceAddress, ...] | None:
        """Return the addresses of ip-addr, or what /proc/net tells for certain where there is no ip-addr."""
        if "ip_addr" in self._texts:
            return self._parsed("ip_addr", never_empty(parse_addresses))
        trie, routes = self._trie, self._both
        if trie is None or routes is None:
            return None
        return self._parsed("proc_net_if_inet6", lambda text, file: kernel_addresses(trie, routes, text, file))

    @cached_property
    def _trie(self) -> proc_text.Trie | None:
        return self._parsed("proc_net_fib_trie", proc_text.parse_trie)

    def _is_the_kernels(self, name: str) -> bool:
        return name in self._texts and proc_text.is_routes(ip_text.lines_of(self._texts[name]))

    @cached_property
    def address_versions(self) -> frozenset[int]:
        """Return the IP versions whose addresses are all listed: ``ip -4 addr`` says nothing of the others."""
        if self.addresses is None:
            return frozenset()
        listed = self._parsed("ip_addr", address_versions)
        return frozenset((4, 6)) if listed is None else listed

    def unshown(self, version: int) -> str | None:
        """Return what is assumed of the routes of IP *version* as /proc/net shows them, or as ``ip`` printed them without table local."""
        return self._unshown[version]

    @cached_property
    def _unshown(self) -> Mapping[int, str | None]:
        return {version: self._not_shown(version) for version in (4, 6)}

    def _not_shown(self, version: int) -> str | None:
        if not self._is_the_kernels("ip_route" if version == 4 else "ip6_route"):
            return self._unlisted(version)
        tables = ", ".join(self._trie.tables) if version == 4 and self._trie is not None else ""
        return proc_text.NOT_SHOWN[version] + (
            f"; there are tables that rules may ask ({tables}), which it does not show" if tables else ""
        )

    @cached_property
    def links(self) -> tuple[Link, ...] | None:
        """Return the devices of ip-link, or those that ip-addr names when there is no ip-link."""
        links = self._parsed("ip_link", never_empty(parse_links))
        return self._parsed("ip_addr", never_empty(parse_links)) if links is None else links

    @cached_property
    def has_link_details(self) -> bool:
        """Return whether ip-link itself was read: bridges and hairpin modes are known."""
        text = self._texts.get("ip_link", "")
        is_brief = text.lstrip()[:1] != "[" and "promiscuity" not in text  # ip link without -d
        return not is_brief and self._parsed("ip_link", never_empty(parse_links)) is not None

    @cached_property
    def _both(self) -> tuple[Route, ...] | None:
        if self._is_the_kernels("ip_route"):
            return self._parsed("ip_route", lambda text, file: parse_kernel_routes(text, self._trie, file))
        return self._parsed("ip_route", never_empty(parse_routes))

    @cached_property
    def routes4(self) -> tuple[Route, ...] | None:
        """Return the IPv4 routes of ip-route. What /proc shows of table main alone says nothing of the stack's own addresses."""
        listed = self._listed(4)
        if listed is None:
            return None
        has_local = any(route.table == LOCAL_TABLE for route in listed) or 4 in self.address_versions
        return self._with_local(listed, 4) if has_local or not self._is_the_kernels("ip_route") else None

    def _with_local(self, routes: tuple[Route, ...], version: int) -> tuple[Route, ...]:
        """*routes* with the local table that the kernel keeps for the stack's addresses, where it was not listed."""
        if not routes or any(route.table == LOCAL_TABLE for route in routes):
            return routes
        links = {link.name: link for link in self.links or ()}
        held = self.addresses if version in self.address_versions else tuple(sending_from(routes, self._own(), version))
        return routes + tuple(route for route in routes_of(held or (), links, version, self._kernel) if route.table == LOCAL_TABLE)

    def _unlisted(self, version: int) -> str | None:
        """What is assumed of the local table where neither it nor the addresses are listed."""
        routes = self._listed(version)
        if not routes or version in self.address_versions or any(route.table == LOCAL_TABLE for route in routes):
            return None
        lists = "is missing" if self.addresses is None else f"does not list IPv{version}"
        return (
            f"the node's own addresses are those that its routes send from and that its object names "
            f"({self._folder}ip-addr.json {lists}, and its routes are listed without table local)"
        )

    @cached_property
    def routes6(self) -> tuple[Route, ...] | None:
        """Return the IPv6 routes of ip6-route; without that file, those that ip-route lists (``table all`` lists both families)."""
        listed = self._listed(6)
        return None if listed is None else self._with_local(listed, 6)

    def _listed(self, version: int) -> tuple[Route, ...] | None:
        """The family's routes as the files list them."""
        if version == 4:
            return None if self._both is None else tuple(r for r in self._both if r.destination.version == 4)
        own = self._parsed("ip6_route", parse_routes)
        if own is None and self._both is not None:
            own = tuple(route for route in self._both if route.destination.version == 6) or None
        return None if own is None else tuple(route for route in own if route.destination.version == 6)

    @cached_property
    def rules4(self) -> tuple[PolicyRule, ...] | None:
        """Return the rules of ip-rule; without it the kernel's own, where /proc/net/fib_trie shows that nobody added any."""
        if "ip_rule" not in self._texts and self._trie is not None and self._trie.has_own_rules_only:
            return default_rules(4)
        return self._parsed("ip_rule", never_empty(parse_rules))

    @cached_property
    def rules6(self) -> tuple[PolicyRule, ...] | None:
        """Return the rules of ip6-rule."""
        return self._parsed("ip6_rule", parse_rules)

    @cached_property
    def sysctl(self) -> Mapping[str, str] | None:
        """Return the values of sysctl."""
        return self._parsed("sysctl", parse_sysctl)

    @cached_property
    def neighbours(self) -> tuple[Neighbour, ...] | None:
        """Return the entries of ip-neigh; no answer needs them, so they are not among what is missing."""
        return self._parsed("ip_neigh", parse_neighbours)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Return the names of what could not be read, in a fixed order: the family's routes count, not the file they came from."""
        read = {
            "ip_addr": self.addresses,
            "ip_link": True if self.has_link_details else None,
            "ip_route": self.routes4,
            "ip6_route": self.routes6,
            "ip_rule": self.rules4,
            "ip6_rule": self.rules6,
            "sysctl": self.sysctl,
        }
        return tuple(name for name, value in read.items() if value is None)
