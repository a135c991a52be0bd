"""What the kernel prints in /proc/net of routes and addresses, as the objects of ``ip -j``: for nodes on which nothing but ``cat`` runs.

Owns ``route`` (IPv4's table main), ``fib_trie`` (types and scopes of IPv4's routes, and the local ones), ``ipv6_route`` and ``if_inet6``.
Strategy: what a line does not show and could change an answer becomes a field of that name, as ``ip_text`` does it, so that a look-up that
meets it is unknown. Of what every line leaves out is said once, for the hop to tell: of a route's next hops the first one is shown, weights
and preferred source addresses are not, and of IPv6 routes not the table.
Refuses to make addresses where /proc cannot tell their device, their order or which one is secondary: they stay unknown.
Source: fib_route_seq_show, fib_flag_trans, fib_trie_seq_show in net/ipv4/fib_trie.c; ipv6_route_native_seq_show in net/ipv6/ip6_fib.c;
if6_seq_show in net/ipv6/addrconf.c; include/uapi/linux/route.h, ipv6_route.h and if_addr.h, Linux 6.18.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from tracer.errors import Fault, ParseError
from tracer.patterns import pattern
from tracer.routing.ip_text import Fields, Lines, lines_of

_ROUTE = pattern(
    r"(?P<device>\S{1,64})\s+(?P<to>[0-9A-F]{8})\s+(?P<gateway>[0-9A-F]{8})\s+(?P<flags>[0-9A-F]{4})\s+-?[0-9]+\s+[0-9]+\s+(?P<metric>[0-9]{1,10})"
    r"\s+(?P<mask>[0-9A-F]{8})\s+[0-9]+\s+[0-9]+\s+[0-9]+\s*",
    re.ASCII,
)
_ROUTE_HEAD = pattern(r"Iface\s+Destination\s+Gateway\s", re.ASCII)
_PRINTED = pattern(
    r"(?P<to>default|[0-9.]{7,15})\s+(?P<gateway>[0-9.]{7,15}|-|\*)\s+(?P<mask>[0-9.]{7,15})\s+(?P<flags>[A-Z!]{1,10})\s+(?P<first>-|[0-9]{1,10})"
    r"\s+[0-9-]+\s+[0-9-]+\s+(?P<device>\S{1,64})\s*",
    re.ASCII,
)
_PRINTED_HEAD = pattern(r"Kernel IP routing table|Destination\s+Gateway\s+Genmask\s+Flags\s", re.ASCII)
_ROUTE6 = pattern(
    r"(?P<to>[0-9a-f]{32}) (?P<length>[0-9a-f]{2}) (?P<source>[0-9a-f]{32}) (?P<source_length>[0-9a-f]{2}) (?P<gateway>[0-9a-f]{32})"
    r" (?P<metric>[0-9a-f]{8}) [0-9a-f]{8} [0-9a-f]{8} (?P<flags>[0-9a-f]{8})\s+(?P<device>\S{1,64})\s*",
    re.ASCII,
)
_ADDRESS6 = pattern(
    r"(?P<address>[0-9a-f]{32}) (?P<index>[0-9a-f]{2,8}) (?P<length>[0-9a-f]{2}) (?P<scope>[0-9a-f]{2}) (?P<flags>[0-9a-f]{2,8})"
    r"\s+(?P<device>\S{1,64})\s*",
    re.ASCII,
)
_TABLE = pattern(r"(?P<name>Main|Local|Default|Id [0-9]{1,10}):\s*", re.ASCII)
_NODE = pattern(r"\s*\+-- \S+ [0-9]+ [0-9]+ [0-9]+\s*", re.ASCII)
_LEAF = pattern(r"\s*\|-- (?P<address>[0-9.]{7,15})\s*", re.ASCII)
_ALIAS = pattern(
    r"\s*/(?P<length>[0-9]{1,2}) (?P<scope>\S{1,16}) (?P<type>UNSPEC|UNICAST|LOCAL|BROADCAST|ANYCAST|MULTICAST|BLACKHOLE|UNREACHABLE"
    r"|PROHIBIT|THROW|NAT|XRESOLVE)(?: tos=(?P<tos>[0-9]{1,3}))?\s*",
    re.ASCII,
)
_UP, _GATEWAY, _REJECT = 0x0001, 0x0002, 0x0200
_CACHE = 0x01000000
_ANYCAST, _LOCAL = 0x00100000, 0x80000000
_PREFERENCES = {0: "medium", 1: "high", 3: "low"}
_NULL_METRIC = 0xFFFFFFFF
_ADDRESS_FLAGS = {0x01: "temporary", 0x04: "optimistic", 0x08: "dadfailed", 0x10: "home", 0x20: "deprecated", 0x40: "tentative"}
_SCOPES = {"universe": "global", "link": "link", "host": "host", "site": "site", "nowhere": "nowhere"}
_SCOPES6 = {0x00: "global", 0x10: "host", 0x20: "link", 0x40: "site"}
_ANY = str(IPv4Address(0))
_LOOPBACK = IPv4Address("127.0.0.1")
NOT_SHOWN = {
    4: "of each route /proc/net/route shows the first next hop, and no preferred source address: others are assumed not to be",
    6: "/proc/net/ipv6_route shows neither a route's table nor the weights of next hops: table main and equal weights are assumed",
}
"""What is assumed where a family's routes are read from /proc, as the hop tells it."""


