"""Targets: which options each has, and how they become a Target.

Source: iptables-extensions(8), iptables 1.8.9.
"""

from __future__ import annotations

from collections.abc import Callable

from tracer.netfilter import model as m
from tracer.netfilter.match_options import Option, dscp_class
from tracer.netfilter.scalars import BadValue, address, address_mask, number, port_range, value_and_mask
from tracer.packet import Address

Options = dict[str, Option]
_NAT = {"--random": 0, "--random-fully": 0, "--persistent": 0}


def _word(options: Options, *names: str) -> str | None:
    for name in names:
        if name in options:
            return options[name].words[0]
    return None


def nat_range(text: str, *, random: bool = False, persistent: bool = False) -> m.NatRange:
    """Return ``[ADDRESS[-ADDRESS]][:PORT[-PORT[/BASE]]]``, IPv6 in brackets when a port follows. :raises BadValue: malformed."""
    addresses, ports = text, ""
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise BadValue(f"{text!r} has no closing bracket")
        addresses, ports = inside, rest.lstrip("-")
        if rest.startswith("-["):  # [A]-[B]:PORT
            second, _, ports = rest[2:].partition("]")
            addresses = f"{inside}-{second}"
        ports = ports.removeprefix(":")
    elif text.count(":") == 1:
        addresses, _, ports = text.partition(":")
    low: Address | None = None
    high: Address | None = None
    if addresses:
        first, dash, last = addresses.partition("-")
        low = address(first)
        high = address(last) if dash else low
    base = None
    if "/" in ports:
        ports, _, base = ports.partition("/")
    return m.NatRange(low, high, port_range(ports, "-") if ports else None, random, persistent, number(base, most=65535) if base else None)


def _nat(kind: type[m.Dnat] | type[m.Snat], option: str) -> Callable[[Options], m.Target]:
    def build(options: Options) -> m.Target:
        text = _word(options, option)
        if text is None:
            raise BadValue(f"{option} is missing")
        random = "--random" in options or "--random-fully" in options
        return kind(nat_range(text, random=random, persistent="--persistent" in options))

    return build


def _ports(options: Options) -> m.PortRange | None:
    text = _word(options, "--to-ports")
    return port_range(text, "-") if text else None


def _is_random(options: Options) -> bool:
    return "--random" in options or "--random-fully" in options


def _mark(options: Options, *, connection: bool = False) -> m.Target:
    full = 0xFFFFFFFF
    if (text := _word(options, "--set-xmark")) is not None:
        value, mask = value_and_mask(text)
    elif (text := _word(options, "--set-mark")) is not None:
        value, mask = value_and_mask(text)
        mask |= value
    elif (text := _word(options, "--and-mark")) is not None:
        value, mask = 0, full & ~number(text)
    elif (text := _word(options, "--or-mark")) is not None:
        value = mask = number(text)
    elif (text := _word(options, "--xor-mark")) is not None:
        value, mask = number(text), 0
    else:
        raise BadValue("no mark operation is given")
    return m.SetMark(value, mask, connection)


def _connmark(options: Options) -> m.Target:
    for name in ("--save-mark", "--restore-mark"):
        if name in options:
            nfmask = ctmask = 0xFFFFFFFF
            if (mask := _word(options, "--mask")) is not None:
                nfmask = ctmask = number(mask)
            if (mask := _word(options, "--nfmask")) is not None:
                nfmask = number(mask)
            if (mask := _word(options, "--ctmask")) is not None:
                ctmask = number(mask)
            return m.CopyMark(name == "--save-mark", nfmask, ctmask)
    return _mark(options, connection=True)


def _ct(options: Options) -> m.Target:
    if "--notrack" in options:
        return m.NoTrack()
    if any(o.startswith("--zone") for o in options):
        return m.UnmodelledTarget("CT", " ".join(options))
    return m.TrackTemplate()


def _dscp(options: Options) -> m.Target:
    if (name := _word(options, "--set-dscp-class")) is not None:
        return m.SetDscp(dscp_class(name))
    return m.SetDscp(number(_word(options, "--set-dscp") or "", most=63))


def _tos(options: Options) -> m.Target:
    value, mask = value_and_mask(_word(options, "--set-tos") or "", default_mask=0xFF)
    return m.SetDscp(value >> 2, mask >> 2)


def _ttl(options: Options) -> m.Target:
    for name, option in options.items():
        return m.SetTtl(name.rsplit("-", 1)[1], number(option.words[0], most=255))
    raise BadValue("no TTL operation is given")


def _set(options: Options) -> m.Target:
    words = " ".join(w for o in options.values() for w in (o.name, *o.words))
    change = next((o for o in options.values() if o.name in ("--add-set", "--del-set")), None)
    if change is None:
        raise BadValue("SET needs --add-set or --del-set")
    name, directions = change.words
    return m.SetChange(name, words, tuple(directions.split(",")), change.name == "--add-set")


def _netmap(options: Options) -> m.Target:
    return m.Netmap(address_mask(_word(options, "--to") or ""))


def _reject(options: Options, default: str = "icmp-port-unreachable") -> m.Target:
    return m.Reject(_word(options, "--reject-with") or default)


def _no_effect(name: str) -> Callable[[Options], m.Target]:
    return lambda options: m.NoEffect(name)


