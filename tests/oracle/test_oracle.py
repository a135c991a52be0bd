"""A slice of the oracle: random rule sets and real packets, living kernel against engine. ``python -m tests.oracle`` is the full run.

Where the engine is the one that the recording (test_recorded.py) was held against the slice is short; ``ORACLE_SECONDS`` says otherwise.
"""

from __future__ import annotations

import os
import time

import pytest

from tests.oracle.digests import living_seconds
from tests.oracle.netns import why_not
from tests.oracle.run import run

SECONDS = float(os.environ.get("ORACLE_SECONDS", "0")) or living_seconds(0.6)
PACKETS_AT_LEAST = 80


@pytest.mark.needs_root
def test_kernel_and_engine_agree() -> None:
    if reason := why_not():
        pytest.skip(reason)
    seed = int(os.environ.get("ORACLE_SEED", time.time()))
    print(f"ORACLE_SEED={seed}")
    result = run(seed=seed, seconds=SECONDS, least=PACKETS_AT_LEAST, shrink=30, most=1)
    print(result.summary())
    assert not result.disagreements, f"ORACLE_SEED={seed}\n" + "\n\n".join(result.disagreements)
    assert result.packets >= PACKETS_AT_LEAST, result.summary()


@pytest.mark.needs_root
def test_a_wrong_engine_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle itself: an engine that forgets to negate protocols does not pass."""
    if reason := why_not():
        pytest.skip(reason)
    from tracer.netfilter import matches
    from tracer.netfilter import model as m

    honest = matches.test
    monkeypatch.setattr(matches, "test", lambda match, view: True if isinstance(match, m.ProtocolMatch) else honest(match, view))
    result = run(seed=1, seconds=60, shrink=3, most=1)
    assert result.disagreements
