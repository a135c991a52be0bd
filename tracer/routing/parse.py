"""Text of ``ip -j addr|link|route|rule`` and ``sysctl`` → the model.

Refuses what is not that format (ParseError, with file and entry). Keeps what it does not know: a route's or rule's unknown attribute is
named in *unmodelled*, and a lookup that meets it is unknown. Source: iproute2's ipaddress.c, iplink_*.c, iproute.c, iprule.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from ipaddress import IPv4Network
from typing import TypeVar

from tracer import pasted
from tracer.errors import Fault, Faults, ParseError
from tracer.limits import HOPS, KEPT_TEXT, KEPT_TEXTS
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.routing import ip_text, proc_text
from tracer.routing.entries import Entry, entries_of, load_entries
from tracer.routing.model import (
    MAIN_TABLE,
    SCOPES,
    STACKED,
    TABLE_NAMES,
    TUNNELS,
    Forwarding,
    InterfaceAddress,
    Link,
    Neighbour,
    Network,
    NextHop,
    PolicyRule,
    PortRange,
    Route,
    RouteType,
    RuleAction,
)

# Attributes that do not change where a packet goes: metrics of the path, who added the route, offload and cache notes.
# fmt: off
_HARMLESS = frozenset({
    "protocol", "flags", "expires", "error", "mtu", "advmss", "rtt", "rttvar", "reordering", "window", "cwnd", "ssthresh", "hoplimit",
    "initcwnd", "initrwnd", "quickack", "rto_min", "realm", "cc_algo", "congctl", "features", "fastopen_no_cookie", "metrics",
    "cache", "uid", "age", "used", "users", "lastuse", "ttl-propagate", "ttl_propagate", "perm",
})
# fmt: on
_RULE_HARMLESS = frozenset({"protocol", "realms", "realms_from", "realms_to", "srclen", "dstlen", "unresolved"})
_PREFERENCES = {"high": 1, "medium": 0, "low": -1}
_PROTOCOLS = {"icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "sctp": 132}
_TOS_NAMES = {"default": 0, "CS0": 0, "CS1": 32, "CS2": 64, "CS3": 96, "CS4": 128, "CS5": 160, "AF11": 40, "AF12": 48, "AF13": 56}
T = TypeVar("T")
_SPACE = " \t\n\r\f\v"


def never_empty(parse: Callable[[str, str], tuple[T, ...]]) -> Callable[[str, str], tuple[T, ...]]:
    """Return *parse*, to which a list without entries is a fault: what every stack has some of was not recorded, and is not absent.

    NB: not for what a stack may lack: without IPv6 ``ip -6 route`` and ``ip -6 rule`` list nothing.
    """

    def parsed(text: str, file: str) -> tuple[T, ...]:
        found = parse(text, file)
        if not found:
            raise ParseError(Fault(file=file, line=1, column=0, message="it lists nothing, and every node has some"))
        return found

    return parsed


def _read_once(read: Callable[[str, str], T]) -> Callable[[str, str], T]:
    """Return *read*, which keeps what it made of the last texts: whether anything of a file counts is asked before it is read."""
    kept = lru_cache(KEPT_TEXTS)(read)
    return lambda text, file: (kept if len(text) <= KEPT_TEXT else read)(text, file)


def parse_links(text: str, file: str = "ip-link.json") -> tuple[Link, ...]:
    """Return the devices of ``ip -d -j link`` (or of ``ip -j addr``, which says less), in the file's order.

    :raises ParseError: not that format.
    """
    return _links(text, file)


@_read_once
def _links(text: str, file: str) -> tuple[Link, ...]:
    return tuple(_link(entry) for entry in load_entries(text, file, "link"))


def _link(entry: Entry) -> Link:
    index = entry.integer("ifindex", low=1)
    if index is None:
        raise entry.fail("ifindex is missing")
    detail = entry.child("linkinfo")
    kind = detail.text("info_kind") if detail else None
    slave_kind = detail.text("info_slave_kind") if detail else None
    slave = detail.child("info_slave_data") if detail and slave_kind == "bridge" else None
    own = detail.child("info_data") if detail else None
    bridge = own if kind == "bridge" else None
    tunnel = own if kind in TUNNELS else None
    master = entry.text("master")
    return Link(
        name=entry.required("ifname"),
        index=index,
        flags=entry.words("flags"),
        kind=kind,
        mtu=entry.integer("mtu"),
        master=master,
        peer_index=entry.integer("link_index"),
        link_netnsid=entry.integer("link_netnsid", low=-1, high=0x7FFFFFFF),
        mac=entry.text("address"),
        group=entry.text("group"),
        is_bridge=kind == "bridge",
        is_bridge_port=False if master is None else (slave_kind == "bridge" if slave_kind else None),
        bridge_hairpin=slave.flag("hairpin") if slave and slave.has("hairpin") else None,
        nf_call_iptables=bridge.flag("nf_call_iptables") if bridge and bridge.has("nf_call_iptables") else None,
        nf_call_ip6tables=bridge.flag("nf_call_ip6tables") if bridge and bridge.has("nf_call_ip6tables") else None,
        operstate=entry.text("operstate"),
        tunnel_over=tunnel.text("link") if tunnel else None,
        tunnel_local=_end_of(tunnel, "local") if tunnel else None,
        tunnel_remote=_end_of(tunnel, "remote") if tunnel else None,
        tunnel_id=tunnel.integer("id") if tunnel else None,
        tunnel_port=tunnel.integer("port") if tunnel else None,
        tunnel_df=_df_of(tunnel) if tunnel else None,
        is_external=tunnel is not None and tunnel.flag("external"),
        lies_on=entry.text("link") if kind is None or kind in STACKED else None,
    )


def _df_of(tunnel: Entry) -> str | None:
    """Return whether a tunnel's packets may not be cut, None where they may: what ip prints of that in JSON only."""
    text = tunnel.text("df")
    return None if text == "unset" else text


