"""What an nftables expression is worth for a packet: one value, several with their odds, nothing (the rule stops), or unknown.

Source: nft(8) 1.0.9; nft_payload.c, nft_meta.c, nft_ct.c, nft_fib.c, nft_numgen.c, nft_lookup.c, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from itertools import islice, product
from math import prod

from tracer.conntrack import Connection
from tracer.limits import Budget
from tracer.netfilter import nft_model as n
from tracer.netfilter.model import RpfilterMatch
from tracer.netfilter.nft_icmp import ICMP_FIELDS, IcmpWord
from tracer.netfilter.nft_set_index import ABSENT, DRAWN_PORT, Absent, OwnPort, SetIndex, Value, Ways, constant, one, unknown
from tracer.netfilter.view import UNKNOWN_PORT, UnknownAnswer, View, is_unnamed
from tracer.packet import Address, Family, Protocol, unsaid, which
from tracer.values import dataclass

_ONE = Fraction(1)
_DRAW_BITS = 32
_DRAW = 1 << _DRAW_BITS
_FRAGMENT = 0x3FFF


def numgen_shares(mod: int) -> tuple[Fraction, ...]:
    """Return the exact odds of each value of ``numgen random mod N``: the kernel scales 32 random bits. Source: reciprocal_scale."""
    ends = [-(-i * _DRAW // mod) for i in range(mod + 1)]
    return tuple(Fraction(ends[i + 1] - ends[i], _DRAW) for i in range(mod))


def label_memory(label: Value, connection: Connection) -> tuple[str, str]:
    """Return how the walk remembers that a rule gave *connection* a label. NB: no rule takes one away. Source: nft_ct.c."""
    flow = connection.original
    return f"ct label {label}", f"{flow.protocol} {flow.source} {flow.source_port} {flow.destination} {flow.destination_port}"


# A literal is kept beside its index, so that no other object takes over its id.
Indexes = dict[int | str, tuple[SetIndex, n.SetLiteral | None]]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Values of expressions in one table; *index* finds the index of a set literal or a named set."""

    table: n.NftTable
    indexes: Indexes
    budget: Budget = field(default_factory=Budget)

    def memories(self, name: str, key: tuple[Value, ...]) -> tuple[tuple[str, str], tuple[str, str]]:
        """Return how the walk remembers that a rule put *key* into a set, and that one took it out: by the set's table, too."""
        where, spelled = f"{self.table.family} {self.table.name} {name}", " . ".join(map(str, key))
        return (where, spelled), (f"not in {where}", spelled)

    def index(self, found: n.SetLiteral | n.SetReference) -> SetIndex | None:
        """Return the index of a set, None when the table has no set of that name or it could not be read."""
        key: int | str = found.name if isinstance(found, n.SetReference) else id(found)
        if key not in self.indexes:
            if isinstance(found, n.SetLiteral):
                self.indexes[key] = SetIndex.of(found.elements), found
            else:
                named = self.table.sets.get(found.name)
                if named is None:
                    return None
                index = SetIndex.of(named.elements)
                if named.unread or named.unlisted:
                    return None
                self.indexes[key] = index, None
        return self.indexes[key][0]

    def find(self, found: n.SetLiteral | n.SetReference, value: Value, view: View) -> n.Element | UnknownAnswer | None:
        """Return the element of a set or map that *value* falls into, None when there is none."""
        key = tuple(next(iter(p)) if isinstance(p, frozenset) and len(p) == 1 else p for p in _flat(value))
        for part in key:
            if isinstance(part, frozenset):
                return unknown("the other bits of this value are not known")
            if isinstance(part, UnknownAnswer):
                return part
        if isinstance(found, n.SetReference) and view.recent:
            here, gone = self.memories(found.name, key)
            if here in view.recent or gone in view.recent:
                return n.Element(n.Wildcard()) if here in view.recent else None
        index = self.index(found)
        if index is None:
            return self._lost(found.name if isinstance(found, n.SetReference) else "")
        self.budget.spend(index.cost(key))
        return index.find(key)

    def _lost(self, name: str) -> UnknownAnswer:
        """What is said of a set whose elements are not known."""
        named = self.table.sets.get(name)
        if named is None:
            return unknown(f"set {name} is not in the rule set", "DATA_MISSING")
        why = "are not listed (nft -t, --terse)" if named.unlisted else "cannot be read"
        return unknown(f"the elements of set {name} of table {self.table.family} {self.table.name} {why}", "DATA_MISSING")

    def ways(self, expression: n.Expression | n.Wildcard | n.VerdictValue, view: View) -> Ways:
        """Return the values that *expression* can have for the packet, with their odds."""
        match expression:
            case n.Concat(parts=parts):
                inner = [self.ways(p, view) for p in parts]
                if all(len(ways) == 1 for ways in inner):
                    self.budget.spend(1)
                    return one(_concatenated([ways[0][1] for ways in inner]))
                return self._too_many(prod(map(len, inner))) or tuple(_joined(way) for way in product(*inner))
            case n.Payload():
                return one(_payload(expression, view))
            case n.Meta(key=key):
                return one(_meta(key, view))
            case n.Ct():
                return one(_ct(expression, view))
            case n.Numgen(mod=mod) | n.Hash(mod=mod) if many := self._too_many(mod):
                return many
            case n.Numgen(mode=mode, mod=mod, offset=offset):
                shares = numgen_shares(mod) if mode == "random" else (Fraction(1, mod),) * mod
                return tuple((share, value + offset) for value, share in enumerate(shares))
            case n.Hash(mod=mod, offset=offset):
                return tuple((Fraction(1, mod), value + offset) for value in range(mod))
            case n.Binary():
                return tuple(self._computed(expression, view))
            case n.MapLookup(key=key, map=found):
                mapped = tuple(islice(self._mapped(key, found, view), self.budget.limits.choices + 1))
                return self._too_many(len(mapped)) or mapped
            case n.UnmodelledExpression(kind=kind, text=text):
                return one(unknown(f"{text or kind} has no model", "UNMODELLED_MATCH"))
            case n.Fib():
                return one(_fib(expression, view))
            case n.VerdictValue():
                return one(expression)
            case n.SetLiteral() | n.SetReference() | n.Wildcard():
                return one(unknown("a set where a value is needed", "UNMODELLED_MATCH"))
            case _:
                return one(constant(expression))

    def _too_many(self, ways: int) -> Ways | None:
        """What a value is worth that can be one of *ways*, where those are more than may be walked; else None, and they are paid for."""
        most = self.budget.limits.choices
        if ways > most:
            return one(unknown(f"a value drawn from more than {most}", "UNSUPPORTED"))
        self.budget.spend(ways)
        return None

    def _computed(self, expression: n.Binary, view: View) -> Iterator[tuple[Fraction, Value]]:
        if _asks_for_fragment(expression):
            yield _ONE, 0 if view.packet.family is Family.IP else ABSENT
            return
        lefts, rights = self.ways(expression.left, view), self.ways(expression.right, view)
        if many := self._too_many(len(lefts) * len(rights)):
            yield from many
            return
        for (p, left), (q, right) in product(lefts, rights):
            if isinstance(left, Absent | UnknownAnswer):
                yield p * q, left
            elif isinstance(left, int) and isinstance(right, int):
                yield p * q, _arithmetic(expression.operator, left, right)
            elif isinstance(left, IPv4Address | IPv6Address) and isinstance(right, type(left)):
                yield p * q, type(left)(_arithmetic(expression.operator, int(left), int(right)))
            else:
                yield p * q, unknown(f"the operation {expression.operator} on these values", "UNMODELLED_MATCH")

    def _mapped(self, key: n.Expression, found: n.SetLiteral | n.SetReference, view: View) -> Iterator[tuple[Fraction, Value]]:
        for share, value in self.ways(key, view):
            element = value if isinstance(value, Absent) else self.find(found, value, view)
            if element is None or isinstance(element, Absent):
                yield share, ABSENT
            elif isinstance(element, UnknownAnswer) or element.value is None:
                yield share, element if isinstance(element, UnknownAnswer) else ABSENT
            else:
                yield from ((share * p, v) for p, v in self.ways(element.value, view))


