"""Match modules: which options each has, and how its options become matches.

``MODULES`` says for every modelled module how many words each option takes; ``build`` turns a module's options into matches.
Source: iptables-extensions(8), iptables 1.8.9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tracer.errors import ParseError
from tracer.netfilter import model as m
from tracer.netfilter.scalars import BadValue, address_mask, address_range, number, port_range, protocol, value_and_mask
from tracer.probability import odds
from tracer.values import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One option as written: its name, whether ``!`` stood before it (or before its value), and its words."""

    name: str
    negated: bool
    words: tuple[str, ...]


Builder = Callable[[tuple[Option, ...]], Iterator[m.Match]]

_TCP_FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ALL": 63, "NONE": 0}

ICMP_TYPES = {
    "any": (None, 0, 255),
    "echo-reply": (0, 0, 255),
    "pong": (0, 0, 255),
    "destination-unreachable": (3, 0, 255),
    "network-unreachable": (3, 0, 0),
    "host-unreachable": (3, 1, 1),
    "protocol-unreachable": (3, 2, 2),
    "port-unreachable": (3, 3, 3),
    "fragmentation-needed": (3, 4, 4),
    "source-quench": (4, 0, 255),
    "redirect": (5, 0, 255),
    "echo-request": (8, 0, 255),
    "ping": (8, 0, 255),
    "router-advertisement": (9, 0, 255),
    "router-solicitation": (10, 0, 255),
    "time-exceeded": (11, 0, 255),
    "ttl-exceeded": (11, 0, 255),
    "parameter-problem": (12, 0, 255),
    "timestamp-request": (13, 0, 255),
    "timestamp-reply": (14, 0, 255),
    "address-mask-request": (17, 0, 255),
    "address-mask-reply": (18, 0, 255),
}

ICMPV6_TYPES = {
    "destination-unreachable": (1, 0, 255),
    "no-route": (1, 0, 0),
    "communication-prohibited": (1, 1, 1),
    "address-unreachable": (1, 3, 3),
    "port-unreachable": (1, 4, 4),
    "packet-too-big": (2, 0, 255),
    "time-exceeded": (3, 0, 255),
    "ttl-exceeded": (3, 0, 255),
    "parameter-problem": (4, 0, 255),
    "echo-request": (128, 0, 255),
    "ping": (128, 0, 255),
    "echo-reply": (129, 0, 255),
    "pong": (129, 0, 255),
    "router-solicitation": (133, 0, 255),
    "router-advertisement": (134, 0, 255),
    "neighbour-solicitation": (135, 0, 255),
    "neighbor-solicitation": (135, 0, 255),
    "neighbour-advertisement": (136, 0, 255),
    "neighbor-advertisement": (136, 0, 255),
    "redirect": (137, 0, 255),
}