def _end_of(tunnel: Entry, end: str) -> Address | None:
    """The address of one end of a tunnel, None where it has none of its own ("any", "0.0.0.0"). NB: VXLAN's IPv6 ends are called local6."""
    text = tunnel.text(end) or tunnel.text(f"{end}6")
    address = tunnel.as_address(end, text) if text and text != "any" else None
    return None if address is None or address.is_unspecified or address.is_multicast else address


def parse_neighbours(text: str, file: str = "ip-neigh.json") -> tuple[Neighbour, ...]:
    """Return the entries of ``ip -j neigh``, in the file's order. :raises ParseError: not that format."""
    return tuple(
        Neighbour(
            address=entry.as_address("dst", entry.required("dst")),
            device=entry.required("dev"),
            states=entry.words("state"),
            mac=entry.text("lladdr"),
        )
        for entry in load_entries(text, file, "neigh")
    )


def parse_forwarding(text: str, file: str = "bridge-fdb.json") -> tuple[Forwarding, ...]:
    """Return the entries of ``bridge [-j] fdb``, in the file's order. :raises ParseError: not that format."""
    return tuple(
        Forwarding(
            mac=entry.required("mac"),
            device=entry.required("ifname"),
            destination=entry.as_address("dst", dst) if (dst := entry.text("dst")) else None,
            port=entry.integer("port"),
            network=entry.integer("vni"),
        )
        for entry in load_entries(text, file, "fdb")
    )


def parse_addresses(text: str, file: str = "ip-addr.json") -> tuple[InterfaceAddress, ...]:
    """Return the addresses of ``ip -j addr``, in the kernel's order: it decides between equals.

    :raises ParseError: not that format.
    """
    return _listed_addresses(text, file)


@_read_once
def _listed_addresses(text: str, file: str) -> tuple[InterfaceAddress, ...]:
    return _addresses(load_entries(text, file, "addr"))


def address_versions(text: str, file: str = "ip-addr.json") -> frozenset[int]:
    """Return the IP versions whose addresses ``ip addr`` was asked for: with ``-4`` or ``-6`` it says nothing of links.

    ``ip -o addr`` says nothing of them either: there the addresses tell, and where all are of one version, nothing is said of the other.
    :raises ParseError: not that format.
    """
    entries = load_entries(text, file, "addr")
    listed = {held.address.version for held in _addresses(entries)}
    return frozenset((4, 6)) if any(entry.has("link_type") for entry in entries) else frozenset(listed)


def _addresses(entries: Iterable[Entry]) -> tuple[InterfaceAddress, ...]:
    found = []
    for entry in entries:
        device = entry.required("ifname")
        for item in entry.children("addr_info"):
            if item.text("family") in ("inet", "inet6"):
                found.append(_address(item, device))
    return tuple(found)


def _address(entry: Entry, device: str) -> InterfaceAddress:
    address = entry.as_address("local", entry.required("local"))
    prefix = entry.integer("prefixlen", high=address.max_prefixlen)
    if prefix is None or (address.version == 4) != (entry.text("family") == "inet"):
        raise entry.fail("family and prefixlen do not fit the address")
    return InterfaceAddress(
        address=address,
        prefix=prefix,
        device=device,
        scope=_scope(entry),
        peer=entry.address("address"),
        broadcast=entry.address("broadcast"),
        **{name: entry.flag(name) for name in _ADDRESS_FLAGS},
    )