def _asks_for_fragment(expression: n.Binary) -> bool:
    """Whether it asks for the offset or the more-fragments bit, which are zero: a packet that is asked about is whole."""
    field, mask = expression.left, expression.right
    return expression.operator == "&" and field == n.Payload("ip", "frag-off") and isinstance(mask, int) and not mask & ~_FRAGMENT


def _flat(value: Value) -> tuple[Value, ...]:
    return value if isinstance(value, tuple) else (value,)


def _joined(way: tuple[tuple[Fraction, Value], ...]) -> tuple[Fraction, Value]:
    return prod((share for share, _ in way), start=_ONE), _concatenated([value for _, value in way])


def _concatenated(values: Sequence[Value]) -> Value:
    """The value of a concatenation; where the packet lacks a field of it, it lacks them all."""
    parts: list[Value] = []
    for value in values:
        if isinstance(value, Absent):
            return ABSENT
        parts.extend(_flat(value))
    return tuple(parts)


def _arithmetic(operator: str, left: int, right: int) -> int:
    match operator:
        case "&":
            return left & right
        case "|":
            return left | right
        case "^":
            return left ^ right
        case "<<":
            return (left << right) & 0xFFFFFFFF if right < _DRAW_BITS else 0
        case _:
            return left >> right if right < 128 else 0


