"""What the caller's own program meets: the end of its packet, and of the answer on the way back, as the client's kernel reports them.

A packet that the client's own stack stops is an error of ``connect`` or ``sendto`` itself: over TCP, ``connect`` asks for the route first
and tells what it says, but of what its SYN meets in netfilter it tells nothing; over UDP every error of the way down is told.
Whatever another stack says travels as an answer does, and counts only where it comes home.
Source: ip_route_output_key_hash_rcu, tcp_connect, udp_send_skb, nf_hook_slow, fib_props, Linux 6.18.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracer.dispositions import WORDS
from tracer.packet import Protocol
from tracer.refusals import NOBODY_ANSWERS, RESET, seen_by
from tracer.routing import ResultKind
from tracer.trace import Disposition, Listener, Outcome, Sees, StackKind

_VAGUE = (Disposition.UNKNOWN, Disposition.LEAVES)
"""Ends that say nothing of what the client sees."""
_OWNERS = (StackKind.NODE, StackKind.POD)
"""Stacks whose rules and routes may be recorded: what they do to their own processes is known."""
_OF_OPEN = (Sees.CONNECTED, Sees.TIMEOUT, Sees.HANGS, Sees.CLOSED, Sees.UNKNOWN)
"""What a program may see that has been connected."""
_OWN: Mapping[ResultKind, Sees] = {
    ResultKind.NONE: Sees.NET_UNREACHABLE,
    ResultKind.UNREACHABLE: Sees.NO_ROUTE,
    ResultKind.PROHIBIT: Sees.EACCES,
    ResultKind.BLACKHOLE: Sees.EINVAL,
    ResultKind.INVALID: Sees.EINVAL,
}
"""What routing says → the error that a process of the node itself gets. Source: fib_props in fib_semantics.c."""


def client_sees(outcome: Outcome, no_way: ResultKind | None = None, says: str | None = None, *, is_open: bool = False) -> Sees:
    """Return what the client of *outcome* sees.

    *no_way* is what routing said where it ended the packet, *says* what kind of no the stack that ended it sends back without a rule.
    *is_open*: it is a packet of a connection that exists. Over TCP its program is told of a reset only; any other no makes the kernel
    try again. Source: tcp_v4_err, tcp_v6_err, tcp_reset, Linux 6.18.
    """
    seen = _seen(outcome, no_way, says)
    if not is_open or not outcome.hops or outcome.hops[0].packet_in.protocol is not Protocol.TCP or seen in _OF_OPEN:
        return seen
    is_reset = RESET in (outcome.reject_with, says) or outcome.listener is Listener.ABSENT
    return Sees.CLOSED if is_reset and seen is Sees.REFUSED else Sees.TIMEOUT


def _seen(outcome: Outcome, no_way: ResultKind | None, says: str | None) -> Sees:
    """What the client sees of a first packet, or over UDP of any."""
    if not outcome.hops:
        return WORDS[outcome.disposition].usual
    protocol = outcome.hops[0].packet_in.protocol
    if outcome.disposition is Disposition.DELIVERED:
        return _delivered(outcome, protocol)
    usual = WORDS[outcome.disposition].usual
    if usual is not Sees.CLOSED and any(hop.kind is StackKind.PROXY for hop in outcome.hops):
        return Sees.UNKNOWN if outcome.disposition in _VAGUE else Sees.TIMEOUT  # a datagram that a process passed on
    if (kind := outcome.reject_with or says) is not None:
        return _rejected(outcome, kind, protocol)
    if outcome.disposition is Disposition.UNREACHABLE or no_way in _OWN:
        return _unreachable(outcome, protocol, no_way)
    return Sees.EPERM if usual is Sees.TIMEOUT and _is_told_at_once(outcome, protocol) else usual


def _delivered(outcome: Outcome, protocol: Protocol) -> Sees:
    if outcome.reply and outcome.reply.disposition is not Disposition.DELIVERED:
        return Sees.UNKNOWN if outcome.reply.disposition in _VAGUE else Sees.TIMEOUT
    if _code(outcome) == "PROXY_HOLDS_PORT":
        return Sees.TIMEOUT if protocol is Protocol.UDP else Sees.HANGS
    if outcome.listener is Listener.ABSENT:
        is_proxied = any(hop.kind is StackKind.PROXY for hop in outcome.hops)
        return Sees.REFUSED if not is_proxied else Sees.TIMEOUT if protocol is Protocol.UDP else Sees.CLOSED
    is_heard = outcome.listener is Listener.DECLARED if protocol.has_ports else outcome.listener is None
    return Sees.CONNECTED if is_heard else Sees.UNKNOWN


def _rejected(outcome: Outcome, reject_with: str, protocol: Protocol) -> Sees:
    if outcome.reject_with is not None and _is_told_at_once(outcome, protocol):
        return Sees.EPERM
    if outcome.reply is None or outcome.reply.disposition in _VAGUE:
        return Sees.UNKNOWN
    return seen_by(reject_with, protocol) if outcome.reply.disposition is Disposition.DELIVERED else Sees.TIMEOUT


def _is_told_at_once(outcome: Outcome, protocol: Protocol) -> bool:
    """Whether netfilter stopped the packet on the client's own way down: ``sendto`` is told then, ``connect`` over TCP is not.

    NB: nor is ping over IPv6, whose socket lets the error go. Source: ping_v6_sendmsg.
    """
    if protocol in (Protocol.TCP, Protocol.ICMPV6) or len(outcome.hops) != 1 or outcome.hops[0].kind not in _OWNERS:
        return False
    steps = outcome.hops[0].steps
    stopped = bool(steps) and (steps[-1].verdict in ("drop", "reject") or steps[-1].policy == "DROP")
    return stopped and all(step.hook in ("output", "postrouting") for step in steps)


def _unreachable(outcome: Outcome, protocol: Protocol, no_way: ResultKind | None) -> Sees:
    """No way on, and no error that travels: the client's own kernel says so at once, or somebody outside whose words are not walked."""
    first = outcome.hops[0]
    if no_way is None:
        if len(outcome.hops) == 1 and first.kind is StackKind.POD and _code(outcome) not in ("NO_CARRIER", "NEIGHBOUR_SILENT"):
            return Sees.NET_UNREACHABLE  # the pod has no address of the family, or no route
        return seen_by(NOBODY_ANSWERS[first.packet_in.destination.version], protocol)
    if len(outcome.hops) > 1 or first.kind not in _OWNERS:
        return Sees.TIMEOUT
    if first.steps and protocol is Protocol.TCP:
        return Sees.TIMEOUT  # rewritten and routed again: the SYN is thrown away, and connect is not told
    return _OWN.get(no_way, Sees.UNKNOWN)


def _code(outcome: Outcome) -> str:
    return outcome.reason.code if outcome.reason else ""
