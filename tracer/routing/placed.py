"""Routing of a node whose routes, addresses and devices were not recorded: inferred from where the objects say that things are.

Inferred: the node's own addresses are local; a pod of the node is behind some device of it; another node's pod network is reached by that
node's address; everything else is sent out to the network. Which devices those are is not known, so they have names that stand for
"some device" (``UPLINK``, ``POD_SIDE``), and a rule that asks for a device by name cannot be told.
Not inferred: the address of the device towards the pods (what the node itself, or MASQUERADE, would send to them from), that of a tunnel
to the pods of other nodes where the node says that it has one, and who has an address of the node's own pod network that no Pod object
lists. Those look-ups are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_network

from tracer.packet import Address
from tracer.routing.flow import LOOPBACK
from tracer.routing.model import HOST, InterfaceAddress, Network, NextHop, PolicyRule, ResultKind, Route, RouteResult, RouteType
from tracer.routing.recorded import Recorded
from tracer.routing.stack import Routing
from tracer.routing.tables import FamilyTables, RouteTable
from tracer.values import dataclass

UPLINK, POD_SIDE = "?uplink", "?pods"
IPVS_DUMMY = "kube-ipvs0"
"""The device on which kube-proxy holds the addresses that IPVS serves."""

_ANYWHERE: Mapping[int, Network] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
_LOOPBACKS: tuple[tuple[Address, int], ...] = ((IPv4Address("127.0.0.1"), 8), (IPv6Address("::1"), 128))
_NOT_RECORDED = "no recorded device that holds it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What the objects say of a node: its *addresses* and its own pod *networks*; *others* gives, when asked, every other pod network with
    the address of the node that has it.

    *is_pod_here* tells whether a pod of this node has an address, *is_pod* whether any has. *has_overlay*: pods of other nodes are reached
    through a tunnel, whose device has an address of its own. *towards_pods* is, by version, the address that the device towards the node's
    own pods is assumed to have, *through_tunnel* that of the tunnel; *told* are those that are no assumptions, *plugin* is the assumption's
    setting and what speaks for it. *served* are addresses that IPVS mode puts on a dummy device. *taken* says what is inferred, as the end
    of a sentence.
    """

    addresses: tuple[Address, ...]
    networks: tuple[Network, ...] = ()
    others: Callable[[], Iterable[tuple[Network, Address]]] = tuple
    served: tuple[Address, ...] = ()
    is_pod_here: Callable[[Address], bool] = lambda _: False
    is_pod: Callable[[Address], bool] = lambda _: False
    has_overlay: bool = False
    towards_pods: Mapping[int, Address] = field(default_factory=dict)
    through_tunnel: Mapping[int, Address] = field(default_factory=dict)
    told: frozenset[Address] = frozenset()
    plugin: tuple[str, str] = ("", "")
    taken: str = (
        "routes are taken from the nodes' addresses, their pod networks and where pods run, and the node is taken to send to the network "
        "from its InternalIP"
    )

    def own(self, version: int) -> Address | None:
        """Return the node's address of a family, None when it has none or several."""
        found = [a for a in self.addresses if a.version == version]
        return found[0] if len(found) == 1 else None


class _PlacedTable(RouteTable):
    """A table that knows the pods of the node as host routes, asked one by one."""

    def __init__(self, routes: Iterable[Route], version: int, is_pod_here: Callable[[Address], bool]) -> None:
        super().__init__(routes, version)
        self._is_pod_here = is_pod_here

    def candidates(self, address: Address) -> Iterator[list[Route]]:
        """Yield the routes that cover *address*, those of the longest prefix first."""
        if self._is_pod_here(address):
            yield [_route(ip_network(address), POD_SIDE)]
        yield from super().candidates(address)


@dataclass(frozen=True, kw_only=True)
class _PlacedTables(FamilyTables):
    placement: Placement

    @cached_property
    def tables(self) -> dict[str, RouteTable]:
        """Return every table by its name; main has the pods."""
        found = FamilyTables.tables.func(self)  # type: ignore[attr-defined]
        main = [r for r in self.routes if r.table == "main"]
        return {**found, "main": _PlacedTable(main, self.version, self.placement.is_pod_here)}

    @cached_property
    def merged(self) -> RouteTable:
        """Return local and main as one table."""
        return _PlacedTable(self.routes, self.version, self.placement.is_pod_here)


