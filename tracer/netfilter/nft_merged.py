"""Comparisons of neighbouring header fields that nft may have loaded as one.

nft joins equal relations of neighbouring fields, up to 32 bits, into one comparison of the bytes. Of ``ip ttl != 32 ip protocol != udp``
the kernel then asks whether the two *together* differ, which is true as soon as one does, and the listing cuts them apart again: it
reads as a rule that wants both to differ. Which of the two was loaded depends on nft's version, and no listing tells.
Source: payload_can_merge and stmt_reduce, nftables 1.0.6 (``nft --debug=netlink``: ``payload load 2b``, ``cmp neq``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

from tracer.netfilter import nft_model as n

_MOST = 32  # bits of one register
_IP = {"length": (16, 16), "id": (32, 16), "frag-off": (48, 16), "ttl": (64, 8), "protocol": (72, 8), "checksum": (80, 16)}
_PORTS = {"sport": (0, 16), "dport": (16, 16)}
# Where a field begins in its header, and its length, in bits. NB: of ``th`` nft lists such a pair as raw payload.
_FIELDS = {
    "ip": _IP,
    "ip6": {"length": (32, 16), "nexthdr": (48, 8), "hoplimit": (56, 8)},
    "tcp": _PORTS,
    "udp": _PORTS | {"length": (32, 16), "checksum": (48, 16)},
    "udplite": _PORTS | {"csumcov": (32, 16), "checksum": (48, 16)},
    "sctp": _PORTS,
    "dccp": _PORTS,
}


Merged = tuple[n.Compare, ...]
"""Comparisons that nft may have loaded as one."""


def merged(statements: Sequence[n.Statement]) -> Iterator[n.Statement | Merged]:
    """Yield the statements of a rule; those that nft may have loaded as one together."""
    at = 0
    while at < len(statements):
        group = joined(statements, at)
        yield group if len(group) > 1 else statements[at]
        at += max(1, len(group))


def joined(statements: Sequence[n.Statement], at: int) -> Merged:
    """Return the comparisons from *at* on that nft may have loaded as one; fewer than two where there is nothing to join."""
    found: list[n.Compare] = []
    begin = end = 0
    for statement in statements[at:]:
        place = _place(statement)
        if place is None or not isinstance(statement, n.Compare):
            break
        protocol, offset, length = place
        if found and (protocol != _protocol(found[0]) or offset != end or offset + length - begin > _MOST):
            break
        begin, end = (begin if found else offset), offset + length
        found.append(statement)
    return tuple(found)


def _place(statement: n.Statement) -> tuple[str, int, int] | None:
    """The header, offset and length of the whole field that *statement* wants to differ from one value."""
    if not (isinstance(statement, n.Compare) and statement.operator == "!=" and isinstance(statement.left, n.Payload)):
        return None
    if not isinstance(statement.right, int | n.Word | IPv4Address | IPv6Address):
        return None
    field = _FIELDS.get(statement.left.protocol, {}).get(statement.left.field)
    return (statement.left.protocol, *field) if field else None


def _protocol(statement: n.Compare) -> str:
    return statement.left.protocol if isinstance(statement.left, n.Payload) else ""
