"""Packets as bytes: made by hand, and read back when they come out."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field

NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
_ICMP = {(3, 0): "icmp-net-unreachable", (3, 1): "icmp-host-unreachable", (3, 2): "icmp-proto-unreachable", (3, 3): "icmp-port-unreachable"}
_ICMP |= {(3, 9): "icmp-net-prohibited", (3, 10): "icmp-host-prohibited", (3, 13): "icmp-admin-prohibited", (11, 0): "ttl-exceeded"}
_ICMP6 = {(1, 0): "icmp6-no-route", (1, 1): "icmp6-adm-prohibited", (1, 3): "icmp6-addr-unreachable", (1, 4): "icmp6-port-unreachable"}
_ICMP6 |= {(1, 5): "icmp6-policy-fail", (1, 6): "icmp6-reject-route", (3, 0): "ttl-exceeded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What of a packet the oracle compares."""

    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    dscp: int = 0
    ttl: int = 64
    sequence: int = field(default=1000, compare=False)  # TCP's


@dataclass(frozen=True, slots=True)
class Refusal:
    """An ICMP error or a TCP reset: *kind* as REJECT spells it, and the source port of the packet that it answers."""

    kind: str
    source_port: int


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _transport(header: Header, payload: bytes, answers: Header | None) -> bytes:
    ports = struct.pack("!HH", header.source_port, header.destination_port)
    if header.protocol == "udp":
        return ports + struct.pack("!HH", 8 + len(payload), 0) + payload
    if header.protocol == "tcp":
        acknowledged, flags = (0, 0x02) if answers is None else ((answers.sequence + 1) & 0xFFFFFFFF, 0x12)
        return ports + struct.pack("!IIBBHHH", header.sequence, acknowledged, 6 << 4, flags, 64240, 0, 0) + b"\x02\x04\x05\xb4" + payload
    # INIT, or INIT ACK with the tag that INIT asked for
    kind, tag = (1, 0) if answers is None else (2, 7)
    body = ports + struct.pack("!II", tag, 0) + struct.pack("!BBHIIHHI", kind, 0, 20, 7, 65535, 1, 1, 1)
    return body[:8] + struct.pack("<I", _crc32c(body)) + body[12:]


def packet(header: Header, payload: bytes = b"", *, answers: Header | None = None) -> bytes:
    """Return an IP packet: the first of a connection, or the first that *answers* such a one."""
    source, destination = ipaddress.ip_address(header.source), ipaddress.ip_address(header.destination)
    number = NUMBERS[header.protocol]
    body = _transport(header, payload, answers)
    if source.version == 4:
        pseudo = source.packed + destination.packed + struct.pack("!HH", number, len(body))
    else:
        pseudo = source.packed + destination.packed + struct.pack("!II", len(body), number)
    if number != 132:
        at = 6 if number == 17 else 16
        body = body[:at] + struct.pack("!H", _checksum(pseudo + body) or 0xFFFF) + body[at + 2 :]
    tos = header.dscp << 2
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28 | tos << 20, len(body), number, header.ttl) + source.packed + destination.packed + body
    ip = struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(body), 1, 0x4000, header.ttl, number, 0) + source.packed + destination.packed
    return ip[:10] + struct.pack("!H", _checksum(ip)) + ip[12:] + body


def read(data: bytes) -> Header | Refusal | None:
    """Return what an IP packet is: a header, a refusal of some packet, or None for anything else (neighbour discovery …)."""
    if len(data) < 24:
        return None
    if data[0] >> 4 == 4:
        size, number, ttl, tos = (data[0] & 15) * 4, data[9], data[8], data[1]
        source, destination = data[12:16], data[16:20]
    elif data[0] >> 4 == 6 and len(data) >= 44:
        size, number, ttl, tos = 40, data[6], data[7], struct.unpack("!H", data[:2])[0] >> 4 & 0xFF
        source, destination = data[8:24], data[24:40]
    else:
        return None
    body = data[size:]
    if number in (1, 58):
        return _refusal(number, body)
    return of_transport(str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination)), number, body, tos >> 2, ttl)


def of_transport(source: str, destination: str, number: int, body: bytes, dscp: int, ttl: int) -> Header | Refusal | None:
    """Return the header of a transport packet; a TCP reset is a refusal."""
    name = next((n for n, v in NUMBERS.items() if v == number), None)
    if name is None or len(body) < 8:
        return None
    source_port, destination_port = struct.unpack("!HH", body[:4])
    if name == "tcp" and len(body) > 13 and body[13] & 4:
        return Refusal("tcp-reset", destination_port)
    return Header(
        protocol=name,
        source=source,
        source_port=source_port,
        destination=destination,
        destination_port=destination_port,
        dscp=dscp,
        ttl=ttl,
        sequence=struct.unpack("!I", body[4:8])[0],
    )


def _refusal(number: int, body: bytes) -> Refusal | None:
    if len(body) < 8 + 24:
        return None
    kind = (_ICMP if number == 1 else _ICMP6).get((body[0], body[1]))
    inner = body[8:]
    size = (inner[0] & 15) * 4 if inner[0] >> 4 == 4 else 40
    if kind is None or len(inner) < size + 4:
        return None
    return Refusal(kind, struct.unpack("!H", inner[size : size + 2])[0])