class _PlacedFacts(Recorded):
    """The files that were recorded, and what stands in for the others. A large cluster has many routes: made when they are asked for."""

    def __init__(self, texts: Mapping[str, str | None], placement: Placement, *, folder: str) -> None:
        super().__init__(texts, folder=folder)
        self._placement = placement
        # Before anything stands in for them.
        self._missing = tuple(name for name in _FACTS if not (texts.get(name) or "").strip())

    @cached_property
    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """Return the loopback's addresses and the node's own."""
        return tuple(_held(self._placement))

    @cached_property
    def address_versions(self) -> frozenset[int]:
        """Return the versions of the node's own addresses."""
        return frozenset((4, 6))

    @cached_property
    def links(self) -> None:
        """Return None: no device is known by its name."""

    @cached_property
    def routes4(self) -> tuple[Route, ...] | None:
        """Return the IPv4 routes, None for a node without an IPv4 address."""
        return self._routes(4)

    @cached_property
    def routes6(self) -> tuple[Route, ...] | None:
        """Return the IPv6 routes, None for a node without an IPv6 address."""
        return self._routes(6)

    def _routes(self, version: int) -> tuple[Route, ...] | None:
        known = any(a.version == version for a in self._placement.addresses)
        return tuple(_routes(self._placement, version)) if known else None

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Return the names of what was not recorded or cannot be read, in a fixed order."""
        read = {"ip_rule": self.rules4, "ip6_rule": self.rules6, "sysctl": self.sysctl}
        return tuple(name for name in _FACTS if name in self._missing or (name in read and read[name] is None))


_FACTS = ("ip_addr", "ip_link", "ip_route", "ip6_route", "ip_rule", "ip6_rule", "sysctl")


class PlacedRouting(Routing):
    """One node's routing as far as its *placement* tells. Policy rules and sysctls are read where they were recorded."""

    def __init__(
        self, node: str, placement: Placement, *, texts: Mapping[str, str | None], kernel: str | None = None, folder: str = ""
    ) -> None:
        super().__init__(node, _PlacedFacts(texts, placement, folder=folder), kernel=kernel)
        self._placement = placement
        self.keeps_looks = False  # which pods are on the node may change
        self._inferred = f"inferred: {folder}ip-route.json, ip-addr.json and ip-link.json are missing; {placement.taken}"

    @property
    def inferred_from(self) -> str:
        """Return what stood in for the files that are missing, as a sentence."""
        return self._inferred

    def _tables(self, version: int, routes: tuple[Route, ...] | None, rules: tuple[PolicyRule, ...] | None) -> FamilyTables:
        plain = super()._tables(version, routes, rules)
        return _PlacedTables(version=version, rules=plain.rules, routes=plain.routes, complete=plain.complete, placement=self._placement)

    def source_address(self, result: RouteResult, destination: Address) -> Address | None:
        """Return the node's own address where the packet leaves to the network, None where it goes to a pod of the node."""
        if result.kind is ResultKind.LOCAL:
            return super().source_address(result, destination)
        return self._sending_to(result, destination) if result.device == UPLINK else None

    def masquerade_address(self, device: str, result: RouteResult, destination: Address) -> Address | None:
        """Return the node's own address towards the network, None towards a pod of the node: its device's address is not known."""
        if device == LOOPBACK:
            return super().masquerade_address(device, result, destination)
        return self._sending_to(result, destination) if device == UPLINK else None

    def _sending_to(self, result: RouteResult, destination: Address) -> Address | None:
        """The node's own address, unless a tunnel's would be taken."""
        placement = self._placement
        tunnelled = placement.has_overlay and (result.gateway is not None or placement.is_pod(destination))
        return None if tunnelled else placement.own(destination.version)


def _held(placement: Placement) -> Iterator[InterfaceAddress]:
    for loopback, bits in _LOOPBACKS:
        yield InterfaceAddress(address=loopback, prefix=bits, device=LOOPBACK, scope=HOST)
    for address in placement.addresses:
        yield InterfaceAddress(address=address, prefix=address.max_prefixlen, device=UPLINK)
    for address in placement.served:
        yield InterfaceAddress(address=address, prefix=address.max_prefixlen, device=IPVS_DUMMY)


def _routes(placement: Placement, version: int) -> Iterator[Route]:
    loopback = ip_network("127.0.0.0/8" if version == 4 else "::1/128")
    yield _route(loopback, LOOPBACK, type_=RouteType.LOCAL)
    for address in (*placement.addresses, *placement.served):
        if address.version == version:
            yield _route(ip_network(address), UPLINK if address in placement.addresses else IPVS_DUMMY, type_=RouteType.LOCAL)
    for network in placement.networks:
        if network.version == version:
            yield _route(network, POD_SIDE, unmodelled=(_NOT_RECORDED,))
    for network, node in placement.others():
        if network.version == version:
            yield _route(network, UPLINK, gateway=node)
    yield _route(_ANYWHERE[version], UPLINK)


def _route(
    destination: Network,
    device: str,
    *,
    type_: RouteType = RouteType.UNICAST,
    gateway: Address | None = None,
    unmodelled: tuple[str, ...] = (),
) -> Route:
    return Route(
        destination=destination,
        type=type_,
        type_text=type_.value,
        table="local" if type_ is RouteType.LOCAL else "main",
        nexthops=(NextHop(device=device, gateway=gateway),),
        scope=HOST if type_ is RouteType.LOCAL else 0,
        protocol="kernel" if type_ is RouteType.LOCAL else None,
        unmodelled=unmodelled,
        inferred=True,
    )
