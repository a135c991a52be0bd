"""What the kernel looks a route up by: the flow, and whether a policy rule matches it (yes, no, or unknown)."""

from __future__ import annotations

from tracer.packet import Address, unsaid
from tracer.routing.model import PolicyRule, PortRange, is_unnamed
from tracer.values import dataclass

LOOPBACK = "lo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The keys of one look-up. *iif* None: the stack's own packet. Protocol, ports, uid None: not known; 0 is the kernel's "none".

    *device_scope* is IPv6's: the device a route should use if it can (the output device asked for, or the input device);
    *strict_device*: it must.
    """

    destination: Address
    source: Address | None = None
    mark: int = 0
    iif: str | None = None
    oif: str | None = None
    protocol: int | None = None
    source_port: int | None = None
    destination_port: int | None = None
    tos: int = 0
    uid: int | None = None
    device_scope: str | None = None
    strict_device: bool = False
    ignore_linkdown: bool = False


def matches(rule: PolicyRule, flow: Flow) -> bool | None:
    """Return whether *rule* selects *flow*; None when the rule or the flow does not say enough.

    Source: fib_rule_match() in core/fib_rules.c, fib4_rule_match(), fib6_rule_match().
    """
    answers = _answers(rule, flow)
    if False in answers:
        result: bool | None = False
    else:
        result = None if None in answers or rule.unmodelled else True
    return None if result is None else result != rule.inverted


def unknown_because(rule: PolicyRule, flow: Flow) -> str:
    """Return why *rule*'s match is unknown, as a sentence."""
    what = ", ".join(rule.unmodelled) or "a selector that this packet does not specify (device, protocol, port, user or tunnel)"
    return f"policy rule {rule.to_text()!r} has {what}"


def _answers(rule: PolicyRule, flow: Flow) -> tuple[bool | None, ...]:
    return (
        _by_device(rule.iif, rule.iif_detached, flow.iif or LOOPBACK),
        _by_device(rule.oif, rule.oif_detached, flow.oif),
        not (rule.fwmark ^ flow.mark) & rule.fwmask,
        _within(rule, flow),
        not rule.tos or rule.tos & 0xFC == flow.tos & 0xFC,
        _is(rule.protocol, flow.protocol),
        _in_range(rule.source_ports, flow.source_port),
        _in_range(rule.destination_ports, flow.destination_port),
        _user(rule.uids, flow),
        None if rule.tunnel_id and flow.iif is not None else not rule.tunnel_id,
    )


def _by_device(wanted: str | None, detached: bool, device: str | None) -> bool | None:
    if wanted is None:
        return True
    # Some device, nobody knows which, may be the one; the loopback device is never among those.
    return None if is_unnamed(device) and wanted != LOOPBACK and not detached else not detached and wanted == device


def _within(rule: PolicyRule, flow: Flow) -> bool | None:
    # An absent source compares as zero in IPv4, and never matches in IPv6.
    if rule.destination is not None and flow.destination not in rule.destination:
        return False
    if rule.source is None or rule.source.prefixlen == 0:
        return True
    if flow.source is None:
        return flow.destination.version == 4 and int(rule.source.network_address) == 0
    return flow.source in rule.source if unsaid(flow.source) is None else None


def _is(wanted: int | None, value: int | None) -> bool | None:
    if wanted is None:
        return True
    return None if value is None else wanted == value


def _in_range(wanted: PortRange | None, value: int | None) -> bool | None:
    if wanted is None:
        return True
    return None if value is None else value in wanted


def _user(wanted: PortRange | None, flow: Flow) -> bool | None:
    # A received packet belongs to the namespace's root.
    return _in_range(wanted, 0 if flow.uid is None and flow.iif is not None else flow.uid)
