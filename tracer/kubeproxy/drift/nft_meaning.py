"""What a rule of nftables means, whatever its spelling: a value that can be compared.

nft sorts and joins what stands in braces and leaves them away around one value: a set of addresses counts as the ranges that it covers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

from tracer.netfilter import nft_model as n
from tracer.packet import Protocol


def rule_meaning(rule: n.NftRule) -> Hashable:
    """Return what a rule matches and does, its comment left out; its text where it cannot be read."""
    if rule.fault is not None:
        return rule.text
    return tuple(_compared(s) if isinstance(s, n.Compare) else s for s in rule.statements)


def key_meaning(element: n.Element, types: Sequence[str]) -> Hashable:
    """Return what an element of a set with keys of *types* is found by; protocols by name, as ``nft -n`` prints their numbers."""
    key = element.key
    if not isinstance(key, n.Concat) or len(key.parts) != len(types):
        return key
    return tuple(_protocol(part) if kind == "inet_proto" else part for part, kind in zip(key.parts, types, strict=True))


def _protocol(value: object) -> Hashable:
    if isinstance(value, n.Word):
        return value.text
    return next((p.value for p in (Protocol.TCP, Protocol.UDP, Protocol.SCTP) if p.number == value), str(value))


def _compared(statement: n.Compare) -> Hashable:
    right = statement.right
    if statement.left == n.Meta("l4proto") and isinstance(right, n.Word | int):
        return (statement.operator, statement.left, _protocol(right))
    keys = [e.key for e in right.elements] if isinstance(right, n.SetLiteral) else [right]
    ranges = [found for key in keys if (found := _range(key)) is not None]
    if len(ranges) < len(keys):
        return statement
    return (statement.operator, statement.left, tuple(_joined(ranges)))


def _range(key: object) -> tuple[int, int] | None:
    """Return the lowest and highest address of what stands in a set of addresses, None for anything else."""
    match key:
        case IPv4Address() | IPv6Address():
            return int(key), int(key)
        case n.Prefix(address=address, length=length):
            network = ip_network((address, length), strict=False)
            return int(network[0]), int(network[-1])
        case n.Interval(low=IPv4Address() | IPv6Address() as low, high=IPv4Address() | IPv6Address() as high):
            return int(low), int(high)
        case _:
            return None


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield *ranges* in order, those that touch or overlap as one."""
    low, high = None, -1
    for begin, end in sorted(ranges):
        if low is not None and begin > high + 1:
            yield low, high
            low = None
        low, high = begin if low is None else low, max(high, end) if low is not None else end
    if low is not None:
        yield low, high
