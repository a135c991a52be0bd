"""Constants where an address or a port is asked for: service names become ports; any other word is refused, it would match nothing.

Listings print names only when they are asked to (``nft -S``, ``-N``), and scripts use variables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_words import port_word

_ADDRESS, _PORT = "address", "port"
_KINDS = {"ipv4_addr": _ADDRESS, "ipv6_addr": _ADDRESS, "inet_service": _PORT}


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
        case n.Binary(left=inner):
            return _kinds_of(inner)
    return ("",)


def _typed(kinds: tuple[str, ...], right: n.Expression) -> n.Expression:
    if isinstance(right, n.SetLiteral):
        return n.SetLiteral(tuple(_element(kinds, e) for e in right.elements))
    if isinstance(right, n.Concat):
        if len(right.parts) != len(kinds):
            return right
        return n.Concat(tuple(_typed((kind,), part) for kind, part in zip(kinds, right.parts, strict=True)))
    if isinstance(right, n.Word) and len(kinds) == 1 and kinds[0]:
        found = port_word(right) if kinds[0] == _PORT else right
        if isinstance(found, n.Word):
            raise ValueError(f"{right.text!r} is no {kinds[0]}: names and variables are not followed")
        return found
    return right


def _element(kinds: tuple[str, ...], element: n.Element) -> n.Element:
    if isinstance(element.key, int | IPv4Address | IPv6Address | n.Wildcard):
        return element
    key = _typed(kinds, element.key)
    return element if key is element.key else replace(element, key=key)


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
    ("ct", "state"): "ct_state",
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