def _payload(expression: n.Payload, view: View) -> Value:
    packet, name = view.packet, expression.field
    match expression.protocol:
        case "ip" | "ip6" as family:
            if (packet.family is Family.IP) != (family == "ip"):
                return ABSENT
            return _network_header(name, view)
        case "tcp" | "udp" | "sctp" | "dccp" | "udplite" | "th" as transport:
            if packet.protocol in (Protocol.ICMP, Protocol.ICMPV6) or transport not in ("th", packet.protocol.value):
                return ABSENT
            return _transport_header(name, view)
        case "icmp" | "icmpv6" | "icmp6" as kind:
            wanted = Protocol.ICMP if kind == "icmp" else Protocol.ICMPV6
            return _icmp_header(ICMP_FIELDS.get((kind, name)), name, view) if packet.protocol is wanted else ABSENT
        case "igmp" | "esp" | "ah" | "arp":
            return ABSENT
    return unknown(f"the packet's {expression.protocol} {name} is not given")


def _network_header(name: str, view: View) -> Value:
    packet = view.packet
    match name:
        case "saddr":
            return _said(packet.source)
        case "daddr":
            return _said(packet.destination)
        case "protocol" | "nexthdr":
            return packet.protocol.number
        case "version":
            return packet.destination.version
        case "dscp" if view.dscp is not None:
            return view.dscp
        case "ttl" | "hoplimit" if view.ttl is not None:
            return view.ttl
        case "length" if view.length is not None:
            return view.length
    return unknown(f"the packet's {name} is not given")


def _icmp_header(kind: str | None, name: str, view: View) -> Value:
    if kind is None or view.icmp is None:
        return unknown(f"the packet's ICMP {name} is not given")
    return IcmpWord.of(kind, view.icmp[name == "code"])


def _said(address: Address) -> Value:
    if unsaid(address) is None:
        return address
    return unknown(f"{which(address)} is not in the snapshot (ip-addr.json)", "DATA_MISSING")


def _transport_header(name: str, view: View) -> Value:
    packet = view.packet
    match name:
        case "dport":
            return _port(None if packet.destination_port_random else packet.destination_port, packet.destination_port_random, view)
        case "sport":
            return _port(None if packet.source_port_random else packet.source_port, packet.source_port_random, view)
        case "flags" if view.tcp_flags is not None:
            return view.tcp_flags
    return unknown(f"the packet's {name} is not given")


def _port(port: int | str | None, drawn: bool, view: View) -> Value:
    return port if isinstance(port, int) else DRAWN_PORT if drawn else OwnPort(view.own_ports.low, view.own_ports.high)


def _device(device: str | None) -> Value:
    return unknown("which device the packet crosses is not in the snapshot (ip-link.json)") if is_unnamed(device) else device or ""


