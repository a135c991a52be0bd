"""The order in which getaddrinfo returns addresses, and so which one a client dials first.

The rules of RFC 6724 that can differ inside a cluster: a destination without a source address comes last, labels should match, the
higher precedence comes first; equal ones keep the order of the answer. glibc still has the table of RFC 3484 with its own addition, where
unique local addresses come before IPv4; musl has that of RFC 6724, where they come after.
Not modelled: rule 9 for IPv4, by which addresses in the client's own subnet come first; the pod's netmask is in no snapshot.
Source: glibc 2.41 nss/getaddrinfo.c; musl 1.2.5 src/network/lookup_name.c.
"""

from __future__ import annotations

import ipaddress

from tracer.packet import Address
from tracer.query import Resolver

_Row = tuple[ipaddress.IPv6Network, int, int]


def _table(*rows: tuple[str, int, int]) -> tuple[_Row, ...]:
    """Rows of (prefix, precedence, label), longest prefix first."""
    found = [(ipaddress.IPv6Network(prefix), precedence, label) for prefix, precedence, label in rows]
    return tuple(sorted(found, key=lambda row: -row[0].prefixlen))


_TABLES = {
    Resolver.GLIBC: _table(
        ("::1/128", 50, 0),
        ("::/0", 40, 1),
        ("2002::/16", 30, 2),
        ("::/96", 20, 3),
        ("::ffff:0:0/96", 10, 4),
        ("fec0::/10", 40, 5),
        ("fc00::/7", 40, 6),
        ("2001::/32", 40, 7),
    ),
    Resolver.MUSL: _table(
        ("::1/128", 50, 0),
        ("::ffff:0:0/96", 35, 4),
        ("2002::/16", 30, 2),
        ("2001::/32", 5, 5),
        ("fc00::/7", 3, 13),
        ("::/0", 40, 1),
    ),
}


def in_order(addresses: tuple[Address, ...], sources: tuple[Address, ...], resolver: Resolver = Resolver.GLIBC) -> tuple[Address, ...]:
    """Return *addresses* in the order they are tried by a client that has *sources*."""
    return tuple(sorted(addresses, key=lambda a: _rank(a, sources, resolver)))


def equals_of_first(
    addresses: tuple[Address, ...], sources: tuple[Address, ...], resolver: Resolver = Resolver.GLIBC
) -> tuple[Address, ...]:
    """Return the addresses that rank as high as the first one: which of them is dialled depends on the order of the answer alone."""
    ordered = in_order(addresses, sources, resolver)
    return tuple(a for a in ordered if _rank(a, sources, resolver) == _rank(ordered[0], sources, resolver))


def _rank(destination: Address, sources: tuple[Address, ...], resolver: Resolver) -> tuple[int, int, int]:
    source = next((s for s in sources if s.version == destination.version), None)
    if source is None and not destination.is_loopback:
        return (1, 0, 0)
    precedence, label = _policy(destination, resolver)
    mismatch = int(source is not None and _policy(source, resolver)[1] != label)
    return (0, mismatch, -precedence)


def _policy(address: Address, resolver: Resolver) -> tuple[int, int]:
    """Return precedence and label of *address*; IPv4 as its mapped form."""
    mapped = ipaddress.IPv6Address(f"::ffff:{address}") if isinstance(address, ipaddress.IPv4Address) else address
    return next((precedence, label) for network, precedence, label in _TABLES[resolver] if mapped in network)
