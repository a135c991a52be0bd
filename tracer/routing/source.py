"""Which of the stack's own addresses goes into a packet: IPv4's inet_select_addr, IPv6's RFC 6724 as the kernel has it.

Where equals remain, the order of ``ip addr`` (devices, then addresses) decides, as the kernel's own lists do.
Source: devinet.c (inet_select_addr, in_dev_select_addr), ipv6/addrconf.c (ipv6_dev_get_saddr), ipv6/addrlabel.c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from tracer.routing.model import HOST, LINK_SCOPE, InterfaceAddress

# The kernel's initial policy table; `ip addrlabel` can change it and is not recorded.
_LABELS = tuple(
    sorted(
        (
            (IPv6Network("::1/128"), 0),
            (IPv6Network("::/0"), 1),
            (IPv6Network("2002::/16"), 2),
            (IPv6Network("::/96"), 3),
            (IPv6Network("::ffff:0:0/96"), 4),
            (IPv6Network("fc00::/7"), 5),
            (IPv6Network("2001::/32"), 6),
            (IPv6Network("2001:10::/28"), 7),
            (IPv6Network("fec0::/10"), 11),
            (IPv6Network("3ffe::/16"), 12),
        ),
        key=lambda item: -item[0].prefixlen,
    )
)
_LOOPBACK = IPv6Address("::1")
_LINK_LOCAL = IPv6Network("fe80::/10")
_SITE_LOCAL = IPv6Network("fec0::/10")
_COMPATIBLE = IPv6Network("::/96")
_MAPPED = IPv6Network("::ffff:0:0/96")
_ORCHID = IPv6Network("2001:10::/28")
LINK_LOCAL_SCOPE, SITE_LOCAL_SCOPE, GLOBAL_SCOPE = 0x2, 0x5, 0xE


def select_address(
    by_device: Mapping[str, Sequence[InterfaceAddress]],
    device: str | None,
    towards: IPv4Address | None,
    scope: int,
    route_localnet: bool = False,
) -> IPv4Address | None:
    """Return the IPv4 address for packets that leave through *device* towards *towards*, of at most *scope*.

    The device's primary addresses first: the one whose subnet holds *towards*, else the first; then the other devices', in order.
    Source: inet_select_addr().
    """
    local_scope = LINK_SCOPE if route_localnet else HOST
    first: IPv4Address | None = None
    for candidate in by_device.get(device, ()) if device is not None else ():
        if candidate.secondary or min(candidate.scope, local_scope) > scope:
            continue
        if towards is None or towards in candidate.network:
            return _v4(candidate)
        first = first or _v4(candidate)
    return first or _elsewhere(by_device, scope)


def _elsewhere(by_device: Mapping[str, Sequence[InterfaceAddress]], scope: int) -> IPv4Address | None:
    for candidates in by_device.values():
        for candidate in candidates:
            if not candidate.secondary and candidate.scope != LINK_SCOPE and candidate.scope <= scope:
                return _v4(candidate)
    return None


def _v4(candidate: InterfaceAddress) -> IPv4Address:
    return IPv4Address(int(candidate.address))


def scope6(address: IPv6Address) -> int:
    """Return the address's scope as a multicast scope number. Source: __ipv6_addr_type()."""
    if address.is_multicast:
        return int(address) >> 112 & 0xF
    if address in _LINK_LOCAL or address == _LOOPBACK:
        return LINK_LOCAL_SCOPE
    return SITE_LOCAL_SCOPE if address in _SITE_LOCAL else GLOBAL_SCOPE


def label6(address: IPv6Address) -> int:
    """Return the address's label in the kernel's initial policy table."""
    return next(label for network, label in _LABELS if address in network)


def select_address6(
    by_device: Mapping[str, Sequence[InterfaceAddress]],
    device: str | None,
    destination: IPv6Address,
    *,
    prefers_temporary: Callable[[str], bool] = lambda _: False,
    own_addresses_only: bool = False,
) -> IPv6Address | None:
    """Return the IPv6 source address for *destination* through *device*, None if there is none.

    Only *device*'s addresses count for multicast and link-local destinations (and with ``use_oif_addrs_only``).
    Source: ipv6_dev_get_saddr(), RFC 6724 section 5.
    """
    bound = device is not None and (destination.is_multicast or scope6(destination) <= LINK_LOCAL_SCOPE or own_addresses_only)
    best: InterfaceAddress | None = None
    best_score: tuple[int, ...] = ()
    label = label6(destination)
    for name, candidates in by_device.items():
        if bound and name != device:
            continue
        for candidate in candidates:
            if (candidate.tentative and not candidate.optimistic) or candidate.address.is_multicast or candidate.address.is_unspecified:
                continue
            score = _score(candidate, device, destination, label, prefers_temporary)
            if best is None or score > best_score:
                best, best_score = candidate, score
    return None if best is None else IPv6Address(int(best.address))


def _score(
    candidate: InterfaceAddress, device: str | None, destination: IPv6Address, label: int, prefers_temporary: Callable[[str], bool]
) -> tuple[int, ...]:
    """Return the candidate's score, rule by rule in RFC 6724's order; the larger wins. Source: ipv6_get_saddr_eval()."""
    address = IPv6Address(int(candidate.address))
    scope, wanted = scope6(address), scope6(destination)
    always_preferred = address == _LOOPBACK or address in _MAPPED or address in _COMPATIBLE
    return (
        address == destination,
        -scope if scope >= wanted else scope - 128,
        always_preferred or not (candidate.deprecated or candidate.optimistic),
        candidate.home,
        device is None or candidate.device == device,
        label6(address) == label,
        candidate.temporary == prefers_temporary(candidate.device),
        (address in _ORCHID) == (destination in _ORCHID),
        min(_common_bits(address, destination), candidate.prefix),
        not candidate.optimistic,
    )


def _common_bits(first: IPv6Address, second: IPv6Address) -> int:
    return 128 - (int(first) ^ int(second)).bit_length()
