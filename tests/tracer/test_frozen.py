from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace
from ipaddress import ip_address

import pytest

from tracer.frozen import changed
from tracer.packet import Packet, Protocol
from tracer.trace import Finding

PACKET = Packet(protocol=Protocol.TCP, source=ip_address("10.0.0.1"), destination=ip_address("10.0.0.2"), mark=0x4000)
FINDING = Finding(code="X", text="x", severity="warning", evidence=("here",))


@pytest.mark.parametrize(
    ("value", "changes"),
    [(PACKET, {}), (PACKET, {"mark": 0, "source_port": 80}), (FINDING, {"text": "of the class above"}), (FINDING, {"hop": 2})],
)
def test_it_is_what_replace_returns(value: Packet | Finding, changes: dict[str, object]) -> None:
    before = repr(value)
    assert changed(value, **changes) == replace(value, **changes)
    assert repr(value) == before


def test_the_copy_is_frozen_too() -> None:
    with pytest.raises(FrozenInstanceError):
        changed(PACKET, mark=1).mark = 2  # type: ignore[misc]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


@dataclass(frozen=True, kw_only=True)
class Open:
    low: int
    high: int


def test_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError, match="no field 'port'"):
        changed(PACKET, port=1)


@pytest.mark.parametrize("value", [Checked(low=1, high=2), Open(low=1, high=2)])
def test_a_class_that_it_cannot_copy_is_refused(value: Checked | Open) -> None:
    with pytest.raises(TypeError, match="no plain dataclass"):
        changed(value, low=0)
