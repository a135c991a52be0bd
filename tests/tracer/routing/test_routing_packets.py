"""Real packets through namespaces of our own: MASQUERADE's address, the check of received packets, address types.

``ROUTING_ORACLE_WORLDS`` and ``ROUTING_ORACLE_SEED`` as in test_routing_kernel.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.tracer.routing.routing_living import REASON, SEED, WORLDS
from tests.tracer.routing.routing_worlds import AddressTypes, Masquerades, Received

pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


@pytest.mark.parametrize("version", [4, 6])
def test_masquerade_takes_the_kernels_address(version: int) -> None:
    print(f"ROUTING_ORACLE_SEED={SEED}")
    tally: Counter[str] = Counter()
    worlds = max(1, WORLDS // 2) * 2
    wrong = [f"world {world}: {w}" for world in range(worlds) for w in Masquerades.observe(SEED, version, world).wrong(tally)]
    print(f"{tally['came out']} masqueraded packets compared")
    assert not wrong, f"seed {SEED}: {len(wrong)} differ\n" + "\n".join(wrong[:12])
    assert tally["came out"] > 5 * worlds


@pytest.mark.parametrize("custom", [False, True], ids=["kernel-rules", "custom-rules"])
def test_received_packets_are_checked_as_the_kernel_does(custom: bool) -> None:
    wrong = Received.observe(custom).wrong(Counter())
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong[:12])


@pytest.mark.parametrize("version", [4, 6])
def test_address_types_are_the_kernels(version: int) -> None:
    print(f"ROUTING_ORACLE_SEED={SEED}")
    worlds = max(1, WORLDS // 2)
    wrong = [f"world {world}: {w}" for world in range(worlds) for w in AddressTypes.observe(SEED, version, world).wrong(Counter())]
    assert not wrong, f"seed {SEED}: {len(wrong)} differ\n" + "\n".join(wrong[:12])
