"""The values of one network stack: links, addresses, routes, policy rules, and the results of asking them.

Every value is what ``ip -j`` printed, in the kernel's own words; nothing here decides anything.
"""

from __future__ import annotations

import re
from enum import StrEnum
from fractions import Fraction
from ipaddress import IPv4Network, IPv6Network

from tracer.packet import Address
from tracer.patterns import pattern
from tracer.values import dataclass

Network = IPv4Network | IPv6Network

SCOPES = {"global": 0, "universe": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
UNIVERSE, LINK_SCOPE, HOST = 0, 253, 254
_WITHOUT_CARRIER = frozenset({"DOWN", "LOWERLAYERDOWN", "NOTPRESENT"})
_WAITING = frozenset({"DORMANT", "TESTING"})
TUNNELS = frozenset({"vxlan", "geneve", "ipip", "sit", "gre", "gretap", "ip6tnl", "ip6gre", "ip6gretap", "wireguard"})
STACKED = frozenset({"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"})
"""Kinds of devices whose frames pass by the device that they lie on."""
LOCAL_TABLE, MAIN_TABLE, DEFAULT_TABLE = "local", "main", "default"
_MAC = pattern(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
_BARE = frozenset({None, "veth", "bridge", "vlan", "macvlan", "bond", "team"})
TABLE_NAMES = {"255": LOCAL_TABLE, "254": MAIN_TABLE, "253": DEFAULT_TABLE}


class RouteType(StrEnum):
    """Route types, in the spelling of ``ip route``; OTHER stands for one that is not modelled."""

    UNICAST = "unicast"
    LOCAL = "local"
    BROADCAST = "broadcast"
    ANYCAST = "anycast"
    MULTICAST = "multicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    THROW = "throw"
    OTHER = "other"


class ResultKind(StrEnum):
    """What a routing decision comes to.

    NONE: no route at all. INVALID: the kernel refuses the packet (EINVAL), whatever the route. UNKNOWN: the inputs cannot tell.
    """

    LOCAL = "local"
    UNICAST = "unicast"
    BROADCAST = "broadcast"
    ANYCAST = "anycast"
    MULTICAST = "multicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    NONE = "none"
    INVALID = "invalid"
    UNKNOWN = "unknown"


class RuleAction(StrEnum):
    """What a policy rule does; OTHER stands for one that is not modelled."""

    TABLE = "table"
    GOTO = "goto"
    NOP = "nop"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    OTHER = "other"


_RELEASE = pattern(r"v?([0-9]{1,3})\.([0-9]{1,3})", re.ASCII)
SOME_DEVICE = "?"
"""Stands for a device of which nothing is known."""


def is_since(kernel: str | None, release: tuple[int, int]) -> bool | None:
    """Return whether *kernel* (``uname -r``) is *release* or later; None when that is not known."""
    found = _RELEASE.match(kernel or "")
    return (int(found[1]), int(found[2])) >= release if found else None


def is_unnamed(device: str | None) -> bool:
    """Return whether *device* stands for some device whose name was not recorded."""
    return device is not None and device.startswith(SOME_DEVICE)


def shown_device(device: str | None) -> str:
    """Return *device* as a sentence says it."""
    return "a device that was not recorded" if device is None or is_unnamed(device) else device


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One network device. ``None`` means that the file read does not say (``bridge_hairpin`` needs ``ip -d``).

    Of a tunnel: *tunnel_over* is the device that its own packets are bound to, *tunnel_local* and *tunnel_remote* are their addresses,
    *tunnel_id* is the network's number (VNI), *tunnel_port* the UDP port; *is_external*: a program says of each packet where it goes;
    *tunnel_df* is set or inherit where its packets may not be cut.
    *lies_on* is the device below a VLAN or macvlan; of one whose kind was not recorded it may be a veth's other end.
    """

    name: str
    index: int
    flags: tuple[str, ...] = ()
    kind: str | None = None
    mtu: int | None = None
    master: str | None = None
    peer_index: int | None = None
    link_netnsid: int | None = None
    mac: str | None = None
    group: str | None = None
    is_bridge: bool = False
    is_bridge_port: bool | None = None
    bridge_hairpin: bool | None = None
    nf_call_iptables: bool | None = None
    nf_call_ip6tables: bool | None = None
    operstate: str | None = None
    tunnel_over: str | None = None
    tunnel_local: Address | None = None
    tunnel_remote: Address | None = None
    tunnel_id: int | None = None
    tunnel_port: int | None = None
    tunnel_df: str | None = None
    is_external: bool = False
    lies_on: str | None = None

    @property
    def up(self) -> bool:
        """Return whether the device is administratively up."""
        return "UP" in self.flags

    @property
    def is_down(self) -> bool:
        """Return whether the device is known to be administratively down: it has no routes but those to its own addresses."""
        return bool(self.flags) and not self.up

    @property
    def has_carrier(self) -> bool | None:
        """Return whether frames leave a device that is up, None when the file does not say.

        The kernel takes the queue of a device away when it writes operstate, and ip prints NO-CARRIER by operstate: a device that is
        up and DOWN or LOWERLAYERDOWN sends nothing, whatever its other flags. DORMANT and TESTING are said of a device that has carrier.
        Source: linkwatch_do_dev(), default_operstate() in net/core/link_watch.c, dev_get_flags(); iproute2's print_link_flags().
        """
        if not self.up:
            return None
        if self.operstate in _WITHOUT_CARRIER:
            return False
        if "NO-CARRIER" in self.flags and self.operstate not in _WAITING:
            return False
        return True if "LOWER_UP" in self.flags or self.operstate == "UP" else None

    @property
    def is_tunnel(self) -> bool:
        """Return whether what leaves by the device is carried in packets of the stack itself."""
        return self.kind in TUNNELS

    @property
    def resolves(self) -> bool:
        """Return whether the kernel asks for a neighbour's link-layer address before it sends (ARP, neighbour discovery)."""
        return not ({"NOARP", "POINTOPOINT"} & {*self.flags} or self.loopback)

    @property
    def is_bare_ethernet(self) -> bool:
        """Return whether it is an Ethernet device whose frames go by their link-layer address alone. NB: tunnels and ipvlans are not."""
        has_mac = self.mac is not None and _MAC.fullmatch(self.mac) is not None
        return has_mac and self.kind in _BARE and (self.kind is not None or self.lies_on is None) and "POINTOPOINT" not in self.flags

    @property
    def loopback(self) -> bool:
        """Return whether this is the loopback device."""
        return "LOOPBACK" in self.flags or self.name == "lo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """What a stack knows of the link-layer address of *address* on *device*; *states* in ip's words (REACHABLE, STALE, FAILED …)."""

    address: Address
    device: str
    states: tuple[str, ...] = ()
    mac: str | None = None

    @property
    def is_fixed(self) -> bool:
        """Return whether the entry holds without asking: somebody wrote it, or the device has no such question."""
        return bool({"PERMANENT", "NOARP"} & {*self.states})

    @property
    def is_unanswered(self) -> bool:
        """Return whether nobody answered when the kernel asked last. NB: STALE, DELAY and PROBE are entries that were answered once."""
        return bool({"FAILED", "INCOMPLETE"} & {*self.states})


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarding:
    """An entry of a forwarding database: frames for *mac* that leave by *device* go to *destination*, the other end of its tunnel.

    *destination* is None where the device is no tunnel. *port* and *network* (a VXLAN's number) are those of the device where None.
    """

    mac: str
    device: str
    destination: Address | None = None
    port: int | None = None
    network: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceAddress:
    """One address of a device. *peer* is the far end of a point-to-point address; *network* the subnet the kernel matches."""

    address: Address
    prefix: int
    device: str
    scope: int = UNIVERSE
    peer: Address | None = None
    broadcast: Address | None = None
    secondary: bool = False
    deprecated: bool = False
    tentative: bool = False
    optimistic: bool = False
    dadfailed: bool = False
    temporary: bool = False
    home: bool = False
    noprefixroute: bool = False

    @property
    def network(self) -> Network:
        """Return the subnet of the address (of its peer, when it has one), as inet_ifa_match compares it."""
        base = self.peer or self.address
        if base.version == 4:
            return IPv4Network((int(base), self.prefix), strict=False)
        return IPv6Network((int(base), self.prefix), strict=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """One way on: a gateway (None: the destination is on the link itself), a device, a weight. *share* sums to 1 over those alive."""

    device: str | None
    gateway: Address | None = None
    weight: int = 1
    flags: tuple[str, ...] = ()
    share: Fraction = Fraction(1)

    @property
    def dead(self) -> bool:
        """Return whether the kernel flagged the next hop dead."""
        return "dead" in self.flags

    @property
    def linkdown(self) -> bool:
        """Return whether the next hop's device has no carrier."""
        return "linkdown" in self.flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. *unmodelled* names attributes that could change where the packet goes: a lookup that meets them is unknown.

    *file* and *index* (0-based position in the file's array) say where it stood; *inferred* that it was derived from addresses.
    """

    destination: Network
    type: RouteType
    table: str = MAIN_TABLE
    nexthops: tuple[NextHop, ...] = ()
    prefsrc: Address | None = None
    metric: int = 0
    scope: int = UNIVERSE
    tos: int = 0
    source_prefix: Network | None = None
    preference: int = 0
    protocol: str | None = None
    type_text: str = "unicast"
    nexthop_id: int | None = None
    unmodelled: tuple[str, ...] = ()
    mtu: int | None = None
    file: str = ""
    index: int = -1
    inferred: bool = False

    @property
    def device(self) -> str | None:
        """Return the device of the first next hop."""
        return self.nexthops[0].device if self.nexthops else None

    @property
    def gateway(self) -> Address | None:
        """Return the gateway of the first next hop."""
        return self.nexthops[0].gateway if self.nexthops else None

    def to_text(self) -> str:
        """Return the route in the words of ``ip route show table all``."""
        default = "default" if self.destination.prefixlen == 0 else str(self.destination)
        if self.destination.prefixlen == self.destination.max_prefixlen:
            default = str(self.destination.network_address)
        words = [default] if self.type is RouteType.UNICAST else [self.type_text, default]
        if self.source_prefix is not None:
            words += ["from", str(self.source_prefix)]
        if len(self.nexthops) == 1:
            words += _way(self.nexthops[0])
        if self.table != MAIN_TABLE:
            words += ["table", self.table]
        if self.prefsrc is not None:
            words += ["src", str(self.prefsrc)]
        if self.metric:
            words += ["metric", str(self.metric)]
        if len(self.nexthops) > 1:
            for hop in self.nexthops:
                words += ["nexthop", *_way(hop), "weight", str(hop.weight)]
        return " ".join(words)


def _way(hop: NextHop) -> list[str]:
    gateway = [] if hop.gateway is None else ["via", str(hop.gateway)]
    device = [] if hop.device is None or is_unnamed(hop.device) else ["dev", hop.device]
    return [*gateway, *device, *hop.flags]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRange:
    """An inclusive range of ports or user ids."""

    first: int
    last: int

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.first <= value <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One rule of ``ip rule``. *unmodelled* names selectors we cannot evaluate: they make the match unknown."""

    priority: int
    action: RuleAction = RuleAction.TABLE
    table: str | None = None
    goto: int | None = None
    inverted: bool = False
    source: Network | None = None
    destination: Network | None = None
    iif: str | None = None
    oif: str | None = None
    iif_detached: bool = False
    oif_detached: bool = False
    fwmark: int = 0
    fwmask: int = 0
    tos: int = 0
    protocol: int | None = None
    source_ports: PortRange | None = None
    destination_ports: PortRange | None = None
    uids: PortRange | None = None
    tunnel_id: int = 0
    l3mdev: bool = False
    suppress_prefixlength: int | None = None
    suppress_group: str | None = None
    unmodelled: tuple[str, ...] = ()
    file: str = ""
    index: int = -1

    @property
    def version(self) -> int | None:
        """Return 4 or 6 when an address selector says it, else None."""
        network = self.source or self.destination
        return None if network is None else network.version

    def to_text(self) -> str:
        """Return the rule in the words of ``ip rule``."""
        words = ["not"] if self.inverted else []
        words += ["from", "all" if self.source is None else str(self.source)]
        if self.destination is not None:
            words += ["to", str(self.destination)]
        if self.fwmark or self.fwmask:
            words += ["fwmark", f"{self.fwmark:#x}" if self.fwmask == 0xFFFFFFFF else f"{self.fwmark:#x}/{self.fwmask:#x}"]
        words += [word for name, value in (("iif", self.iif), ("oif", self.oif)) if value for word in (name, value)]
        match self.action:
            case RuleAction.TABLE:
                words += ["lookup", str(self.table)]
            case RuleAction.GOTO:
                words += ["goto", str(self.goto)]
            case _:
                words.append(self.action.value)
        return f"{self.priority}: {' '.join(words)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposition:
    """A sysctl (its last word) that nobody recorded, and the value it is supposed to have on one of two ways."""

    key: str
    is_set: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteResult:
    """One way a routing decision can go; the *share* of all ways sums to 1.

    *supposes* is what this way takes for granted; another way then takes the opposite, with the same share.

    *gateway* is None when the destination is on the link; *next_hop* is then the destination itself.
    *device* of local delivery is ``lo`` for the stack's own packets and the input device for received ones.
    *source* is the packet's source if one was given, else the address the kernel picks for the stack's own packet.
    *linkdown*: the next hop is marked so; the kernel takes it all the same, unless the device ignores such routes.
    """

    kind: ResultKind
    destination: Address
    route: Route | None = None
    rule: PolicyRule | None = None
    device: str | None = None
    gateway: Address | None = None
    source: Address | None = None
    share: Fraction = Fraction(1)
    inferred: bool = False
    unknown_reason: str | None = None
    invalid_reason: str | None = None
    linkdown: bool = False
    supposes: Supposition | None = None

    @property
    def next_hop(self) -> Address:
        """Return the address whose link-layer neighbour gets the packet."""
        return self.gateway or self.destination

    @property
    def table(self) -> str | None:
        """Return the table that held the route."""
        return self.route.table if self.route is not None else None


class SourceCheck(StrEnum):
    """What the kernel's look at a received packet's addresses says."""

    OK = "ok"
    MARTIAN_SOURCE = "martian-source"
    MARTIAN_DESTINATION = "martian-destination"
    RP_FILTER = "rp-filter"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceVerdict:
    """The verdict on a received packet's addresses, why, and the sysctls that were absent and taken at the kernel's default.

    *otherwise* is the verdict if *hinge*, the last word of one of them that others than the kernel set, were 1; None: it changes nothing.
    """

    check: SourceCheck
    reason: str = ""
    assumed: tuple[str, ...] = ()
    hinge: str = ""
    otherwise: SourceVerdict | None = None
