"""Constants by the type that their place asks for: service names become ports, and numbers that stand for words those words.

Any other word where an address or a port is due is refused: it would match nothing. Listings print names of ports and hosts only when they
are asked to (``nft -S``, ``-N``), numbers for words likewise (``-n``), and scripts use variables.
Source: datatype.c, ct.c, meta.c, fib.c of nftables 1.0.6; nf_conntrack_common.h, rtnetlink.h, if_ether.h, if_packet.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_icmp import ICMP_FIELDS, ICMP_WORDS, OTHER_WORDS
from tracer.netfilter.nft_words import port_word
from tracer.netfilter.scalars import PROTOCOLS

_ADDRESS, _PORT, _PROTOCOL = "address", "port", "inet_proto"
_WORDS: dict[str, dict[int, str]] = {
    "ct_state": {1: "invalid", 2: "established", 4: "related", 8: "new", 64: "untracked"},
    "ct_status": {1: "expected", 2: "seen-reply", 4: "assured", 8: "confirmed", 16: "snat", 32: "dnat", 512: "dying"},
    "ct_dir": {0: "original", 1: "reply"},
    "nf_proto": {2: "ipv4", 10: "ipv6"},
    "pkt_type": {0: "host", 1: "broadcast", 2: "multicast", 3: "other"},
    "ether_type": {0x0800: "ip", 0x86DD: "ip6", 0x0008: "ip", 0xDD86: "ip6"},  # in JSON its bytes are the other way round
    "fib_addrtype": dict(
        enumerate(("unspec", "unicast", "local", "broadcast", "anycast", "multicast", "blackhole", "unreachable", "prohibit"))
    ),
    **{kind: dict(words) for kind, words in ICMP_WORDS.items()},
}
"""What ``nft -n`` prints as numbers, by type."""
_BITS = frozenset({"ct_state", "ct_status"})
PROTOCOL_WORDS = frozenset(PROTOCOLS) | {
    *("ggp", "st", "egp", "igp", "pup", "hmp", "xns-idp", "rdp", "iso-tp4", "ddp", "idpr-cmtp", "ipv6-route", "ipv6-frag", "idrp", "rsvp"),
    *("skip", "ipv6-nonxt", "ipv6-opts", "rspf", "vmtp", "eigrp", "ospfigp", "ax.25", "etherip", "encap", "comp", "isis", "fc"),
    *("mpls-in-ip", "manet", "hip", "shim6", "wesp", "rohc", "ethernet", "aggfrag", "mptcp", "xtp"),
}
"""Names of protocols that a listing prints, those included that no packet here has. Source: /etc/protocols (netbase 6.4)."""
_CLOSED = {kind: frozenset(words.values()) for kind, words in _WORDS.items() if kind != "ether_type"}
_CLOSED["pkt_type"] |= {"unicast"}
_CLOSED |= {kind: _CLOSED[kind] | words for kind, words in OTHER_WORDS.items()}
_CLOSED[_PROTOCOL] = PROTOCOL_WORDS
"""Types with words of which every one is known: any other is no such word, and matches nothing because it was not read."""
_KINDS = {"ipv4_addr": _ADDRESS, "ipv6_addr": _ADDRESS, "inet_service": _PORT, _PROTOCOL: _PROTOCOL} | {kind: kind for kind in _WORDS}


def typed(left: n.Expression, right: n.Expression) -> n.Expression:
    """Return what *left* is compared with, its ports as numbers. :raises ValueError: a word stands where an address or port is due."""
    return _typed(_kinds_of(left), right)


def typed_elements(types: Sequence[str], elements: Sequence[n.Element]) -> tuple[n.Element, ...]:
    """Return the elements of a set of *types*, the same way. :raises ValueError: a word stands where an address or port is due."""
    return tuple(_element(tuple(_KINDS.get(t, "") for t in types), e) for e in elements)


def _kinds_of(left: n.Expression) -> tuple[str, ...]:
    match left:
        case n.Concat(parts=parts):
            return tuple(kind for part in parts for kind in _kinds_of(part))
        case n.Payload(protocol="ip" | "ip6", field="saddr" | "daddr") | n.Ct(key="saddr" | "daddr"):
            return (_ADDRESS,)
        case n.Payload(field="sport" | "dport") | n.Ct(key="proto-src" | "proto-dst"):
            return (_PORT,)
        case n.Ct(key=key) if key in _OF_CT:
            return (_OF_CT[key],)
        case n.Payload(protocol=protocol, field=field) if (protocol, field) in _PROTOCOL_FIELDS:
            return (_PROTOCOL,)
        case n.Payload(protocol=protocol, field=field) if (protocol, field) in ICMP_FIELDS:
            return (ICMP_FIELDS[protocol, field],)
        case n.Meta(key=key) if key in _OF_META:
            return (_OF_META[key],)
        case n.Fib(result="type"):
            return ("fib_addrtype",)
        case n.Binary(left=inner):
            return _kinds_of(inner)
    return ("",)


_OF_CT = {"state": "ct_state", "status": "ct_status", "direction": "ct_dir", "l3proto": "nf_proto"}
_PROTOCOL_FIELDS = frozenset({("ip", "protocol"), ("ip6", "nexthdr")})
_OF_META = {"l4proto": _PROTOCOL, "nfproto": "nf_proto", "pkttype": "pkt_type", "protocol": "ether_type"}


def _spelled(kind: str, number: int) -> n.Expression:
    """The word that *number* stands for, or those of its bits; the number itself where it stands for none."""
    words = _WORDS[kind]
    if number in words:
        return n.Word(words[number])
    bits = [word for bit, word in words.items() if number & bit] if kind in _BITS else []
    if not bits or number & ~sum(words):
        return number
    first, *others = bits
    joined: n.Expression = n.Word(first)
    for word in others:
        joined = n.Binary("|", joined, n.Word(word))
    return joined


def _typed(kinds: tuple[str, ...], right: n.Expression) -> n.Expression:
    if isinstance(right, n.SetLiteral):
        return n.SetLiteral(tuple(_element(kinds, e) for e in right.elements))
    if isinstance(right, n.Concat):
        if len(right.parts) != len(kinds):
            raise ValueError(f"{len(kinds)} values are compared with {len(right.parts)}")
        return n.Concat(tuple(_typed((kind,), part) for kind, part in zip(kinds, right.parts, strict=True)))
    if len(kinds) > 1 and isinstance(right, n.Word | int | n.Prefix | n.Interval | IPv4Address | IPv6Address):
        raise ValueError(f"{len(kinds)} values are compared with one")
    if len(kinds) == 1 and isinstance(right, n.Word) and right.text not in _CLOSED.get(kinds[0], (right.text,)):
        raise ValueError(f"{right.text!r} is no {kinds[0]}: names and variables are not followed")
    if len(kinds) == 1 and kinds[0] == _PROTOCOL:
        return right
    if len(kinds) == 1 and kinds[0] in _WORDS:
        return _in_words(kinds, right)
    if isinstance(right, n.Word) and len(kinds) == 1 and kinds[0]:
        found = port_word(right) if kinds[0] == _PORT else right
        if isinstance(found, n.Word):
            raise ValueError(f"{right.text!r} is no {kinds[0]}: names and variables are not followed")
        return found
    return right


def _in_words(kinds: tuple[str, ...], right: n.Expression) -> n.Expression:
    if isinstance(right, int):
        return _spelled(kinds[0], right)
    if isinstance(right, n.Binary) and right.operator == "|":
        return n.Binary("|", _typed(kinds, right.left), _typed(kinds, right.right))
    return right


def _element(kinds: tuple[str, ...], element: n.Element) -> n.Element:
    if isinstance(element.key, n.Wildcard) or (isinstance(element.key, int | IPv4Address | IPv6Address) and kinds[:1] not in _ONE_WORD):
        return element
    key = _typed(kinds, element.key)
    return element if key is element.key else replace(element, key=key)


_ONE_WORD = frozenset((kind,) for kind in _WORDS)
_TYPES: dict[tuple[str, str], str] = {
    **{("ip", side): "ipv4_addr" for side in ("saddr", "daddr")},
    **{("ip6", side): "ipv6_addr" for side in ("saddr", "daddr")},
    **{("ether", side): "ether_addr" for side in ("saddr", "daddr")},
    **{(p, side): "inet_service" for p in ("tcp", "udp", "udplite", "sctp", "dccp", "th") for side in ("sport", "dport")},
    ("ip", "protocol"): "inet_proto",
    ("ip6", "nexthdr"): "inet_proto",
    ("meta", "l4proto"): "inet_proto",
    ("meta", "mark"): "mark",
    ("ct", "mark"): "mark",
    **ICMP_FIELDS,
    **{("ct", key): kind for key, kind in _OF_CT.items()},
    **{("meta", key): kind for key, kind in _OF_META.items()},
    **{("meta", name): "ifname" for name in ("iifname", "oifname")},
    **{("meta", name): "iface_index" for name in ("iif", "oif")},
}


def types_of(expression: n.Expression) -> tuple[str, ...]:
    """Return the names of the types of an expression's parts, nothing where one has none that is known. Source: nft(8), data types."""
    if isinstance(expression, n.Concat):
        found = tuple(types_of(part) for part in expression.parts)
        return tuple(kind for kinds in found for kind in kinds) if all(found) else ()
    kind: str | None
    match expression:
        case n.Payload(protocol=group, field=key):
            kind = _TYPES.get((group, key))
        case n.Meta(key=key):
            kind = _TYPES.get(("meta", key))
        case n.Ct(key=key):
            kind = _TYPES.get(("ct", key))
        case _:
            kind = None
    return (kind,) if kind else ()
