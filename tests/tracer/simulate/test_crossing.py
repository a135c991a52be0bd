"""What a step says was rewritten: each field by itself, and a port that the kernel draws."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tracer.packet import Packet, Protocol
from tracer.simulate.crossing import rewritten

SENT = Packet(
    protocol=Protocol.TCP, source=ip_address("10.0.0.1"), destination=ip_address("10.0.0.2"), source_port=4000, destination_port=80
)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({}, {}),
        ({"mark": 7}, {}),
        ({"source": ip_address("10.0.0.9")}, {"source": ("10.0.0.1", "10.0.0.9")}),
        ({"destination": ip_address("fd00::9")}, {"destination": ("10.0.0.2", "fd00::9")}),
        ({"destination_port": 8080}, {"destination_port": (80, 8080)}),
        ({"source_port": 4001}, {"source_port": (4000, 4001)}),
        ({"source_port_random": True}, {"source_port": (4000, "random")}),
        (
            {"source_port_random": True, "source": ip_address("10.0.0.9"), "destination_port": 8080},
            {"source": ("10.0.0.1", "10.0.0.9"), "source_port": (4000, "random"), "destination_port": (80, 8080)},
        ),
        ({"source_port": None}, {"source_port": (4000, None)}),
    ],
)
def test_what_was_rewritten(after: dict[str, object], expected: dict[str, tuple[object, object]]) -> None:
    changed = replace(SENT, **after)  # type: ignore[arg-type]
    assert rewritten(SENT, changed) == expected
    assert rewritten(changed, SENT) == {name: (new, old) for name, (old, new) in expected.items()}
