"""The kernel's answers about routing as they were recorded (``make oracle-record``): ours must be among them, without root and in a moment."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.oracle.recording import read_json
from tests.tracer.routing.routing_worlds import AddressTypes, Lookups, Masquerades, Received
from tracer.routing import Routing


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = read_json("routing")
    return found


@pytest.mark.parametrize(
    ("kind", "read", "least"),
    [
        ("lookups", Lookups, {"unicast": 500, "local": 100, "unreachable": 20, "none": 20}),
        ("masquerades", Masquerades, {"came out": 100}),
        ("received", Received, {"taken": 300, "refused": 300}),
        ("types", AddressTypes, {"hit": 100, "missed": 100}),
    ],
)
def test_ours_is_the_recorded_answer(recorded: dict[str, Any], kind: str, read: Any, least: dict[str, int]) -> None:
    tally: Counter[str] = Counter()
    wrong = [f"number {number}: {w}" for number, value in enumerate(recorded[kind]) for w in read.of_json(value).wrong(tally)]
    assert not wrong, f"{len(wrong)} of {sum(tally.values())} differ\n" + "\n".join(wrong[:12])
    assert tally["unknown"] <= 0.04 * sum(tally.values()), tally
    assert {key: tally[key] for key in least if tally[key] < least[key]} == {}, tally


def test_a_wrong_engine_is_found_out(recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself: an engine that knows no mark does not pass."""
    honest = Routing.lookup
    monkeypatch.setattr(Routing, "lookup", lambda self, *args, **words: honest(self, *args, **words | {"mark": 0}))
    assert any(Lookups.of_json(value).wrong(Counter()) for value in recorded["lookups"])
