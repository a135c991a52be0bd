"""Frames built and read by hand: one UDP packet each, told apart by a number in its payload."""

from __future__ import annotations

import re
import select
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from tests.tracer.routing.routing_netns import Namespace

_MAGIC = b"hopline!"
_OUTGOING = 4


@dataclass(frozen=True)
class Seen:
    """One packet as it arrived: on which device, and with which addresses."""

    device: str
    source: str
    destination: str


def udp_frame(mac: str, source: str, destination: str, number: int, source_port: int = 4000, destination_port: int = 53) -> bytes:
    """Return an Ethernet frame to *mac* with one UDP packet that carries *number*."""
    first, second = ip_address(source), ip_address(destination)
    body = _MAGIC + struct.pack("!I", number)
    length = 8 + len(body)
    udp = struct.pack("!HHHH", source_port, destination_port, length, 0) + body
    if first.version == 4:
        pseudo = first.packed + second.packed + struct.pack("!BBH", 0, 17, length)
    else:
        pseudo = first.packed + second.packed + struct.pack("!IHBB", length, 0, 0, 17)
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    ethernet = bytes.fromhex(mac.replace(":", "")) + b"\x02\0\0\0\0\x01" + (b"\x08\x00" if first.version == 4 else b"\x86\xdd")
    if first.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, number & 0xFFFF, 0, 64, 17, 0) + first.packed + second.packed
        return ethernet + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp
    return ethernet + struct.pack("!IHBB", 6 << 28, length, 17, 64) + first.packed + second.packed + udp


def checksum(body: bytes) -> int:
    """Return the Internet checksum of *body*."""
    words = struct.unpack(f"!{(len(body) + 1) // 2}H", body + b"\0" * (len(body) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def read_frame(frame: bytes) -> tuple[int, str, str] | None:
    """Return (number, source, destination) of one of our packets, None for any other."""
    # NB: an ICMP error carries our packet too: the payload must stand where UDP's does.
    position = 42 if frame[12:14] == b"\x08\x00" else 62
    if frame[position : position + 8] != _MAGIC or len(frame) < position + 12:
        return None
    number = struct.unpack("!I", frame[position + 8 : position + 12])[0]
    if frame[12:14] == b"\x08\x00":
        return number, str(IPv4Address(frame[26:30])), str(IPv4Address(frame[30:34]))
    return number, str(IPv6Address(frame[22:38])), str(IPv6Address(frame[38:54]))


def collect(sockets: Mapping[str, socket.socket], count: int, patience: float = 0.3) -> dict[int, Seen]:
    """Return what arrived on *sockets* (by device name) until *count* packets came or nothing did for *patience* seconds."""
    found: dict[int, Seen] = {}
    names = {made: name for name, made in sockets.items()}
    deadline = time.monotonic() + patience
    while len(found) < count and (left := deadline - time.monotonic()) > 0:
        for ready in select.select(list(names), [], [], left)[0]:
            frame, address = ready.recvfrom(2048)
            if address[2] != _OUTGOING and (packet := read_frame(frame)):
                found[packet[0]] = Seen(names[ready], packet[1], packet[2])
                deadline = time.monotonic() + patience
    return found


def mac_of(space: Namespace, device: str) -> str:
    """Return the link-layer address of *device*."""
    out, _ = space.ip(f"link show dev {device}")
    found = re.search(r"link/ether (\S+)", out)
    assert found, out
    return found[1]
