"""``Routing``: one network stack's answers about where packets go, which source address they get, and what an address is to the stack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import Self

from tracer.errors import Fault
from tracer.kept import Kept
from tracer.limits import KEPT_LOOKS
from tracer.packet import Address, Protocol
from tracer.routing.flow import LOOPBACK, Flow
from tracer.routing.inet import Inet
from tracer.routing.inet6 import Inet6
from tracer.routing.infer import routes_of
from tracer.routing.model import (
    InterfaceAddress,
    Link,
    Neighbour,
    PolicyRule,
    ResultKind,
    Route,
    RouteResult,
    RouteType,
    SourceVerdict,
    is_unnamed,
)
from tracer.routing.recorded import Facts, Recorded
from tracer.routing.sysctl import Sysctls
from tracer.routing.tables import FamilyTables, default_rules

_SAID = (IPv4Address, IPv6Address)
_NOT_TYPES = (ResultKind.NONE, ResultKind.INVALID, ResultKind.UNKNOWN)
_TYPE_NAMES = {"UNSPEC": ResultKind.NONE, **{kind.value.upper(): kind for kind in ResultKind if kind not in _NOT_TYPES}}


class Routing:
    """One stack. Build it with :meth:`from_texts` from a node's files.

    What a look-up found is kept, as its files do not change; *keeps_looks* set to false, each is made anew.
    """

    def __init__(self, node: str, facts: Facts, *, kernel: str | None = None) -> None:
        self.node = node
        self._facts = facts
        self._kernel = kernel
        self.keeps_looks = True
        self._looks: Kept[tuple[object, ...], tuple[RouteResult, ...]] = Kept(KEPT_LOOKS)
        self._checks: Kept[tuple[object, ...], SourceVerdict] = Kept(KEPT_LOOKS)
        self._sources: Kept[tuple[object, ...], tuple[Address | None]] = Kept(KEPT_LOOKS)
        self._types: Kept[tuple[object, ...], ResultKind] = Kept(KEPT_LOOKS)

    @classmethod
    def from_texts(
        cls,
        node: str,
        *,
        ip_addr: str | None = None,
        ip_link: str | None = None,
        ip_route: str | None = None,
        ip6_route: str | None = None,
        ip_rule: str | None = None,
        ip6_rule: str | None = None,
        sysctl: str | None = None,
        ip_neigh: str | None = None,
        proc_net_fib_trie: str | None = None,
        proc_net_if_inet6: str | None = None,
        kernel: str | None = None,
        folder: str = "",
        own: Callable[[], tuple[Address, ...]] = tuple,
    ) -> Self:
        """Return the stack of *node* from its files' texts, each None when it was not recorded; each is parsed when first needed.

        A text that cannot be parsed counts as missing; ``faults`` has what is wrong with it. *kernel* is ``uname -r``;
        *folder* (``nodes/NAME/``) is put before the file names in faults and routes; *own* gives the addresses that the node is otherwise
        known to have, asked where no file lists them.
        """
        texts = {
            "ip_addr": ip_addr,
            "ip_link": ip_link,
            "ip_route": ip_route,
            "ip6_route": ip6_route,
            "ip_rule": ip_rule,
            "ip6_rule": ip6_rule,
            "sysctl": sysctl,
            "ip_neigh": ip_neigh,
            "proc_net_fib_trie": proc_net_fib_trie,
            "proc_net_if_inet6": proc_net_if_inet6,
        }
        return cls(node, Recorded(texts, folder=folder, kernel=kernel, own=own), kernel=kernel)

    def with_facts(self, changed: Callable[[Facts], Facts]) -> Routing:
        """Return a stack of what *changed* makes of this one's facts."""
        found = Routing(self.node, changed(self._facts), kernel=self._kernel)
        found.keeps_looks = self.keeps_looks
        return found

    @property
    def inferred_from(self) -> str:
        """Return what stood in for missing files where all of this was inferred, as a sentence; else empty."""
        return ""

    def unshown(self, version: int) -> str | None:
        """Return what is assumed of the routes of IP *version* where they were printed in a form that shows less."""
        return self._facts.unshown(version)

    @property
    def missing(self) -> tuple[str, ...]:
        """Return what could not be read, as :meth:`from_texts` names it, a family's routes by the file they belong in."""
        return self._facts.missing

    @property
    def faults(self) -> Mapping[str, tuple[Fault, ...]]:
        """Return what is wrong with the texts that could not be parsed, by name. Reads everything that was not read yet."""
        return {} if not self._facts.missing else self._facts.faults

    @cached_property
    def sysctls(self) -> Sysctls:
        """Return the stack's sysctls."""
        return Sysctls(values=self._facts.sysctl or {})

    # What there is

    @property
    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """Return the stack's addresses in the kernel's order; empty when they were not recorded."""
        return self._facts.addresses or ()

    @property
    def links(self) -> tuple[Link, ...]:
        """Return the stack's devices; empty when they were not recorded."""
        return self._facts.links or ()

    @cached_property
    def _links_by_name(self) -> dict[str, Link]:
        return {link.name: link for link in self.links}

    def link(self, name: str) -> Link | None:
        """Return the device called *name*, None if there is none."""
        return self._links_by_name.get(name)

    def has_carrier(self, device: str) -> bool | None:
        """Return whether frames leave the device called *device*, a bridge by one of its ports; None when that was not recorded."""
        link = self.link(device)
        if link is None:
            return None
        ports = self.bridge_ports(device) if link.is_bridge else ()
        if link.up and ports and all(port.is_down or port.has_carrier is False for port in ports):
            return False
        return link.has_carrier

    @cached_property
    def _neighbours(self) -> dict[Address, tuple[Neighbour, ...]]:
        found: dict[Address, tuple[Neighbour, ...]] = {}
        for entry in self._facts.neighbours or ():
            found[entry.address] = (*found.get(entry.address, ()), entry)
        return found

    def neighbours_at(self, address: Address) -> tuple[Neighbour, ...]:
        """Return what the stack knows of who has *address* on any of its links; empty when that was not recorded."""
        return self._neighbours.get(address, ())

    def neighbour(self, address: Address, device: str) -> Neighbour | None:
        """Return what the stack knows of who has *address* on *device*, None for nothing or when that was not recorded."""
        return next((entry for entry in self.neighbours_at(address) if entry.device == device), None)

    def passed_over(self, destination: Address, chosen: Route | None) -> tuple[tuple[Route, str], ...]:
        """Return the routes to *destination* that look-ups pass over because their devices do not work, each with the reason.

        Those that are less exact than *chosen*, which was taken instead, would not have been taken anyway.
        """
        inet = self._inet if destination.version == 4 else self._inet6
        return inet.passed_over(destination, chosen)

    def addresses_of(self, device: str) -> tuple[InterfaceAddress, ...]:
        """Return the addresses that the device called *device* holds."""
        return tuple(a for a in self.addresses if a.device == device)

    def lists_addresses(self, version: int) -> bool:
        """Return whether the stack's addresses of IP *version* were recorded: one that is not among them it has not."""
        return version in self._facts.address_versions

    @cached_property
    def _device_by_address(self) -> dict[Address, str]:
        found: dict[Address, str] = {}
        for address in self.addresses:
            found.setdefault(address.address, address.device)
        return found

    def device_of(self, address: Address) -> str | None:
        """Return the (first) device that holds *address*; the local routes tell when the addresses were not recorded."""
        if self.lists_addresses(address.version):
            return self._device_by_address.get(address)
        for route in self.routes(address.version):
            if route.type is RouteType.LOCAL and route.destination.prefixlen == address.max_prefixlen and address in route.destination:
                return route.device
        return None

    def bridge_ports(self, bridge: str) -> tuple[Link, ...]:
        """Return the devices whose master is *bridge*."""
        return tuple(link for link in self.links if link.master == bridge)

    def crosses(self, device: str | None, names: Collection[str]) -> bool | None:
        """Return whether what passes by *device* passes by one of *names* (``veth*``: any that begins so); None when that is not known.

        It may be the device itself, what a VLAN or macvlan lies on, or a port of a bridge or bond: which port it is nobody recorded.
        NB: two macvlans of one device hand packets to each other past that device; of a VLAN in a VLAN rules see no IP packet below.
        Source: __netif_receive_skb_core, vlan_dev_hard_start_xmit, macvlan_queue_xmit, bond_handle_frame, nft_netdev_event, Linux 6.18.
        """
        return self._crosses(device, names, frozenset())

    def _crosses(self, device: str | None, names: Collection[str], above: frozenset[str]) -> bool | None:
        if device is not None and _is_among(device, names):
            return True
        if device == LOOPBACK or device in above:
            return False
        link = self.link(device) if device is not None and not is_unnamed(device) else None
        if link is None:
            is_there = not self.links or any(_is_among(other.name, names) for other in self.links if not other.loopback)
            return None if is_there and any(name != LOOPBACK for name in names) else False
        above |= {link.name}
        below = [self._crosses(port.name, names, above) for port in self.bridge_ports(link.name) if not port.is_down]
        if any(answer is not False for answer in below):
            return True if all(below) else None
        if link.lies_on is None or self._crosses(link.lies_on, names, above) is False:
            return False
        return True if link.kind == "vlan" and _is_among(link.lies_on, names) else None

    def port_hairpin(self, port: str) -> bool | None:
        """Return whether the bridge port *port* sends a frame back out where it came in; None when ``ip -d link`` was not recorded."""
        link = self.link(port)
        return None if link is None else link.bridge_hairpin

    def routes(self, version: int) -> tuple[Route, ...]:
        """Return the family's routes, derived from the addresses when none were recorded."""
        return (self._tables4 if version == 4 else self._tables6).routes

    def rules(self, version: int) -> tuple[PolicyRule, ...]:
        """Return the family's policy rules, the kernel's own when none were recorded."""
        return (self._tables4 if version == 4 else self._tables6).rules

    def asks_more_than_addresses(self, version: int) -> bool:
        """Return whether a policy rule of the family looks at a packet's protocol, its ports or its user."""
        return (self._tables4 if version == 4 else self._tables6).asks_more_than_addresses

    @cached_property
    def _tables4(self) -> FamilyTables:
        return self._tables(4, self._facts.routes4, self._facts.rules4)

    @cached_property
    def _tables6(self) -> FamilyTables:
        return self._tables(6, self._facts.routes6, self._facts.rules6)

    def _tables(self, version: int, routes: tuple[Route, ...] | None, rules: tuple[PolicyRule, ...] | None) -> FamilyTables:
        return FamilyTables(
            version=version,
            rules=default_rules(version) if rules is None else tuple(sorted(rules, key=lambda rule: rule.priority)),
            routes=routes_of(self.addresses, self._links_by_name, version, self._kernel) if routes is None else routes,
            complete=routes is not None,
        )

    @cached_property
    def _by_device(self) -> dict[int, dict[str, list[InterfaceAddress]]]:
        # Devices in ip-link's order, which is the kernel's; one that only ip-addr names comes after them.
        found: dict[int, dict[str, list[InterfaceAddress]]] = {v: {link.name: [] for link in self.links} for v in (4, 6)}
        for address in self.addresses:
            found[address.address.version].setdefault(address.device, []).append(address)
        return found

    @cached_property
    def _inet(self) -> Inet:
        by_device = self._by_device[4] if self.lists_addresses(4) else None
        return Inet(self._tables4, self._links_by_name, by_device, self.sysctls, self._kernel)

    @cached_property
    def _inet6(self) -> Inet6:
        by_device = self._by_device[6] if self.lists_addresses(6) else None
        return Inet6(self._tables6, self._links_by_name, by_device, self.sysctls)

    # Look-ups

    def devices_towards(self, address: Address) -> tuple[str, ...]:
        """Return the devices of every route that covers *address*, in any table, whether or not it would be taken."""
        tables = (self._tables4 if address.version == 4 else self._tables6).tables
        found = (hop.device for t in tables.values() for routes in t.candidates(address) for r in routes for hop in r.nexthops)
        return tuple(dict.fromkeys(device for device in found if device is not None))

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
        """Return the ways a packet to *destination* can go; more than one where a multipath route's hash decides. Shares sum to 1.

        *iif* None is the stack's own packet (then ``result.source`` is the address the kernel picks); else a packet received there.
        Protocol, ports and *uid* None mean "not known": a policy rule that asks for them makes the result unknown, if it matters.
        """
        number = protocol.number if isinstance(protocol, Protocol) else protocol
        if not self.asks_more_than_addresses(destination.version):
            number = source_port = destination_port = uid = None  # whatever they are, no rule looks at them
        key = (destination, source, mark, iif, oif, number, source_port, destination_port, tos, uid)
        found = self._looks.get(key) if (is_kept := self._is_kept(destination, source)) else None
        if found is not None:
            return found
        flow = Flow(
            destination=destination,
            source=source,
            mark=mark,
            iif=iif,
            oif=oif,
            protocol=number,
            source_port=source_port,
            destination_port=destination_port,
            tos=tos,
            uid=uid,
        )
        found = self._inet.lookup(flow) if destination.version == 4 else self._inet6.lookup(flow)
        return self._looks.put(key, found) if is_kept else found

    def _is_kept(self, address: Address, other: Address | None) -> bool:
        """Whether a look-up of these is kept: not of what stands for an address that nobody recorded, as it may equal another."""
        return self.keeps_looks and type(address) in _SAID and (other is None or type(other) in _SAID)

    def source_address(self, result: RouteResult, destination: Address) -> Address | None:
        """Return the source address of the stack's own packet that goes by *result*; None if there is none or the addresses are unknown."""
        if isinstance(destination, IPv4Address):
            return self._inet.source_address(result, destination)
        return self._inet6.source_address(result, destination)

    def asking_address(self, device: str, target: Address) -> Address | None:
        """Return the address of the stack by which it asks on *device* who has *target*, an IPv4 address; None when that is not known."""
        return self._inet.asking_address(device, target) if isinstance(target, IPv4Address) else None

    def masquerade_address(self, device: str, result: RouteResult, destination: Address) -> Address | None:
        """Return what MASQUERADE writes as the source of a packet that leaves through *device* by *result*.

        None: the device has no fitting address, and the kernel drops the packet (or no addresses were recorded: see ``missing``).
        """
        if not self._is_kept(destination, result.gateway):
            return self._masquerade_address(device, result, destination)
        key = (device, result.gateway, destination)
        return self._sources.once(key, lambda: self._masquerade_address(device, result, destination))

    def _masquerade_address(self, device: str, result: RouteResult, destination: Address) -> Address | None:
        if isinstance(destination, IPv4Address):
            return self._inet.masquerade_address(device, result, destination)
        return self._inet6.masquerade_address(device, destination)

    # What an address is

    def is_local(self, address: Address) -> bool:
        """Return whether the stack itself takes packets to *address* (its local table says so)."""
        if isinstance(address, IPv4Address):
            return self._inet.address_type(address) is ResultKind.LOCAL
        return self._inet6.is_local(address)

    def address_type(self, address: Address, device: str | None = None) -> str:
        """Return the address's type in xt_addrtype's spelling: LOCAL, UNICAST, BROADCAST, MULTICAST, ANYCAST, UNREACHABLE, … or UNKNOWN.

        *device* restricts it, as ``--limit-iface-in`` and ``-out`` do. NB: for a match use :meth:`has_address_type`.
        """
        if isinstance(address, IPv4Address):
            return self._inet.address_type(address, device).value.upper()
        kind = self._inet6.address_type(address, device)
        return "UNSPEC" if kind is None else kind.value.upper()

    def has_address_type(self, address: Address, types: Collection[str], device: str | None = None) -> bool | None:
        """Return whether ``-m addrtype`` with these *types* (upper case) matches *address*; None: unknown.

        IPv4 asks whether the address's one type is among them; IPv6's bits are conditions of their own.
        """
        kinds = {_TYPE_NAMES[name] for name in types if name in _TYPE_NAMES}
        if isinstance(address, IPv6Address):
            return self._inet6.has_address_type(address, kinds, device)
        found = self._types.get((address, device)) if (is_kept := self._is_kept(address, None)) else None
        if found is None:
            found = self._inet.address_type(address, device)
            if is_kept:
                self._types.put((address, device), found)
        return None if found is ResultKind.UNKNOWN else found in kinds

    # Received packets and sysctls

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
        """Return whether the kernel takes a packet that came in through *device*: martians, rp_filter, own addresses from outside.

        Sysctls that were not recorded count as the kernel's defaults and are named in ``assumed``.
        """
        number = protocol.number if isinstance(protocol, Protocol) else protocol
        if not self.asks_more_than_addresses(destination.version):
            number = source_port = destination_port = None
        key = (source, device, destination, mark, number, source_port, destination_port, tos)
        found = self._checks.get(key) if (is_kept := self._is_kept(source, destination)) else None
        if found is not None:
            return found
        flow = Flow(
            destination=destination,
            source=source,
            mark=mark,
            iif=device,
            protocol=number,
            source_port=source_port,
            destination_port=destination_port,
            tos=tos,
        )
        found = self._inet.validate_source(flow) if destination.version == 4 else self._inet6.validate_source(flow)
        return self._checks.put(key, found) if is_kept else found

    def get(self, name: str) -> str | None:
        """Return the recorded value of the sysctl *name*, None if it was not recorded."""
        return self.sysctls.get(name)

    def forwarding(self, version: int, device: str | None = None) -> bool | None:
        """Return whether packets of the family (4 or 6) that come in through *device* are forwarded. None: not recorded."""
        return self.sysctls.forwarding(version, device)

    def rp_filter(self, device: str) -> int | None:
        """Return the larger of all's and *device*'s rp_filter (0 off, 1 strict, 2 loose). None: not recorded."""
        return self.sysctls.larger(4, device, "rp_filter")

    def accept_local(self, device: str) -> bool | None:
        """Return whether packets with the stack's own addresses as source are taken from *device*. None: not recorded."""
        return self.sysctls.either(4, device, "accept_local")

    def route_localnet(self, device: str) -> bool | None:
        """Return whether 127.0.0.0/8 is routed on *device* (all or its own). None: not recorded."""
        return self.sysctls.either(4, device, "route_localnet")

    def bridge_nf_call(self, version: int) -> bool | None:
        """Return whether bridged packets of the family pass iptables. None: not recorded (br_netfilter may not be loaded)."""
        value = self.sysctls.integer(f"net.bridge.bridge-nf-call-{'iptables' if version == 4 else 'ip6tables'}")
        return None if value is None else bool(value)

    @property
    def local_port_range(self) -> tuple[int, int] | None:
        """Return the first and last ephemeral port. None: not recorded."""
        return self.sysctls.local_port_range()


def _is_among(device: str, names: Collection[str]) -> bool:
    return device in names or any(name.endswith("*") and device.startswith(name[:-1]) for name in names)
