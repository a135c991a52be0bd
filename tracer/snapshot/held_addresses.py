"""The addresses that a node's devices hold, as ``ip -json addr`` lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tracer.errors import ParseError
from tracer.packet import Address
from tracer.query import parse_address
from tracer.snapshot.node_files import IP_ADDR
from tracer.snapshot.snapshot import Snapshot


def held_addresses(snapshot: Snapshot, node: str) -> tuple[tuple[str, Address], ...] | None:
    """Return (device, address) in the order of the listing; None where there is none that can be read."""
    try:
        devices = snapshot.node_json(node, IP_ADDR.name)
    except ParseError:
        return None
    return tuple(_held(devices)) if isinstance(devices, Sequence) else None


def _held(devices: Sequence[object]) -> Iterator[tuple[str, Address]]:
    for device in devices:
        name = device.get("ifname") if isinstance(device, Mapping) else None
        entries = device.get("addr_info") if isinstance(device, Mapping) else None
        for entry in entries if isinstance(entries, Sequence) else ():
            text = entry.get("local") if isinstance(entry, Mapping) else None
            if isinstance(name, str) and isinstance(text, str) and (address := parse_address(text)) is not None:
                yield name, address
