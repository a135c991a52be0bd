"""A slice of the oracle of stacks: random clusters of a fixed seed, real packets, kernel against engine. ``python -m tests.oracle.stacks`` is the full run."""

from __future__ import annotations

import os

import pytest

from tests.oracle.stacks import lacking
from tests.oracle.stacks_drawn import Drawing
from tests.oracle.stacks_run import SHOTS, run
from tests.sizes import every

SEED = int(os.environ.get("ORACLE_SEED", "20"))
CLUSTERS = every(range(24), 6)
WRONG_FROM = 25
"""In this cluster the order decides."""


@pytest.mark.needs_root
def test_kernel_and_engine_agree_on_random_clusters() -> None:
    if reason := lacking():
        pytest.skip(reason)
    result = run(seed=SEED, labs=len(CLUSTERS), most=1)
    assert not result.disagreements, "\n\n".join(result.disagreements)
    assert result.packets >= len(CLUSTERS) * SHOTS, result.summary()
    assert len(result.sees) > 2, result.summary()


@pytest.mark.needs_root
@pytest.mark.parametrize("seed", [14, 20041])
def test_a_cluster_that_found_a_fault(seed: int) -> None:
    """14: an answer that is redirected; 20041: an ICMP error comes in by another device than its connection would, and rp_filter asks for
    the error's own source."""
    if reason := lacking():
        pytest.skip(reason)
    result = run(seed=seed, labs=1)
    assert not result.disagreements, "\n\n".join(result.disagreements)


@pytest.mark.needs_root
def test_an_engine_that_asks_the_first_made_first_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle itself: where the list of hooks tells the order, the other way round does not pass."""
    if reason := lacking():
        pytest.skip(reason)
    from tracer.simulate import hooks

    right = hooks.is_before

    def wrong(one: hooks.Registered, other: hooks.Registered, places: dict[str, int]) -> bool | None:
        return right(one, other, {name: -place for name, place in places.items()})

    assert not run(seed=WRONG_FROM, labs=1).disagreements
    monkeypatch.setattr(hooks, "is_before", wrong)
    assert run(seed=WRONG_FROM, labs=1, most=1).disagreements


def test_a_seed_draws_the_same_again() -> None:
    one, other = (Drawing(7) for _ in range(2))
    assert [table.text() for node in one.cluster().nodes for table in node.tables] == [
        table.text() for node in other.cluster().nodes for table in node.tables
    ]