_ADDRESS_FLAGS = ("secondary", "deprecated", "tentative", "optimistic", "dadfailed", "temporary", "home", "noprefixroute")


def _scope(entry: Entry) -> int:
    text = entry.text("scope") or "global"
    if text in SCOPES:
        return SCOPES[text]
    if re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) and int(text) < 256:
        return int(text)
    raise entry.fail(f"scope {text!r} is not known")


def parse_routes(text: str, file: str = "ip-route.json") -> tuple[Route, ...]:
    """Return the routes of ``ip [-6] -j route show table all``, in the file's order, whichever family each has.

    NB: without ``-6`` or ``-4``, ``table all`` lists both families.
    :raises ParseError: not that format.
    """
    return _routes(text, file)


@_read_once
def _routes(text: str, file: str) -> tuple[Route, ...]:
    return tuple(_route(entry) for entry in load_entries(text, file, "route"))


def parse_kernel_routes(text: str, trie: proc_text.Trie | None, file: str) -> tuple[Route, ...]:
    """Return the routes of ``/proc/net/route``, with what ``fib_trie`` adds, table local too. :raises ParseError: not that format."""
    read = proc_text.routes(ip_text.lines_of(text), file)
    return tuple(_route(entry) for entry in entries_of(read if trie is None else proc_text.with_trie(read, trie), file))


def kernel_addresses(trie: proc_text.Trie, routes: tuple[Route, ...], inet6: str, file: str) -> tuple[InterfaceAddress, ...] | None:
    """Return the addresses that ``fib_trie`` and ``if_inet6`` (the text *inet6*) tell, at the devices that *routes* show.

    None where they tell too little. :raises ParseError: *inet6* is not that format.
    """
    connected = (r for r in routes if r.table == MAIN_TABLE and r.type is RouteType.UNICAST and r.nexthops[0].gateway is None)
    links = {r.destination: r.device for r in connected if isinstance(r.destination, IPv4Network) and r.device}
    found = proc_text.devices(trie, links, proc_text.parse_inet6(inet6, file))
    return None if found is None else _addresses(entries_of(found, ""))


def _route(entry: Entry) -> Route:
    version = _route_version(entry)
    type_text = entry.text("type") or "unicast"
    source_text = entry.text("from")
    nexthops = _nexthops(entry)
    nexthop_id = entry.integer("nhid")
    preference = entry.text("pref") or "medium"
    if preference not in _PREFERENCES:
        raise entry.fail(f"pref {preference!r} is not known")
    type_ = RouteType(type_text) if type_text in set(RouteType) else RouteType.OTHER
    unmodelled = tuple(name for name in entry.unseen(_HARMLESS) if name not in ("scope", "tos", "metric", "prefsrc", "table"))
    if type_ is RouteType.OTHER:
        unmodelled += (f"type {type_text}",)
    if nexthop_id is not None and all(hop.device is None for hop in nexthops):
        unmodelled += (f"nhid {nexthop_id}",)
    return Route(
        destination=entry.prefix("dst", entry.required("dst"), version),
        type=type_,
        type_text=type_text,
        table=_table(entry) or MAIN_TABLE,
        nexthops=nexthops,
        prefsrc=entry.address("prefsrc"),
        metric=entry.integer("metric", 0) or 0,
        scope=_scope(entry),
        tos=_tos(entry),
        source_prefix=None if source_text is None else entry.prefix("from", source_text, version),
        preference=_PREFERENCES[preference],
        protocol=entry.text("protocol"),
        nexthop_id=nexthop_id,
        mtu=_mtu_of(entry),
        unmodelled=unmodelled + tuple(flag for hop in nexthops for flag in hop.flags if flag.startswith("encap")),
        file=entry.file,
        index=entry.index,
    )


def _mtu_of(entry: Entry) -> int | None:
    """Return the MTU that a route has of its own; one that cannot be read is none, as it does not change where a packet goes."""
    metrics = entry.values.get("metrics")
    found = [one["mtu"] for one in metrics if isinstance(one, dict) and "mtu" in one] if isinstance(metrics, list) else []
    return found[0] if len(found) == 1 and isinstance(found[0], int) and found[0] > 0 else None