def _fault(file: str, number: int, line: str, message: str) -> ParseError:
    return ParseError(Fault(file=file, line=number, column=0, message=message, text=line))


def is_routes(lines: Lines) -> bool:
    """Return whether a listing is ``/proc/net/route``, also as ``route -n`` and ``netstat -rn`` print it, or ``/proc/net/ipv6_route``."""
    first = lines[0][1] if lines else ""
    return any(found is not None for found in (_ROUTE_HEAD.match(first), _PRINTED_HEAD.match(first), _ROUTE6.fullmatch(first)))


def routes(lines: Lines, file: str) -> list[tuple[int, Fields]]:
    """Return the objects of ``ip -j route`` for ``/proc/net/route`` or ``ipv6_route``. :raises ParseError: a line is of neither."""
    if _ROUTE_HEAD.match(lines[0][1]):
        return [(number, _route4(line, file, number)) for number, line in lines[1:]]
    if _PRINTED_HEAD.match(lines[0][1]):
        has_metric = any(" Metric " in line for _, line in lines[:2])
        return [(number, _printed(line, file, number, has_metric)) for number, line in lines if not _PRINTED_HEAD.match(line)]
    return _routes6(lines, file)


# -- IPv4 -----------------------------------------------------------------------------------------------------------------------------


def _route4(line: str, file: str, number: int) -> Fields:
    found = _ROUTE.fullmatch(line)
    if found is None:
        raise _fault(file, number, line, "no line of /proc/net/route: it is cut off, or is none")
    gateway, flags = _address4(found["gateway"]), int(found["flags"], 16)
    mask = int(_address4(found["mask"]))
    length = mask.bit_count()
    if mask != ((1 << length) - 1) << (32 - length) or not flags & _UP:
        raise _fault(file, number, line, "no route of /proc/net/route")
    fields: Fields = {"dst": f"{_address4(found['to'])}/{length}", "metric": int(found["metric"]), "flags": []}
    if found["device"] != "*":
        fields["dev"] = found["device"]
    elif flags & _REJECT:
        fields["unreachable or prohibit"] = True
    else:
        fields["blackhole or throw"] = True
    if flags & _GATEWAY and int(gateway):
        fields["gateway"] = str(gateway)
    elif flags & _GATEWAY:
        fields["a gateway of another family"] = True
    elif "dev" in fields:
        fields["scope"] = "link"
    return fields


def _printed(line: str, file: str, number: int, has_metric: bool) -> Fields:
    """A line of ``route -n`` or ``netstat -rn``. Source: net-tools lib/inet_gr.c (rprint_fib)."""
    found = _PRINTED.fullmatch(line.strip())
    if found is None:
        raise _fault(file, number, line, "no line of route -n or netstat -rn: it is cut off, or has names for addresses (no -n)")
    try:
        network = IPv4Network(f"{_ANY if found['to'] == 'default' else found['to']}/{found['mask']}")
    except ValueError:
        raise _fault(file, number, line, "no route: its address and mask do not fit") from None
    fields: Fields = {"dst": str(network), "flags": []}
    if has_metric:
        fields["metric"] = int(found["first"].strip("-") or 0)
    if "!" in found["flags"]:
        fields["unreachable or prohibit"] = True
    elif found["device"] == "*":
        fields["blackhole or throw"] = True
    else:
        fields["dev"] = found["device"]
    if "G" in found["flags"] and found["gateway"] not in ("*", "-", _ANY):
        fields["gateway"] = found["gateway"]
    elif "G" in found["flags"]:
        fields["a gateway of another family"] = True
    elif "dev" in fields:
        fields["scope"] = "link"
    return fields


def _address4(word: str) -> IPv4Address:
    """An address as a little-endian host prints its four bytes; which all nodes of Kubernetes but s390x's are."""
    return IPv4Address(bytes.fromhex(word)[::-1])


