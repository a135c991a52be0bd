"""How a host says no: what its kernel answers for a port that nobody listens on."""

from __future__ import annotations

from tracer.packet import Protocol

_REFUSALS = {
    Protocol.TCP: "a reset",
    Protocol.UDP: "an ICMP error (port unreachable)",
    Protocol.SCTP: "an abort",
}


def refusal(protocol: Protocol) -> str:
    """Return what the kernel answers for a port of *protocol* that nobody listens on. Source: tcp_v4_rcv, __udp4_lib_rcv, sctp_rcv."""
    return _REFUSALS.get(protocol, "an ICMP error (protocol unreachable)")