_MARK = {"--set-xmark": 1, "--set-mark": 1, "--and-mark": 1, "--or-mark": 1, "--xor-mark": 1}

TARGETS: dict[str, tuple[dict[str, int], Callable[[Options], m.Target]]] = {
    "ACCEPT": ({}, lambda options: m.Accept()),
    "DROP": ({}, lambda options: m.Drop()),
    "RETURN": ({}, lambda options: m.Return()),
    "REJECT": ({"--reject-with": 1}, _reject),
    "DNAT": (_NAT | {"--to-destination": 1}, _nat(m.Dnat, "--to-destination")),
    "SNAT": (_NAT | {"--to-source": 1}, _nat(m.Snat, "--to-source")),
    "MASQUERADE": (_NAT | {"--to-ports": 1}, lambda o: m.Masquerade(_ports(o), _is_random(o))),
    "REDIRECT": (_NAT | {"--to-ports": 1}, lambda o: m.Redirect(_ports(o), _is_random(o))),
    "NETMAP": ({"--to": 1}, _netmap),
    "MARK": (_MARK, _mark),
    "CONNMARK": (_MARK | {"--save-mark": 0, "--restore-mark": 0, "--mask": 1, "--nfmask": 1, "--ctmask": 1}, _connmark),
    "CT": (
        {
            "--notrack": 0,
            "--helper": 1,
            "--ctevents": 1,
            "--expevents": 1,
            "--zone": 1,
            "--zone-orig": 1,
            "--zone-reply": 1,
            "--timeout": 1,
        },
        _ct,
    ),
    "NOTRACK": ({}, lambda options: m.NoTrack()),
    "DSCP": ({"--set-dscp": 1, "--set-dscp-class": 1}, _dscp),
    "TOS": ({"--set-tos": 1, "--and-tos": 1, "--or-tos": 1, "--xor-tos": 1}, _tos),
    "TTL": ({"--ttl-set": 1, "--ttl-dec": 1, "--ttl-inc": 1}, _ttl),
    "HL": ({"--hl-set": 1, "--hl-dec": 1, "--hl-inc": 1}, _ttl),
    "SET": (
        {"--add-set": 2, "--del-set": 2, "--map-set": 2, "--exist": 0, "--timeout": 1, "--map-mark": 0, "--map-prio": 0, "--map-queue": 0},
        _set,
    ),
    "LOG": (
        {
            "--log-level": 1,
            "--log-prefix": 1,
            "--log-tcp-sequence": 0,
            "--log-tcp-options": 0,
            "--log-ip-options": 0,
            "--log-uid": 0,
            "--log-macdecode": 0,
        },
        _no_effect("LOG"),
    ),
    "NFLOG": (
        {"--nflog-group": 1, "--nflog-prefix": 1, "--nflog-range": 1, "--nflog-size": 1, "--nflog-threshold": 1},
        _no_effect("NFLOG"),
    ),
    "ULOG": ({"--ulog-nlgroup": 1, "--ulog-prefix": 1, "--ulog-cprange": 1, "--ulog-qthreshold": 1}, _no_effect("ULOG")),
    "TRACE": ({}, _no_effect("TRACE")),
    "AUDIT": ({"--type": 1}, _no_effect("AUDIT")),
    "CHECKSUM": ({"--checksum-fill": 0}, _no_effect("CHECKSUM")),
    "CLASSIFY": ({"--set-class": 1}, _no_effect("CLASSIFY")),
    "TCPMSS": ({"--set-mss": 1, "--clamp-mss-to-pmtu": 0}, _no_effect("TCPMSS")),
    "TCPOPTSTRIP": ({"--strip-options": 1}, _no_effect("TCPOPTSTRIP")),
    "ECN": ({"--ecn-tcp-remove": 0}, _no_effect("ECN")),
    "SECMARK": ({"--selctx": 1}, _no_effect("SECMARK")),
    "CONNSECMARK": ({"--save": 0, "--restore": 0}, _no_effect("CONNSECMARK")),
    "IDLETIMER": ({"--timeout": 1, "--label": 1, "--alarm": 0}, _no_effect("IDLETIMER")),
    "TEE": ({"--gateway": 1, "--oif": 1}, _no_effect("TEE")),
    "LED": ({"--led-trigger-id": 1, "--led-delay": 1, "--led-always-blink": 0}, _no_effect("LED")),
}

# Recognised, with an effect on the packet's fate that has no model: the walk is unknown from there.
RECOGNISED = frozenset(["TPROXY", "NFQUEUE", "QUEUE", "SYNPROXY", "CLUSTERIP", "HMARK", "DNPT", "SNPT", "RATEEST"])


def build(name: str, options: tuple[Option, ...]) -> m.Target:
    """Return the target *name* with its options. :raises BadValue: a value is malformed or missing."""
    if name == "SET" and any(o.name == "--map-set" for o in options):
        return m.UnmodelledTarget("SET", "--map-set changes the packet's mark, priority or queue from the set's entry")
    if name == "TOS" and not any(o.name == "--set-tos" for o in options):
        return m.UnmodelledTarget("TOS", " ".join(o.name for o in options))
    if any(o.negated for o in options):
        raise BadValue(f"{name} has no options to negate")
    return TARGETS[name][1]({o.name: o for o in options})
