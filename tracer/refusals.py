"""How a host says no, and what the caller's program makes of it: the kernel's own tables of ICMP errors.

A program that waits in ``connect`` over TCP is told every error; one that uses a connected UDP socket only those that are fatal, of which
the kernel's tables say so, and hears nothing of the others.
Source: icmp_err_convert in net/ipv4/icmp.c, tab_unreach in net/ipv6/icmp.c, tcp_v4_err, __udp4_lib_err, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracer.packet import Protocol
from tracer.trace import Sees
from tracer.values import dataclass

RESET = "tcp-reset"
EXPIRED = {4: "icmp-time-exceeded", 6: "icmp6-time-exceeded"}
"""What a node says whose turn it was to forward a packet with no life left, by IP version: no REJECT does."""
TOO_LARGE = {4: "icmp-fragmentation-needed", 6: "icmp6-packet-too-big"}
"""What a node says whose next device takes less, by IP version."""
ECHOES: Mapping[tuple[Protocol, bool], tuple[int, int]] = {
    (Protocol.ICMP, False): (8, 0),
    (Protocol.ICMP, True): (0, 0),
    (Protocol.ICMPV6, False): (128, 0),
    (Protocol.ICMPV6, True): (129, 0),
}
"""The type and code of an echo request, and of its answer, by protocol."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way to say no. *said* names it in a sentence; *icmp* is the error's type and code, None for a reset; *is_fatal*: a UDP socket
    is told as well."""

    said: str
    sees: Sees
    icmp: tuple[int, int] | None = None
    is_fatal: bool = True


REFUSALS: Mapping[str, Refusal] = {
    RESET: Refusal("a reset", Sees.REFUSED),
    "icmp-net-unreachable": Refusal("an ICMP error (network unreachable)", Sees.NET_UNREACHABLE, (3, 0), is_fatal=False),
    "icmp-host-unreachable": Refusal("an ICMP error (host unreachable)", Sees.NO_ROUTE, (3, 1), is_fatal=False),
    "icmp-proto-unreachable": Refusal("an ICMP error (protocol unreachable)", Sees.NO_PROTOCOL, (3, 2)),
    "icmp-port-unreachable": Refusal("an ICMP error (port unreachable)", Sees.REFUSED, (3, 3)),
    "icmp-net-prohibited": Refusal("an ICMP error (network prohibited)", Sees.NET_UNREACHABLE, (3, 9)),
    "icmp-host-prohibited": Refusal("an ICMP error (host prohibited)", Sees.NO_ROUTE, (3, 10)),
    "icmp-admin-prohibited": Refusal("an ICMP error (administratively prohibited)", Sees.NO_ROUTE, (3, 13)),
    EXPIRED[4]: Refusal("an ICMP error (time exceeded)", Sees.NO_ROUTE, (11, 0), is_fatal=False),
    "icmp6-no-route": Refusal("an ICMPv6 error (no route)", Sees.NET_UNREACHABLE, (1, 0), is_fatal=False),
    "icmp6-adm-prohibited": Refusal("an ICMPv6 error (administratively prohibited)", Sees.EACCES, (1, 1)),
    "icmp6-addr-unreachable": Refusal("an ICMPv6 error (address unreachable)", Sees.NO_ROUTE, (1, 3), is_fatal=False),
    "icmp6-port-unreachable": Refusal("an ICMPv6 error (port unreachable)", Sees.REFUSED, (1, 4)),
    "icmp6-policy-fail": Refusal("an ICMPv6 error (policy fail)", Sees.EACCES, (1, 5)),
    "icmp6-reject-route": Refusal("an ICMPv6 error (reject route)", Sees.EACCES, (1, 6)),
    TOO_LARGE[4]: Refusal("an ICMP error (fragmentation needed)", Sees.UNKNOWN, (3, 4), is_fatal=False),
    TOO_LARGE[6]: Refusal("an ICMPv6 error (packet too big)", Sees.UNKNOWN, (2, 0), is_fatal=False),
    EXPIRED[6]: Refusal("an ICMPv6 error (time exceeded)", Sees.NO_ROUTE, (3, 0), is_fatal=False),
}
"""``--reject-with`` → what it is; and what routing and the kernel itself say."""
NOBODY_ANSWERS = {4: "icmp-host-unreachable", 6: "icmp6-addr-unreachable"}
"""What a node says that asked for its neighbour in vain, by IP version. Source: ipv4_link_failure, ndisc_error_report."""
_ALIASES = {
    "net-unreach": "icmp-net-unreachable",
    "host-unreach": "icmp-host-unreachable",
    "proto-unreach": "icmp-proto-unreachable",
    "port-unreach": "icmp-port-unreachable",
    "net-prohib": "icmp-net-prohibited",
    "host-prohib": "icmp-host-prohibited",
    "admin-prohib": "icmp-admin-prohibited",
    "tcp-rst": RESET,
    "no-route": "icmp6-no-route",
    "adm-prohibited": "icmp6-adm-prohibited",
    "addr-unreach": "icmp6-addr-unreachable",
    "addr-unreachable": "icmp6-addr-unreachable",
    "policy-fail": "icmp6-policy-fail",
    "reject-route": "icmp6-reject-route",
}
"""What people write, and nft's own words, for the same. Source: libipt_REJECT.c, libip6t_REJECT.c."""


def refusal(reject_with: str) -> Refusal | None:
    """Return what a REJECT is, None for a kind that is not known."""
    return REFUSALS.get(_ALIASES.get(reject_with, reject_with))


def no_listener(protocol: Protocol, version: int) -> str:
    """Return, as ``--reject-with`` spells it, what the kernel answers for a port of *protocol* that nobody listens on.

    Source: tcp_v4_rcv, __udp4_lib_rcv, udpv6_queue_rcv_skb, sctp_rcv (whose abort a client takes for a refusal, as it does a reset).
    """
    if protocol in (Protocol.TCP, Protocol.SCTP):
        return RESET
    return "icmp-port-unreachable" if version == 4 else "icmp6-port-unreachable"


def seen_by(reject_with: str, protocol: Protocol) -> Sees:
    """Return what a client over *protocol* sees of a refusal that reaches it. NB: ping asks its socket for every error (IP_RECVERR)."""
    found = refusal(reject_with)
    if found is None:
        return Sees.UNKNOWN
    return found.sees if found.is_fatal or protocol is not Protocol.UDP else Sees.TIMEOUT
