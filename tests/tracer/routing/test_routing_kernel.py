"""The kernel is the reference: random stacks in namespaces, ``ip route get`` beside our lookup.

``ROUTING_ORACLE_WORLDS`` (random stacks a family) and ``ROUTING_ORACLE_SEED`` make it larger or repeat it.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from ipaddress import ip_address

import pytest

from tests.tracer.routing.routing_netns import namespaces, why_not, wire
from tests.tracer.routing.routing_random import Query, World
from tracer.packet import Protocol
from tracer.routing import ResultKind, Routing, SourceCheck

WORLDS = int(os.environ.get("ROUTING_ORACLE_WORLDS", "3"))
QUERIES = 150
SEED = int(os.environ.get("ROUTING_ORACLE_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
REASON = why_not()

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]

ERRORS = {
    "Invalid argument": "invalid",
    "Network is unreachable": "none",
    "No route to host": "unreachable",
    "Permission denied": "prohibit",
    "Invalid cross-device link": "refused",
}
# How the kernel answers where its answer is an error number: blackhole and refused packets share EINVAL.
SAME_ERROR = {"blackhole": "invalid"}


def kernel_outcome(answer: dict[str, object] | str, query: Query) -> tuple[object, ...]:
    """Return the kernel's answer as (kind, device, next hop, source)."""
    if isinstance(answer, str):
        known = [kind for text, kind in ERRORS.items() if answer.endswith(text)]
        return (known[0] if known else answer, None, None, None)
    kind = str(answer.get("type", "unicast"))
    if kind == "unicast" and answer.get("dev") == "lo" and ip_address(query.destination).version == 6 and query.destination != "::1":
        return ("unreachable", None, None, None)  # shown as unicast, but made to reject
    via = answer.get("via")
    gateway = answer.get("gateway") or (via["host"] if isinstance(via, dict) else None)
    device = None if kind in ("local", "anycast") or (query.iif and kind == "broadcast") else answer.get("dev")
    source = None if query.iif or query.source else answer.get("prefsrc")
    return (kind, device, gateway, source)


def our_outcomes(routing: Routing, query: Query) -> set[tuple[object, ...]]:
    """Return every answer we hold possible, in the same form; empty if unknown."""
    destination = ip_address(query.destination)
    if query.iif and destination.version == 4 and (refused := refusal(routing, query)) is not None:
        return refused
    results = look_up(routing, query)
    found = set()
    for result in results:
        if result.kind is ResultKind.UNKNOWN:
            return set()
        kind = SAME_ERROR.get(result.kind.value, result.kind.value)
        if kind in ("invalid", "none", "unreachable", "prohibit"):
            # A rule that says unreachable answers as no route does.
            found.add(("none" if kind == "unreachable" and result.route is None else kind, None, None, None))
            continue
        here = result.kind in (ResultKind.LOCAL, ResultKind.ANYCAST) or (query.iif and result.kind is ResultKind.BROADCAST)
        source = None if query.iif or query.source or result.source is None else str(result.source)
        found.add((kind, None if here else result.device, None if result.gateway is None else str(result.gateway), source))
    return found


def refusal(routing: Routing, query: Query) -> set[tuple[object, ...]] | None:
    """Return the errors of a received packet that is not taken, whatever its route; empty if unknown, None if it is taken."""
    verdict = routing.validate_source(
        ip_address(query.source or "0.0.0.0"),
        query.iif or "",
        ip_address(query.destination),
        mark=query.mark,
        protocol=Protocol(query.protocol),
        source_port=query.source_port,
        destination_port=query.destination_port,
        tos=query.tos,
    )
    errors = {(kind, None, None, None) for kind in ("invalid", "refused", "unreachable")}
    if verdict.check is SourceCheck.UNKNOWN:
        return set()
    if not verdict.ok:
        return errors
    results = look_up(routing, query)
    kinds = {result.kind for result in results}
    if not kinds & {ResultKind.LOCAL, ResultKind.BROADCAST, ResultKind.UNKNOWN} and not routing.forwarding(4, query.iif):
        return errors
    return None


def look_up(routing: Routing, query: Query):
    """Return our answer."""
    return routing.lookup(
        ip_address(query.destination),
        source=ip_address(query.source) if query.source else None,
        mark=query.mark,
        iif=query.iif,
        oif=query.oif,
        protocol=Protocol(query.protocol),
        source_port=query.source_port,
        destination_port=query.destination_port,
        tos=query.tos,
        # `route get` asks as root, but for received IPv6 as nobody at all (a real packet is root's: its flow's uid is zero).
        uid=0xFFFFFFFF if query.iif and ":" in query.destination else 0,
    )