def _route_version(entry: Entry) -> int:
    """Return 4 or 6. A default route shows its family only by its addresses, or by the router preference that every IPv6 route has."""
    destination = entry.required("dst").partition("/")[0]
    if destination != "default":
        return entry.as_address("dst", destination).version
    if source := entry.address("prefsrc"):
        return source.version
    if entry.has("pref"):
        return 6
    gateway = entry.address("gateway")
    return gateway.version if gateway else 4


def _nexthops(entry: Entry) -> tuple[NextHop, ...]:
    children = entry.children("nexthops")
    if len(children) > HOPS:
        raise entry.fail(f"more than {HOPS} next hops")
    hops = tuple(_nexthop(child) for child in children) or (_nexthop(entry),)
    return with_shares(hops)


def _nexthop(entry: Entry) -> NextHop:
    via = entry.child("via")
    gateway = entry.address("gateway")
    if via is not None:
        gateway = via.address("host")
    encap = tuple(f"encap {entry.text('encap')}" for _ in (1,) if entry.has("encap"))
    return NextHop(
        device=entry.text("dev"),
        gateway=gateway,
        weight=entry.integer("weight", 1, low=1, high=65536) or 1,
        flags=entry.words("flags") + encap,
    )


def with_shares(hops: tuple[NextHop, ...], usable: tuple[bool, ...] | None = None) -> tuple[NextHop, ...]:
    """Return *hops* with the share of each: the kernel cuts 2**31 hash values at round(weight so far * 2**31 / total).

    Dead next hops get none; so do those *usable* says False for.
    Source: fib_rebalance() in fib_semantics.c, rt6_upper_bound_set() in ipv6/route.c.
    """
    alive = [not hop.dead and (usable is None or usable[n]) for n, hop in enumerate(hops)]
    total = sum(hop.weight for hop, live in zip(hops, alive, strict=True) if live)
    if not total:
        return tuple(replace(hop, share=Fraction(0)) for hop in hops)
    out, so_far, lower = [], 0, 0
    for hop, live in zip(hops, alive, strict=True):
        so_far += hop.weight if live else 0
        upper = ((so_far << 31) + total // 2) // total
        out.append(replace(hop, share=Fraction(upper - lower, 1 << 31) if live else Fraction(0)))
        lower = upper
    return tuple(out)


def _table(entry: Entry) -> str | None:
    text = entry.text("table")
    return None if text is None else TABLE_NAMES.get(text, text)


def _tos(entry: Entry) -> int:
    text = entry.text("tos")
    if text in _TOS_NAMES:
        return _TOS_NAMES[text]
    value = text if text is None or text.lower().startswith("0x") else f"0x{text}"
    return Entry({"tos": value}, entry.file, entry.index).integer("tos", 0, high=255) or 0


def parse_rules(text: str, file: str = "ip-rule.json") -> tuple[PolicyRule, ...]:
    """Return the rules of ``ip [-6] -j rule`` in order. :raises ParseError: not that format."""
    return tuple(_rule(entry) for entry in load_entries(text, file, "rule"))


def _rule(entry: Entry) -> PolicyRule:
    priority = entry.integer("priority")
    if priority is None:
        raise entry.fail("priority is missing")
    mark, mask = entry.integer("fwmark", 0) or 0, entry.integer("fwmask")
    action = _rule_action(entry)
    return PolicyRule(
        priority=priority,
        action=action,
        table=_table(entry),
        goto=entry.integer("goto"),
        inverted=entry.has("not"),
        source=_selector(entry, "src"),
        destination=_selector(entry, "dst"),
        iif=entry.text("iif"),
        oif=entry.text("oif"),
        iif_detached=entry.has("iif_detached"),
        oif_detached=entry.has("oif_detached"),
        fwmark=mark,
        fwmask=mask if mask is not None else (0xFFFFFFFF if entry.has("fwmark") else 0),
        tos=_tos(entry),
        protocol=_protocol(entry),
        source_ports=_range(entry, "sport", "sport_start", "sport_end"),
        destination_ports=_range(entry, "dport", "dport_start", "dport_end"),
        uids=_range(entry, "uid", "uid_start", "uid_end"),
        tunnel_id=entry.integer("tun_id", 0, high=(1 << 64) - 1) or 0,
        l3mdev=entry.has("l3mdev"),
        suppress_prefixlength=entry.integer("suppress_prefixlen", high=128),
        suppress_group=entry.text("suppress_ifgroup"),
        unmodelled=entry.unseen(_RULE_HARMLESS),
        file=entry.file,
        index=entry.index,
    )


def _rule_action(entry: Entry) -> RuleAction:
    if entry.has("goto"):
        return RuleAction.GOTO
    if entry.has("nop"):
        return RuleAction.NOP
    text = entry.text("action") or entry.text("type")
    if text is not None:
        return RuleAction(text) if text in ("blackhole", "unreachable", "prohibit", "nop") else RuleAction.OTHER
    return RuleAction.TABLE if entry.has("table") or entry.has("l3mdev") else RuleAction.OTHER


def _selector(entry: Entry, key: str) -> Network | None:
    text = entry.text(key)
    if text is None or text == "all":
        return None
    address = entry.as_address(key, text.partition("/")[0])
    length = entry.integer(f"{key}len", high=address.max_prefixlen)
    return entry.prefix(key, text if length is None else f"{address}/{length}", address.version)


def _protocol(entry: Entry) -> int | None:
    """Return the protocol number; a name we do not know is left to *unmodelled* (its field counts as not seen)."""
    text = (entry.text("ipproto") or "").removeprefix("ipproto-")
    if text in _PROTOCOLS:
        return _PROTOCOLS[text]
    if re.fullmatch(r"[0-9]{1,3}", text, re.ASCII):
        return int(text)
    entry.seen.discard("ipproto")
    return None


def _range(entry: Entry, single: str, first: str, last: str) -> PortRange | None:
    if (value := entry.integer(single)) is not None:
        return PortRange(first=value, last=value)
    low, high = entry.integer(first), entry.integer(last)
    return None if low is None or high is None else PortRange(first=low, last=high)


_PROC_SYS = "/proc/sys/"
_SETTING = pattern(r"/proc/sys/([\w./-]{1,200})", re.ASCII)
_OWN_SETTING = pattern(r"(?:abi|crypto|debug|dev|fs|kernel|net|sunrpc|user|vm)[./]|[#;]|/proc/sys/", re.ASCII)
_REFUSED = pattern(r"(?:cat|grep|tail|head): ", re.ASCII)
_AS_SYSCTL = str.maketrans("/.", "./")


def parse_sysctl(text: str, file: str = "sysctl.txt") -> Mapping[str, str]:
    """Return ``name`` → value of ``sysctl -a``, of ``grep -r "" /proc/sys``, or of ``cat /proc/sys/…`` typed one after the other.

    Of two equal names the last counts. :raises ParseError: a line is not ``name = value``, every one of which is a fault; or sysctl speaks
    and gives no value.
    """
    values: dict[str, str] = {}
    faults = Faults()
    asked: list[str] = []  # what was typed or stands in a heading, and whose values follow
    for number, line in enumerate(pasted.without_margin(text, _OWN_SETTING).splitlines(), 1):
        if (names := _asked(line)) is not None:
            asked = names
        elif not line.strip() or line.lstrip().startswith(("#", ";", "sysctl:")) or (asked and _REFUSED.match(line)):
            continue
        elif asked and not line.startswith(_PROC_SYS):
            values[asked.pop(0)] = line.strip(_SPACE)
        elif (found := _setting(line)) is not None:
            values[found[0]] = found[1]
        elif not pasted.is_around(line):
            faults.append(Fault(file=file, line=number, column=0, message="not name = value", text=line))
    said = next(((n, line) for n, line in enumerate(text.splitlines(), 1) if line.lstrip().startswith("sysctl:")), None)
    if said and not values:
        faults.append(Fault(file=file, line=said[0], column=0, message="sysctl printed no setting", text=said[1]))
    if faults:
        raise ParseError(*faults)
    return values


def _setting(line: str) -> tuple[str, str] | None:
    """The name and value of a line, None where it is not ``name = value``."""
    if line.startswith(_PROC_SYS):  # what grep -r "" /proc/sys prints: a device's own dots become slashes, as sysctl writes them
        name, sign, value = line.removeprefix(_PROC_SYS).partition(":")
        name = name.translate(_AS_SYSCTL)
    else:
        name, sign, value = line.partition("=")
    name = name.strip(_SPACE)
    if not sign or not name or any(c in _SPACE for c in name):
        return None
    value = value.rstrip(_SPACE)
    return name.replace("/", ".") if "." not in name else name, value[1:] if value[:1] in tuple(_SPACE) else value


def _asked(line: str) -> list[str] | None:
    """The settings whose values a typed command or a heading (``tail -n +1 FILE FILE``) says follow; None of any other line."""
    if line.startswith(_PROC_SYS) or _PROC_SYS not in line:
        return None
    if (said := pasted.heading(line)) is None and (typed := pasted.typed(line)) is not None:
        said = " ".join(typed.words) if "cat" in typed.words else ""
    return None if said is None else [name.translate(_AS_SYSCTL) for name in _SETTING.findall(said)]