def _leaf(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


class Trie:
    """``/proc/net/fib_trie``: *local* addresses and broadcast ones, what is in table main, and the names of other *tables*."""

    def __init__(self, text: str, file: str) -> None:
        self.local: dict[IPv4Network, tuple[str, str]] = {}
        self.main: dict[IPv4Network, list[tuple[str, str, int]]] = defaultdict(list)
        self.tables: tuple[str, ...] = ()
        self._held: dict[str, set[tuple[IPv4Network, str, str]]] = defaultdict(set)
        table = ""
        leaf: IPv4Address | None = None
        for number, line in lines_of(text):
            if found := _TABLE.fullmatch(line):
                table, leaf = found["name"], None
                self.tables += (table,) if table.startswith("Id ") else ()
            elif found := _LEAF.fullmatch(line):
                leaf = _leaf(found["address"])
                if leaf is None:
                    raise _fault(file, number, line, "no address")
            elif (found := _ALIAS.fullmatch(line)) and leaf is not None and table:
                self._add(table, leaf, found)
            elif not _NODE.fullmatch(line):
                raise _fault(file, number, line, "no line of /proc/net/fib_trie: it is cut off, or is none")

    def _add(self, table: str, leaf: IPv4Address, found: re.Match[str]) -> None:
        network = IPv4Network((int(leaf), min(int(found["length"]), 32)), strict=False)
        type_, scope = found["type"].lower(), _SCOPES.get(found["scope"], found["scope"])
        self._held[table].add((network, type_, scope))
        # NB: without routing rules of its own, a kernel keeps both tables in one trie and prints it under both names.
        if type_ in ("local", "broadcast", "anycast", "multicast") and table in ("Local", "Main"):
            self.local[network] = (type_, scope)
        elif table == "Main":
            self.main[network].append((type_, scope, int(found["tos"] or 0)))

    @property
    def has_own_rules_only(self) -> bool:
        """Return whether nobody ever added a routing rule: one trie holds both tables, until the first rule parts them.

        Source: fib_unmerge in net/ipv4/fib_frontend.c, which fib4_rule_configure calls.
        """
        return bool(self._held["Main"]) and self._held["Main"] == self._held["Local"] and not self.tables

    def addresses(self) -> tuple[IPv4Address, ...]:
        """Return the host's own addresses."""
        return tuple(network.network_address for network, (type_, _) in self.local.items() if type_ == "local" and network.prefixlen == 32)


def parse_trie(text: str, file: str) -> Trie:
    """Return what ``/proc/net/fib_trie`` says. :raises ParseError: it is something else, or cut off in a line."""
    found = Trie(text, file)
    if not found.local and not found.main:
        raise ParseError(Fault(file=file, line=1, column=0, message="it lists no route, and every node has some"))
    return found


def with_trie(routes: Iterable[tuple[int, Fields]], trie: Trie) -> list[tuple[int, Fields]]:
    """Return IPv4 *routes* of ``/proc/net/route`` with what the trie says of them, and the routes of table local behind them."""
    entries = list(routes)
    seen = Counter(str(fields["dst"]) for _, fields in entries)
    for _, fields in entries:
        network = IPv4Network(str(fields["dst"]))
        aliases = trie.main.get(network, [])
        if len(set(aliases)) == 1:
            type_, scope, tos = aliases[0]
            fields.pop("unreachable or prohibit", None)
            fields.pop("blackhole or throw", None)
            fields.update({"type": type_, "scope": scope} | ({"tos": f"{tos:#x}"} if tos else {}))
        elif any(tos for _, _, tos in aliases) or (aliases and len(aliases) != seen[str(network)]):
            fields["which of the routes it is"] = True
    local: list[tuple[int, Fields]] = []
    ends = {IPv4Network(str(f["dst"])).broadcast_address: str(f["dev"]) for _, f in entries if "dev" in f and "gateway" not in f}
    for network, (type_, scope) in trie.local.items():
        fields = {"type": type_, "dst": str(network), "table": "local", "protocol": "kernel", "scope": scope, "flags": []}
        address = network.network_address
        device = "lo" if address.is_loopback else ends.get(address) if type_ == "broadcast" else None
        own = {"prefsrc": str(_LOOPBACK)} if address.is_loopback and IPv4Network(_LOOPBACK) in trie.local else {}
        local.append((0, fields | ({"dev": device} if device else {}) | own))
    return entries + local


# -- IPv6 -----------------------------------------------------------------------------------------------------------------------------


def _routes6(lines: Lines, file: str) -> list[tuple[int, Fields]]:
    found: list[tuple[int, Fields]] = []
    several: dict[tuple[object, ...], Fields] = {}
    for number, line in lines:
        match = _ROUTE6.fullmatch(line)
        if match is None:
            raise _fault(file, number, line, "no line of /proc/net/ipv6_route: it is cut off, or is none")
        flags, metric = int(match["flags"], 16), int(match["metric"], 16)
        if flags & _CACHE or (metric == _NULL_METRIC and flags & _REJECT):
            continue  # a path that was taken before, or that a table has no other route
        fields = _route6(match, flags, metric)
        key = (fields["dst"], fields.get("from"), metric, fields.get("pref"))
        if "gateway" in fields and key in several:
            _more(several[key], fields)
            continue
        if "gateway" in fields:
            several[key] = fields
        found.append((number, fields))
    return found


def _route6(match: re.Match[str], flags: int, metric: int) -> Fields:
    length, source_length = int(match["length"], 16), int(match["source_length"], 16)
    to, gateway = _address6(match["to"]), _address6(match["gateway"])
    fields: Fields = {"dst": f"{to}/{length}", "metric": metric, "dev": match["device"], "flags": []}
    fields["pref"] = _PREFERENCES.get(flags >> 27 & 3, "medium")
    if source_length:
        fields["from"] = f"{_address6(match['source'])}/{source_length}"
    if flags & _LOCAL or flags & _ANYCAST or to.is_multicast:
        fields["type"] = "local" if flags & _LOCAL else "anycast" if flags & _ANYCAST else "multicast"
        fields |= {"table": "local", "protocol": "kernel"}
    elif flags & _REJECT:
        fields["unreachable, prohibit, blackhole or throw"] = True
    if flags & _GATEWAY and int(gateway):
        fields["gateway"] = str(gateway)
    return fields


def _more(first: Fields, fields: Fields) -> None:
    """One more next hop of the same route. Source: rt6_qualify_for_ecmp in include/net/ip6_route.h."""
    hops = first.setdefault("nexthops", [{name: first.pop(name) for name in ("gateway", "dev")} | {"weight": 1, "flags": []}])
    if isinstance(hops, list):
        hops.append({name: fields[name] for name in ("gateway", "dev")} | {"weight": 1, "flags": []})


def _address6(word: str) -> IPv6Address:
    return IPv6Address(bytes.fromhex(word))


# -- addresses ------------------------------------------------------------------------------------------------------------------------


def parse_inet6(text: str, file: str) -> tuple[tuple[int, str, Fields], ...]:
    """Return the index and name of the device, and the object of ``ip -j addr``, of each address. :raises ParseError: a line is of none."""
    found = []
    for number, line in lines_of(text):
        match = _ADDRESS6.fullmatch(line)
        if match is None:
            raise _fault(file, number, line, "no line of /proc/net/if_inet6: it is cut off, or is none")
        flags = int(match["flags"], 16)
        fields: Fields = {"family": "inet6", "local": str(_address6(match["address"])), "prefixlen": int(match["length"], 16)}
        fields["scope"] = _SCOPES6.get(int(match["scope"], 16) & 0xF0, "global")
        fields |= {name: True for bit, name in _ADDRESS_FLAGS.items() if flags & bit}
        found.append((int(match["index"], 16), match["device"], fields))
    return tuple(found)


def devices(trie: Trie, links: Mapping[IPv4Network, str], inet6: Iterable[tuple[int, str, Fields]]) -> list[tuple[int, Fields]] | None:
    """Return the objects of ``ip -j addr``, None where some address' device, place or kind is not known.

    An IPv4 address is at the device that its network is at, by *links*. One more there may be secondary, and /proc does not say which one
    is; nor does it give the order of devices but by the indices of those that have IPv6 addresses. Nothing is told of a node whose device
    has two of a family and scope, nor of one that holds an address without a network (IPVS', that of Calico's tunnel).
    """
    held: dict[str, list[Fields]] = defaultdict(list)
    index = {"lo": 1}
    for number, device, fields in inet6:
        index[device] = number
        held[device].append(fields)
    for address in trie.addresses():
        found = _link_of(address, links)
        if found is None or found[1] not in index:
            return None
        network, device = found
        scope = "host" if device == "lo" else "global"
        held[device].append({"family": "inet", "local": str(address), "prefixlen": network.prefixlen, "scope": scope})
    kinds = Counter((device, one["family"], one["scope"]) for device, all_ in held.items() if device != "lo" for one in all_)
    if not held or any(count > 1 for count in kinds.values()):
        return None
    return [(0, {"ifindex": index[device], "ifname": device, "addr_info": held[device]}) for device in sorted(held, key=index.__getitem__)]


def _link_of(address: IPv4Address, links: Mapping[IPv4Network, str]) -> tuple[IPv4Network, str] | None:
    """The network and device that *address* is in, if it is in one."""
    if address.is_loopback:
        return IPv4Network("127.0.0.0/8"), "lo"
    found = [(network, device) for network, device in links.items() if address in network and network.prefixlen < 32]
    return found[0] if len(found) == 1 else None