def skipped(query: Query) -> bool:
    """Return whether ``ip route get`` itself asks something else: a received multicast packet needs a listener."""
    return bool(query.iif) and ip_address(query.destination).is_multicast


@pytest.mark.parametrize("version", [4, 6])
def test_lookup_is_the_kernels(version: int) -> None:
    print(f"ROUTING_ORACLE_SEED={SEED}")
    tally: Counter[str] = Counter()
    wrong: list[str] = []
    for world in range(WORLDS):
        rng = random.Random(f"{SEED}/{version}/{world}")
        with namespaces(2) as (inner, outer):
            wire(inner, outer, ("d0", "d1", "d2", "d3"))
            inner.ip("link add br0 type bridge", "link set br0 up", "link set lo up")
            if rng.random() < 0.3:
                outer.ip("link set d3x down")
                time.sleep(1.1)  # linkwatch tells the routes within a second
            made = World(rng, version)
            for device in ("all", "d0", "d1", "d2", "d3"):
                switches = {
                    "rp_filter": rng.choice((0, 0, 1, 2)),
                    "accept_local": rng.choice((0, 0, 0, 1)),
                    "route_localnet": rng.choice((0, 0, 0, 1)),
                }
                inner.sysctl({f"net.ipv4.conf.{device}.{key}": value for key, value in switches.items()})
                if rng.random() < 0.2:
                    inner.sysctl({f"net.ipv{version}.conf.{device}.ignore_routes_with_linkdown": 1})
            inner.sysctl({f"net.ipv{version}.conf.all.forwarding": rng.choice((0, 1, 1, 1))})
            # After the switches: next hops keep the source address they got when they were made.
            inner.ip(*made.commands, force=True, options=made.options)
            time.sleep(0.1)
            routing = inner.routing()
            held = (address.address for address in routing.addresses if address.address.version == version)
            made.local = [str(address) for address in held if not address.is_link_local]
            queries = [query for query in made.queries(QUERIES) if not skipped(query)]
            for query, answer in zip(queries, inner.route_get([query.to_text() for query in queries], version), strict=True):
                kernel, ours = kernel_outcome(answer, query), our_outcomes(routing, query)
                tally["unknown" if not ours else str(kernel[0])] += 1
                if ours and kernel not in ours:
                    wrong.append(f"world {world}: {query.to_text()}\n  kernel {kernel}  {answer}\n  ours   {sorted(map(str, ours))}")
    print(dict(tally))
    assert not wrong, f"seed {SEED}: {len(wrong)} of {sum(tally.values())} differ\n" + "\n".join(wrong[:12])
    assert tally["unknown"] <= 0.04 * sum(tally.values()), tally


@pytest.mark.parametrize("version", [4, 6])
def test_multipath_odds_are_what_many_flows_see(version: int) -> None:
    flows = 3000
    heads, to = (("10.0.0", "10.1.0"), "192.0.2.1") if version == 4 else (("fd00:0:0:0:", "fd00:0:0:1:"), "2001:db8::1")
    separator = "." if version == 4 else ":"
    with namespaces(2) as (inner, outer):
        wire(inner, outer, ("d0", "d1"))
        inner.ip(*(f"addr add {head}{separator}1/{24 if version == 4 else 64} dev d{n}" for n, head in enumerate(heads)))
        ways = " ".join(
            f"nexthop via {head}{separator}2 dev d{n} weight {weight}" for n, (head, weight) in enumerate(zip(heads, (5, 2), strict=True))
        )
        time.sleep(0.1)
        inner.ip(f"route add default {ways}", options=(f"-{version}",))
        inner.sysctl({f"net.ipv{version}.fib_multipath_hash_policy": 1})
        routing = inner.routing()
        shares = {str(way.gateway): way.share for way in routing.lookup(ip_address(to))}
        queries = [Query(to, source_port=1024 + n, destination_port=1 + n % 60000).to_text() for n in range(flows)]
        answers = inner.route_get(queries, version)
        counted = Counter(str(answer["gateway"]) for answer in answers if not isinstance(answer, str))
    assert set(counted) == set(shares)
    for gateway, share in shares.items():
        # Six standard deviations: one run in half a billion fails by chance.
        allowed = 6 * float(flows * share * (1 - share)) ** 0.5
        assert abs(counted[gateway] - float(flows * share)) < allowed, (counted, shares)
