"""The kernel is the reference: random stacks in namespaces, ``ip route get`` beside our lookup.

``ROUTING_ORACLE_WORLDS`` (random stacks a family) and ``ROUTING_ORACLE_SEED`` make it larger or repeat it. Without them it is three where the
engine is not the one that the recording was made with, else one: test_routing_recorded then tells the same in a moment.
"""

from __future__ import annotations

import time
from collections import Counter
from ipaddress import ip_address

import pytest

from tests.tracer.routing.routing_living import REASON, SEED, WORLDS
from tests.tracer.routing.routing_netns import namespaces, wire
from tests.tracer.routing.routing_random import Query
from tests.tracer.routing.routing_worlds import Lookups

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


@pytest.mark.parametrize("version", [4, 6])
def test_lookup_is_the_kernels(version: int) -> None:
    print(f"ROUTING_ORACLE_SEED={SEED}")
    tally: Counter[str] = Counter()
    wrong = [f"world {world}: {w}" for world in range(WORLDS) for w in Lookups.observe(SEED, version, world).wrong(tally)]
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
