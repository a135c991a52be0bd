"""A slice of the nftables oracle: random rule sets and real packets, living kernel against engine. ``python -m tests.oracle.nft`` is the full run."""

from __future__ import annotations

import os
import shutil
import time

import pytest

from tests.oracle.digests import living_seconds
from tests.oracle.netns import why_not
from tests.oracle.nft_run import run

SECONDS = float(os.environ.get("ORACLE_SECONDS", "0")) or living_seconds(0.4)
_PACKETS_AT_LEAST = 40


def _skip_unless_possible() -> None:
    if reason := why_not():
        pytest.skip(reason)
    if shutil.which("nft") is None:
        pytest.skip("nft is not installed (apt-get install nftables)")


@pytest.mark.needs_root
def test_kernel_and_engine_agree_on_native_rules() -> None:
    _skip_unless_possible()
    seed = int(os.environ.get("ORACLE_SEED", time.time()))
    print(f"ORACLE_SEED={seed}")
    result = run(seed=seed, seconds=SECONDS, least=_PACKETS_AT_LEAST, shrink=15, most=1)
    print(result.summary())
    assert not result.disagreements, f"ORACLE_SEED={seed}\n" + "\n\n".join(result.disagreements)
    assert result.packets >= _PACKETS_AT_LEAST, result.summary()


@pytest.mark.needs_root
def test_a_wrong_engine_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle itself: an engine that takes every set for empty does not pass."""
    _skip_unless_possible()
    from tracer.netfilter.nft_values import Evaluator

    monkeypatch.setattr(Evaluator, "find", lambda self, found, value, view: None)
    assert run(seed=1, seconds=30, shrink=1, most=1).disagreements