def _ports(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        match option.name:
            case "--sport" | "--source-port":
                yield m.PortsMatch("source", (port_range(option.words[0]),), option.negated)
            case "--dport" | "--destination-port":
                yield m.PortsMatch("destination", (port_range(option.words[0]),), option.negated)
            case "--tcp-flags":
                mask, compare = (_flags(w) for w in option.words)
                yield m.TcpFlagsMatch(mask, compare, option.negated)
            case "--syn":
                yield m.TcpFlagsMatch(0x17, 0x02, option.negated)
            case _:
                yield _unmodelled("tcp/udp/sctp", option)


def _flags(text: str) -> int:
    total = 0
    for name in text.split(","):
        if name not in _TCP_FLAGS:
            raise BadValue(f"{name!r} is not a TCP flag")
        total |= _TCP_FLAGS[name]
    return total


def _icmp(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        names = ICMP_TYPES if option.name == "--icmp-type" else ICMPV6_TYPES
        text = option.words[0]
        if text in names:
            kind, low, high = names[text]
        else:
            kind_text, slash, code = text.partition("/")
            kind, (low, high) = number(kind_text, most=255), ((number(code, most=255),) * 2 if slash else (0, 255))
            kind = None if kind == 255 and option.name == "--icmp-type" else kind
        yield m.IcmpTypeMatch(kind, m.PortRange(low, high), option.negated)


def _multiport(options: tuple[Option, ...]) -> Iterator[m.Match]:
    sides = {
        "--sports": "source",
        "--source-ports": "source",
        "--dports": "destination",
        "--destination-ports": "destination",
        "--ports": "either",
    }
    for option in options:
        yield m.PortsMatch(sides[option.name], tuple(port_range(p) for p in option.words[0].split(",")), option.negated, True)


_ADDRESS_TYPES = frozenset(
    ["UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE"]
)


def _addrtype(options: tuple[Option, ...]) -> Iterator[m.Match]:
    found: dict[str, Option] = {o.name: o for o in options}

    def types(name: str) -> frozenset[str] | None:
        if name not in found:
            return None
        values = frozenset(found[name].words[0].split(","))
        if not values <= _ADDRESS_TYPES:
            raise BadValue(f"{found[name].words[0]!r} is not an address type")
        return values

    yield m.AddrtypeMatch(
        types("--src-type"),
        types("--dst-type"),
        "--src-type" in found and found["--src-type"].negated,
        "--dst-type" in found and found["--dst-type"].negated,
        "--limit-iface-in" in found,
        "--limit-iface-out" in found,
    )


def _comment(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        yield m.CommentMatch(option.words[0])


_CT_STATES = frozenset(["INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"])
_CT_STATUS = frozenset(["NONE", "EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED"])


def _states(option: Option, known: frozenset[str]) -> frozenset[str]:
    values = frozenset(option.words[0].upper().split(","))
    if not values <= known:
        raise BadValue(f"{option.words[0]!r} is not a conntrack state")
    return values


def _conntrack(options: tuple[Option, ...]) -> Iterator[m.Match]:
    with_state = any(o.name == "--ctstate" for o in options)
    for option in options:
        name, word = option.name, option.words[0]
        if name in ("--ctstate", "--state"):
            yield m.CtStateMatch(_states(option, _CT_STATES), option.negated)
        elif name == "--ctstatus":
            yield m.CtStatusMatch(_states(option, _CT_STATUS), option.negated)
        elif name == "--ctproto":
            yield m.CtProtocolMatch(protocol(word), option.negated, with_state)
        elif name == "--ctdir":
            if word not in ("ORIGINAL", "REPLY"):
                raise BadValue(f"{word!r} is not ORIGINAL or REPLY")
            yield m.CtDirectionMatch(word, with_state)
        elif name in _CT_ADDRESSES:
            yield m.CtAddressMatch(*_CT_ADDRESSES[name], address_mask(word), option.negated, with_state)
        elif name in _CT_PORTS:
            yield m.CtPortMatch(*_CT_PORTS[name], port_range(word), option.negated, with_state)
        else:
            yield _unmodelled("conntrack", option)


_CT_ADDRESSES = {
    "--ctorigsrc": ("orig", "source"),
    "--ctorigdst": ("orig", "destination"),
    "--ctreplsrc": ("repl", "source"),
    "--ctrepldst": ("repl", "destination"),
}
_CT_PORTS = {
    "--ctorigsrcport": ("orig", "source"),
    "--ctorigdstport": ("orig", "destination"),
    "--ctreplsrcport": ("repl", "source"),
    "--ctrepldstport": ("repl", "destination"),
}


def _mark(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        value, mask = value_and_mask(option.words[0])
        yield m.MarkMatch(value, mask, option.negated)


def _connmark(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        value, mask = value_and_mask(option.words[0])
        yield m.MarkMatch(value, mask, option.negated, True)


def _set(options: tuple[Option, ...]) -> Iterator[m.Match]:
    extra = tuple(" ".join((("! " if o.negated else "") + o.name, *o.words)) for o in options if o.name not in ("--match-set", "--set"))
    for option in options:
        if option.name in ("--match-set", "--set"):
            name, directions = option.words
            sides = tuple(directions.split(","))
            if not all(s in ("src", "dst") for s in sides):
                raise BadValue(f"{directions!r} is not src or dst, separated by commas")
            yield m.SetMatch(name, sides, option.negated, extra)


def _iprange(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        low, high = address_range(option.words[0])
        yield m.RangeMatch("source" if option.name == "--src-range" else "destination", int(low), int(high), low.version, option.negated)


def _mac(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        yield m.MacMatch(option.words[0].lower(), option.negated)


def _physdev(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        yield m.PhysdevMatch(option.name.removeprefix("--physdev-"), option.words[0] if option.words else "", option.negated)


def _pkttype(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        if option.words[0] not in ("unicast", "broadcast", "multicast"):
            raise BadValue(f"{option.words[0]!r} is not a packet type")
        yield m.PkttypeMatch(option.words[0], option.negated)


def _recent(options: tuple[Option, ...]) -> Iterator[m.Match]:
    found = {o.name: o for o in options}
    for name in ("--set", "--rcheck", "--update", "--remove"):
        if name in found:
            yield m.RecentMatch(
                action=name[2:],
                name=found["--name"].words[0] if "--name" in found else "DEFAULT",
                seconds=number(found["--seconds"].words[0]) if "--seconds" in found else None,
                hitcount=number(found["--hitcount"].words[0]) if "--hitcount" in found else None,
                side="destination" if "--rdest" in found else "source",
                negated=found[name].negated,
                ttl="--rttl" in found,
            )
            return
    raise BadValue("recent needs --set, --rcheck, --update or --remove")


def _statistic(options: tuple[Option, ...]) -> Iterator[m.Match]:
    found = {o.name: o for o in options}
    mode = found["--mode"].words[0] if "--mode" in found else ""
    if mode == "random" and "--probability" in found:
        try:
            chance = odds(found["--probability"].words[0])
        except ParseError as error:
            raise BadValue(error.faults[0].message) from None
        yield m.RandomMatch(chance, found["--probability"].negated)
    elif mode == "nth" and "--every" in found:
        packet = number(found["--packet"].words[0]) if "--packet" in found else 0
        every = number(found["--every"].words[0])
        if every < 1 or packet >= every:
            raise BadValue("--every must be at least 1 and --packet smaller")
        yield m.NthMatch(every, packet, found["--every"].negated)
    else:
        raise BadValue("statistic needs --mode random --probability, or --mode nth --every")


def _owner(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        yield m.OwnerMatch(option.name[2:], option.words[0] if option.words else "", option.negated)


def _rpfilter(options: tuple[Option, ...]) -> Iterator[m.Match]:
    names = {o.name for o in options}
    yield m.RpfilterMatch("--loose" in names, "--validmark" in names, "--accept-local" in names, "--invert" in names)


def _nfacct(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        yield m.NfacctMatch(option.words[0])


_DSCP_CLASSES = (
    {"BE": 0, "EF": 0x2E} | {f"CS{i}": i * 8 for i in range(8)} | {f"AF{c}{d}": c * 8 + d * 2 for c in range(1, 5) for d in range(1, 4)}
)


def dscp_class(text: str) -> int:
    """Return the code point of a DSCP class name. :raises BadValue: there is none of that name."""
    if text.upper() not in _DSCP_CLASSES:
        raise BadValue(f"{text!r} is not a DSCP class")
    return _DSCP_CLASSES[text.upper()]


def _dscp(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        value = dscp_class(option.words[0]) if option.name == "--dscp-class" else number(option.words[0], most=63)
        yield m.HeaderMatch("dscp", value, value, 0x3F, option.negated)


_TOS_NAMES = {"Minimize-Delay": 16, "Maximize-Throughput": 8, "Maximize-Reliability": 4, "Minimize-Cost": 2, "Normal-Service": 0}


def _tos(options: tuple[Option, ...]) -> Iterator[m.Match]:
    """NB: a name stands for a mask of 0x3f, a number for 0xff. Source: tos_values.c, iptables 1.8.9."""
    for option in options:
        word = option.words[0]
        value, mask = (_TOS_NAMES[word], 0x3F) if word in _TOS_NAMES else value_and_mask(word, default_mask=0xFF)
        if max(value, mask) > 0xFF:
            raise BadValue(f"{word} is larger than a byte")
        yield m.TosMatch(value, mask, option.negated)


def _length(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        low, colon, high = option.words[0].partition(":")
        first = number(low, most=65535) if low else 0
        last = (number(high, most=65535) if high else 65535) if colon else first
        yield m.HeaderMatch("length", first, last, negated=option.negated)


def _ttl(options: tuple[Option, ...]) -> Iterator[m.Match]:
    for option in options:
        value = number(option.words[0], most=255)
        name = option.name.rsplit("-", 1)[1]
        low, high = {"eq": (value, value), "set": (value, value), "lt": (0, value - 1), "gt": (value + 1, 255)}[name]
        yield m.HeaderMatch("ttl", low, high, negated=option.negated)


def _cgroup(options: tuple[Option, ...]) -> Iterator[m.Match]:
    yield m.CgroupMatch(" ".join(w for o in options for w in ("!" if o.negated else "", o.name, *o.words) if w))


def _unmodelled(module: str, option: Option) -> m.UnmodelledMatch:
    return m.UnmodelledMatch(module, " ".join((("! " if option.negated else "") + option.name, *option.words)))


_PORT_OPTIONS = {"--sport": 1, "--source-port": 1, "--dport": 1, "--destination-port": 1}
_RECENT = {
    "--set": 0,
    "--rcheck": 0,
    "--update": 0,
    "--remove": 0,
    "--name": 1,
    "--seconds": 1,
    "--hitcount": 1,
    "--reap": 0,
    "--rttl": 0,
    "--rsource": 0,
    "--rdest": 0,
    "--mask": 1,
}

MODULES: dict[str, tuple[dict[str, int], Builder]] = {
    "tcp": (_PORT_OPTIONS | {"--tcp-flags": 2, "--syn": 0, "--tcp-option": 1}, _ports),
    "udp": (_PORT_OPTIONS, _ports),
    "udplite": (_PORT_OPTIONS, _ports),
    "dccp": (_PORT_OPTIONS | {"--dccp-types": 1, "--dccp-option": 1}, _ports),
    "sctp": (_PORT_OPTIONS | {"--chunk-types": 2}, _ports),
    "icmp": ({"--icmp-type": 1}, _icmp),
    "icmp6": ({"--icmpv6-type": 1}, _icmp),
    "multiport": ({"--sports": 1, "--source-ports": 1, "--dports": 1, "--destination-ports": 1, "--ports": 1}, _multiport),
    "addrtype": ({"--src-type": 1, "--dst-type": 1, "--limit-iface-in": 0, "--limit-iface-out": 0}, _addrtype),
    "comment": ({"--comment": 1}, _comment),
    "conntrack": (
        dict.fromkeys(("--ctstate", "--ctstatus", "--ctproto", "--ctexpire", "--ctdir", *_CT_ADDRESSES, *_CT_PORTS), 1),
        _conntrack,
    ),
    "state": ({"--state": 1}, _conntrack),
    "mark": ({"--mark": 1}, _mark),
    "connmark": ({"--mark": 1}, _connmark),
    "set": (
        {
            "--match-set": 2,
            "--set": 2,
            "--return-nomatch": 0,
            "--update-counters": 0,
            "--update-subcounters": 0,
            "--packets-eq": 1,
            "--packets-lt": 1,
            "--packets-gt": 1,
            "--bytes-eq": 1,
            "--bytes-lt": 1,
            "--bytes-gt": 1,
        },
        _set,
    ),
    "iprange": ({"--src-range": 1, "--dst-range": 1}, _iprange),
    "mac": ({"--mac-source": 1}, _mac),
    "physdev": (
        {"--physdev-in": 1, "--physdev-out": 1, "--physdev-is-in": 0, "--physdev-is-out": 0, "--physdev-is-bridged": 0},
        _physdev,
    ),
    "pkttype": ({"--pkt-type": 1}, _pkttype),
    "recent": (_RECENT, _recent),
    "statistic": ({"--mode": 1, "--probability": 1, "--every": 1, "--packet": 1}, _statistic),
    "owner": ({"--uid-owner": 1, "--gid-owner": 1, "--socket-exists": 0, "--suppl-groups": 0}, _owner),
    "rpfilter": ({"--loose": 0, "--validmark": 0, "--accept-local": 0, "--invert": 0}, _rpfilter),
    "nfacct": ({"--nfacct-name": 1}, _nfacct),
    "dscp": ({"--dscp": 1, "--dscp-class": 1}, _dscp),
    "tos": ({"--tos": 1}, _tos),
    "length": ({"--length": 1}, _length),
    "ttl": ({"--ttl-eq": 1, "--ttl-lt": 1, "--ttl-gt": 1, "--ttl": 1}, _ttl),
    "hl": ({"--hl-eq": 1, "--hl-lt": 1, "--hl-gt": 1}, _ttl),
    "cgroup": ({"--cgroup": 1, "--path": 1}, _cgroup),
}

# Named in iptables-extensions(8) and met in rule sets of CNIs and firewalls, with no model: their answer is always unknown.
RECOGNISED = frozenset(
    [
        "limit",
        "hashlimit",
        "socket",
        "u32",
        "bpf",
        "tcpmss",
        "time",
        "string",
        "quota",
        "connlimit",
        "connbytes",
        "connlabel",
        "helper",
        "policy",
        "realm",
        "ecn",
        "cpu",
        "devgroup",
        "cluster",
        "dst",
        "eui64",
        "frag",
        "hbh",
        "ipv6header",
        "rt",
        "ah",
        "esp",
        "mh",
        "osf",
        "ipvs",
        "rateest",
        "srh",
        "ipv4options",
        "condition",
        "geoip",
    ]
)


def build(module: str, options: tuple[Option, ...]) -> tuple[m.Match, ...]:
    """Return the matches that *options* of *module* stand for. :raises BadValue: a value is malformed or one is missing."""
    try:
        return tuple(MODULES[module][1](options))
    except (KeyError, IndexError) as error:
        raise BadValue(f"{module}: an option or its value is missing ({error})") from None