def _meta(key: str, view: View) -> Value:
    packet = view.packet
    match key:
        case "l4proto":
            return packet.protocol.number
        case "nfproto":
            return "ipv4" if packet.family is Family.IP else "ipv6"
        case "protocol":
            return packet.family.value
        case "iifname" | "iif":
            return _device(view.in_device)
        case "oifname" | "oif":
            return _device(view.out_device)
        case "mark":
            return packet.mark
        case "pkttype":
            return "multicast" if packet.destination.is_multicast and not view.local_process else "host"
        case "skuid" | "skgid" | "cgroup":
            return unknown(f"the {key} of the sending process is not in the snapshot") if view.local_process else ABSENT
    return unknown(f"meta {key} is not modelled", "UNMODELLED_MATCH")


def _ct(expression: n.Ct, view: View) -> Value:
    if expression.key == "state":
        return frozenset({view.state.lower()}) if view.state != "UNKNOWN" else unknown("the state of this connection is not known")
    connection = view.connection
    if connection is None or (expression.family is not None and (expression.family == "ip6") != (view.packet.family is Family.IP6)):
        return ABSENT
    found = connection.reply if expression.direction == "reply" else connection.original
    match expression.key:
        case "status":
            # A flow's first packet is confirmed behind the last rule; over lo it comes again.
            seen = {"confirmed"} if view.state != "NEW" or view.in_device == "lo" else set()
            seen |= {"seen-reply"} if view.reply or connection.established else set()
            return frozenset(seen | {name for name, has in (("dnat", connection.has_dnat), ("snat", connection.has_snat)) if has})
        case "mark":
            return view.connection_mark
        case "direction":
            return "reply" if view.reply else "original"
        case "l3proto":
            return "ipv4" if view.packet.family is Family.IP else "ipv6"
        case "protocol":
            return view.packet.protocol.number
        case "saddr" | "ip saddr" | "ip6 saddr":
            return _said(found.source)
        case "daddr" | "ip daddr" | "ip6 daddr":
            return _said(found.destination)
        case "proto-src":
            return _port(found.source_port, found.source_port == "random", view)
        case "proto-dst":
            return _port(found.destination_port, found.destination_port == "random", view)
    return unknown(f"ct {expression.key} is not modelled", "UNMODELLED_MATCH")


def _fib(expression: n.Fib, view: View) -> Value:
    """The type of an address: one word, as the kernel's look-up gives it."""
    if expression.result != "type":
        return unknown("what fib gives as a value", "UNMODELLED_MATCH")
    device = _fib_device(expression, view)
    if device == UNKNOWN_PORT:
        return _device(device)
    found = _address_type(view, _fib_address(expression, view), device).lower()
    return unknown("the routes that fib asks for are not known") if found == "unknown" else found


def _address_type(view: View, address: Address, device: str | None) -> str:
    """NB: of an IPv6 address the device only says whether it is that device's own; the route is looked up without it.

    Source: nft_fib6_flowi_init and __nft_fib6_eval_type in nft_fib_ipv6.c.
    """
    found = view.routing.address_type(address, device)
    if device is None or isinstance(address, IPv4Address) or found == "LOCAL":
        return found
    anywhere = view.routing.address_type(address)
    return "UNICAST" if anywhere == "LOCAL" else anywhere


def _fib_address(expression: n.Fib, view: View) -> Address:
    return view.packet.source if "saddr" in expression.keys else view.packet.destination


def _fib_device(expression: n.Fib, view: View) -> str | None:
    return view.in_device if "iif" in expression.keys else view.out_device if "oif" in expression.keys else None


def fib_is_routed(expression: n.Fib, wanted: list[str], view: View) -> bool | None:
    """Return whether ``fib saddr . iif oif missing`` (or ``exists``) holds; None when the snapshot cannot tell.

    It asks whether the way back to the source leaves by the device the packet came in by.
    """
    if "saddr" in expression.keys and "iif" in expression.keys and wanted in (["missing"], ["exists"]):
        back = view.reverse_path(RpfilterMatch(valid_mark="mark" in expression.keys)) if view.reverse_path else None
        return None if back is None else back == (wanted == ["exists"])
    return None
