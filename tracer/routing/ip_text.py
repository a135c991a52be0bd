"""What ``ip`` prints for people: ``ip addr``, ``ip -d link``, ``ip route``, ``ip rule`` and ``ip neigh``, read to the objects of ``ip -j``.

Strategy: a line is cut into words, which become the fields of the JSON object that ``ip -j`` prints of the same entry; whoever reads that
reads this. A word that is not known becomes a field of its name, so that it is never passed over where it could change an answer. ``-o``
puts an entry's lines behind each other with a backslash; colours, prompts, fences and margins are taken away before. Refuses ``-br``, which
leaves out most, and lines of which it cannot say what they are. NB: BusyBox' ``ip`` leaves out next hops, and of rules ``not``, ports and
what is gone to; a route without a next hop, and every rule behind which a space stands, says so and decides nothing (iproute2 before 4.17
ends its rules with a space as well). No listing has a mark at its end: one that stops between two lines is taken for whole.
Source: iproute2 6.x ip/ipaddress.c, iplink_*.c, iproute.c, iprule.c, ipneigh.c; BusyBox 1.35 networking/libiproute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from tracer import pasted
from tracer.errors import Fault, ParseError
from tracer.patterns import pattern

Fields = dict[str, object]
Lines = list[tuple[int, str]]
"""Each line with its number; without those that stand around a listing."""

_HEAD = pattern(r"(?P<index>[0-9]{1,9}): (?P<name>[^\s:@]{1,64})(?:@(?P<peer>[^\s:]{1,64}))?:(?P<rest> .*)", re.ASCII)
_ONE_LINE = pattern(r"(?P<index>[0-9]{1,9}): (?P<name>[^\s:@]{1,64})(?:@[^\s:]{1,64})?[ \t]+(?P<rest>inet6? .*)", re.ASCII)
_BRIEF = pattern(r"[^\s:]{1,80}[ \t]+(?:UP|DOWN|UNKNOWN|LOWERLAYERDOWN|DORMANT|TESTING|NOTPRESENT)(?:[ \t]|$)", re.ASCII)
_RULE = pattern(r"(?P<priority>[0-9]{1,10}):[ \t](?P<rest>.*)", re.ASCII)
_MAC = pattern(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.ASCII)
_DIGITS = pattern(r"[0-9]{1,10}", re.ASCII)
_STATS = pattern(r"(?:[RT]X(?: errors)?:|[0-9]+(?:[KMGT]|[ \t]|$))", re.ASCII)
_MORE = pattern(r"\\[ \t]")
_OWN = pattern(r"[0-9]{1,9}: |[0-9]{1,10}:\t|(?:[a-z]{1,12} )?(?:default|[0-9a-f]{1,4}[.:][0-9a-f.:/]{0,48}) ", re.ASCII)
_TYPES = ("", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit", "throw", "nat", "xresolve")
_WITHOUT_HOPS = frozenset({"blackhole", "unreachable", "prohibit", "throw"})
_ROUTE_FLAGS = frozenset(
    ("dead", "onlink", "pervasive", "offload", "trap", "notify", "linkdown", "unresolved", "rt_offload", "rt_trap", "rt_offload_failed")
)
# fmt: off
_ROUTE_FIELDS = {
    "tos": "tos", "dsfield": "tos", "dev": "dev", "table": "table", "proto": "protocol", "scope": "scope", "src": "prefsrc",
    "metric": "metric",
    "pref": "pref", "nhid": "nhid", "from": "from", "expires": "expires", "error": "error", "weight": "weight", "encap": "encap",
}
_METRICS = frozenset({
    "mtu", "advmss", "rtt", "rttvar", "reordering", "window", "cwnd", "ssthresh", "hoplimit", "initcwnd", "initrwnd", "quickack", "rto_min",
    "realm", "realms", "congctl", "cc_algo", "features", "fastopen_no_cookie", "ttl-propagate",
})
_RULE_FIELDS = {
    "from": "src", "to": "dst", "tos": "tos", "dsfield": "tos", "iif": "iif", "oif": "oif", "ipproto": "ipproto", "lookup": "table",
    "suppress_prefixlength": "suppress_prefixlen", "suppress_ifgroup": "suppress_ifgroup", "proto": "protocol", "protocol": "protocol",
    "realms": "realms", "tun_id": "tun_id",
}
_KERNELS_OWN = frozenset(f"from all lookup {table}" for table in ("local", "main", "default"))
_RULE_ACTIONS = frozenset({"blackhole", "unreachable", "prohibit"})
_ADDRESS_VALUES = frozenset({"peer", "brd", "any", "scope", "metric", "proto", "flags"})
_FDB_FIELDS = {"dev": "ifname", "dst": "dst", "port": "port", "vni": "vni", "via": "viaIf"}
_STATES = frozenset(["NONE", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "NOARP", "PERMANENT"])
_ABOUT_DEVICES = ("link/", "alias", "altname", "vf", "valid_lft", "inet", "inet6", "prog/xdp", "parentbus")
# fmt: on


def is_json(lines: Lines) -> bool:
    """Return whether a listing is what ``ip -j`` prints, or nothing at all."""
    return not lines or lines[0][1].lstrip()[:1] in ("[", "{")


def lines_of(text: str) -> Lines:
    """Return the lines of a listing with their numbers, without what a terminal or a mail puts around them."""
    lines = pasted.without_margin(text, _OWN).split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not pasted.is_around(line)]


def _cut(lines: Lines) -> Iterator[tuple[int, str]]:
    """The lines that ``-o`` put behind each other."""
    for number, line in lines:
        for part in _MORE.split(line):
            if part.strip():
                yield number, part


def _fault(file: str, number: int, line: str, message: str) -> ParseError:
    return ParseError(Fault(file=file, line=number, column=0, message=message, text=line))


# -- devices and addresses ------------------------------------------------------------------------------------------------------------


def devices(lines: Lines, file: str) -> list[tuple[int, Fields]]:
    """Return the objects of ``ip -j addr`` or ``ip -d -j link`` for a listing of either. :raises ParseError: a line is of neither."""
    found: dict[str, tuple[int, Fields]] = {}
    device: Fields | None = None
    for number, line in _cut(lines):
        if head := _HEAD.fullmatch(line):
            device = found.setdefault(head["name"], (number, {}))[1]
            device.update(_device(head, file, number, line))
        elif one := _ONE_LINE.fullmatch(line):
            device = found.setdefault(one["name"], (number, {"ifindex": int(one["index"]), "ifname": one["name"], "addr_info": []}))[1]
            _addresses_of(device).append(_address(one["rest"].split(), file, number, line))
        elif device is None or not line[:1].isspace():
            known = (
                "ip -br leaves out flags, scopes and indices; ip addr prints them"
                if _BRIEF.match(line)
                else "no line of ip addr or ip link"
            )
            raise _fault(file, number, line, known)
        else:
            _detail(device, line.split(), file, number, line)
    return list(found.values())


def _device(head: re.Match[str], file: str, number: int, line: str) -> Fields:
    words = head["rest"].split()
    if not words or not words[0].startswith("<") or not words[0].endswith(">"):
        raise _fault(file, number, line, "a device's flags are missing")
    fields: Fields = {
        "ifindex": int(head["index"]),
        "ifname": head["name"],
        "flags": [w for w in words[0][1:-1].split(",") if w],
        "addr_info": [],
    }
    said = _pairs(words[1:])
    if "mtu" not in said:
        raise _fault(file, number, line, "a device's mtu is missing: the line is cut off")
    fields["mtu"] = said["mtu"]
    for word, name in (("master", "master"), ("state", "operstate"), ("group", "group")):
        if word in said:
            fields[name] = said[word]
    peer = head["peer"]
    if peer is not None and peer.startswith("if") and _DIGITS.fullmatch(peer[2:]):
        fields["link_index"] = int(peer[2:])
    elif peer is not None:
        fields["link"] = peer
    return fields


def _pairs(words: list[str]) -> dict[str, str]:
    """Each word → the one behind it. The first of equal words counts."""
    said: dict[str, str] = {}
    for word, value in pairwise(words):
        said.setdefault(word, value)
    return said


def _addresses_of(device: Fields) -> list[Fields]:
    held = device.setdefault("addr_info", [])
    return held if isinstance(held, list) else []


def _detail(device: Fields, words: list[str], file: str, number: int, line: str) -> None:
    """Read an indented line of a device."""
    first = words[0]
    if first in ("inet", "inet6"):
        _addresses_of(device).append(_address(words, file, number, line))
    elif first.startswith("link/"):
        said = _pairs(words)
        device["link_type"] = first.removeprefix("link/")
        if len(words) > 1:
            device["address"] = words[1]
        if _DIGITS.fullmatch(said.get("link-netnsid", "")):
            device["link_netnsid"] = int(said["link-netnsid"])
    elif not first.startswith(_ABOUT_DEVICES) and not _STATS.match(line.strip()):
        _kind(device, words)


def _kind(device: Fields, words: list[str]) -> None:
    """A line of ``-d``: the kind of a device with its settings, or what it is to its master."""
    about = device.setdefault("linkinfo", {})
    said = _pairs(words[1:])
    if not isinstance(about, dict):
        return
    if words[0].endswith("_slave"):
        about["info_slave_kind"] = words[0].removesuffix("_slave")
        about["info_slave_data"] = {"hairpin": said["hairpin"] == "on"} if said.get("hairpin") in ("on", "off") else {}
    elif "info_kind" not in about:
        about["info_kind"] = words[0]
        own: Fields = {}
        for word, name in (("id", "id"), ("local", "local"), ("dstport", "port"), ("dev", "link"), ("df", "df")):
            if word in said:
                own[name] = said[word]
        for word in ("nf_call_iptables", "nf_call_ip6tables"):
            if said.get(word) in ("0", "1"):
                own[word] = int(said[word])
        about["info_data"] = own


def _address(words: list[str], file: str, number: int, line: str) -> Fields:
    """``inet ADDRESS/LENGTH [peer ADDRESS/LENGTH] [brd ADDRESS] scope SCOPE [FLAG …] [LABEL]``."""
    fields: Fields = {"family": words[0]}
    local, _, length = (words[1] if len(words) > 1 else "").partition("/")
    at = 2
    while at < len(words):
        word = words[at]
        if word in _ADDRESS_VALUES:
            value = words[at + 1] if at + 1 < len(words) else ""
            at += 1
            if word == "peer":
                far, _, length = value.partition("/")
                fields["address"] = far
            elif word in ("brd", "scope"):
                fields[{"brd": "broadcast"}.get(word, word)] = value
        else:
            fields[word] = True
        at += 1
    if not _DIGITS.fullmatch(length) or not fields.get("scope"):
        raise _fault(file, number, line, "an address without its length or scope: the line is cut off")
    return {**fields, "local": local, "prefixlen": int(length)}


# -- routes ---------------------------------------------------------------------------------------------------------------------------


def routes(lines: Lines, file: str) -> list[tuple[int, Fields]]:
    """Return the objects of ``ip -j route`` for what ``ip route`` prints. :raises ParseError: a line is of no route."""
    found: list[tuple[int, Fields]] = []
    is_short = any("  src " in line or "  metric " in line for _, line in lines)  # BusyBox, which shows no protocol
    for number, line in _cut(lines):
        words = line.split()
        if not words or words[0] in ("cache", "nh_info"):
            continue
        if words[0] == "nexthop":
            if not found:
                raise _fault(file, number, line, "a next hop without a route")
            hops = found[-1][1].setdefault("nexthops", [])
            if isinstance(hops, list):
                hops.append(_way(words[1:], file, number, line))
            continue
        found.append((number, _route(words, file, number, line)))
    for _, fields in found:
        type_ = fields.get("type", "unicast")
        if not {"dev", "nexthops", "nhid"} & {*fields} and type_ not in _WITHOUT_HOPS:
            fields["next hops that are not shown"] = True
        if is_short and fields.get("table") == "local":
            fields.setdefault("protocol", "kernel")
    return found


def _route(words: list[str], file: str, number: int, line: str) -> Fields:
    fields: Fields = {}
    first = words[0]
    if first in _TYPES:
        fields["type"], words = first, words[1:]
    elif _DIGITS.fullmatch(first) and len(words) > 1 and int(first) < len(_TYPES):  # -N
        fields["type"], words = _TYPES[int(first)], words[1:]
    if not words:
        raise _fault(file, number, line, "a route without a destination")
    fields["dst"] = words[0]
    fields.update(_way(words[1:], file, number, line))
    if fields.get("protocol") == "2":
        fields["protocol"] = "kernel"
    return fields


def _way(words: list[str], file: str, number: int, line: str) -> Fields:
    """What stands behind a destination, or behind ``nexthop``."""
    fields: Fields = {}
    flags: list[str] = []
    left = iter(words)

    def value(of: str) -> str:
        found = next(left, None)
        if found is None:
            raise _fault(file, number, line, f"nothing stands behind {of!r}: the line is cut off")
        return found

    for word in left:
        if word == "via":
            gateway = value(word)
            if gateway in ("inet", "inet6"):
                fields["via"] = {"family": gateway, "host": value(gateway)}
            else:
                fields["gateway"] = gateway
        elif word in _METRICS:
            metric = value(word)
            if metric == "lock":
                metric = value("lock")
            if word == "mtu" and _DIGITS.fullmatch(metric):
                fields["metrics"] = [{"mtu": int(metric)}]
        elif word in _ROUTE_FIELDS:
            fields[_ROUTE_FIELDS[word]] = value(word)
        elif word in _ROUTE_FLAGS:
            flags.append(word)
        else:
            fields[word] = True
    fields["flags"] = flags
    return fields


# -- rules, neighbours ----------------------------------------------------------------------------------------------------------------


def rules(lines: Lines, file: str) -> list[tuple[int, Fields]]:
    """Return the objects of ``ip -j rule`` for what ``ip rule`` prints. :raises ParseError: a line is of no rule."""
    found = []
    for number, line in _cut(lines):
        match = _RULE.fullmatch(line)
        if match is None:
            raise _fault(file, number, line, "no line of ip rule")
        fields = _rule(match["rest"].split(), file, number, line)
        fields["priority"] = int(match["priority"])
        rest = match["rest"].rstrip()
        if "lookup unspec" in rest or (line.endswith(" ") and rest not in _KERNELS_OWN):
            fields["what BusyBox leaves out"] = True
        found.append((number, fields))
    return found


def _rule(words: list[str], file: str, number: int, line: str) -> Fields:
    fields: Fields = {}
    left = iter(words)
    for word in left:
        if word in ("not", "nop"):
            fields[word] = None
        elif word in _RULE_ACTIONS:
            fields["action"] = word
        elif word in ("[detached]", "[unresolved]"):
            device = "oif" if "oif" in fields else "iif"
            fields[f"{device}_detached" if word == "[detached]" else "unresolved"] = None
        elif word in _RULE_FIELDS or word in ("fwmark", "sport", "dport", "uidrange", "goto"):
            value = next(left, None)
            if value is None:
                raise _fault(file, number, line, f"nothing stands behind {word!r}: the line is cut off")
            fields.update(_said(word, value))
        else:
            fields[word] = True
    if "src" not in fields:
        raise _fault(file, number, line, "a rule without its source: the line is cut off")
    return fields


def _said(word: str, value: str) -> Fields:
    if word == "fwmark":
        mark, slash, mask = value.partition("/")
        return {"fwmark": mark, "fwmask": mask} if slash else {"fwmark": mark}
    if word in ("sport", "dport", "uidrange"):
        name = word.removesuffix("range")
        low, dash, high = value.partition("-")
        return {f"{name}_start": low, f"{name}_end": high} if dash else {name: low}
    if word == "goto":
        return {"goto": value}
    if word == "lookup" and value == "[l3mdev-table]":
        return {"l3mdev": None}
    if word == "lookup" and value == "unspec":  # BusyBox, of every rule that asks no table
        return {"action": "unspec"}
    return {_RULE_FIELDS[word]: value}


def neighbours(lines: Lines, file: str) -> list[tuple[int, Fields]]:
    """Return the objects of ``ip -j neigh`` for what ``ip neigh`` prints, or ``/proc/net/arp``. :raises ParseError: it is neither."""
    if lines and lines[0][1].startswith("IP address"):
        return [(number, _arp(line, file, number)) for number, line in lines[1:]]
    found: list[tuple[int, Fields]] = []
    for number, line in _cut(lines):
        words = line.split()
        said = _pairs(words)
        states = [word for word in words if word in _STATES] + (["PROXY"] if "proxy" in words[1:] else [])
        if not states or "dev" not in said:
            raise _fault(file, number, line, "a neighbour without its device or state: the line is cut off, or is none")
        mac = {"lladdr": said["lladdr"]} if "lladdr" in said else {}
        found.append((number, {"dst": words[0], "dev": said["dev"], "state": states, **mac}))
    return found


def forwarding(lines: Lines, file: str) -> list[tuple[int, Fields]]:
    """Return the objects of ``bridge -j fdb`` for what ``bridge fdb`` prints. :raises ParseError: it is none of that."""
    found: list[tuple[int, Fields]] = []
    for number, line in _cut(lines):
        words = line.split()
        said = {word: value for word, value in pairwise(words) if word in _FDB_FIELDS}
        if not _MAC.fullmatch(words[0]) or "dev" not in said:
            raise _fault(file, number, line, "an entry without its address or device: the line is cut off, or is none")
        found.append((number, {"mac": words[0], **{_FDB_FIELDS[word]: value for word, value in said.items()}}))
    return found


def _arp(line: str, file: str, number: int) -> Fields:
    """``ADDRESS 0x1 FLAGS MAC * DEVICE``. Source: arp_format_neigh_entry, arp_state_to_flags in net/ipv4/arp.c."""
    words = line.split()
    states = {"0x0": ["INCOMPLETE"], "0x2": ["STALE"], "0x6": ["PERMANENT"]}.get(words[2] if len(words) == 6 else "")
    if states is None:
        raise _fault(file, number, line, "no line of /proc/net/arp")
    return {"dst": words[0], "dev": words[5], "state": states, "lladdr": words[3]}


READERS: Mapping[str, Callable[[Lines, str], list[tuple[int, Fields]]]] = {
    "link": devices,
    "addr": devices,
    "route": routes,
    "rule": rules,
    "neigh": neighbours,
    "fdb": forwarding,
}
"""What is listed → who reads it."""
