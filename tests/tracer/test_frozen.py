from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace
from functools import cached_property
from ipaddress import ip_address

import pytest

from tracer.frozen import changed
from tracer.packet import Packet, Protocol
from tracer.trace import Finding


@dataclass(frozen=True, kw_only=True)
class Open:
    low: int
    high: int


PACKET = Packet(protocol=Protocol.TCP, source=ip_address("10.0.0.1"), destination=ip_address("10.0.0.2"), mark=0x4000)
FINDING = Finding(code="X", text="x", severity="warning", evidence=("here",))
OPEN = Open(low=1, high=2)


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        (PACKET, {}),
        (PACKET, {"mark": 0, "source_port": 80}),
        (FINDING, {"text": "of the class above"}),
        (FINDING, {"hop": 2}),
        (OPEN, {}),
        (OPEN, {"high": 3}),
    ],
)
def test_it_is_what_replace_returns(value: Packet | Finding | Open, changes: dict[str, object]) -> None:
    before = repr(value)
    assert changed(value, **changes) == replace(value, **changes)
    assert repr(value) == before


def test_the_copy_is_frozen_too() -> None:
    with pytest.raises(FrozenInstanceError):
        changed(PACKET, mark=1).mark = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        changed(OPEN, low=0).low = 2  # type: ignore[misc]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


@dataclass(frozen=True, kw_only=True)
class Keeping(Open):
    @cached_property
    def span(self) -> int:
        return self.high - self.low


@pytest.mark.parametrize(("value", "name"), [(PACKET, "port"), (Open(low=1, high=2), "port")])
def test_a_field_that_is_not_there_is_refused(value: Packet | Open, name: str) -> None:
    with pytest.raises(TypeError, match=f"no field '{name}'"):
        changed(value, **{name: 1})


@pytest.mark.parametrize("value", [Checked(low=1, high=2), Keeping(low=1, high=2)])
def test_a_class_that_it_cannot_copy_is_refused(value: Checked | Keeping) -> None:
    with pytest.raises(TypeError, match=r"no plain dataclass|more than its fields"):
        changed(value, low=0)
