"""A kernel setting that nobody recorded and that decides: the walk goes on both ways, and stays with each as long as it lasts.

Only settings that others than the kernel set are asked for (tracer/routing/reception.py); an answer goes by what its request supposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from tracer.forks import Fork, drawn
from tracer.frozen import changed
from tracer.routing import RouteResult, Routing, Supposition
from tracer.simulate.walk import Walk
from tracer.snapshot.node_files import SYSCTL
from tracer.topology.stack import NodeStack
from tracer.trace import Unknown

_ASKED: Mapping[str, str] = {
    "rp_filter": "refuses a packet whose way back is another device (rp_filter 1), as some distributions set it",
    "route_localnet": "routes 127.0.0.0/8 (route_localnet 1), as kube-proxy in iptables mode sets it unless told not to",
}
"""Setting → what it does, and who sets it."""


def supposed(walk: Walk, stack: NodeStack, supposition: Supposition, share: Fraction) -> Walk | None:
    """Return the *share* of *walk* that takes a setting of *stack* for granted; all of it, or None, where that was settled before."""
    key, is_set, node = supposition.key, supposition.is_set, stack.name
    if (node, key, not is_set) in walk.settled:
        return None
    if (node, key, is_set) in walk.settled:
        return walk
    where = f"nodes/{node}/{SYSCTL.name} does not say"
    condition = f"{stack.called} {'has' if is_set else 'does not have'} {key} set to 1: {where}"
    missing = Unknown(code="DATA_MISSING", text=f"whether {stack.called} {_ASKED[key]}: {where}", at=_at(node))
    fork = Fork(question=missing.text, branch=int(is_set), condition=condition, is_without=not is_set, unknowns=(missing,))
    return changed(
        walk,
        probability=walk.probability * share,
        conditions=(*walk.conditions, condition),
        unknowns=(*walk.unknowns, missing),
        forks=(*walk.forks, fork),
        settled=walk.settled | {(node, key, is_set)},
    )


def _at(node: str) -> dict[str, str]:
    return {"node": node, "file": SYSCTL.name}


def shared(walk: Walk, stack: NodeStack, results: Sequence[RouteResult]) -> list[tuple[Walk, RouteResult]]:
    """Return each way of a look-up that is open to *walk*, with its share of it."""
    ways = sum(1 for result in results if result.supposes is None or result.supposes.is_set)
    found = []
    for branch, result in enumerate(results):
        taken = walk if result.supposes is None else supposed(walk, stack, result.supposes, Fraction(1, 2))
        if taken is not None:
            found.append((_way(taken, stack, result, branch, ways), result))
    return found


def _way(walk: Walk, stack: NodeStack, result: RouteResult, branch: int, ways: int) -> Walk:
    """The walk by one of several next hops: by chance where each connection has its own, else on a condition."""
    if ways == 1:
        return walk
    share = result.share if result.supposes is None else result.share * 2
    hop = f"{result.next_hop} by {result.device}"
    walk = changed(walk, probability=walk.probability * share).note(f"one of {ways} next hops of a multipath route: {hop}")
    if hashes_ports(stack.routing, walk.packet.destination.version):
        asked = f"{walk.visit.name} to {walk.packet.destination}: one of {ways} next hops of a multipath route"
        return changed(walk, forks=(*walk.forks, drawn(asked, branch)))
    pair = f"{walk.packet.source} to {walk.packet.destination}"
    asked = f"which of {ways} next hops {stack.called} takes for packets from {pair}: the same for all of them, by a hash nobody recorded"
    missing = Unknown(code="DATA_MISSING", text=asked, at={"node": stack.name})
    condition = f"{stack.called} sends what is from {pair} to {hop}"
    fork = Fork(question=asked, branch=branch, condition=condition, ways=ways, unknowns=(missing,))
    return changed(walk, conditions=(*walk.conditions, condition), unknowns=(*walk.unknowns, missing), forks=(*walk.forks, fork))


def hashes_ports(routing: Routing, version: int) -> bool:
    """Return whether each connection draws its own next hop of a multipath route: its ports are hashed, or its IPv6 flow label.

    By the kernel's default, IPv4 hashes the two addresses only. Source: fib_multipath_hash, rt6_multipath_hash, ip-sysctl.rst.
    """
    policy = routing.sysctls.integer(f"net.ipv{version}.fib_multipath_hash_policy") or 0
    if policy == _CUSTOM:
        fields = routing.sysctls.integer(f"net.ipv{version}.fib_multipath_hash_fields")
        return bool((_ADDRESSES_AND_PROTOCOL if fields is None else fields) & (_FLOW_LABEL | _SOURCE_PORT))
    return policy == 1 or version == 6


_CUSTOM = 3
_ADDRESSES_AND_PROTOCOL, _FLOW_LABEL, _SOURCE_PORT = 0x07, 0x08, 0x10
